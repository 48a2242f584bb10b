// WebSocket and SPDY frames from a hostile client. The first byte says which.
#include "pkg/http/spdy.h"
#include "pkg/http/websocket.h"
#include "tests/fuzz/driver/fuzz.h"
#include "tests/fuzz/http/memory_tunnel.h"

using namespace kcube::http;

namespace {

void websocket(std::string_view input) {
  WebSocket socket(std::make_unique<MemoryTunnel>(input));
  while (true) {
    auto message = socket.read();
    if (!message || message->opcode == WebSocket::Opcode::close) return;
  }
}

void spdy(std::string_view input) {
  SpdySession session(std::make_unique<MemoryTunnel>(input));
  while (auto stream = session.accept(std::chrono::milliseconds(0))) {
    char buffer[4096];
    while (true) {
      auto n = stream->read(buffer, sizeof buffer);
      if (!n || *n == 0) break;
    }
  }
  // Header blocks apart from frames, where the fuzzer gets to them sooner.
  SpdyHeaderReader reader;
  (void)reader.read(input);
}

}  // namespace

std::vector<std::string> kcube::fuzz::seeds() {
  using namespace std::string_literals;
  return {"w\x81\x85\x01\x02\x03\x04hello"s, "w\x82\xfe\x00\x80\x00\x00\x00\x00"s + std::string(128, 'x'), "w\x01\x81\x00\x00\x00\x00" "a\x80\x81\x00\x00\x00\x00" "b\x88\x82\x00\x00\x00\x00\x03\xe8"s,
          "w\x89\x80\x00\x00\x00\x00\x8a\x80\x00\x00\x00\x00"s, "s\x80\x03\x00\x01\x01\x00\x00\x0e\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"s,
          "s\x80\x03\x00\x06\x00\x00\x00\x04\x00\x00\x00\x01\x00\x00\x00\x01\x01\x00\x00\x05hello"s, "s\x80\x03\x00\x04\x00\x00\x00\x0c\x00\x00\x00\x01\x00\x00\x00\x07\x00\x01\x00\x00"s,
          "s\x80\x03\x00\x03\x00\x00\x00\x08\x00\x00\x00\x01\x00\x00\x00\x01"s};
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  std::string_view input = kcube::fuzz::text(bytes, size);
  if (input.empty()) return 0;
  if (input[0] == 'w') websocket(input.substr(1));
  else spdy(input.substr(1));
  return 0;
}
