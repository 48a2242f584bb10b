// SPDY frames from a hostile client.
#include "pkg/http/spdy.h"
#include "tests/fuzz/http/memory_tunnel.h"

using namespace kcube::http;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  SpdySession session(std::make_unique<MemoryTunnel>(std::string_view(reinterpret_cast<const char*>(bytes), size)));
  while (auto stream = session.accept(std::chrono::milliseconds(0))) {
    char buffer[4096];
    while (true) {
      auto n = stream->read(buffer, sizeof buffer);
      if (!n || *n == 0) break;
    }
  }
  // Header blocks apart from frames, where the fuzzer gets to them sooner.
  SpdyHeaderReader reader;
  (void)reader.read(std::string_view(reinterpret_cast<const char*>(bytes), size));
  return 0;
}
