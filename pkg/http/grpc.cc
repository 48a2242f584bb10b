#include "pkg/http/grpc.h"

#include <iterator>

#include "pkg/base/strings.h"

namespace kcube::http {
namespace {

constexpr size_t kHead = 5;

constexpr std::string_view kCodes[] = {"OK", "Canceled", "Unknown", "InvalidArgument", "DeadlineExceeded", "NotFound", "AlreadyExists", "PermissionDenied", "ResourceExhausted",
                                       "FailedPrecondition", "Aborted", "OutOfRange", "Unimplemented", "Internal", "Unavailable", "DataLoss", "Unauthenticated"};

GrpcAnswer failed(std::string_view code, std::string why) { return {std::string(code), std::move(why), {}}; }

std::string framed(const std::string& message) {
  std::string out(1, '\0');
  for (int shift = 24; shift >= 0; shift -= 8) out += static_cast<char>(message.size() >> shift & 0xff);
  return out + message;
}

// What an answer that is not gRPC's means to it. Source: the gRPC project's mapping of HTTP codes.
std::string_view code_of_http(int status) {
  switch (status) {
    case 400: return "Internal";
    case 401: return "Unauthenticated";
    case 403: return "PermissionDenied";
    case 404: return "Unimplemented";
    case 429:
    case 502:
    case 503:
    case 504: return "Unavailable";
    default: return "Unknown";
  }
}

}  // namespace

GrpcAnswer parse_grpc_body(std::string_view body) {
  if (body.size() < kHead) return failed("Internal", "the answer has no message");
  if (body[0] != 0) return failed("Unimplemented", "the answer is compressed");
  size_t size = 0;
  for (size_t i = 1; i < kHead; ++i) size = size << 8 | static_cast<unsigned char>(body[i]);
  if (body.size() - kHead != size) return failed("Internal", "the answer is not one message");
  return {"OK", "", std::string(body.substr(kHead))};
}

GrpcAnswer call_grpc(Client& client, const GrpcCall& call) {
  ClientRequest request{.method = "POST", .url = call.url, .body = framed(call.message), .timeout = call.timeout, .connect_timeout = call.timeout};
  request.headers.set("Content-Type", "application/grpc");
  request.headers.set("TE", "trailers");
  request.http2_prior_knowledge = request.own_connection = true;
  request.unix_socket = call.unix_socket;
  request.max_body_bytes = call.max_answer_bytes;
  auto response = client.send(request);
  if (!response) return failed(response.error().code() == 504 ? "DeadlineExceeded" : "Unavailable", response.error().message());
  if (response->status != 200) return failed(code_of_http(response->status), "unexpected HTTP status code received from server: " + std::to_string(response->status));
  auto code = parse_int<size_t>(response->headers.get("grpc-status"));
  if (!code) return failed("Internal", "server closed the stream without sending trailers");
  if (*code != 0) return failed(*code < std::size(kCodes) ? kCodes[*code] : "Code(" + std::to_string(*code) + ")", percent_decode(response->headers.get("grpc-message"), false));
  return parse_grpc_body(response->body);
}

}  // namespace kcube::http
