// Unary gRPC calls: each an HTTP/2 request in clear over a connection of its own, since those who call here do so rarely.
// Source: the gRPC protocol over HTTP/2.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "pkg/http/client.h"

namespace kcube::http {

struct GrpcCall {
  std::string url;               // http://host:port/package.Service/Method
  std::string unix_socket;       // connect to this socket instead of the URL's host when set
  std::string message;           // protobuf
  std::chrono::milliseconds timeout{std::chrono::seconds(1)};
  uint64_t max_answer_bytes = uint64_t{1} << 20;
};

struct GrpcAnswer {
  std::string code = "OK";       // as gRPC names them: "Unimplemented", "DeadlineExceeded", "Unavailable" …
  std::string description;       // why, unless OK
  std::string message;           // protobuf, when OK
  bool ok() const { return code == "OK"; }
  // "rpc error: code = CODE desc = …", as Go's gRPC says it.
  std::string error() const { return "rpc error: code = " + code + " desc = " + description; }
};

// Blocks until the answer is there or the timeout is over.
GrpcAnswer call_grpc(Client& client, const GrpcCall& call);

// The answer in a body: a byte that says whether it is compressed, four of length, the message. Not OK when it is none.
GrpcAnswer parse_grpc_body(std::string_view body);

}  // namespace kcube::http
