#include "pkg/server/kms_plugin.h"

#include "pkg/base/strings.h"

namespace kcube::server {
namespace {

constexpr uint64_t kMostAnswer = 1 << 20;
constexpr size_t kFrame = 5;

constexpr std::string_view kCodes[] = {"OK", "Canceled", "Unknown", "InvalidArgument", "DeadlineExceeded", "NotFound", "AlreadyExists", "PermissionDenied", "ResourceExhausted",
                                       "FailedPrecondition", "Aborted", "OutOfRange", "Unimplemented", "Internal", "Unavailable", "DataLoss", "Unauthenticated"};

std::unexpected<Status> rpc_error(std::string_view code, std::string_view why) { return fail(Status::internal("rpc error: code = " + std::string(code) + " desc = " + std::string(why))); }

std::string framed(const std::string& message) {
  std::string out(1, '\0');
  for (int shift = 24; shift >= 0; shift -= 8) out += static_cast<char>(message.size() >> shift & 0xff);
  return out + message;
}

}  // namespace

Result<std::string_view> grpc_message(std::string_view body) {
  if (body.size() < kFrame) return rpc_error("Internal", "the answer has no message");
  if (body[0] != 0) return rpc_error("Unimplemented", "the answer is compressed");
  size_t size = 0;
  for (size_t i = 1; i < kFrame; ++i) size = size << 8 | static_cast<unsigned char>(body[i]);
  if (body.size() - kFrame != size) return rpc_error("Internal", "the answer is not one message");
  return body.substr(kFrame);
}

KmsPlugin::KmsPlugin(std::string socket, std::chrono::milliseconds timeout) : socket_(std::move(socket)), timeout_(timeout), client_(http::Client::create({})) {}

Result<std::string> KmsPlugin::call(std::string_view method, const std::string& message) const {
  http::ClientRequest request{.method = "POST", .url = "http://localhost/v2.KeyManagementService/" + std::string(method), .body = framed(message), .timeout = timeout_, .connect_timeout = timeout_};
  request.headers.set("Content-Type", "application/grpc");
  request.headers.set("TE", "trailers");
  request.http2_prior_knowledge = request.own_connection = true;   // calls are rare
  request.unix_socket = socket_;
  request.max_body_bytes = kMostAnswer;
  auto response = client_->send(request);
  if (!response) return rpc_error(response.error().code() == 504 ? "DeadlineExceeded" : "Unavailable", "unix://" + socket_ + ": " + response.error().message());
  if (response->status != 200) return rpc_error("Unknown", "unexpected HTTP status code received from server: " + std::to_string(response->status));
  auto code = parse_int<size_t>(response->headers.get("grpc-status"));
  if (!code) return rpc_error("Internal", "server closed the stream without sending trailers");
  if (*code != 0) return rpc_error(*code < std::size(kCodes) ? kCodes[*code] : "Code(" + std::to_string(*code) + ")", percent_decode(response->headers.get("grpc-message"), false));
  auto answer = grpc_message(response->body);
  if (!answer) return fail(answer.error());
  return std::string(*answer);
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
