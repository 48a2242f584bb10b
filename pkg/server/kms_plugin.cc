#include "pkg/server/kms_plugin.h"

#include "pkg/base/strings.h"
#include "pkg/http/grpc.h"

namespace kcube::server {
KmsPlugin::KmsPlugin(std::string socket, std::chrono::milliseconds timeout) : socket_(std::move(socket)), timeout_(timeout), client_(http::Client::create({})) {}

Result<std::string> KmsPlugin::call(std::string_view method, const std::string& message) const {
  auto answer = http::call_grpc(*client_, {.url = "http://localhost/v2.KeyManagementService/" + std::string(method), .unix_socket = socket_, .message = message, .timeout = timeout_});
  // Which of several plugins it is that cannot be reached.
  if (answer.code == "Unavailable" || answer.code == "DeadlineExceeded") answer.description = "unix://" + socket_ + ": " + answer.description;
  if (!answer.ok()) return fail(Status::internal(answer.error()));
  return std::move(answer.message);
}

Result<auth::KmsStatus> KmsPlugin::status() const {
  auto answer = call("Status", "");
  if (!answer) return fail(answer.error());
  return auth::parse_kms_status(*answer);
}

Result<auth::KmsEncrypted> KmsPlugin::encrypt(std::string_view plaintext) const {
  auto answer = call("Encrypt", auth::kms_encrypt_request(plaintext, new_uuid()));
  if (!answer) return fail(answer.error());
  return auth::parse_kms_encrypted(*answer);
}

Result<std::string> KmsPlugin::decrypt(const auth::KmsSealed& sealed) const {
  auto answer = call("Decrypt", auth::kms_decrypt_request(sealed, new_uuid()));
  if (!answer) return fail(answer.error());
  return auth::parse_kms_decrypted(*answer);
}

}  // namespace kcube::server
