// NamespaceExists and NamespaceAutoProvision: a namespace that is missing is an error, or is made on the way. Both are off
// by default; NamespaceLifecycle does what nearly everyone wants.
#include "pkg/api/errors.h"
#include "pkg/apiserver/admission/admission.h"
#include "pkg/apiserver/engine.h"

namespace kcube::apiserver {
namespace {

bool missing(const Admission& a) {
  const Resource& r = *a.call.resource;
  return !a.call.ns.empty() && r.namespaced() && !r.is("", "namespaces") && !a.core.get("", "namespaces", "", a.call.ns);
}

Result<void> require(Admission& a) {
  if (a.operation == Operation::connect || !missing(a)) return {};
  return fail(api::not_found("", "namespaces", a.call.ns));
}

Result<void> provide(Admission& a) {
  if (a.operation != Operation::create || a.call.dry_run || !missing(a)) return {};
  Call call;
  call.user = {"system:apiserver", "", {"system:masters"}, {}};
  call.resource = a.core.registry.find("", "v1", "namespaces");
  call.trusted = true;
  call.field_manager = "kube-apiserver";
  Engine engine(a.core);
  auto made = engine.create(call, json::object{{"apiVersion", "v1"}, {"kind", "Namespace"}, {"metadata", json::object{{"name", a.call.ns}}}});
  if (made || made.error().reason() == "AlreadyExists") return {};   // another request may have been first
  return fail(made.error());
}

}  // namespace

const AdmissionPlugin kNamespaceExists{"NamespaceExists", nullptr, require};
const AdmissionPlugin kNamespaceAutoProvision{"NamespaceAutoProvision", provide, nullptr};

}  // namespace kcube::apiserver
