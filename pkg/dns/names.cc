// Names and record data in DNS wire form.
#include <arpa/inet.h>

#include <cctype>

#include "pkg/dns/message.h"

namespace kcube::dns {

std::string u16_bytes(uint16_t v) { return {static_cast<char>(v >> 8), static_cast<char>(v)}; }
std::string u32_bytes(uint32_t v) {
  return u16_bytes(static_cast<uint16_t>(v >> 16)) + u16_bytes(static_cast<uint16_t>(v));
}

std::optional<std::string> to_name(std::string_view text) {
  if (!text.empty() && text.back() == '.') text.remove_suffix(1);
  std::string out;
  while (!text.empty()) {
    size_t end = text.find('.');
    std::string_view label = text.substr(0, end);
    if (label.empty() || label.size() > 63) return std::nullopt;
    out += static_cast<char>(label.size());
    out += label;
    if (end == std::string_view::npos) break;
    text.remove_prefix(end + 1);
    if (text.empty()) return std::nullopt;
  }
  out += '\0';
  if (out.size() > kMaxName) return std::nullopt;
  return out;
}

std::string to_text(std::string_view name) {
  if (name.size() <= 1) return ".";
  std::string out;
  while (name.size() > 1) {
    for (char c : first_label(name)) {
      if (std::isgraph(static_cast<unsigned char>(c)) && c != '.' && c != '\\') {
        out += c;
      } else {
        char escaped[5];
        std::snprintf(escaped, sizeof escaped, "\\%03u", static_cast<unsigned>(static_cast<unsigned char>(c)));
        out += escaped;
      }
    }
    out += '.';
    name = parent_of(name);
  }
  return out;
}

std::string lower(std::string_view name) {
  // Lengths are below 64, so no length byte is a letter.
  std::string out(name);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  return out;
}

bool is_within(std::string_view name, std::string_view zone) {
  while (name.size() > zone.size()) name = parent_of(name);
  return name == zone;
}

std::string_view first_label(std::string_view name) {
  if (name.empty()) return {};
  return name.substr(1, static_cast<uint8_t>(name[0]));
}

std::string_view parent_of(std::string_view name) {
  if (name.size() <= 1) return name;
  return name.substr(std::min<size_t>(name.size() - 1, 1u + static_cast<uint8_t>(name[0])));
}

std::optional<Record> address_record(std::string_view name, const std::string& ip, uint32_t ttl) {
  char bytes[16];
  if (::inet_pton(AF_INET, ip.c_str(), bytes) == 1)
    return Record{std::string(name), type::kA, kClassIn, ttl, std::string(bytes, 4)};
  if (::inet_pton(AF_INET6, ip.c_str(), bytes) == 1)
    return Record{std::string(name), type::kAaaa, kClassIn, ttl, std::string(bytes, 16)};
  return std::nullopt;
}

std::string reverse_name(const std::string& ip) {
  auto record = address_record({}, ip, 0);
  if (!record) return {};
  std::string text;
  for (size_t i = record->data.size(); i-- > 0;) {
    auto byte = static_cast<uint8_t>(record->data[i]);
    if (record->type == type::kA) {
      text += std::to_string(byte) + ".";
    } else {
      for (int nibble : {byte & 15, byte >> 4}) (text += "0123456789abcdef"[nibble]) += '.';
    }
  }
  return *to_name(text + (record->type == type::kA ? "in-addr.arpa" : "ip6.arpa"));
}

}  // namespace kcube::dns
