// Generic ephemeral volumes: the claim "POD-VOLUME" for each spec.volumes[].ephemeral, owned by its pod.
#include "pkg/controllers/factories.h"
#include "pkg/controllers/pods.h"
#include "pkg/controllers/support.h"

namespace kcube::controllers {
namespace {

using namespace client::resources;

class EphemeralVolumeController final : public Controller {
 public:
  explicit EphemeralVolumeController(Context context)
      : Controller(context, "ephemeral-volume", 2), recorder_(context.client, context.clock, "ephemeral_volume"), pods_(context.informers.informer(kPods)),
        claims_(context.informers.informer(kPersistentVolumeClaims)) {
    pods_.add_handlers({.changed = [this](const api::ObjectPtr&, const api::ObjectPtr& now) {
      for (const json::value& v : json::get_array(json::at(&now->value(), {"spec", "volumes"})))
        if (has(v, {"ephemeral"})) return enqueue(now->key());
    }});
    claims_.add_handlers({.removed = [this](const api::ObjectPtr& last) {
      api::OwnerReference owner = api::controller_of(last->value());
      if (owner.kind == "Pod") enqueue(api::object_key(last->namespace_(), owner.name));
    }});
  }

 private:
  Result<void> reconcile(const std::string& key) override {
    api::ObjectPtr pod = pods_.get(key);
    if (!pod || !pod_active(*pod)) return {};
    for (const json::value& v : json::get_array(json::at(&pod->value(), {"spec", "volumes"})))
      if (has(v, {"ephemeral"}))
        if (auto r = make_claim(*pod, v); !r) return r;
    return {};
  }

  Result<void> make_claim(const api::Object& pod, const json::value& volume) {
    std::string name = std::string(pod.name()) + "-" + string_at(volume, {"name"});
    if (auto there = claims_.get(pod.namespace_(), name)) {
      if (api::controller_of(there->value()).uid == pod.uid()) return {};
      return fail(Status(409, "Conflict", "PVC \"" + name + "\" was not created for pod \"" + std::string(pod.name()) + "\" (pod is not owner)"));
    }
    json::object metadata{{"name", text(name)}, {"namespace", text(pod.namespace_())}, {"ownerReferences", json::array{api::controller_reference(pod.value())}}};
    const json::value* from = json::at(&volume, {"ephemeral", "volumeClaimTemplate"});
    for (const char* member : {"labels", "annotations"})
      if (const json::value* m = from ? json::at(from, {"metadata", member}) : nullptr) metadata[member] = *m;
    json::object claim{{"apiVersion", "v1"}, {"kind", "PersistentVolumeClaim"}, {"metadata", std::move(metadata)}};
    if (const json::value* spec = from ? json::find(from, "spec") : nullptr) claim["spec"] = *spec;
    auto made = client_.create(kPersistentVolumeClaims, pod.namespace_(), claim);
    if (made || made.error().reason() == "AlreadyExists") return {};
    recorder_.event(pod.value(), "Warning", "FailedCreate", "ephemeral volume controller: create PVC " + name + ": " + made.error().message());
    return fail(made.error());
  }

  client::EventRecorder recorder_;
  client::Informer& pods_;
  client::Informer& claims_;
};

}  // namespace

ControllerPtr make_ephemeral_volume_controller(Context context) { return std::make_unique<EphemeralVolumeController>(context); }

}  // namespace kcube::controllers
