// Status and Result: how every room of kcube reports what went wrong.
//
// A Status carries the words of the Kubernetes API (HTTP code, reason, message, causes with field paths), so that an
// error found deep below reaches kubectl unchanged. Rooms that know nothing of the API use the same type with the
// code of the nearest meaning (500 by default). Source: metav1.Status in the Kubernetes API reference.
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace kcube {

// One reason among several why a request failed, e.g. {"FieldValueInvalid", "must be positive", "spec.replicas"}.
struct Cause {
  std::string reason;
  std::string message;
  std::string field;
};

// What the failed request was about; all parts optional.
struct StatusDetails {
  std::string name;
  std::string group;
  std::string kind;
  std::string uid;
  std::vector<Cause> causes;
  int retry_after_seconds = 0;
  std::string continue_token;   // of an expired page: where an inconsistent list may go on
};

class Status {
 public:
  Status(int code, std::string reason, std::string message)
      : code_(code), reason_(std::move(reason)), message_(std::move(message)) {}

  // 500 InternalError.
  static Status internal(std::string message);
  // 400 BadRequest: the caller's input makes no sense; `message` says what to do instead.
  static Status bad_request(std::string message);
  // 404 NotFound without API details (files, containers, images). The API's own are made by pkg/api/errors.h.
  static Status not_found(std::string message);
  // 409 Conflict or AlreadyExists.
  static Status already_exists(std::string message);
  // 504 Timeout: a deadline passed while waiting for `what`.
  static Status timeout(std::string what);
  // 503 ServiceUnavailable.
  static Status unavailable(std::string message);
  // "<what>: <strerror>", code 404 for ENOENT, 403 for EPERM and EACCES, 409 for EEXIST, 507 for ENOSPC, else 500.
  static Status from_errno(std::string_view what, int os_error);
  // The same with the current errno.
  static Status from_errno(std::string_view what);

  int code() const { return code_; }
  const std::string& reason() const { return reason_; }
  const std::string& message() const { return message_; }
  const StatusDetails& details() const { return details_; }
  StatusDetails& details() { return details_; }
  // The errno behind this status, or 0.
  int os_error() const { return os_error_; }

  bool is_not_found() const { return code_ == 404; }
  bool is_conflict() const { return code_ == 409; }

  // The same status with "context: " before its message; add it where the context is known.
  Status with_context(std::string_view context) const;

 private:
  int code_;
  int os_error_ = 0;
  std::string reason_;
  std::string message_;
  StatusDetails details_;
};

template <typename T>
using Result = std::expected<T, Status>;

// Makes any Result fail: `return fail(Status::internal("..."))`.
inline std::unexpected<Status> fail(Status status) { return std::unexpected<Status>(std::move(status)); }

// Stops the process with `what` when an impossible state is seen, in release builds too: a wrong write is worse.
[[noreturn]] void check_failed(const char* file, int line, const char* what);

}  // namespace kcube

#define KCUBE_CHECK(condition) \
  do {                         \
    if (!(condition)) [[unlikely]] ::kcube::check_failed(__FILE__, __LINE__, #condition); \
  } while (false)
