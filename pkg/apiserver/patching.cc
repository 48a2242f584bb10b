// Patches: what the client wants of an object becomes the object that is written.
#include <algorithm>

#include "pkg/api/errors.h"
#include "pkg/apiserver/conversion.h"
#include "pkg/apiserver/decoding.h"
#include "pkg/apiserver/engine.h"
#include "pkg/apiserver/extension/custom_resource.h"
#include "pkg/apiserver/machinery/apply.h"
#include "pkg/apiserver/machinery/configuration.h"
#include "pkg/apiserver/machinery/go_text.h"
#include "pkg/apiserver/machinery/patch.h"
#include "pkg/apiserver/machinery/unstructured.h"
#include "pkg/apiserver/strategy.h"
#include "pkg/apiserver/tracking.h"
#include "pkg/base/go_quoted.h"
#include "pkg/base/strings.h"

namespace kcube::apiserver {
namespace {

// A configuration is of the very kind, and fits it.
Result<void> check_configuration(const Call& call, const json::value& config) {
  const api::ResourceInfo& info = *call.resource->info;
  if (!config.is_object()) {
    const char* what = config.is_array() ? "array" : config.is_string() ? "string" : config.is_bool() ? "bool" : "number";
    return fail(Status::bad_request("error decoding YAML: error unmarshaling JSON: while decoding JSON: json: cannot unmarshal " + std::string(what) + " into Go value of type map[string]interface {}"));
  }
  std::string kind(json::get_string(config, {"kind"})), version(json::get_string(config, {"apiVersion"}));
  std::string shown = (version.find('/') == std::string::npos ? "/" : "") + version + ", Kind=" + kind;
  std::string wanted = info.kind_group.empty() ? std::string(info.kind_version) : std::string(info.kind_group) + "/" + std::string(info.kind_version);
  if (kind != info.kind || version != wanted) return fail(Status::bad_request("invalid object type: " + shown));
  if (call.resource->custom != nullptr) return {};
  std::string problem = machinery::configuration_problem(config, *info.type);
  if (problem.empty()) return {};
  return fail(Status(500, "", "failed to create typed patch object (" + std::string(json::get_string(config, {"metadata", "namespace"})) + "/" +
                                  std::string(json::get_string(config, {"metadata", "name"})) + "; " + shown + "): " + problem));
}

// Says the patch as the real server does: the strategic one itself, of others what they made of the object.
Status invalid_patch(client::PatchType type, const json::value& patch, const json::value& patched, const Status& why) {
  std::string message = why.message();
  std::string text = type == client::PatchType::strategic ? machinery::go_text(patch) : json::serialize(patched);
  constexpr std::string_view kCannot = " cannot be handled as a ";
  if (size_t at = message.find(kCannot); at != std::string::npos)
    if (size_t colon = message.find(": ", at); colon != std::string::npos) message.erase(0, colon + 2);
  return api::invalid("", "", "", {api::field_invalid("patch", json::value(text), message)});
}

// Of no version, an object is of the form that kube-apiserver has for itself, which has none of these fields nor a name.
Status versionless(Call& call, const json::value& object) {
  std::vector<std::string> unknown;
  for (const auto& m : object.get_object())
    if (m.key() != "kind" && m.key() != "apiVersion") unknown.push_back("unknown field " + go_quoted(json::view(m.key())));
  std::ranges::sort(unknown);
  if (call.field_validation == machinery::FieldValidation::strict && !unknown.empty()) return Status::bad_request("strict decoding error: " + join(unknown, ", "));
  if (call.field_validation == machinery::FieldValidation::warn)
    for (std::string& text : unknown) call.warn(std::move(text));
  return Status::bad_request("the name of the object (" + call.name + " based on URL) was undeterminable: name must be provided");
}

}  // namespace

Result<json::value> Engine::applied(Call& call, const json::value* view, const json::value& patch, bool force) const {
  const Resource& r = *call.resource;
  if (auto done = check_configuration(call, patch); !done) return fail(done.error());
  if (std::string_view uid = json::get_string(patch, {"metadata", "uid"}); view == nullptr && !uid.empty())
    return fail(api::conflict(r.group(), r.resource(), call.name, "uid mismatch: the provided object specified uid " + std::string(uid) + ", and no existing object was found"));
  auto config = decode(call, patch, machinery::Empty::keep);
  if (!config) return fail(config.error());
  if (auto done = check_identity(call, config->get_object()); !done) return fail(done.error());
  const bool scale = r.subresource() == "scale";
  const SystemTime now = core_.clock.now();
  return machinery::apply(view, *config, *r.info->type, scale ? scale_options(call, now, force) : manager_options(call, now, force));
}

// What does not fit its kind is the fault of the patch.
Result<json::value> Engine::decode_patched(Call& call, client::PatchType type, const json::value& patch, const json::value& patched) const {
  const Resource& r = *call.resource;
  const bool plain = type == client::PatchType::json || type == client::PatchType::merge;
  if (plain && r.custom == nullptr && patched.is_object() && json::get_string(patched, {"apiVersion"}).empty()) {
    Status status = versionless(call, patched);
    return fail(status.message().starts_with("strict") ? invalid_patch(type, patch, patched, status) : status);
  }
  auto decoded = decode(call, patched);
  if (decoded) return decoded;
  const bool at_fault = r.custom == nullptr && (plain || (type == client::PatchType::strategic && decoded.error().code() == 400));
  if (at_fault && type == client::PatchType::strategic)
    if (std::string problem = machinery::unstructured_problem(patched, *r.info->type); !problem.empty()) return fail(invalid_patch(type, patch, patched, Status::bad_request(problem)));
  return fail(at_fault ? invalid_patch(type, patch, patched, decoded.error()) : decoded.error());
}

Result<json::value> Engine::patched(Call& call, const ObjectPtr& old, client::PatchType type, const json::value& patch, bool force) const {
  const Resource& r = *call.resource;
  const bool scale = r.subresource() == "scale";
  json::value view = nullptr;
  if (old) view = scale ? tracked_scale(r, old->value()) : old->value();
  if (old && r.converted && !scale) convert(view, *r.stored, *r.main);
  Result<json::value> made = nullptr;
  switch (type) {
    case client::PatchType::json: made = machinery::json_patch(view, patch); break;
    case client::PatchType::merge: made = machinery::merge_patch(view, patch); break;
    case client::PatchType::strategic: made = machinery::strategic_merge_patch(view, patch, *r.info->type); break;
    case client::PatchType::apply: made = applied(call, old ? &view : nullptr, patch, force); break;
  }
  if (!made) return made;
  auto decoded = decode_patched(call, type, patch, *made);
  if (!decoded) return decoded;
  if (auto done = check_named(call, decoded->get_object()); !done) return fail(done.error());
  if (std::string_view uid = json::get_string(*decoded, {"metadata", "uid"}); old && !uid.empty() && uid != old->uid()) {
    Cause cause = api::field_invalid("metadata.uid", json::value(json::key(uid)), "field is immutable");
    return fail(api::invalid(r.stored->kind_group, r.stored->kind, call.name, {cause, cause}));
  }
  if (auto done = check_identity(call, decoded->get_object()); !done) return fail(done.error());
  if (scale && type != client::PatchType::apply) machinery::update_managed_fields(&view, *decoded, *r.info->type, scale_options(call, core_.clock.now(), false));
  if (scale) return scaled(r, old->value(), *decoded);
  if (r.converted) convert(*decoded, *r.main, *r.stored);
  return decoded;
}

Result<Written> Engine::patch(Call& call, client::PatchType type, const json::value& patch, bool force) {
  const Resource& r = *call.resource;
  const bool scale = r.subresource() == "scale", apply = type == client::PatchType::apply;
  if (apply && r.info->type == nullptr) return fail(api::unsupported_media_type("application/json-patch+json, application/merge-patch+json"));
  return write(call, [&](const ObjectPtr& old) { return patched(call, old, type, patch, force); }, apply && r.subresource().empty(), apply || scale);
}

}  // namespace kcube::apiserver
