// DefaultStorageClass and DefaultIngressClass: the class of what names none.
#include "pkg/apiserver/admission/admission.h"

namespace kcube::apiserver {
namespace {

// The class marked as default, the newest of several; null when there is none.
ObjectPtr default_of(const Core& core, std::string_view group, std::string_view resource, std::string_view annotation) {
  ObjectPtr best;
  for (SnapshotPtr all = core.cache.find(group, resource)->snapshot(); const ObjectPtr& c : all->objects) {
    if (json::get_string(json::find(json::at(&c->value(), {"metadata", "annotations"}), annotation)) != "true") continue;
    if (!best || json::get_string(c->value(), {"metadata", "creationTimestamp"}) > json::get_string(best->value(), {"metadata", "creationTimestamp"})) best = c;
  }
  return best;
}

Result<void> storage_class(Admission& a) {
  if (!a.is("", "persistentvolumeclaims") || a.operation != Operation::create) return {};
  json::object& spec = json::ensure_object(a.object->get_object(), "spec");
  if (spec.contains("storageClassName")) return {};
  if (ObjectPtr chosen = default_of(a.core, "storage.k8s.io", "storageclasses", "storageclass.kubernetes.io/is-default-class"))
    spec["storageClassName"] = json::key(chosen->name());
  return {};
}

Result<void> ingress_class(Admission& a) {
  if (!a.is("networking.k8s.io", "ingresses") || a.operation != Operation::create) return {};
  json::object& spec = json::ensure_object(a.object->get_object(), "spec");
  if (spec.contains("ingressClassName")) return {};
  if (json::find(json::at(a.object, {"metadata", "annotations"}), "kubernetes.io/ingress.class") != nullptr) return {};
  if (ObjectPtr chosen = default_of(a.core, "networking.k8s.io", "ingressclasses", "ingressclass.kubernetes.io/is-default-class"))
    spec["ingressClassName"] = json::key(chosen->name());
  return {};
}

}  // namespace

const AdmissionPlugin kDefaultStorageClass{"DefaultStorageClass", storage_class, nullptr};
const AdmissionPlugin kDefaultIngressClass{"DefaultIngressClass", ingress_class, nullptr};

}  // namespace kcube::apiserver
