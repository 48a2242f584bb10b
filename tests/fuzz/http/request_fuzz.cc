// Request heads and chunked bodies: no crash, and a decoder that does not depend on how its input is cut.
#include "pkg/http/chunked.h"
#include "pkg/http/request_parser.h"

using namespace kcube::http;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  std::string input(reinterpret_cast<const char*>(bytes), size);
  (void)parse_head(input, 64);
  (void)parse_head("POST /" + input + " HTTP/1.1\r\nHost: h\r\n\r\n", 64);
  (void)parse_head("POST / HTTP/1.1\r\nHost: h\r\n" + input + "\r\n\r\n", 64);

  ChunkDecoder whole(4096), pieces(4096);
  std::string body, cut_body;
  size_t used = 0, have = 0;
  auto state = whole.feed(input, body, used);
  auto cut_state = ChunkDecoder::State::more;
  while (cut_state == ChunkDecoder::State::more && have < size) {
    size_t taken = 0;
    cut_state = pieces.feed(std::string_view(input).substr(have, 1), cut_body, taken);
    have += taken;
  }
  if (state != cut_state) __builtin_trap();
  if (state == ChunkDecoder::State::done && (body != cut_body || used != have)) __builtin_trap();
  return 0;
}
