// Keeps claims that a pod uses, and volumes that a claim is bound to, from going away under their users: gives up the
// finalizers kubernetes.io/pvc-protection and pv-protection when nobody uses them any more.
#include <algorithm>

#include "pkg/controllers/factories.h"
#include "pkg/controllers/pods.h"
#include "pkg/controllers/support.h"

namespace kcube::controllers {
namespace {

using namespace client::resources;

constexpr std::string_view kClaimFinalizer = "kubernetes.io/pvc-protection", kVolumeFinalizer = "kubernetes.io/pv-protection";

std::vector<std::string> claims_of(const api::Object& pod) {
  std::vector<std::string> out;
  for (const json::value& v : json::get_array(json::at(&pod.value(), {"spec", "volumes"}))) {
    if (has(v, {"persistentVolumeClaim"})) out.push_back(api::object_key(pod.namespace_(), json::get_string(v, {"persistentVolumeClaim", "claimName"})));
    if (has(v, {"ephemeral"})) out.push_back(api::object_key(pod.namespace_(), std::string(pod.name()) + "-" + string_at(v, {"name"})));
  }
  return out;
}

class VolumeProtectionController final : public Controller {
 public:
  explicit VolumeProtectionController(Context context)
      : Controller(context, "volume-protection", 2), claims_(context.informers.informer(kPersistentVolumeClaims)),
        volumes_(context.informers.informer(kPersistentVolumes)), pods_(context.informers.informer(kPods)) {
    pods_.add_index("claim", claims_of);
    auto pod_left = [this](const api::Object& pod) {
      for (const auto& key : claims_of(pod)) enqueue("claim/" + key);
    };
    pods_.add_handlers({.changed =
                            [pod_left](const api::ObjectPtr&, const api::ObjectPtr& now) {
                              if (pod_finished(*now)) pod_left(*now);
                            },
                        .removed = [pod_left](const api::ObjectPtr& last) { pod_left(*last); }});
    claims_.add_handlers({.changed = [this](const api::ObjectPtr&, const api::ObjectPtr& now) { enqueue("claim/" + now->key()); }});
    volumes_.add_handlers({.changed = [this](const api::ObjectPtr&, const api::ObjectPtr& now) { enqueue("volume/" + now->key()); }});
  }

 private:
  Result<void> reconcile(const std::string& key) override {
    bool is_claim = key.starts_with("claim/");
    api::ObjectPtr object = is_claim ? claims_.get(key.substr(6)) : volumes_.get(key.substr(7));
    if (!object) return {};
    const auto& resource = is_claim ? kPersistentVolumeClaims : kPersistentVolumes;
    std::string_view finalizer = is_claim ? kClaimFinalizer : kVolumeFinalizer;
    if (!object->deleting()) return put_finalizer(resource, *object, finalizer, true);
    if (is_claim) {
      auto used = in_use(*object);
      if (!used) return fail(used.error());
      if (*used) return {};
    } else if (json::get_string(object->value(), {"status", "phase"}) == "Bound") {
      return {};
    }
    return put_finalizer(resource, *object, finalizer, false);
  }

  // The cache says no first, then the server: a pod may have come a moment ago.
  Result<bool> in_use(const api::Object& claim) {
    auto uses = [&](const api::ObjectPtr& pod) {
      auto keys = claims_of(*pod);
      return !pod_finished(*pod) && std::ranges::find(keys, claim.key()) != keys.end();
    };
    if (std::ranges::any_of(pods_.by_index("claim", claim.key()), uses)) return true;
    auto live = client_.list(kPods, claim.namespace_());
    if (!live) return fail(live.error());
    return std::ranges::any_of(live->items, uses);
  }

  Result<void> put_finalizer(const client::GroupVersionResource& resource, const api::Object& object, std::string_view finalizer, bool wanted) {
    json::array rest;
    bool present = false;
    for (const json::value& f : json::get_array(json::at(&object.value(), {"metadata", "finalizers"}))) {
      bool is = json::get_string(&f) == finalizer;
      present |= is;
      if (!is) rest.push_back(f);
    }
    if (present == wanted) return {};
    if (wanted) rest.push_back(text(finalizer));
    json::object patch{{"metadata", json::object{{"uid", text(object.uid())}, {"resourceVersion", text(std::to_string(object.revision()))}, {"finalizers", std::move(rest)}}}};
    auto r = client_.patch(resource, object.namespace_(), object.name(), client::PatchType::merge, patch);
    return r || r.error().is_not_found() ? Result<void>() : fail(r.error());
  }

  client::Informer& claims_;
  client::Informer& volumes_;
  client::Informer& pods_;
};

}  // namespace

ControllerPtr make_volume_protection_controller(Context context) { return std::make_unique<VolumeProtectionController>(context); }

}  // namespace kcube::controllers
