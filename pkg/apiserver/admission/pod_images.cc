// AlwaysPullImages: every image is pulled anew, so that only who may pull it can run it on a node that has it.
#include "pkg/api/errors.h"
#include "pkg/apiserver/admission/admission.h"

namespace kcube::apiserver {
namespace {

constexpr const char* kContainers[] = {"initContainers", "containers", "ephemeralContainers"};

bool concerns(const Admission& a) {
  return !a.verbatim && a.object != nullptr && a.call.resource->is("", "pods") && (a.call.resource->subresource().empty() || a.call.resource->subresource() == "ephemeralcontainers");
}

Result<void> set_policies(Admission& a) {
  if (!concerns(a)) return {};
  json::object& spec = json::ensure_object(a.object->get_object(), "spec");
  for (const char* list : kContainers) {
    json::value* containers = spec.if_contains(list);
    if (containers == nullptr || !containers->is_array()) continue;
    for (json::value& c : containers->get_array())
      if (c.is_object()) c.get_object()["imagePullPolicy"] = "Always";
  }
  json::value* volumes = spec.if_contains("volumes");
  if (volumes == nullptr || !volumes->is_array()) return {};
  for (json::value& v : volumes->get_array())
    if (json::value* image = json::find(&v, "image"); image != nullptr && image->is_object()) image->get_object()["pullPolicy"] = "Always";
  return {};
}

// A webhook may have changed them since.
Result<void> check_policies(Admission& a) {
  if (!concerns(a)) return {};
  for (const char* list : kContainers) {
    size_t i = 0;
    for (const json::value& c : json::get_array(json::at(a.object, {"spec", list}))) {
      std::string path = "spec." + std::string(list) + "[" + std::to_string(i++) + "].imagePullPolicy";
      const json::value* policy = json::find(&c, "imagePullPolicy");
      if (json::get_string(policy) == "Always") continue;
      Cause cause = api::field_not_supported(path, policy != nullptr ? *policy : json::value(""), {"Always"});
      return a.forbid(path + ": " + cause.message);
    }
  }
  return {};
}

}  // namespace

const AdmissionPlugin kAlwaysPullImages{"AlwaysPullImages", set_policies, check_policies};

}  // namespace kcube::apiserver
