// A tunnel that plays the fuzzer's bytes and swallows what is written.
#pragma once

#include <atomic>
#include <cstring>

#include "pkg/http/server.h"

namespace kcube::http {

class MemoryTunnel final : public Tunnel {
 public:
  explicit MemoryTunnel(std::string_view bytes) : bytes_(bytes) {}
  Result<size_t> read(char* buffer, size_t size) override {
    size_t n = closed_ ? 0 : std::min(size, bytes_.size());
    std::memcpy(buffer, bytes_.data(), n);
    bytes_.erase(0, n);
    return n;
  }
  Result<void> write(std::string_view) override { return {}; }
  void close_write() override {}
  void close() override { closed_ = true; }

 private:
  std::string bytes_;
  std::atomic<bool> closed_{false};
};

}  // namespace kcube::http
