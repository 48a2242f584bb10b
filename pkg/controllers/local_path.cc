// The provisioner kcube.io/local-path: a directory on the node where the claim's pod runs. It also makes the StorageClass
// "local-path", the default one, so that claims work out of the box.
#include "pkg/base/log.h"
#include "pkg/controllers/factories.h"
#include "pkg/controllers/support.h"
#include "pkg/controllers/volumes.h"

namespace kcube::controllers {
namespace {

using namespace client::resources;

constexpr const char* kClass = "#class";

class LocalPathProvisioner final : public Controller {
 public:
  LocalPathProvisioner(Context context, const Options& options)
      : Controller(context, "local-path-provisioner", 1), root_(options.local_path_root), remove_(options.remove_local_path),
        recorder_(context.client, context.clock, kLocalPath), claims_(context.informers.informer(kPersistentVolumeClaims)),
        volumes_(context.informers.informer(kPersistentVolumes)), classes_(context.informers.informer(kStorageClasses)),
        nodes_(context.informers.informer(kNodes)) {
    claims_.add_handlers({.changed = [this](const api::ObjectPtr&, const api::ObjectPtr& now) {
      if (string_at(now->value(), {"metadata", "annotations", kStorageProvisioner}) == kLocalPath) enqueue("claim/" + now->key());
    }});
    volumes_.add_handlers({.changed = [this](const api::ObjectPtr&, const api::ObjectPtr& now) {
      if (string_at(now->value(), {"metadata", "annotations", kProvisionedBy}) == kLocalPath) enqueue("volume/" + now->key());
    }});
  }

 private:
  void on_start() override { enqueue(kClass); }

  Result<void> reconcile(const std::string& key) override {
    if (key == kClass) return make_class();
    if (key.starts_with("claim/")) return provision(claims_.get(key.substr(6)));
    return take_back(volumes_.get(key.substr(7)));
  }

  Result<void> make_class() {
    if (classes_.get("local-path")) return {};
    bool other_default = false;
    for (const auto& cls : classes_.list()) other_default |= string_at(cls->value(), {"metadata", "annotations", kDefaultClass}) == "true";
    json::object metadata{{"name", "local-path"}, {"annotations", json::object{{kDefaultClass, other_default ? "false" : "true"}}}};
    json::object cls{{"apiVersion", "storage.k8s.io/v1"}, {"kind", "StorageClass"}, {"metadata", std::move(metadata)}, {"provisioner", kLocalPath},
                     {"reclaimPolicy", "Delete"}, {"volumeBindingMode", "WaitForFirstConsumer"}};
    auto made = client_.create(kStorageClasses, "", cls);
    return made || made.error().reason() == "AlreadyExists" ? Result<void>() : fail(made.error());
  }

  // The node that the scheduler chose; without one, any that is ready.
  std::string node_for(const api::Object& claim) const {
    std::string chosen = string_at(claim.value(), {"metadata", "annotations", kSelectedNode});
    if (!chosen.empty()) return chosen;
    for (const auto& node : nodes_.list())
      if (condition_is(node->value(), "Ready") && !json::get_bool(node->value(), {"spec", "unschedulable"})) return std::string(node->name());
    return {};
  }

  Result<void> provision(const api::ObjectPtr& claim) {
    if (!claim || claim->deleting() || !string_at(claim->value(), {"spec", "volumeName"}).empty()) return {};
    api::ObjectPtr cls = classes_.get(class_of(claim->value()));
    if (!cls || string_at(cls->value(), {"provisioner"}) != kLocalPath) return {};
    if (json::get_string(claim->value(), {"spec", "volumeMode"}) == "Block") {
      recorder_.event(claim->value(), "Warning", "ProvisioningFailed", "local-path volumes are directories: volumeMode Block is not possible; use Filesystem");
      return {};
    }
    std::string node = node_for(*claim), name = "pvc-" + std::string(claim->uid());
    if (waits_for_consumer(cls->value()) && string_at(claim->value(), {"metadata", "annotations", kSelectedNode}).empty()) return {};
    if (node.empty()) return fail(Status::unavailable("no node is ready for claim " + claim->key()));
    if (volumes_.get(name)) return {};
    auto made = client_.create(kPersistentVolumes, "", volume_for(*claim, cls->value(), node, name));
    if (made) recorder_.event(claim->value(), "Normal", "ProvisioningSucceeded", "Successfully provisioned volume " + name);
    if (made || made.error().reason() == "AlreadyExists") return {};
    recorder_.event(claim->value(), "Warning", "ProvisioningFailed", "failed to provision volume with StorageClass \"" + std::string(cls->name()) + "\": " + made.error().message());
    return fail(made.error());
  }

