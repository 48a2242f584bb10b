// NamespaceLifecycle: nothing is made in a namespace that is missing or going; some namespaces stay.
#include "pkg/api/errors.h"
#include "pkg/apiserver/admission/admission.h"

namespace kcube::apiserver {
namespace {

bool immortal(std::string_view name) { return name == "default" || name == "kube-system" || name == "kube-public"; }

Result<void> check(Admission& a) {
  if (a.operation == Operation::remove && a.is("", "namespaces") && immortal(a.call.name)) return a.forbid("this namespace may not be deleted");
  if (a.operation != Operation::create || !a.call.resource->namespaced() || a.call.ns.empty()) return {};
  // Whether a namespace is there is nothing that asking for access should tell.
  if (a.call.resource->is("authorization.k8s.io", "localsubjectaccessreviews")) return {};
  ObjectPtr ns = a.core.get("", "namespaces", "", a.call.ns);
  if (!ns) return fail(api::not_found("", "namespaces", a.call.ns));
  if (json::get_string(ns->value(), {"status", "phase"}) != "Terminating") return {};
  // Events tell how the end of a namespace goes.
  Status status = api::forbidden(a.call.resource->group(), a.call.resource->resource(), a.call.name,
                                 "unable to create new content in namespace " + a.call.ns + " because it is being terminated");
  status.details().causes.push_back({"NamespaceTerminating", "namespace " + a.call.ns + " is being terminated", "metadata.namespace"});
  return fail(std::move(status));
}

}  // namespace

// Looks before anything else is done, so it stands among those that mutate.
const AdmissionPlugin kNamespaceLifecycle{"NamespaceLifecycle", check, nullptr};

}  // namespace kcube::apiserver
