// A KMS plugin behind its socket: unary gRPC calls. Thread-safe; calls block for at most the timeout.
// Source: k8s.io/kms apis/v2.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <string_view>

#include "pkg/auth/kms_messages.h"
#include "pkg/http/client.h"

namespace kcube::server {

class KmsPlugin {
 public:
  KmsPlugin(std::string socket, std::chrono::milliseconds timeout);
  // Fail with "rpc error: code = CODE desc = …" as Go's gRPC has it.
  Result<auth::KmsStatus> status() const;
  Result<auth::KmsEncrypted> encrypt(std::string_view plaintext) const;
  Result<std::string> decrypt(const auth::KmsSealed& sealed) const;

 private:
  Result<std::string> call(std::string_view method, const std::string& message) const;
  const std::string socket_;
  const std::chrono::milliseconds timeout_;
  const std::unique_ptr<http::Client> client_;
};

}  // namespace kcube::server
