#include "pkg/apiserver/admission/admission_review.h"

#include "pkg/api/errors.h"
#include "pkg/base/strings.h"

namespace kcube::apiserver {
namespace {

constexpr std::string_view kApiVersion = "admission.k8s.io/v1";

json::object kind_of(const Resource& r) {
  return {{"group", json::key(r.info->kind_group)}, {"version", json::key(r.info->kind_version)}, {"kind", json::key(r.info->kind)}};
}

json::object resource_of(const Resource& r) {
  return {{"group", json::key(r.group())}, {"version", json::key(r.info->version)}, {"resource", json::key(r.resource())}};
}

std::unexpected<Status> bad_answer(std::string message) { return fail(Status::internal(std::move(message))); }

std::string kind_text(const json::value& review) {
  std::string version(json::get_string(review, {"apiVersion"}));
  if (version.find('/') == std::string::npos) version = "/" + version;
  return version + ", Kind=" + std::string(json::get_string(review, {"kind"}));
}

Result<std::optional<json::value>> read_patch(const json::value& response, bool mutating) {
  const json::value *patch = json::find(&response, "patch"), *type = json::find(&response, "patchType");
  if (!mutating && patch != nullptr && !json::get_string(patch).empty()) return bad_answer("validating webhook may not return response.patch");
  if (!mutating && type != nullptr) return bad_answer("validating webhook may not return response.patchType");
  if (patch == nullptr || json::get_string(patch).empty()) {
    if (type != nullptr) return bad_answer("webhook returned response.patchType but not response.patch");
    return std::nullopt;
  }
  if (type == nullptr) return bad_answer("webhook returned response.patch but not response.patchType");
  if (json::get_string(type) != "JSONPatch")
    return bad_answer("webhook returned invalid response.patchType of \"" + std::string(json::get_string(type)) + "\"");
  auto text = base64_decode(json::get_string(patch));
  if (!text) return bad_answer("webhook returned response.patch that is not base64");
  auto operations = json::parse(*text);
  if (!operations) return bad_answer(operations.error().message());
  return std::optional<json::value>(std::move(*operations));
}

Status read_denial(const json::value* result) {
  json::value status = result != nullptr && result->is_object() ? *result : json::object();
  status.get_object()["kind"] = "Status";
  Status denial = api::from_json(status, 403);
  // A refusal is never anything else, whatever code came with it.
  int code = std::max(denial.code(), 400);
  if (json::find(&status, "code") == nullptr) code = 400;
  Status out(code, denial.reason(), denial.message());
  out.details() = denial.details();
  return out;
}

}  // namespace

json::object make_request(const Admission& a, const Resource& as) {
  const Resource& asked = *a.call.resource;
  json::object request{{"kind", kind_of(as)}, {"resource", resource_of(as)}};
  if (!as.subresource().empty()) request["subResource"] = json::key(as.subresource());
  request["requestKind"] = kind_of(asked);
  request["requestResource"] = resource_of(asked);
  if (!asked.subresource().empty()) request["requestSubResource"] = json::key(asked.subresource());
  if (!a.call.name.empty()) request["name"] = a.call.name;
  std::string ns = asked.is("", "namespaces") ? a.call.name : a.call.ns;
  if (!ns.empty()) request["namespace"] = ns;
  request["operation"] = json::key(operation_name(a.operation));
  request["userInfo"] = user_info(a.call.user);
  request["dryRun"] = a.call.dry_run;
  request["options"] = options_of(a);
  return request;
}

Result<json::value> make_review(const Admission& a, const Resource& as, const std::string& uid) {
  json::object request = make_request(a, as);
  request["uid"] = uid;
  for (auto [member, object] : {std::pair<const char*, const json::value*>{"object", a.object}, {"oldObject", a.old}}) {
    request[member] = nullptr;
    if (object == nullptr) continue;
    auto shown = served_as(a, *object, as);
    if (!shown) return fail(shown.error());
    request[member] = std::move(*shown);
  }
  return json::object{{"kind", "AdmissionReview"}, {"apiVersion", json::key(kApiVersion)}, {"request", std::move(request)}};
}

Result<ReviewAnswer> read_review(const json::value& review, const std::string& uid, bool mutating) {
  if (json::get_string(review, {"kind"}) != "AdmissionReview" || json::get_string(review, {"apiVersion"}) != kApiVersion)
    return bad_answer("expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, got " + kind_text(review));
  const json::value* response = json::find(&review, "response");
  if (response == nullptr || !response->is_object()) return bad_answer("webhook response was absent");
  std::string answered(json::get_string(*response, {"uid"}));
  if (answered != uid) return bad_answer("expected response.uid=\"" + uid + "\", got \"" + answered + "\"");
  ReviewAnswer out;
  auto patch = read_patch(*response, mutating);
  if (!patch) return fail(patch.error());
  out.patch = std::move(*patch);
  out.allowed = json::get_bool(*response, {"allowed"});
  for (const json::value& w : json::get_array(json::find(response, "warnings"))) out.warnings.emplace_back(json::get_string(&w));
  for (const auto& m : json::get_object(json::find(response, "auditAnnotations"))) out.audit_annotations[m.key()] = json::get_string(&m.value());
  if (!out.allowed) out.denial = read_denial(json::find(response, "status"));
  return out;
}

}  // namespace kcube::apiserver
