#include "pkg/base/go_quoted.h"

#include <cstdint>

#include "pkg/base/strings.h"

namespace kcube {
namespace {

// What Go takes for printable, of the characters that people meet: no controls, no spaces but the plain one.
bool is_printable(uint32_t c) {
  if (c < 0x20 || (c >= 0x7f && c <= 0xa0) || c == 0xad) return false;
  return !((c >= 0x2000 && c <= 0x200f) || (c >= 0x2028 && c <= 0x202f) || (c >= 0x205f && c <= 0x206f) || c == 0x3000 || c == 0xfeff ||
           (c >= 0xe000 && c <= 0xf8ff) || (c & 0xfffe) == 0xfffe);
}

uint32_t code_point(std::string_view sequence) {
  auto lead = static_cast<unsigned char>(sequence[0]);
  uint32_t c = sequence.size() == 1 ? lead : lead & (0x7fu >> sequence.size());
  for (char more : sequence.substr(1)) c = c << 6 | (static_cast<unsigned char>(more) & 0x3f);
  return c;
}

void append_hex(std::string& out, uint32_t number, int digits) {
  while (digits-- > 0) out += "0123456789abcdef"[number >> (4 * digits) & 15];
}

}  // namespace

std::string go_quoted(std::string_view text) {
  constexpr std::string_view kNamed = "\a\b\f\n\r\t\v\\\"", kLetters = "abfnrtv\\\"";
  std::string out = "\"";
  while (!text.empty()) {
    const size_t n = utf8_length(text);
    const uint32_t c = n == 0 ? static_cast<unsigned char>(text[0]) : code_point(text.substr(0, n));
    if (size_t named = kNamed.find(text[0]); named != std::string_view::npos) out += {'\\', kLetters[named]};
    else if (n != 0 && is_printable(c)) out += text.substr(0, n);
    else if (n == 0 || c < 0x80) append_hex(out += "\\x", c, 2);
    else if (c < 0x10000) append_hex(out += "\\u", c, 4);
    else append_hex(out += "\\U", c, 8);
    text.remove_prefix(n == 0 ? 1 : n);
  }
  return out + "\"";
}

}  // namespace kcube
