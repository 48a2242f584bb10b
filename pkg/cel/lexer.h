// Tokens of an expression.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "pkg/cel/ast.h"

namespace kcube::cel {

enum class TokenKind : uint8_t { end, identifier, keyword, integer, uint, number, string, bytes, symbol, invalid };

struct Token {
  TokenKind kind = TokenKind::end;
  std::string_view text;           // as written
  uint32_t position = 0;           // in code points
  std::string value;               // of strings and bytes, with escapes resolved
};

// All tokens, the last is `end`. What is no token is reported and left out.
std::vector<Token> tokenize(std::string_view source, Issues& issues);

}  // namespace kcube::cel
