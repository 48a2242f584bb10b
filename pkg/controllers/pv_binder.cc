// Binds claims to volumes, and says in the status of both how it stands. Keys: "claim/NS/NAME" and "volume/NAME".
#include <algorithm>

#include "pkg/controllers/factories.h"
#include "pkg/controllers/support.h"
#include "pkg/controllers/volumes.h"

namespace kcube::controllers {
namespace {

using namespace client::resources;

std::string phase_of(const json::value& object) { return string_at(object, {"status", "phase"}); }

class VolumeBinder final : public Controller {
 public:
  // One worker: two claims must not choose the same volume.
  explicit VolumeBinder(Context context)
      : Controller(context, "persistentvolume-binder", 1), recorder_(context.client, context.clock, "persistentvolume-controller"),
        claims_(context.informers.informer(kPersistentVolumeClaims)), volumes_(context.informers.informer(kPersistentVolumes)),
        classes_(context.informers.informer(kStorageClasses)), nodes_(context.informers.informer(kNodes)) {
    claims_.add_handlers({.changed = [this](const api::ObjectPtr&, const api::ObjectPtr& now) { enqueue("claim/" + now->key()); },
                          .removed =
                              [this](const api::ObjectPtr& last) {
                                if (std::string v = string_at(last->value(), {"spec", "volumeName"}); !v.empty()) enqueue("volume/" + v);
                              }});
    volumes_.add_handlers({.changed =
                               [this](const api::ObjectPtr& before, const api::ObjectPtr& now) {
                                 enqueue("volume/" + now->key());
                                 enqueue_claim_of(*now);
                                 if (!before || !has_claim_ref(now->value())) enqueue_pending();
                               },
                           .removed = [this](const api::ObjectPtr& last) { enqueue_claim_of(*last); }});
    classes_.add_handlers({.changed = [this](const api::ObjectPtr&, const api::ObjectPtr&) { enqueue_pending(); }});
  }

 private:
  void enqueue_claim_of(const api::Object& volume) {
    if (has_claim_ref(volume.value()))
      enqueue("claim/" + api::object_key(string_at(volume.value(), {"spec", "claimRef", "namespace"}), string_at(volume.value(), {"spec", "claimRef", "name"})));
  }
  void enqueue_pending() {
    for (const auto& claim : claims_.list())
      if (phase_of(claim->value()) != "Bound") enqueue("claim/" + claim->key());
  }

  Result<void> reconcile(const std::string& key) override {
    if (key.starts_with("volume/")) {
      api::ObjectPtr volume = volumes_.get(key.substr(7));
      return volume ? sync_volume(*volume) : Result<void>();
    }
    api::ObjectPtr claim = claims_.get(key.substr(6));
    if (!claim) return {};
    if (!string_at(claim->value(), {"spec", "volumeName"}).empty()) return sync_chosen(claim);
    return claim->deleting() ? Result<void>() : sync_open(claim);
  }

  // --- Claims ---
  // spec.volumeName is set: by us, or by a user who wants just that volume.
  Result<void> sync_chosen(const api::ObjectPtr& claim) {
    std::string name = string_at(claim->value(), {"spec", "volumeName"});
    bool was_bound = has(claim->value(), {"metadata", "annotations", kBindCompleted});
    api::ObjectPtr volume = volumes_.get(name);
    if (!volume || (has_claim_ref(volume->value()) && !is_bound_to(volume->value(), *claim))) {
      if (!was_bound) return put_phase(*claim, "Pending");
      recorder_.event(claim->value(), "Warning", volume ? "ClaimMisbound" : "ClaimLost",
                      volume ? "Two claims are bound to the same volume, this one is bound incorrectly"
                             : "Bound claim has lost its PersistentVolume. Data on the volume is lost!");
      return put_phase(*claim, "Lost");
    }
    if (claim->deleting()) return {};
    return bind(claim, volume);
  }

