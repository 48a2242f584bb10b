// OwnerReferencesPermissionEnforcement: who names an owner decides when the object goes, so they have to be allowed to
// delete it; who lets it block its owner's deletion has to be allowed to set the owner's finalizers.
// Source: the Kubernetes docs on admission controllers; messages of kube-apiserver.
#include <algorithm>

#include "pkg/api/errors.h"
#include "pkg/apiserver/admission/admission.h"
#include "pkg/apiserver/authorizer.h"

namespace kcube::apiserver {
namespace {

const json::array& owners_of(const json::value* object) { return json::get_array(json::at(object, {"metadata", "ownerReferences"})); }

std::vector<const json::value*> newly_blocking(const Admission& a) {
  auto blocks = [](const json::value& r) { return json::get_bool(json::find(&r, "blockOwnerDeletion")); };
  std::vector<const json::value*> out;
  for (const json::value& r : owners_of(a.object)) {
    if (!blocks(r)) continue;
    const json::array& before = owners_of(a.old);
    auto same = std::ranges::find_if(before, [&](const json::value& o) { return json::get_string(o, {"uid"}) == json::get_string(r, {"uid"}); });
    if (same == before.end() || !blocks(*same)) out.push_back(&r);
  }
  return out;
}

AccessDecision may(const Admission& a, const api::ResourceInfo& info, std::string verb, std::string_view subresource, std::string_view name) {
  auth::Attributes q;
  q.user = a.call.user;
  q.verb = std::move(verb);
  q.api_group = info.group;
  q.api_version = info.version;
  q.resource = info.resource;
  q.subresource = subresource;
  q.name = name;
  if (info.namespaced) q.namespace_ = a.call.ns;
  return a.core.authorizer.decide(q);
}

Result<void> check(Admission& a) {
  if (a.verbatim || a.call.trusted || a.object == nullptr || (a.is("", "pods", "status"))) return {};
  if (owners_of(a.object) == owners_of(a.old)) return {};
  if (a.operation != Operation::create) {
    auto decision = may(a, *a.call.resource->main, "delete", a.call.resource->subresource(), a.call.name);
    if (!decision.allowed) return a.forbid("cannot set an ownerRef on a resource you can't delete: " + decision.reason + ", <nil>");
  }
  for (const json::value* owner : newly_blocking(a)) {
    std::string version(json::get_string(*owner, {"apiVersion"})), kind(json::get_string(*owner, {"kind"}));
    ResourcePtr resource = a.core.registry.find_kind(version, kind);
    if (!resource)
      return a.forbid("cannot set blockOwnerDeletion in this case because cannot find RESTMapping for APIVersion " + version + " Kind " + kind + ": no matches for kind \"" + kind + "\" in version \"" + version + "\"");
    auto decision = may(a, *resource->info, "update", "finalizers", json::get_string(*owner, {"name"}));
    if (!decision.allowed) return a.forbid("cannot set blockOwnerDeletion if an ownerReference refers to a resource you can't set finalizers on: " + decision.reason + ", <nil>");
  }
  return {};
}

}  // namespace

const AdmissionPlugin kOwnerReferencesPermissionEnforcement{"OwnerReferencesPermissionEnforcement", nullptr, check};

}  // namespace kcube::apiserver
