#include "pkg/apiserver/scale.h"

#include "pkg/api/errors.h"
#include "pkg/api/selector.h"
#include "pkg/apiserver/extension/custom_resource.h"
#include "pkg/base/strings.h"

namespace kcube::apiserver {
namespace {

// Where a definition says that it stands: "spec.replicas".
const json::value* at_path(const json::value& object, std::string_view path) {
  if (path.empty()) return nullptr;
  const json::value* at = &object;
  for (std::string_view name : split(path, '.')) at = json::find(at, name);
  return at;
}

void set_path(json::value& object, std::string_view path, int64_t number) {
  json::object* at = &object.get_object();
  auto names = split(path, '.');
  for (size_t i = 0; i + 1 < names.size(); ++i) at = &json::ensure_object(*at, names[i]);
  (*at)[json::key(names.back())] = number;
}

}  // namespace

json::value to_scale(const Resource& resource, const json::value& object) {
  json::object metadata;
  const json::value* from = object.get_object().if_contains("metadata");
  for (const char* name : {"name", "namespace", "uid", "resourceVersion", "creationTimestamp"})
    if (const json::value* v = json::find(from, name)) metadata[name] = *v;
  json::object spec, status;
  if (resource.custom != nullptr) {
    const extension::ScalePaths& paths = resource.custom->scale;
    if (int64_t replicas = json::get_int(at_path(object, paths.spec_replicas))) spec["replicas"] = replicas;
    status["replicas"] = json::get_int(at_path(object, paths.status_replicas));
    if (std::string_view selector = json::get_string(at_path(object, paths.selector)); !selector.empty()) status["selector"] = json::key(selector);
    return json::object{{"kind", "Scale"}, {"apiVersion", "autoscaling/v1"}, {"metadata", std::move(metadata)}, {"spec", std::move(spec)}, {"status", std::move(status)}};
  }
  if (int64_t replicas = json::get_int(object, {"spec", "replicas"})) spec["replicas"] = replicas;
  status["replicas"] = json::get_int(object, {"status", "replicas"});
  const json::value* selector = json::at(&object, {"spec", "selector"});
  auto parsed = resource.stored->group.empty() ? Result<api::LabelSelector>(api::LabelSelector::from_map(selector)) : api::LabelSelector::from_json(selector);
  if (parsed) status["selector"] = parsed->to_string();
  return json::object{{"kind", "Scale"}, {"apiVersion", "autoscaling/v1"}, {"metadata", std::move(metadata)}, {"spec", std::move(spec)}, {"status", std::move(status)}};
}

std::string replicas_path(const Resource& resource) { return resource.custom != nullptr ? resource.custom->scale.spec_replicas : "spec.replicas"; }

Result<json::value> from_scale(const Resource& resource, const json::value& object, const json::value& scale) {
  int64_t replicas = json::get_int(scale, {"spec", "replicas"});
  if (replicas < 0 && resource.custom == nullptr) {
    return fail(api::invalid("autoscaling", "Scale", json::get_string(object, {"metadata", "name"}),
                             {api::field_invalid("spec.replicas", json::value(replicas), "must be greater than or equal to 0")}));
  }
  json::value made = object;
  if (resource.custom != nullptr) set_path(made, resource.custom->scale.spec_replicas, replicas);
  else json::ensure_path(made, {"spec"})["replicas"] = replicas;
  json::object& metadata = json::ensure_path(made, {"metadata"});
  if (resource.custom == nullptr) metadata.erase("resourceVersion");
  for (const char* name : {"resourceVersion", "uid"})
    if (const json::value* v = json::at(&scale, {"metadata", name}); v != nullptr && !json::get_string(v).empty()) metadata[name] = *v;
  return made;
}

}  // namespace kcube::apiserver
