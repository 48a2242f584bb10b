// The API's errors, with the code, reason and message that clients know, and their JSON.
// Source: metav1.Status and its reasons in the Kubernetes API reference; checked against the real server.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "pkg/api/json.h"
#include "pkg/base/status.h"

namespace kcube::api {

// `pods "x" not found`; `group_resource` is "pods" or "deployments.apps".
Status not_found(std::string_view group, std::string_view resource, std::string_view name);
Status already_exists(std::string_view group, std::string_view resource, std::string_view name);
// 409: `Operation cannot be fulfilled on pods "x": MESSAGE`.
Status conflict(std::string_view group, std::string_view resource, std::string_view name, std::string_view message);
// 409 with the words that clients retry on: "the object has been modified; please apply your changes …".
Status modified(std::string_view group, std::string_view resource, std::string_view name);
// 422: `Pod "x" is invalid: spec.a: Required value: …`, or a list in brackets.
Status invalid(std::string_view group, std::string_view kind, std::string_view name, std::vector<Cause> causes);
// 403: `pods "x" is forbidden: MESSAGE`.
Status forbidden(std::string_view group, std::string_view resource, std::string_view name, std::string_view message);
Status unauthorized();                                            // 401 Unauthorized
Status method_not_supported(std::string_view group, std::string_view resource, std::string_view verb);   // 405
Status expired(std::string_view message);                         // 410 Expired
Status unsupported_media_type(std::string_view accepted);         // 415
Status not_acceptable(std::string_view accepted);                 // 406
Status too_large(std::string_view message);                       // 413 RequestEntityTooLarge
Status too_many_requests(std::string_view message, int retry_after_seconds);   // 429
Status generic_not_found();                                       // 404: "the server could not find the requested resource"

// Causes in the words of field.Error: field_required("spec.a", "detail").message is "Required value: detail".
Cause field_required(std::string field, std::string_view detail = {});
Cause field_invalid(std::string field, const json::value& value, std::string_view detail);
Cause field_not_supported(std::string field, const json::value& value, const std::vector<std::string_view>& supported);
Cause field_duplicate(std::string field, const json::value& value);
Cause field_forbidden(std::string field, std::string_view detail);
Cause field_too_long(std::string field, size_t limit);
Cause field_too_many(std::string field, size_t count, size_t limit);
Cause field_not_found(std::string field, const json::value& value);
Cause field_type_invalid(std::string field, const json::value& value, std::string_view detail);

// metav1.Status with status "Failure".
json::value to_json(const Status& status);
std::string to_json_text(const Status& status);
// The reverse, for what a server answered; `http_code` where the body is no Status.
Status from_json(const json::value& body, int http_code);

}  // namespace kcube::api
