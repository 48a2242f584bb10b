// Keeps claims that a pod uses, volumes that a claim is bound to, and classes of attributes that either names from going
// away under their users: gives up the finalizers kubernetes.io/pvc-protection, pv-protection and vac-protection when nobody
// uses them any more.
#include <algorithm>

#include "pkg/controllers/factories.h"
#include "pkg/controllers/pods.h"
#include "pkg/controllers/support.h"
#include "pkg/controllers/volumes.h"

namespace kcube::controllers {
namespace {

using namespace client::resources;

// What is protected, by the kind in a key: "claim/NAMESPACE/NAME", "volume/NAME", "class/NAME".
struct Kind {
  std::string_view prefix;
  const client::GroupVersionResource& resource;
  std::string_view finalizer;
};
const Kind kClaim{"claim/", kPersistentVolumeClaims, "kubernetes.io/pvc-protection"};
const Kind kVolume{"volume/", kPersistentVolumes, "kubernetes.io/pv-protection"};
const Kind kClass{"class/", kVolumeAttributesClasses, "kubernetes.io/vac-protection"};

std::vector<std::string> claims_of(const api::Object& pod) {
  std::vector<std::string> out;
  for (const json::value& v : json::get_array(json::at(&pod.value(), {"spec", "volumes"}))) {
    if (has(v, {"persistentVolumeClaim"})) out.push_back(api::object_key(pod.namespace_(), json::get_string(v, {"persistentVolumeClaim", "claimName"})));
    if (has(v, {"ephemeral"})) out.push_back(api::object_key(pod.namespace_(), std::string(pod.name()) + "-" + string_at(v, {"name"})));
  }
  return out;
}

// The class that a claim or a volume has, and for a claim those that it is to have and had.
std::vector<std::string> classes_of(const api::Object& object) {
  std::vector<std::string> out;
  for (auto path : {std::initializer_list<std::string_view>{"spec", "volumeAttributesClassName"}, {"status", "currentVolumeAttributesClassName"},
                    {"status", "modifyVolumeStatus", "targetVolumeAttributesClassName"}})
    if (auto name = json::get_string(object.value(), path); !name.empty()) out.emplace_back(name);
  return out;
}

class VolumeProtectionController final : public Controller {
 public:
  explicit VolumeProtectionController(Context context)
      : Controller(context, "volume-protection", 2), claims_(context.informers.informer(kPersistentVolumeClaims)),
        volumes_(context.informers.informer(kPersistentVolumes)), classes_(context.informers.informer(kVolumeAttributesClasses)),
        pods_(context.informers.informer(kPods)) {
    pods_.add_index("claim", claims_of);
    claims_.add_index("class", classes_of);
    volumes_.add_index("class", classes_of);
    auto pod_left = [this](const api::Object& pod) {
      for (const auto& key : claims_of(pod)) enqueue("claim/" + key);
    };
    auto class_left = [this](const api::Object& last) {
      for (const auto& name : classes_of(last)) enqueue("class/" + name);
    };
    pods_.add_handlers({.changed =
                            [pod_left](const api::ObjectPtr&, const api::ObjectPtr& now) {
                              if (pod_finished(*now)) pod_left(*now);
                            },
                        .removed = [pod_left](const api::ObjectPtr& last) { pod_left(*last); }});
    auto handlers = [this, class_left](std::string_view prefix) {
      return client::Handlers{.changed =
                                       [this, class_left, prefix](const api::ObjectPtr& before, const api::ObjectPtr& now) {
                                         enqueue(std::string(prefix) + now->key());
                                         if (before && classes_of(*before) != classes_of(*now)) class_left(*before);
                                       },
                                   .removed = [class_left](const api::ObjectPtr& last) { class_left(*last); }};
    };
    claims_.add_handlers(handlers(kClaim.prefix));
    volumes_.add_handlers(handlers(kVolume.prefix));
    classes_.add_handlers({.changed = [this](const api::ObjectPtr&, const api::ObjectPtr& now) { enqueue("class/" + now->key()); }});
  }

 private:
  Result<void> reconcile(const std::string& key) override {
    const Kind& kind = key.starts_with(kClaim.prefix) ? kClaim : key.starts_with(kVolume.prefix) ? kVolume : kClass;
    client::Informer& objects = &kind == &kClaim ? claims_ : &kind == &kVolume ? volumes_ : classes_;
    api::ObjectPtr object = objects.get(key.substr(kind.prefix.size()));
    if (!object) return {};
    if (!object->deleting()) return put_finalizer(kind, *object, true);
    if (&kind == &kClaim) {
      auto used = in_use(*object);
      if (!used) return fail(used.error());
      if (*used) return {};
    } else if (&kind == &kVolume) {
      if (json::get_string(object->value(), {"status", "phase"}) == "Bound") return {};
    } else if (!claims_.by_index("class", object->key()).empty() || !volumes_.by_index("class", object->key()).empty()) {
      return {};
    }
    return put_finalizer(kind, *object, false);
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

  Result<void> put_finalizer(const Kind& kind, const api::Object& object, bool wanted) {
    json::array rest;
    bool present = false;
    for (const json::value& f : json::get_array(json::at(&object.value(), {"metadata", "finalizers"}))) {
      bool is = json::get_string(&f) == kind.finalizer;
      present |= is;
      if (!is) rest.push_back(f);
    }
    if (present == wanted) return {};
    if (wanted) rest.push_back(text(kind.finalizer));
    json::object patch{{"metadata", json::object{{"uid", text(object.uid())}, {"resourceVersion", text(std::to_string(object.revision()))}, {"finalizers", std::move(rest)}}}};
    auto r = client_.patch(kind.resource, object.namespace_(), object.name(), client::PatchType::merge, patch);
    return r || r.error().is_not_found() ? Result<void>() : fail(r.error());
  }

  client::Informer& claims_;
  client::Informer& volumes_;
  client::Informer& classes_;
  client::Informer& pods_;
};

}  // namespace

ControllerPtr make_volume_protection_controller(Context context) { return std::make_unique<VolumeProtectionController>(context); }

}  // namespace kcube::controllers
