// Text: splitting, encodings, numbers, random names. No locale anywhere.
#pragma once

#include <charconv>
#include <concepts>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace kcube {

// Every part, empty ones included: split("a,,b", ',') is {"a", "", "b"}; split("", ',') is {""}.
std::vector<std::string_view> split(std::string_view text, char separator);
std::string_view trim(std::string_view text);
std::string to_lower(std::string_view text);
std::string join(const std::vector<std::string>& parts, std::string_view separator);
std::string replace_all(std::string text, std::string_view from, std::string_view to);

std::string to_hex(std::string_view bytes);
// The length of the well-formed UTF-8 sequence that `text` begins with, 0 when it begins with none (RFC 3629).
size_t utf8_length(std::string_view text);
bool is_utf8(std::string_view text);
// With U+FFFD for each byte that is part of no well-formed sequence, as Go writes such text into JSON.
std::string made_utf8(std::string_view text);
// RFC 4648 with padding.
std::string base64_encode(std::string_view bytes);
// nullopt when malformed; padding required, line breaks not allowed.
std::optional<std::string> base64_decode(std::string_view text);
// RFC 4648 section 5, without padding, as in a JWT.
std::string base64url_encode(std::string_view bytes);
std::optional<std::string> base64url_decode(std::string_view text);
// Decodes %XX, and '+' as a space when `plus_is_space` (query strings).
std::string percent_decode(std::string_view text, bool plus_is_space);
std::string percent_encode(std::string_view text);

// The whole text as a number, or nullopt.
template <std::integral T>
std::optional<T> parse_int(std::string_view text) {
  T value{};
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || text.empty()) return std::nullopt;
  return value;
}

// From getrandom(2).
std::string random_bytes(size_t count);
// Lower-case letters and digits without vowels and look-alikes, as generated names have them.
std::string random_suffix(size_t length = 5);
// RFC 4122 version 4.
std::string new_uuid();
uint64_t random_u64();

// FNV-1a, 64 bits: stable over processes and versions (stored in names and labels).
uint64_t stable_hash(std::string_view bytes);

}  // namespace kcube
