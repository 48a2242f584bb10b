#include "pkg/base/status.h"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace kcube {

Status Status::internal(std::string message) { return {500, "InternalError", std::move(message)}; }
Status Status::bad_request(std::string message) { return {400, "BadRequest", std::move(message)}; }
Status Status::not_found(std::string message) { return {404, "NotFound", std::move(message)}; }
Status Status::already_exists(std::string message) { return {409, "AlreadyExists", std::move(message)}; }
Status Status::timeout(std::string what) { return {504, "Timeout", std::move(what)}; }
Status Status::unavailable(std::string message) { return {503, "ServiceUnavailable", std::move(message)}; }

Status Status::from_errno(std::string_view what, int os_error) {
  std::string message = std::string(what) + ": " + std::strerror(os_error);
  Status status = [&]() -> Status {
    switch (os_error) {
      case ENOENT: return not_found(std::move(message));
      case EPERM:
      case EACCES: return {403, "Forbidden", std::move(message)};
      case EEXIST: return already_exists(std::move(message));
      case ENOSPC: return {507, "InsufficientStorage", std::move(message)};
      default: return internal(std::move(message));
    }
  }();
  status.os_error_ = os_error;
  return status;
}

Status Status::from_errno(std::string_view what) { return from_errno(what, errno); }

Status Status::with_context(std::string_view context) const {
  Status copy = *this;
  copy.message_ = std::string(context) + ": " + message_;
  return copy;
}

void check_failed(const char* file, int line, const char* what) {
  std::fprintf(stderr, "kcube: impossible state at %s:%d: %s\n", file, line, what);
  std::abort();
}

}  // namespace kcube