  json::object volume_for(const api::Object& claim, const json::value& cls, const std::string& node, const std::string& name) const {
    std::string path = root_ + "/" + name + "_" + std::string(claim.namespace_()) + "_" + std::string(claim.name());
    json::object expression{{"key", "kubernetes.io/hostname"}, {"operator", "In"}, {"values", json::array{text(hostname_of(node))}}};
    json::object terms{{"nodeSelectorTerms", json::array{json::object{{"matchExpressions", json::array{std::move(expression)}}}}}};
    std::string policy = string_at(cls, {"reclaimPolicy"});
    json::object spec{{"accessModes", json::get_array(json::at(&claim.value(), {"spec", "accessModes"}))},
                      {"capacity", json::object{{"storage", text(string_at(claim.value(), {"spec", "resources", "requests", "storage"}))}}},
                      {"claimRef", claim_reference(claim)},
                      {"hostPath", json::object{{"path", text(path)}, {"type", "DirectoryOrCreate"}}},
                      {"nodeAffinity", json::object{{"required", std::move(terms)}}},
                      {"persistentVolumeReclaimPolicy", text(policy.empty() ? "Delete" : policy)},
                      {"storageClassName", text(string_at(cls, {"metadata", "name"}))},
                      {"volumeMode", "Filesystem"}};
    json::object annotations{{kProvisionedBy, kLocalPath}, {"kcube.io/node", text(node)}};
    return {{"apiVersion", "v1"}, {"kind", "PersistentVolume"}, {"metadata", json::object{{"name", text(name)}, {"annotations", std::move(annotations)}}}, {"spec", std::move(spec)}};
  }

  std::string hostname_of(const std::string& node) const {
    api::ObjectPtr object = nodes_.get(node);
    std::string label(object ? object->label("kubernetes.io/hostname") : "");
    return label.empty() ? node : label;
  }

  // The claim is gone: the directory goes, then the volume.
  Result<void> take_back(const api::ObjectPtr& volume) {
    if (!volume || volume->deleting() || json::get_string(volume->value(), {"status", "phase"}) != "Released") return {};
    if (json::get_string(volume->value(), {"spec", "persistentVolumeReclaimPolicy"}) != "Delete") return {};
    std::string path = string_at(volume->value(), {"spec", "hostPath", "path"}), node = string_at(volume->value(), {"metadata", "annotations", "kcube.io/node"});
    // Only what was made here; a volume is an object that somebody may have edited.
    bool safe = path.starts_with(root_ + "/pvc-") && path.find("..") == std::string::npos;
    if (!safe) return fail(Status::bad_request("will not delete " + path + ": it is not below " + root_));
    if (remove_) {
      if (auto r = remove_(node, path); !r) {
        recorder_.event(volume->value(), "Warning", "VolumeFailedDelete", r.error().message());
        return r;
      }
    } else {
      log::warn("local-path", "a directory is left behind", {{"node", node}, {"path", path}});
    }
    auto r = client_.remove(kPersistentVolumes, "", volume->name(), {.uid = std::string(volume->uid())});
    return r || r.error().is_not_found() ? Result<void>() : r;
  }

  const std::string root_;
  const std::function<Result<void>(const std::string&, const std::string&)> remove_;
  client::EventRecorder recorder_;
  client::Informer& claims_;
  client::Informer& volumes_;
  client::Informer& classes_;
  client::Informer& nodes_;
};

}  // namespace

ControllerPtr make_local_path_provisioner(Context context, const Options& options) { return std::make_unique<LocalPathProvisioner>(context, options); }

}  // namespace kcube::controllers
