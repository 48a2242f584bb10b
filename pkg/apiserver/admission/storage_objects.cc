// StorageObjectInUseProtection: claims and volumes stay while they are used. PersistentVolumeClaimResize: only what can
// grow is let grow.
#include <algorithm>

#include "pkg/api/quantity.h"
#include "pkg/apiserver/admission/admission.h"

namespace kcube::apiserver {
namespace {

Result<void> protect(Admission& a) {
  if (a.operation != Operation::create || a.object == nullptr) return {};
  std::string_view finalizer = a.is("", "persistentvolumeclaims") ? "kubernetes.io/pvc-protection" : a.is("", "persistentvolumes") ? "kubernetes.io/pv-protection" : a.is("storage.k8s.io", "volumeattributesclasses") ? "kubernetes.io/vac-protection" : "";
  if (finalizer.empty()) return {};
  json::array& finalizers = json::ensure_array(json::ensure_object(a.object->get_object(), "metadata"), "finalizers");
  if (std::ranges::none_of(finalizers, [&](const json::value& f) { return json::get_string(&f) == finalizer; })) finalizers.emplace_back(json::key(finalizer));
  return {};
}

Result<void> check_growth(Admission& a) {
  if (a.operation != Operation::update || !a.is("", "persistentvolumeclaims") || a.old == nullptr) return {};
  auto size = [](const json::value& claim) { return api::Quantity::from_json(json::at(&claim, {"spec", "resources", "requests", "storage"})); };
  if (size(*a.object) <= size(*a.old)) return {};
  if (json::get_string(*a.old, {"status", "phase"}) != "Bound") return a.forbid("only bound persistent volume claims can be expanded");
  auto class_of = [](const json::value& claim) {
    std::string_view annotation = json::get_string(claim, {"metadata", "annotations", "volume.beta.kubernetes.io/storage-class"});
    return annotation.empty() ? json::get_string(claim, {"spec", "storageClassName"}) : annotation;
  };
  std::string_view name = class_of(*a.object);
  ObjectPtr storage_class = name.empty() || name != class_of(*a.old) ? nullptr : a.core.get("storage.k8s.io", "storageclasses", "", name);
  if (storage_class && json::get_bool(storage_class->value(), {"allowVolumeExpansion"})) return {};
  return a.forbid("only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize");
}

}  // namespace

const AdmissionPlugin kStorageObjectInUseProtection{"StorageObjectInUseProtection", protect, nullptr};
const AdmissionPlugin kPersistentVolumeClaimResize{"PersistentVolumeClaimResize", nullptr, check_growth};

}  // namespace kcube::apiserver
