// Bodies to objects of the resource that is asked for: of its kind and version, with the types of its schema.
#include "pkg/apiserver/decoding.h"

#include <algorithm>

#include "pkg/api/errors.h"
#include "pkg/api/json_depth.h"
#include "pkg/apiserver/engine.h"
#include "pkg/apiserver/extension/custom_resource.h"
#include "pkg/apiserver/machinery/go_text.h"
#include "pkg/apiserver/machinery/unstructured.h"
#include "pkg/base/strings.h"

namespace kcube::apiserver {

Result<void> check_identity(const Call& call, const json::object& object) {
  const json::value* metadata = object.if_contains("metadata");
  std::string_view name = json::get_string(json::find(metadata, "name")), ns = json::get_string(json::find(metadata, "namespace"));
  if (!name.empty() && !call.name.empty() && name != call.name)
    return fail(Status::bad_request("the name of the object (" + std::string(name) + ") does not match the name on the URL (" + call.name + ")"));
  if (!ns.empty() && ns != call.ns && call.resource->namespaced())
    return fail(Status::bad_request("the namespace of the provided object does not match the namespace sent on the request"));
  return {};
}

Result<void> check_named(const Call& call, const json::object& object) {
  if (call.name.empty() || !json::get_string(json::find(object.if_contains("metadata"), "name")).empty()) return {};
  return fail(Status::bad_request("the name of the object (" + call.name + " based on URL) was undeterminable: name must be provided"));
}

namespace {

std::string_view group_of(std::string_view api_version) {
  size_t slash = api_version.find('/');
  return slash == std::string_view::npos ? std::string_view() : api_version.substr(0, slash);
}
std::string_view version_of(std::string_view api_version) { return api_version.substr(api_version.find('/') + 1); }   // npos + 1 is 0

Status cannot_handle(const std::string& kind, std::string_view version, const api::ResourceInfo& info, const std::string& why) {
  return Status::bad_request(kind + " in version \"" + std::string(version) + "\" cannot be handled as a " + std::string(info.kind) + ": " + why);
}

// Another kind is read as such before it is found to be no good.
Status not_convertible(const Call& call, const std::string& kind, std::string_view version, const api::Type* type, const json::value& body) {
  const api::ResourceInfo& info = *call.resource->info;
  if (type != nullptr && !call.deep)
    if (auto checked = machinery::check_types(body, *type, machinery::FieldValidation::ignore); !checked) return cannot_handle(kind, version, info, checked.error().message());
  return cannot_handle(kind, version, info, "converting (" + std::string(version) + "." + kind + ") to (" + call.resource->internal_package() + "." + std::string(info.kind) + "): unknown conversion");
}

// What the body says that it is, filled in where it says nothing, is what the resource takes.
Result<void> settle_kind(const Call& call, json::value& body, const std::string& wanted) {
  const api::ResourceInfo& info = *call.resource->info;
  json::object& object = body.get_object();
  std::string kind(json::get_string(object.if_contains("kind"))), version(json::get_string(object.if_contains("apiVersion")));
  if (version.starts_with('/')) version.erase(0, 1);
  if (kind.empty()) kind = info.kind;
  if (version.empty()) version = wanted;
  const api::Type* type = api::Schema::builtin().find_kind(group_of(version), version_of(version), kind);
  const bool list = kind == "List" && version == "v1", old_eviction = kind == "Eviction" && version == "policy/v1beta1";
  if (type == nullptr && !list && !old_eviction && info.type != nullptr)
    return fail(cannot_handle(kind, version_of(version), info, "no kind \"" + kind + "\" is registered for version \"" + version + "\" in scheme \"pkg/api/legacyscheme/scheme.go:30\""));
  if (kind != info.kind) return fail(not_convertible(call, kind, version_of(version), type, body));
  if (version != wanted && !(old_eviction && info.kind == "Eviction"))
    return fail(Status::bad_request("the API version in the data (" + version + ") does not match the expected API version (" + wanted + ")"));
  object["kind"] = json::key(info.kind);
  object["apiVersion"] = wanted;
  return {};
}

Result<void> settle_custom_kind(const Call& call, json::value& body, const std::string& wanted) {
  const api::ResourceInfo& info = *call.resource->info;
  json::object& object = body.get_object();
  std::string kind(json::get_string(object.if_contains("kind"))), version(json::get_string(object.if_contains("apiVersion")));
  if (!kind.empty() && version != wanted)
    return fail(Status::bad_request("the API version in the data (" + version + ") does not match the expected API version (" + wanted + ")"));
  if (!kind.empty() && kind != info.kind) {
    std::string name(json::get_string(body, {"metadata", "name"}));
    return fail(api::invalid(info.group, kind, name, {api::field_invalid("kind", json::value(kind), "must be " + std::string(info.kind))}));
  }
  if (kind.empty() && !version.empty()) return fail(Status::bad_request("Object 'Kind' is missing in '" + json::serialize(body) + "'"));
  object["kind"] = json::key(info.kind);
  object["apiVersion"] = wanted;
  return {};
}

// Unknown fields and what else is wrong with the text, in the order in which it is told.
std::vector<std::string> all_problems(const Call& call, std::vector<std::string> unknown) {
  if (call.problems_are == Call::Problems::whole) return call.problems;
  unknown.insert(unknown.begin(), call.problems.begin(), call.problems.end());
  return unknown;
}

}  // namespace

Result<json::value> Engine::decode(Call& call, json::value body, machinery::Empty empty) const {
  const api::ResourceInfo& info = *call.resource->info;
  if (!body.is_object()) return fail(Status::bad_request("the body of the request was empty or is no object"));
  std::string wanted = info.kind_group.empty() ? std::string(info.kind_version) : std::string(info.kind_group) + "/" + std::string(info.kind_version);
  const bool custom = call.resource->custom != nullptr && call.resource->subresource() != "scale";
  if (auto done = custom ? settle_custom_kind(call, body, wanted) : settle_kind(call, body, wanted); !done) return fail(done.error());
  if (info.type == nullptr) return body;
  auto too_deep = [&](const json::value& v) { return call.deep && json::is_deeper(v, json::kUsualDepth); };
  if (custom && too_deep(body)) return fail(Status(500, "", "invalid character '{' exceeded max depth"));
  if (custom) return call.resource->custom->decode(call, std::move(body), empty == machinery::Empty::drop);
  if (call.cbor) return decode_typed_cbor(call, std::move(body), empty);
  const bool strict = call.field_validation == machinery::FieldValidation::strict;
  auto checked = machinery::check_types(std::move(body), *info.type, strict ? machinery::FieldValidation::warn : call.field_validation, empty);
  if (!checked) return fail(cannot_handle(std::string(info.kind), info.kind_version, info, checked.error().message()));
  call.emptied = std::move(checked->emptied);
  if (too_deep(checked->value)) return fail(Status(500, "", "invalid character '{' exceeded max depth"));
  if (call.field_validation == machinery::FieldValidation::ignore) return std::move(checked->value);
  std::vector<std::string> problems = all_problems(call, std::move(checked->warnings));
  if (strict && !problems.empty()) return fail(Status::bad_request("strict decoding error: " + join(problems, ", ")));
  for (std::string& text : problems) call.warn(std::move(text));
  return std::move(checked->value);
}

// The decoder of CBOR stops at the first unknown field, and knows it by its place.
Result<json::value> Engine::decode_typed_cbor(Call& call, json::value body, machinery::Empty empty) const {
  const api::ResourceInfo& info = *call.resource->info;
  const bool strict = call.field_validation == machinery::FieldValidation::strict;
  auto checked = machinery::check_types(std::move(body), *info.type, strict ? machinery::FieldValidation::warn : call.field_validation, empty);
  auto refuse = [&](const std::string& why) {
    return fail(Status::bad_request(std::string(info.kind) + " in version \"" + std::string(info.kind_version) + "\" cannot be handled as a " + std::string(info.kind) + ": " + why));
  };
  if (!checked) {
    std::string why = checked.error().message();
    return refuse(why.starts_with("json: ") ? "cbor: " + why.substr(6) : why);
  }
  if (!checked->warnings.empty()) {
    std::string text = "cbor: found unknown field at map element index " + std::to_string(checked->first_unknown);
    if (strict) return refuse("strict decoding error: " + text);
    call.warn(std::move(text));
  }
  call.emptied = std::move(checked->emptied);
  return std::move(checked->value);
}

// --- Writing ----------------------------------------------------------------------------------------------------------

// A patch is told of the strict error alone.
Result<json::value> Engine::decode_whole(Call& call, json::value body) const {
  auto decoded = decode(call, std::move(body));
  if (decoded || !decoded.error().message().starts_with("strict decoding error")) return decoded;
  const api::ResourceInfo& info = *call.resource->info;
  return fail(Status::bad_request(std::string(info.kind) + " in version \"" + std::string(info.kind_version) + "\" cannot be handled as a " +
                                  std::string(info.kind) + ": " + decoded.error().message()));
}

}  // namespace kcube::apiserver