  Result<void> sync_open(const api::ObjectPtr& claim) {
    bool named = false;
    std::string class_name = class_of(claim->value(), &named);
    api::ObjectPtr cls = class_name.empty() ? nullptr : classes_.get(class_name);
    std::string node_name = string_at(claim->value(), {"metadata", "annotations", kSelectedNode});
    api::ObjectPtr node = node_name.empty() ? nullptr : nodes_.get(node_name);
    bool wait = cls && waits_for_consumer(cls->value()) && node_name.empty();
    api::ObjectPtr volume = find_volume(volumes_.list(), *claim, node.get());
    // A volume that somebody reserved for this claim need not wait for a pod.
    if (volume && (!wait || has_claim_ref(volume->value()))) return bind(claim, volume);
    if (auto r = put_phase(*claim, "Pending"); !r) return r;
    if (!named) {
      if (api::ObjectPtr usual = default_class()) return choose_class(*claim, usual->name());
    }
    if (class_name.empty()) {
      recorder_.event(claim->value(), "Normal", "FailedBinding", "no persistent volumes available for this claim and no storage class is set");
    } else if (!cls) {
      recorder_.event(claim->value(), "Warning", "ProvisioningFailed", "storageclass.storage.k8s.io \"" + class_name + "\" not found");
    } else if (wait) {
      recorder_.event(claim->value(), "Normal", "WaitForFirstConsumer", "waiting for first consumer to be created before binding");
    } else {
      return ask_provisioner(*claim, cls->value());
    }
    return {};
  }

  api::ObjectPtr default_class() const {
    api::ObjectPtr newest;
    for (const auto& cls : classes_.list())
      if (string_at(cls->value(), {"metadata", "annotations", kDefaultClass}) == "true" && (!newest || creation_time(cls->value()) > creation_time(newest->value()))) newest = cls;
    return newest;
  }

  // The claim came before there was a default class.
  Result<void> choose_class(const api::Object& claim, std::string_view name) {
    json::object patch{{"metadata", json::object{{"uid", text(claim.uid())}}}, {"spec", json::object{{"storageClassName", text(name)}}}};
    return gone_is_fine(client_.patch(kPersistentVolumeClaims, claim.namespace_(), claim.name(), client::PatchType::merge, patch));
  }

  Result<void> ask_provisioner(const api::Object& claim, const json::value& cls) {
    std::string provisioner = string_at(cls, {"provisioner"});
    if (provisioner == "kubernetes.io/no-provisioner") {
      recorder_.event(claim.value(), "Normal", "FailedBinding", "no persistent volumes available for this claim");
      return {};
    }
    if (string_at(claim.value(), {"metadata", "annotations", kStorageProvisioner}) == provisioner) return {};
    recorder_.event(claim.value(), "Normal", "ExternalProvisioning",
                    "Waiting for a volume to be created either by the external provisioner '" + provisioner +
                        "' or manually by the system administrator. If volume creation is delayed, please verify that the provisioner is running and correctly registered.");
    json::object annotations{{kStorageProvisioner, text(provisioner)}, {kBetaStorageProvisioner, text(provisioner)}};
    json::object patch{{"metadata", json::object{{"uid", text(claim.uid())}, {"annotations", std::move(annotations)}}}};
    return gone_is_fine(client_.patch(kPersistentVolumeClaims, claim.namespace_(), claim.name(), client::PatchType::merge, patch));
  }

  static Result<void> gone_is_fine(const Result<api::ObjectPtr>& r) { return r || r.error().is_not_found() ? Result<void>() : fail(r.error()); }

  Result<void> put_phase(const api::Object& claim, const char* phase) {
    json::value status = has(claim.value(), {"status"}) ? *json::find(&claim.value(), "status") : json::value(json::object());
    status.as_object()["phase"] = phase;
    return update_status(client_, kPersistentVolumeClaims, claim, std::move(status));
  }

