#include "pkg/cel/lexer.h"

#include <array>

namespace kcube::cel {
namespace {

bool digit(char c) { return c >= '0' && c <= '9'; }
bool hex_digit(char c) { return digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }
bool letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }

void append_utf8(std::string& out, uint32_t c) {
  if (c < 0x80) out += static_cast<char>(c);
  else if (c < 0x800) out += static_cast<char>(0xC0 | c >> 6), out += static_cast<char>(0x80 | (c & 0x3F));
  else if (c < 0x10000) out += static_cast<char>(0xE0 | c >> 12), out += static_cast<char>(0x80 | (c >> 6 & 0x3F)), out += static_cast<char>(0x80 | (c & 0x3F));
  else out += static_cast<char>(0xF0 | c >> 18), out += static_cast<char>(0x80 | (c >> 12 & 0x3F)), out += static_cast<char>(0x80 | (c >> 6 & 0x3F)), out += static_cast<char>(0x80 | (c & 0x3F));
}

class Lexer {
 public:
  Lexer(std::string_view source, Issues& issues) : source_(source), issues_(issues) {}

  std::vector<Token> run() {
    while (skip_space(), at_ < source_.size()) next();
    Token end;
    end.position = position_of(source_.size());
    tokens_.push_back(std::move(end));
    return std::move(tokens_);
  }

 private:
  char peek(size_t ahead = 0) const { return at_ + ahead < source_.size() ? source_[at_ + ahead] : '\0'; }

  uint32_t position_of(size_t offset) {
    for (; counted_ < offset; ++counted_) points_ += (static_cast<unsigned char>(source_[counted_]) & 0xC0) != 0x80;
    return points_;
  }

  void skip_space() {
    for (; at_ < source_.size(); ++at_) {
      char c = source_[at_];
      if (c == '/' && peek(1) == '/') {
        while (at_ + 1 < source_.size() && source_[at_ + 1] != '\n') ++at_;
      } else if (c != ' ' && c != '\t' && c != '\n' && c != '\r' && c != '\f') {
        return;
      }
    }
  }

  void add(TokenKind kind, size_t begin, std::string value = {}) {
    tokens_.push_back({kind, source_.substr(begin, at_ - begin), position_of(begin), std::move(value)});
  }

  void next() {
    size_t begin = at_;
    if (size_t quote = string_prefix()) return string(begin, quote);
    char c = peek();
    if (letter(c)) return word(begin);
    if (digit(c) || (c == '.' && digit(peek(1)))) return number(begin);
    symbol(begin);
  }

  // The length of the prefix and opening quote of a string here, or 0.
  size_t string_prefix() const {
    size_t i = 0;
    bool raw = false, bytes = false;
    for (; i < 2; ++i) {
      char c = peek(i);
      if ((c == 'r' || c == 'R') && !raw) raw = true;
      else if ((c == 'b' || c == 'B') && !bytes && !raw) bytes = true;
      else break;
    }
    return peek(i) == '"' || peek(i) == '\'' ? i + 1 : 0;
  }

  void string(size_t begin, size_t prefix) {
    bool raw = false, bytes = false;
    for (size_t i = 0; i + 1 < prefix; ++i) (peek(i) == 'r' || peek(i) == 'R' ? raw : bytes) = true;
    char quote = peek(prefix - 1);
    bool triple = peek(prefix) == quote && peek(prefix + 1) == quote;
    at_ += prefix + (triple ? 2 : 0);
    std::string value;
    for (; at_ < source_.size(); ) {
      char c = source_[at_];
      if (c == quote && (!triple || (peek(1) == quote && peek(2) == quote))) {
        at_ += triple ? 3 : 1;
        return add(bytes ? TokenKind::bytes : TokenKind::string, begin, std::move(value));
      }
      if (!triple && (c == '\n' || c == '\r')) break;
      if (c == '\\' && !raw) {
        if (!escape(value, bytes)) break;
      } else {
        value += c, ++at_;
      }
    }
    std::string text(source_.substr(begin, at_ - begin + (at_ < source_.size())));
    if (at_ < source_.size()) ++at_;
    issues_.report(position_of(begin), "Syntax error: token recognition error at: '" + text + "'");
  }

  bool escape(std::string& out, bool bytes) {
    char c = peek(1);
    static constexpr std::string_view names = "abfnrtv\\'\"`?", values = "\a\b\f\n\r\t\v\\'\"`?";
    if (size_t i = names.find(c); i != std::string_view::npos && c != '\0') return out += values[i], at_ += 2, true;
    int digits = c == 'x' || c == 'X' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : c >= '0' && c <= '3' ? 3 : 0;
    if (digits == 0 || (bytes && digits > 3)) return false;
    bool octal = digits == 3;
    size_t start = at_ + (octal ? 1 : 2);
    if (start + digits > source_.size()) return false;
    uint32_t code = 0;
    for (int i = 0; i < digits; ++i) {
      char d = source_[start + i];
      if (octal ? d < '0' || d > '7' : !hex_digit(d)) return false;
      code = code * (octal ? 8 : 16) + (digit(d) ? d - '0' : (d | 32) - 'a' + 10);
    }
    if (bytes) out += static_cast<char>(code);
    else if (code > 0x10FFFF || (code >= 0xD800 && code < 0xE000)) return false;
    else append_utf8(out, code);
    at_ = start + digits;
    return true;
  }

  void word(size_t begin) {
    while (letter(peek()) || digit(peek())) ++at_;
    std::string_view text = source_.substr(begin, at_ - begin);
    add(text == "true" || text == "false" || text == "null" || text == "in" ? TokenKind::keyword : TokenKind::identifier, begin);
  }

  void number(size_t begin) {
    TokenKind kind = TokenKind::integer;
    if (peek() == '0' && peek(1) == 'x' && hex_digit(peek(2))) {
      at_ += 2;
      while (hex_digit(peek())) ++at_;
    } else {
      while (digit(peek())) ++at_;
      if (peek() == '.' && digit(peek(1))) {
        kind = TokenKind::number, ++at_;
        while (digit(peek())) ++at_;
      }
      size_t sign = peek(1) == '+' || peek(1) == '-';
      if ((peek() == 'e' || peek() == 'E') && digit(peek(1 + sign))) {
        kind = TokenKind::number, at_ += 1 + sign;
        while (digit(peek())) ++at_;
      }
    }
    if (kind == TokenKind::integer && (peek() == 'u' || peek() == 'U')) kind = TokenKind::uint, ++at_;
    add(kind, begin);
  }

  void symbol(size_t begin) {
    static constexpr std::array<std::string_view, 6> pairs{"==", "!=", "<=", ">=", "&&", "||"};
    for (std::string_view pair : pairs) {
      if (source_.substr(at_).starts_with(pair)) return at_ += 2, add(TokenKind::symbol, begin);
    }
    ++at_;
    if (std::string_view("+-*/%<>!?:.,()[]{}").find(source_[begin]) != std::string_view::npos) return add(TokenKind::symbol, begin);
    while (at_ < source_.size() && (static_cast<unsigned char>(source_[at_]) & 0xC0) == 0x80) ++at_;
    issues_.report(position_of(begin), "Syntax error: token recognition error at: '" + std::string(source_.substr(begin, at_ - begin)) + "'");
  }

  std::string_view source_;
  Issues& issues_;
  size_t at_ = 0, counted_ = 0;
  uint32_t points_ = 0;
  std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> tokenize(std::string_view source, Issues& issues) { return Lexer(source, issues).run(); }

}  // namespace kcube::cel
