#include "pkg/api/json_errors.h"

#include <cctype>

#include "pkg/base/strings.h"

namespace kcube::json {
namespace {

// As Go prints a character in single quotes: bytes above ASCII are taken for Latin-1.
std::string quoted(char c) {
  auto byte = static_cast<unsigned char>(c);
  constexpr char kHex[] = "0123456789abcdef";
  switch (c) {
    case '\'': return "'\\''";
    case '"': return "'\"'";
    case '\\': return "'\\\\'";
    case '\n': return "'\\n'";
    case '\r': return "'\\r'";
    case '\t': return "'\\t'";
    case '\a': return "'\\a'";
    case '\b': return "'\\b'";
    case '\f': return "'\\f'";
    case '\v': return "'\\v'";
  }
  if (byte < 0x20 || (byte >= 0x7f && byte < 0xa1)) return std::string("'\\x") + kHex[byte >> 4] + kHex[byte & 15] + "'";
  if (byte < 0x80) return std::string("'") + c + "'";
  return std::string("'") + static_cast<char>(0xc0 | byte >> 6) + static_cast<char>(0x80 | (byte & 0x3f)) + "'";
}

// Walks a text by JSON's grammar up to the first fault.
class Scanner {
 public:
  Scanner(std::string_view text, int max_depth) : text_(text), max_depth_(max_depth) {}

  std::string run() {
    if (!value()) return error_;
    space();
    if (at_ < text_.size()) fault("after top-level value");
    return error_;
  }

 private:
  bool fault(const std::string& where) {
    error_ = at_ < text_.size() ? "invalid character " + quoted(text_[at_]) + " " + where : "unexpected end of JSON input";
    return false;
  }
  void space() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\t' || text_[at_] == '\r' || text_[at_] == '\n')) ++at_;
  }
  char here() const { return at_ < text_.size() ? text_[at_] : '\0'; }

  // One value, with all that is in it. Nothing recurses: texts of strangers nest.
  bool value() {
    std::string open;   // the brackets around this place
    while (true) {
      space();
      if (here() == '{' || here() == '[') {
        if (open.size() >= static_cast<size_t>(max_depth_)) return fault("exceeded max depth");
        open += here();
        ++at_;
        space();
        if (here() != (open.back() == '{' ? '}' : ']')) {
          if (open.back() == '{' && !key()) return false;
          continue;
        }
      } else if (!scalar()) {
        return false;
      }
      if (!ends(open)) return false;
      if (open.empty()) return true;
    }
  }
  // Behind a value: closes what ends there, and goes on to the next one when there is one. False at a fault.
  bool ends(std::string& open) {
    while (!open.empty()) {
      space();
      const bool object = open.back() == '{';
      if (here() == (object ? '}' : ']')) {
        ++at_;
        open.pop_back();
        continue;
      }
      if (here() != ',') return fault(object ? "after object key:value pair" : "after array element");
      ++at_;
      return !object || key();
    }
    return true;
  }
  bool key() {
    space();
    if (here() != '"') return fault("looking for beginning of object key string");
    if (!string()) return false;
    space();
    if (here() != ':') return fault("after object key");
    ++at_;
    return true;
  }
  bool scalar() {
    switch (here()) {
      case '"': return string();
      case 't': return literal("true");
      case 'f': return literal("false");
      case 'n': return literal("null");
      case '-': return number();
      default: return std::isdigit(static_cast<unsigned char>(here())) ? number() : fault("looking for beginning of value");
    }
  }
  bool string() {
    for (++at_; at_ < text_.size(); ++at_) {
      if (text_[at_] == '"') return ++at_, true;
      if (static_cast<unsigned char>(text_[at_]) < 0x20) return fault("in string literal");
      if (text_[at_] != '\\') continue;
      ++at_;
      if (here() == 'u') {
        for (int i = 0; i < 4; ++i) {
          ++at_;
          if (!std::isxdigit(static_cast<unsigned char>(here()))) return fault("in \\u hexadecimal character escape");
        }
      } else if (at_ >= text_.size() || std::string_view("bfnrt\\/\"").find(here()) == std::string_view::npos) {
        return fault("in string escape code");
      }
    }
    return fault("");
  }
  bool literal(std::string_view word) {
    for (size_t i = 0; i < word.size(); ++i, ++at_)
      if (here() != word[i]) return fault("in literal " + std::string(word) + " (expecting '" + word[i] + "')");
    return true;
  }
  bool digits(const char* where) {
    if (!std::isdigit(static_cast<unsigned char>(here()))) return fault(where);
    while (std::isdigit(static_cast<unsigned char>(here()))) ++at_;
    return true;
  }
  bool number() {
    if (here() == '-') {
      ++at_;
      if (!std::isdigit(static_cast<unsigned char>(here()))) return fault("in numeric literal");
    }
    if (here() == '0') ++at_;
    else if (!digits("in numeric literal")) return false;
    if (here() == '.') {
      ++at_;
      if (!digits("after decimal point in numeric literal")) return false;
    }
    if (here() != 'e' && here() != 'E') return true;
    ++at_;
    if (here() == '+' || here() == '-') ++at_;
    return digits("in exponent of numeric literal");
  }

  std::string_view text_;
  const int max_depth_;
  size_t at_ = 0;
  std::string error_;
};

// The four hex digits after "\u" at `at`, or -1.
int escaped(std::string_view text, size_t at) {
  if (at + 6 > text.size() || text[at] != '\\' || text[at + 1] != 'u') return -1;
  int code = 0;
  for (size_t i = at + 2; i < at + 6; ++i) {
    auto c = static_cast<unsigned char>(text[i]);
    if (!std::isxdigit(c)) return -1;
    code = code << 4 | (std::isdigit(c) ? c - '0' : std::tolower(c) - 'a' + 10);
  }
  return code;
}

}  // namespace

std::string syntax_error(std::string_view text, int max_depth) { return Scanner(text, max_depth).run(); }

std::string repaired(std::string_view text) {
  std::string valid = made_utf8(text), out;
  out.reserve(valid.size());
  for (size_t i = 0; i < valid.size();) {
    if (valid[i] != '\\') {
      out += valid[i++];
      continue;
    }
    int code = escaped(valid, i), next = code < 0 ? -1 : escaped(valid, i + 6);
    const bool high = code >= 0xd800 && code < 0xdc00, low = code >= 0xdc00 && code < 0xe000;
    const size_t length = code < 0 ? std::min<size_t>(2, valid.size() - i) : high && next >= 0xdc00 && next < 0xe000 ? 12 : 6;
    if (length == 6 && (high || low)) out += "\xef\xbf\xbd";
    else out += valid.substr(i, length);
    i += length;
  }
  return out;
}

}  // namespace kcube::json