  // The volume first: what it says decides when two claims want it.
  Result<void> bind(api::ObjectPtr claim, api::ObjectPtr volume) {
    if (string_at(volume->value(), {"spec", "claimRef", "uid"}) != claim->uid()) {
      bool reserved = has_claim_ref(volume->value());
      json::value next(volume->value());
      json::ensure_path(next, {"spec"})["claimRef"] = claim_reference(*claim);
      if (!reserved) json::ensure_path(next, {"metadata", "annotations"})[kBoundByController] = "yes";
      auto written = client_.update(kPersistentVolumes, "", volume->name(), next);
      if (!written) return fail(written.error());
      volume = *written;
    }
    if (auto r = put_volume_phase(*volume, "Bound", ""); !r) return r;
    json::value next(claim->value());
    json::object& annotations = json::ensure_path(next, {"metadata", "annotations"});
    annotations[kBindCompleted] = "yes";
    if (string_at(next, {"spec", "volumeName"}) != volume->name()) annotations[kBoundByController] = "yes";
    json::ensure_path(next, {"spec"})["volumeName"] = text(volume->name());
    if (!equivalent(&next, &claim->value())) {
      auto written = client_.update(kPersistentVolumeClaims, claim->namespace_(), claim->name(), next);
      if (!written) return gone_is_fine(written);
      claim = *written;
    }
    json::value status = has(claim->value(), {"status"}) ? *json::find(&claim->value(), "status") : json::value(json::object());
    json::object& o = status.as_object();
    o["phase"] = "Bound";
    if (const json::value* modes = json::at(&volume->value(), {"spec", "accessModes"})) o["accessModes"] = *modes;
    if (const json::value* capacity = json::at(&volume->value(), {"spec", "capacity"})) o["capacity"] = *capacity;
    return update_status(client_, kPersistentVolumeClaims, *claim, std::move(status));
  }

  // --- Volumes ---
  Result<void> put_volume_phase(const api::Object& volume, const std::string& phase, std::string_view message) {
    json::value status = has(volume.value(), {"status"}) ? *json::find(&volume.value(), "status") : json::value(json::object());
    json::object& o = status.as_object();
    if (phase_of(volume.value()) != phase) o["lastPhaseTransitionTime"] = text(format_time(clock_.now()));
    o["phase"] = text(phase);
    o.erase("message");
    o.erase("reason");
    if (!message.empty()) o["message"] = text(message);
    // The object may be one that we have just written, newer than the cache's.
    return update_status(client_, kPersistentVolumes, volume, std::move(status));
  }

  Result<void> sync_volume(const api::Object& volume) {
    const json::value& value = volume.value();
    if (!has_claim_ref(value)) return put_volume_phase(volume, "Available", "");
    std::string uid = string_at(value, {"spec", "claimRef", "uid"}), ns = string_at(value, {"spec", "claimRef", "namespace"}), name = string_at(value, {"spec", "claimRef", "name"});
    // Reserved for a claim that has not come yet.
    if (uid.empty()) return put_volume_phase(volume, "Available", "");
    api::ObjectPtr claim = claims_.get(ns, name);
    if (!claim || claim->uid() != uid) {
      // The cache may be behind: data is at stake.
      auto live = client_.get(kPersistentVolumeClaims, ns, name);
      if (live && (*live)->uid() == uid) return {};
      if (!live && !live.error().is_not_found()) return fail(live.error());
      return reclaim(volume);
    }
    if (string_at(claim->value(), {"spec", "volumeName"}) == volume.name()) return put_volume_phase(volume, "Bound", "");
    enqueue("claim/" + claim->key());
    return {};
  }

  Result<void> reclaim(const api::Object& volume) {
    std::string policy = string_at(volume.value(), {"spec", "persistentVolumeReclaimPolicy"});
    if (policy == "Recycle") {
      recorder_.event(volume.value(), "Warning", "VolumeFailedRecycle", "No recycler plugin found for the volume!");
      return put_volume_phase(volume, "Failed", "No recycler plugin found for the volume!");
    }
    // Deleting the storage is for whoever provisioned it; it sees the phase.
    if (auto r = put_volume_phase(volume, "Released", ""); !r) return r;
    if (policy == "Delete" && string_at(volume.value(), {"metadata", "annotations", kProvisionedBy}).empty()) {
      constexpr const char* kNone = "error getting deleter volume plugin for volume: no volume plugin matched";
      recorder_.event(volume.value(), "Warning", "VolumeFailedDelete", kNone);
      return put_volume_phase(volume, "Failed", kNone);
    }
    return {};
  }

  client::EventRecorder recorder_;
  client::Informer& claims_;
  client::Informer& volumes_;
  client::Informer& classes_;
  client::Informer& nodes_;
};

}  // namespace

ControllerPtr make_volume_binder(Context context) { return std::make_unique<VolumeBinder>(context); }

}  // namespace kcube::controllers
