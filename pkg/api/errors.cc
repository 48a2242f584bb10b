#include "pkg/api/errors.h"

#include <algorithm>
#include <set>
#include <charconv>

#include "pkg/base/go_quoted.h"

namespace kcube::api {
namespace {

std::string qualified(std::string_view group, std::string_view resource) {
  std::string out(resource);
  if (!group.empty()) out.append(".").append(group);
  return out;
}

std::string quoted(std::string_view text) { return go_quoted(text); }

Status with_details(Status status, std::string_view group, std::string_view kind, std::string_view name) {
  status.details().group = group;
  status.details().kind = kind;
  status.details().name = name;
  return status;
}

// A value as field.Error prints it: strings quoted, the rest as JSON.
std::string shown(const json::value& value) {
  if (value.is_null()) return "null";
  if (value.is_string()) return go_quoted(json::view(value.get_string()));
  if (!value.is_double()) return json::serialize(value);
  // As Go prints it: Boost's own form of 1.5 is 1.5E0.
  char buffer[64];
  return {buffer, std::to_chars(buffer, buffer + sizeof buffer, value.get_double()).ptr};
}

}  // namespace

Status not_found(std::string_view group, std::string_view resource, std::string_view name) {
  return with_details({404, "NotFound", qualified(group, resource) + " " + quoted(name) + " not found"}, group, resource, name);
}

Status already_exists(std::string_view group, std::string_view resource, std::string_view name) {
  return with_details({409, "AlreadyExists", qualified(group, resource) + " " + quoted(name) + " already exists"}, group, resource, name);
}

Status conflict(std::string_view group, std::string_view resource, std::string_view name, std::string_view message) {
  return with_details({409, "Conflict", "Operation cannot be fulfilled on " + qualified(group, resource) + " " + quoted(name) + ": " +
                                            std::string(message)},
                      group, resource, name);
}

Status modified(std::string_view group, std::string_view resource, std::string_view name) {
  return conflict(group, resource, name,
                  "the object has been modified; please apply your changes to the latest version and try again");
}

Status invalid(std::string_view group, std::string_view kind, std::string_view name, std::vector<Cause> causes) {
  std::string list;
  std::set<std::string> said;
  for (const Cause& cause : causes) {
    std::string one = cause.field.empty() ? cause.message : cause.field + ": " + cause.message;
    // Repeated errors are said once, as the real server's aggregate does.
    if (!said.insert(one).second) continue;
    if (!list.empty()) list += ", ";
    list += one;
  }
  if (said.size() > 1) list = "[" + list + "]";
  Status status = with_details({422, "Invalid", qualified(group, kind) + " " + quoted(name) + " is invalid: " + list}, group, kind, name);
  status.details().causes = std::move(causes);
  return status;
}

Status forbidden(std::string_view group, std::string_view resource, std::string_view name, std::string_view message) {
  std::string subject = qualified(group, resource);
  if (!name.empty()) subject += " " + quoted(name);
  return with_details({403, "Forbidden", subject + " is forbidden: " + std::string(message)}, group, resource, name);
}

Status unauthorized() { return {401, "Unauthorized", "Unauthorized"}; }

Status method_not_supported(std::string_view group, std::string_view resource, std::string_view verb) {
  return with_details({405, "MethodNotAllowed", std::string(verb) + " is not supported on resources of kind " +
                                                    quoted(qualified(group, resource))},
                      group, resource, {});
}

Status expired(std::string_view message) { return {410, "Expired", std::string(message)}; }

Status unsupported_media_type(std::string_view accepted) {
  return {415, "UnsupportedMediaType",
          "the body of the request was in an unknown format - accepted media types include: " + std::string(accepted)};
}

Status not_acceptable(std::string_view accepted) {
  return {406, "NotAcceptable", "only the following media types are accepted: " + std::string(accepted)};
}

Status too_large(std::string_view message) { return {413, "RequestEntityTooLarge", std::string(message)}; }

Status too_many_requests(std::string_view message, int retry_after_seconds) {
  Status status(429, "TooManyRequests", std::string(message));
  status.details().retry_after_seconds = retry_after_seconds;
  return status;
}

Status generic_not_found() { return {404, "NotFound", "the server could not find the requested resource"}; }

Cause field_required(std::string field, std::string_view detail) {
  std::string message = "Required value";
  if (!detail.empty()) message.append(": ").append(detail);
  return {"FieldValueRequired", std::move(message), std::move(field)};
}

Cause field_invalid(std::string field, const json::value& value, std::string_view detail) {
  std::string message = "Invalid value: " + shown(value);
  if (!detail.empty()) message.append(": ").append(detail);
  return {"FieldValueInvalid", std::move(message), std::move(field)};
}

Cause field_not_supported(std::string field, const json::value& value, const std::vector<std::string_view>& supported) {
  std::string message = "Unsupported value: " + shown(value);
  if (!supported.empty()) {
    message += ": supported values: ";
    for (size_t i = 0; i < supported.size(); ++i) message += (i ? ", " : "") + quoted(supported[i]);
  }
  return {"FieldValueNotSupported", std::move(message), std::move(field)};
}

Cause field_duplicate(std::string field, const json::value& value) {
  return {"FieldValueDuplicate", "Duplicate value: " + shown(value), std::move(field)};
}

Cause field_forbidden(std::string field, std::string_view detail) {
  return {"FieldValueForbidden", "Forbidden: " + std::string(detail), std::move(field)};
}

Cause field_too_long(std::string field, size_t limit) {
  return {"FieldValueTooLong", "Too long: may not be more than " + std::to_string(limit) + " bytes", std::move(field)};
}

Cause field_too_many(std::string field, size_t count, size_t limit) {
  return {"FieldValueTooMany", "Too many: " + std::to_string(count) + ": must have at most " + std::to_string(limit) + " items", std::move(field)};
}

Cause field_not_found(std::string field, const json::value& value) {
  return {"FieldValueNotFound", "Not found: " + shown(value), std::move(field)};
}

Cause field_type_invalid(std::string field, const json::value& value, std::string_view detail) {
  std::string message = "Invalid value: " + shown(value);
  if (!detail.empty()) message.append(": ").append(detail);
  return {"FieldValueTypeInvalid", std::move(message), std::move(field)};
}

// What a server says for want of anything better comes with details, if empty ones.
bool is_generic(const Status& status) {
  constexpr std::string_view kTexts[] = {"the server could not find the requested resource", "the server does not allow this method on the requested resource",
                                         "the server rejected our request due to an error in our request", "415: Unsupported Media Type"};
  return std::ranges::find(kTexts, status.message()) != std::end(kTexts) || status.message().starts_with("406: Not Acceptable") || status.message().starts_with("forbidden: User ");
}

json::value to_json(const Status& status) {
  auto text = [](std::string_view s) { return json::value(json::key(s)); };
  json::object out{{"kind", "Status"}, {"apiVersion", "v1"}, {"metadata", json::object()}, {"status", "Failure"}};
  out["message"] = text(status.message());
  if (!status.reason().empty()) out["reason"] = text(status.reason());
  json::object details;
  const StatusDetails& d = status.details();
  if (!d.name.empty()) details["name"] = text(d.name);
  if (!d.group.empty()) details["group"] = text(d.group);
  if (!d.kind.empty()) details["kind"] = text(d.kind);
  if (!d.uid.empty()) details["uid"] = text(d.uid);
  if (!d.causes.empty()) {
    json::array causes;
    for (const Cause& c : d.causes) {
      json::object cause;
      if (!c.reason.empty()) cause["reason"] = text(c.reason);
      if (!c.message.empty()) cause["message"] = text(c.message);
      if (!c.field.empty()) cause["field"] = text(c.field);
      causes.push_back(std::move(cause));
    }
    details["causes"] = std::move(causes);
  }
  if (d.retry_after_seconds > 0) details["retryAfterSeconds"] = d.retry_after_seconds;
  if (!details.empty() || is_generic(status)) out["details"] = std::move(details);
  if (!d.continue_token.empty()) out["metadata"] = json::object{{"continue", text(d.continue_token)}};
  out["code"] = status.code();
  return out;
}

std::string to_json_text(const Status& status) { return json::serialize(to_json(status)) + "\n"; }

Status from_json(const json::value& body, int http_code) {
  if (json::get_string(body, {"kind"}) != "Status") return {http_code, "", "the server answered " + std::to_string(http_code)};
  Status status(static_cast<int>(json::get_int(body, {"code"}, http_code)), std::string(json::get_string(body, {"reason"})),
                std::string(json::get_string(body, {"message"})));
  const json::value* details = json::find(&body, "details");
  auto text = [&](std::string_view name) { return std::string(json::get_string(json::find(details, name))); };
  status.details().name = text("name");
  status.details().group = text("group");
  status.details().kind = text("kind");
  status.details().uid = text("uid");
  status.details().retry_after_seconds = static_cast<int>(json::get_int(json::find(details, "retryAfterSeconds")));
  for (const json::value& c : json::get_array(json::find(details, "causes")))
    status.details().causes.push_back({std::string(json::get_string(json::find(&c, "reason"))),
                                       std::string(json::get_string(json::find(&c, "message"))),
                                       std::string(json::get_string(json::find(&c, "field")))});
  return status;
}

}  // namespace kcube::api
