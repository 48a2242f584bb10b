#include "pkg/apiserver/request_body.h"

#include <algorithm>
#include <cstdio>
#include <optional>

#include "pkg/api/errors.h"
#include "pkg/api/json_depth.h"
#include "pkg/api/yaml.h"
#include "pkg/apiserver/machinery/cbor.h"
#include "pkg/apiserver/machinery/decode.h"
#include "pkg/apiserver/machinery/protobuf.h"
#include "pkg/apiserver/output.h"
#include "pkg/base/go_quoted.h"
#include "pkg/base/strings.h"

namespace kcube::apiserver {
namespace {

// A number of the query; absent, or "" where nothing is said, is 0.
Result<int64_t> number(const http::Query& query, std::string_view name) {
  std::string_view text = query.get(name);
  if (text.empty()) return 0;
  auto value = parse_int<int64_t>(text);
  if (!value) return fail(Status::bad_request("strconv.ParseInt: parsing \"" + std::string(text) + "\": invalid syntax"));
  return *value;
}

// "kubectl/v1.36.0 (linux/amd64)" is "kubectl".
std::string manager_of(const http::Request& request) {
  std::string_view asked = request.query.get("fieldManager");
  if (!asked.empty()) return std::string(asked);
  std::string_view agent = request.headers.get("User-Agent");
  std::string name(agent.substr(0, agent.find('/')));
  std::erase_if(name, [](unsigned char c) { return c < 0x20 || c > 0x7e; });
  return name.empty() ? "unknown" : name.substr(0, 128);
}

// A body in JSON, which may nest as deep as there: `deep` says that it does.
Result<json::value> parse_json(std::string_view text, bool& deep) {
  auto body = json::parse(text);
  if (body || !body.error().message().ends_with("exceeded max depth")) return body;
  body = json::parse_deep(text);
  deep = body.has_value();
  return body;
}

// Where kube-apiserver meets its own limit when it writes what it has read, which here is lower.
Status too_deep(std::string_view text) { return {500, "", "invalid character '" + std::string(text.starts_with('[') ? "[" : "{") + "' exceeded max depth"}; }

bool is_json(std::string_view media) { return media.empty() || media == "application/json" || media.ends_with("+json"); }

// The beginning of a body, as the real server shows it.
std::string summary(std::string_view body) {
  constexpr size_t kShown = 30;
  if (body.empty()) return "<empty>";
  std::string shown;
  if (body[0] == '{') shown = body.substr(0, kShown);
  else
    for (unsigned char c : body.substr(0, kShown)) shown += {"0123456789abcdef"[c >> 4], "0123456789abcdef"[c & 15]};
  return body.size() > kShown ? shown + " ..." : shown;
}

Status unrecognized(const Call& call, std::string_view body, const std::string& why) {
  return Status::bad_request("the object provided is unrecognized (must be of type " + std::string(call.resource->info->kind) + "): " + why + " (" + summary(body) + ")");
}

// A whole object in CBOR. What is malformed is told apart from what cannot be such an object, as the real server does.
Result<json::value> read_cbor(Call& call, const http::Request& request) {
  constexpr std::string_view kNoKind = "unable to determine group/version/kind: ";
  call.cbor = true;
  if (auto done = machinery::check_cbor(request.body); !done) return fail(unrecognized(call, request.body, std::string(kNoKind) + done.error().message()));
  auto body = machinery::decode_cbor(request.body);
  const api::ResourceInfo& info = *call.resource->info;
  if (!body)
    return fail(Status::bad_request(std::string(info.kind) + " in version \"" + std::string(info.kind_version) + "\" cannot be handled as a " + std::string(info.kind) + ": " + body.error().message()));
  if (body->is_null()) return json::object();
  if (body->is_object()) return body;
  std::string what = body->is_array() ? "array" : body->is_string() ? "byte string" : body->is_int64() ? "integer" : "primitives";
  return fail(unrecognized(call, request.body, std::string(kNoKind) + "cbor: cannot unmarshal " + what + " into Go value of type v1.TypeMeta" +
                           (body->is_array() ? " (cannot decode CBOR array to struct without toarray option)" : "")));
}

Status wrong_root(const Call& call, const http::Request& request, const json::value& body) {
  const char* what = body.is_array() ? "array" : body.is_string() ? "string" : body.is_bool() ? "bool" : "number";
  return unrecognized(call, request.body, "couldn't get version/kind; json parse error: json: cannot unmarshal " + std::string(what) +
                      " into Go value of type struct { APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \"json:\\\"kind,omitempty\\\"\" }");
}

// What the body says that it is, as far as it can be read.
Result<void> check_type_meta(const Call& call, const http::Request& request, const json::value& body) {
  for (const char* name : {"kind", "apiVersion"}) {
    const json::value* v = json::find(&body, name);
    if (v == nullptr || v->is_string() || v->is_null()) continue;
    const char* what = v->is_array() ? "array" : v->is_object() ? "object" : v->is_bool() ? "bool" : "number";
    return fail(unrecognized(call, request.body, "couldn't get version/kind; json parse error: json: cannot unmarshal " + std::string(what) + " into Go struct field ." + name + " of type string"));
  }
  std::string_view version = json::get_string(body, {"apiVersion"});
  if (std::ranges::count(version, '/') > 1) return fail(unrecognized(call, request.body, "unexpected GroupVersion string: " + std::string(version)));
  return {};
}

// YAML's own decoder tells of keys that are there twice, by line.
Result<json::value> read_yaml(Call& call, const http::Request& request) {
  std::vector<std::string> duplicates;
  auto body = api::parse_yaml_body(request.body, duplicates);
  if (!body) return fail(unrecognized(call, request.body, body.error().message()));
  if (body->is_null()) return json::object();
  if (!body->is_object()) return fail(wrong_root(call, request, *body));
  if (auto done = check_type_meta(call, request, *body); !done) return fail(done.error());
  if (call.field_validation == machinery::FieldValidation::ignore || duplicates.empty()) return body;
  if (call.field_validation == machinery::FieldValidation::warn) call.problems = std::move(duplicates);
  else call.problems = {"yaml: unmarshal errors:\n  " + join(duplicates, "\n  ")};
  return body;
}

// A configuration to apply.
Result<json::value> read_applied_yaml(Call& call, const http::Request& request) {
  std::vector<std::string> duplicates;
  auto body = api::parse_yaml_body(request.body, duplicates);
  // JSON that is too deep for us alone.
  if (bool deep = false; !body && body.error().message().find("exceeded max depth") != std::string::npos && parse_json(request.body, deep) && deep) return fail(too_deep(request.body));
  if (!body) return fail(Status::bad_request("error decoding YAML: error converting YAML to JSON: " + body.error().message()));
  if (duplicates.empty() || call.field_validation == machinery::FieldValidation::ignore) return body;
  if (call.field_validation == machinery::FieldValidation::strict)
    return fail(Status::bad_request("error strict decoding YAML: error converting YAML to JSON: yaml: unmarshal errors:\n  " + join(duplicates, "\n  ")));
  for (std::string& text : duplicates) call.warn(std::move(text));
  return body;
}

void note_duplicates(Call& call, std::string_view patch) {
  if (call.field_validation == machinery::FieldValidation::ignore) return;
  for (const std::string& field : machinery::duplicate_fields(patch)) call.problems.push_back("duplicate field \"" + field + "\"");
}

// Of operations of a JSON patch: members that they do not have, or twice.
void note_operations(Call& call, const json::value& operations, std::string_view text) {
  if (call.field_validation == machinery::FieldValidation::ignore) return;
  static constexpr std::string_view kKnown[] = {"op", "path", "from", "value"};
  const std::vector<std::string> twice = machinery::duplicate_fields(text);
  size_t i = 0;
  for (const json::value& operation : json::get_array(&operations)) {
    const std::string at = "[" + std::to_string(i++) + "].";
    for (const std::string& field : twice)
      if (field.starts_with(at)) call.problems.push_back("json patch duplicate field " + go_quoted(field));
    for (const auto& m : json::get_object(&operation))
      if (std::ranges::find(kKnown, json::view(m.key())) == std::end(kKnown)) call.problems.push_back("json patch unknown field " + go_quoted(at + std::string(m.key())));
  }
}

// Of the right kind and types.
Result<void> check_deletion_body(json::value& body) {
  static const api::Type& type = *api::Schema::builtin().find_type("io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions");
  if (!body.is_object()) {
    const char* what = body.is_array() ? "array" : body.is_string() ? "string" : body.is_bool() ? "bool" : "number";
    return fail(Status::bad_request("couldn't get version/kind; json parse error: json: cannot unmarshal " + std::string(what) +
                                    " into Go value of type struct { APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \"json:\\\"kind,omitempty\\\"\" }"));
  }
  std::string kind(json::get_string(body, {"kind"})), version(json::get_string(body, {"apiVersion"}));
  if (!kind.empty() && kind != "DeleteOptions")
    return fail(Status::bad_request("no kind \"" + kind + "\" is registered for version \"" + version + "\" in scheme \"pkg/api/legacyscheme/scheme.go:30\""));
  auto checked = machinery::check_types(body, type, machinery::FieldValidation::ignore, machinery::Empty::keep);
  if (!checked) return fail(checked.error());
  body = std::move(checked->value);
  return {};
}

}  // namespace

std::string_view media_of(const http::Request& request) {
  std::string_view type = request.headers.get("Content-Type");
  return trim(type.substr(0, type.find(';')));
}

Result<ListOptions> read_list_query(const http::Query& q, bool listing) {
  for (const char* name : {"limit", "timeoutSeconds"})
    if (auto value = number(q, name); !value) return fail(value.error());
  if (listing && q.has("sendInitialEvents"))
    return fail(api::invalid("meta.k8s.io", "ListOptions", "", {api::field_forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list")}));
  ListOptions list{std::string(q.get("labelSelector")), std::string(q.get("fieldSelector")), std::string(q.get("resourceVersion")),
                 std::string(q.get("resourceVersionMatch")), 0, std::string(q.get("continue"))};
  list.limit = parse_int<uint64_t>(q.get("limit")).value_or(0);
  // What the cache answers comes whole.
  if (list.resource_version == "0" && list.resource_version_match != "Exact") list.limit = 0;
  return list;
}

Result<void> read_options(Call& call, const http::Request& request, std::string_view kind) {
  std::vector<Cause> causes;
  json::array runs;
  for (std::string_view value : request.query.all("dryRun")) runs.push_back(json::value(json::key(value)));
  for (const json::value& value : runs) {
    if (json::get_string(&value) == "All") call.dry_run = true;
    else if (causes.empty()) causes.push_back(api::field_not_supported("dryRun", runs, {"All"}));
  }
  std::string_view validation = request.query.get("fieldValidation");
  if (validation == "Strict") call.field_validation = machinery::FieldValidation::strict;
  else if (validation == "Ignore") call.field_validation = machinery::FieldValidation::ignore;
  else if (!validation.empty() && validation != "Warn")
    causes.push_back(api::field_not_supported("fieldValidation", json::value(json::key(validation)), {"", "Ignore", "Strict", "Warn"}));
  std::string_view manager = request.query.get("fieldManager");
  if (manager.size() > 128) causes.push_back(api::field_too_long("fieldManager", 128));
  for (size_t i = 0; i < manager.size(); ++i) {
    const auto c = static_cast<unsigned char>(manager[i]);
    if (c >= 0x20 && c != 0x7f) continue;
    char text[64];
    std::snprintf(text, sizeof text, "invalid character U+%04X (at position %zu)", c, i);
    causes.push_back(api::field_invalid("fieldManager", json::value(json::key(manager)), text));
  }
  call.field_manager = manager_of(request);
  if (causes.empty()) return {};
  return fail(api::invalid("meta.k8s.io", kind, "", std::move(causes)));
}

Result<json::value> read_body(Call& call, const http::Request& request, const FeatureGates& gates) {
  if (media_of(request) == machinery::kCborType) {
    if (!gates.cbor) return fail(api::unsupported_media_type(media_types(gates)));
    return read_cbor(call, request);
  }
  std::string media = to_lower(media_of(request));
  if (media == "application/yaml" || media == "text/yaml" || media == "application/x-yaml") return read_yaml(call, request);
  auto body = is_json(media) ? parse_json(request.body, call.deep) : machinery::parse_body(request.headers.get("Content-Type"), request.body);
  if (body && body->is_null()) return json::object();   // as Go: nothing is set
  if (!body && body.error().code() == 415) return fail(api::unsupported_media_type(media_types(gates)));
  const bool protobuf = media == machinery::kProtobufType;
  if (!body && body.error().code() == 400) return fail(unrecognized(call, request.body, (protobuf ? "" : "couldn't get version/kind; json parse error: ") + body.error().message()));
  if (body && !body->is_object()) return fail(wrong_root(call, request, *body));
  if (!body) return body;
  if (auto done = check_type_meta(call, request, *body); !done) return fail(done.error());
  bool json_text = request.headers.get("Content-Type").find("protobuf") == std::string_view::npos;
  if (call.field_validation == machinery::FieldValidation::ignore || !json_text) return body;
  auto duplicates = machinery::duplicate_fields(request.body);
  if (duplicates.empty()) return body;
  if (const api::Type* type = call.resource->info->type; call.resource->custom == nullptr && type != nullptr) {
    call.problems = machinery::strict_problems(request.body, *type);
    call.problems_are = Call::Problems::whole;
    return body;
  }
  for (const std::string& field : duplicates) call.problems.push_back("duplicate field \"" + field + "\"");
  return body;
}

// `dependents_go`: orphanDependents was said to be false.
Result<DeleteOptions> read_deletion(Call& call, const http::Request& request, const FeatureGates& gates, bool& dependents_go) {
  DeleteOptions d;
  bool said = false, negative = false;
  auto refuse = [](Cause cause) { return fail(api::invalid("meta.k8s.io", "DeleteOptions", "", {std::move(cause)})); };
  const http::Query& q = request.query;
  std::optional<bool> orphan;
  if (!request.body.empty()) {
    const bool cbor = media_of(request) == machinery::kCborType;
    if (cbor && !gates.cbor) return fail(api::unsupported_media_type(media_types(gates)));
    bool deep = false;
    auto body = is_json(to_lower(media_of(request))) ? parse_json(request.body, deep) : machinery::parse_body(request.headers.get("Content-Type"), request.body);
    if (!body && cbor) return fail(Status::bad_request("unable to determine group/version/kind: " + body.error().message()));
    if (!body && body.error().code() == 400) return fail(Status::bad_request("couldn't get version/kind; json parse error: " + body.error().message()));
    if (!body) return fail(body.error());
    if (auto done = check_deletion_body(*body); !done) return fail(done.error());
    if (const json::value* grace = json::find(&*body, "gracePeriodSeconds")) d.grace_period_seconds = json::get_int(grace), negative = d.grace_period_seconds < 0;
    if (const json::value* policy = json::find(&*body, "propagationPolicy")) d.propagation = json::get_string(policy), said = true;
    d.uid = json::get_string(*body, {"preconditions", "uid"});
    d.resource_version = json::get_string(*body, {"preconditions", "resourceVersion"});
    if (const json::value* o = json::find(&*body, "orphanDependents"); o != nullptr && o->is_bool()) orphan = o->get_bool();
    for (const json::value& dry : json::get_array(json::find(&*body, "dryRun"))) {
      call.dry_run |= json::get_string(&dry) == "All";
      if (json::get_string(&dry) != "All") return refuse(api::field_not_supported("dryRun", *json::find(&*body, "dryRun"), {"All"}));
    }
  } else {
    // With a body the query is not looked at.
    auto grace = number(q, "gracePeriodSeconds");
    if (!grace) return fail(grace.error());
    if (!q.get("gracePeriodSeconds").empty()) d.grace_period_seconds = *grace, negative = *grace < 0;
    if (q.has("propagationPolicy")) d.propagation = q.get("propagationPolicy"), said = true;
    if (q.has("orphanDependents")) orphan = q.flag("orphanDependents");
    if (auto done = read_options(call, request, "DeleteOptions"); !done) return fail(done.error());
  }
  if (negative) d.grace_period_seconds = 1;
  if (said && orphan)
    return refuse(api::field_invalid("propagationPolicy", json::value(d.propagation), "orphanDependents and deletionPropagation cannot be both set"));
  dependents_go = orphan && !*orphan;
  if (orphan) d.propagation = *orphan ? "Orphan" : "Background", said = false;
  if (said && d.propagation != "Background" && d.propagation != "Foreground" && d.propagation != "Orphan") {
    return fail(api::invalid("meta.k8s.io", "DeleteOptions", "",
                             {api::field_not_supported("propagationPolicy", json::value(d.propagation), {"Foreground", "Background", "Orphan", "nil"})}));
  }
  return d;
}

Result<client::PatchType> patch_type(std::string_view media, const FeatureGates& gates) {
  if (media == "application/json-patch+json") return client::PatchType::json;
  if (media == "application/merge-patch+json") return client::PatchType::merge;
  if (media == "application/strategic-merge-patch+json") return client::PatchType::strategic;
  if (media == "application/apply-patch+yaml") return client::PatchType::apply;
  if (media == kApplyCbor && gates.cbor) return client::PatchType::apply;
  return fail(Status(415, "UnsupportedMediaType", "415: Unsupported Media Type"));
}

Result<json::value> read_patch(Call& call, const http::Request& request, client::PatchType type) {
  const bool cbor = media_of(request) == kApplyCbor, apply = type == client::PatchType::apply;
  const bool by_members = type == client::PatchType::merge || type == client::PatchType::strategic;
  if (apply && !cbor) return read_applied_yaml(call, request);
  bool deep = false;
  auto body = cbor ? machinery::parse_body(kApplyCbor, request.body) : parse_json(request.body, deep);
  if (deep) return fail(too_deep(request.body));
  if (cbor && body && !body->is_object())
    body = fail(Status::bad_request("cbor: cannot unmarshal " + std::string(body->is_array() ? "array" : "primitives") + " into Go value of type map[string]interface {}"));
  if (!body && cbor) return fail(Status::bad_request("error decoding YAML: " + body.error().message()));
  if (!body) return fail(Status::bad_request((type == client::PatchType::strategic ? "" : "error decoding patch: ") + body.error().message()));
  if (by_members && !body->is_object()) {
    const char* what = body->is_array() ? "array" : body->is_string() ? "string" : body->is_bool() ? "bool" : "number";
    std::string text = "json: cannot unmarshal " + std::string(what) + " into Go value of type map[string]interface {}";
    if (type == client::PatchType::merge) text = body->is_null() ? "Invalid JSON Patch" : "error decoding patch: " + text;
    return fail(Status::bad_request(text));
  }
  if (by_members) note_duplicates(call, request.body);
  if (type == client::PatchType::json) note_operations(call, *body, request.body);
  return body;
}

}  // namespace kcube::apiserver
