#include <algorithm>

#include "pkg/auth/auth.h"
#include "pkg/base/strings.h"

namespace kcube::auth {
namespace {

constexpr std::string_view kPrefix = "K10";
constexpr size_t kHashDigits = 64;

bool all_of(std::string_view text, std::string_view more) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [&](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           more.find(c) != std::string_view::npos;
  });
}

std::string random_part(size_t length) {
  static constexpr char kAlphabet[] = "abcdefghijklmnopqrstuvwxyz0123456789";
  std::string out;
  while (out.size() < length)
    for (unsigned char c : random_bytes(length))
      if (c < 252 && out.size() < length) out += kAlphabet[c % 36];   // 252 is 7 times 36: every one as likely
  return out;
}

Status malformed() {
  return Status::bad_request(
      "malformed join token: expected K10<hash of the CA>::<id>:<secret> or <id>.<secret>; print one with `kcube token "
      "create`");
}

}  // namespace

Result<JoinToken> JoinToken::parse(const std::string& text) {
  std::string_view rest = text;
  JoinToken token;
  char separator = '.';
  if (rest.starts_with(kPrefix) && rest.find("::") != std::string_view::npos) {
    auto hash = rest.substr(kPrefix.size(), rest.find("::") - kPrefix.size());
    if (hash.size() != kHashDigits || hash.find_first_not_of("0123456789abcdef") != std::string_view::npos)
      return fail(malformed());
    token.ca_hash = hash;
    rest.remove_prefix(kPrefix.size() + kHashDigits + 2);
    separator = ':';
  }
  auto middle = rest.find(separator);
  if (middle == std::string_view::npos) return fail(malformed());
  token.id = rest.substr(0, middle);
  token.secret = rest.substr(middle + 1);
  if (!all_of(token.id, "-_") || !all_of(token.secret, "-_")) return fail(malformed());
  return token;
}

JoinToken JoinToken::make(std::string ca_hash) { return {std::move(ca_hash), random_part(6), random_part(16)}; }

std::string JoinToken::to_string() const {
  if (ca_hash.empty()) return id + "." + secret;
  return std::string(kPrefix) + ca_hash + "::" + id + ":" + secret;
}

}  // namespace kcube::auth
