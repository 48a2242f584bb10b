// WebSocket frames from a hostile client.
#include "pkg/http/websocket.h"
#include "tests/fuzz/http/memory_tunnel.h"

using namespace kcube::http;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  WebSocket socket(std::make_unique<MemoryTunnel>(std::string_view(reinterpret_cast<const char*>(bytes), size)));
  while (true) {
    auto message = socket.read();
    if (!message || message->opcode == WebSocket::Opcode::close) return 0;
  }
}
