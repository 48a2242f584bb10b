#include "pkg/cel/parser.h"

#include <array>
#include <charconv>
#include <cmath>

#include "pkg/base/strings.h"
#include "pkg/cel/lexer.h"
#include "pkg/cel/library/text.h"

namespace kcube::cel {
namespace {

constexpr std::string_view kOperandExpected =
    "expecting {'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}";

bool reserved(std::string_view word) {
  static constexpr std::array<std::string_view, 17> words{"as", "break", "const", "continue", "else", "false", "for", "function", "if", "import",
                                                          "let", "loop", "package", "namespace", "return", "var", "void"};
  return std::ranges::find(words, word) != words.end() || word == "while";
}

struct Operator {
  std::string_view symbol, function;
};
constexpr Operator kRelations[]{{"<", "_<_"}, {"<=", "_<=_"}, {">", "_>_"}, {">=", "_>=_"}, {"==", "_==_"}, {"!=", "_!=_"}, {"in", "@in"}};
constexpr Operator kSums[]{{"+", "_+_"}, {"-", "_-_"}};
constexpr Operator kProducts[]{{"*", "_*_"}, {"/", "_/_"}, {"%", "_%_"}};

class Parser {
 public:
  Parser(std::vector<Token> tokens, Issues& issues, bool bindings) : tokens_(std::move(tokens)), issues_(issues), bindings_(bindings) {}

  NodePtr run() {
    NodePtr node = expression();
    if (node && peek().kind != TokenKind::end) {
      // One token too many is told of as such.
      const bool last = tokens_[at_ + 1].kind == TokenKind::end;
      report(std::string(last ? "extraneous" : "mismatched") + " input '" + std::string(peek().text) + "' expecting <EOF>");
      return nullptr;
    }
    return node;
  }

 private:
  const Token& peek() const { return tokens_[at_]; }
  bool is(std::string_view symbol) const {
    return (peek().kind == TokenKind::symbol || peek().kind == TokenKind::keyword) && peek().text == symbol;
  }
  bool take(std::string_view symbol) { return is(symbol) && (++at_, true); }
  void report(std::string message) {
    if (!failed_) issues_.report(peek().position, "Syntax error: " + std::move(message));
    failed_ = true;
  }
  std::string shown() const { return peek().kind == TokenKind::end ? "<EOF>" : std::string(peek().text); }
  bool expect(std::string_view symbol) {
    if (take(symbol)) return true;
    if (symbol == ")") report("missing ')' at '" + shown() + "'");
    else if (symbol == "]" || symbol == "}") report("mismatched input '" + shown() + "' expecting {'" + std::string(symbol) + "', ','}");
    else report("mismatched input '" + shown() + "' expecting '" + std::string(symbol) + "'");
    return false;
  }

  void too_deep() {
    if (!failed_) issues_.report(0, "expression recursion limit exceeded: " + std::to_string(kMaxDepth));
    failed_ = true;
  }
  // Null when the tree became too deep.
  NodePtr limited(NodePtr node) {
    if (!node || depth_of(*node) <= kMaxTreeDepth) return node;
    return too_deep(), nullptr;
  }

  struct Deeper {
    explicit Deeper(int& depth) : depth(++depth) {}
    ~Deeper() { --depth; }
    int& depth;
  };

  NodePtr expression() {
    Deeper deeper(depth_);
    if (depth_ > kMaxDepth) {
      return too_deep(), nullptr;
    }
    NodePtr condition = chain("||", "_||_", [&] { return chain("&&", "_&&_", [&] { return relation(); }); });
    if (!condition || !is("?")) return condition;
    uint32_t position = peek().position;
    ++at_;
    NodePtr yes = chain("||", "_||_", [&] { return chain("&&", "_&&_", [&] { return relation(); }); });
    if (!yes || !expect(":")) return nullptr;
    NodePtr no = expression();
    if (!no) return nullptr;
    return limited(make_call(position, "_?_:_", std::move(condition), std::move(yes), std::move(no)));
  }

  // All terms of a chain become arguments of one node.
  template <typename Term>
  NodePtr chain(std::string_view symbol, std::string function, Term term) {
    NodePtr first = term();
    if (!first || !is(symbol)) return first;
    NodePtr all = make_call(peek().position, function, std::move(first));
    while (take(symbol)) {
      NodePtr next = term();
      if (!next) return nullptr;
      all->args.push_back(std::move(next));
    }
    return limited(std::move(all));
  }

  template <size_t N, typename Operand>
  NodePtr binary(const Operator (&operators)[N], Operand operand) {
    NodePtr left = operand();
    int levels = 0;
    for (bool found = true; left && found; ) {
      found = false;
      for (const Operator& o : operators) {
        if (!is(o.symbol)) continue;
        if (++levels > kMaxDepth) return too_deep(), nullptr;
        uint32_t position = peek().position;
        ++at_, found = true;
        NodePtr right = operand();
        if (!right) return nullptr;
        left = limited(make_call(position, std::string(o.function), std::move(left), std::move(right)));
        break;
      }
    }
    return left;
  }

  NodePtr relation() {
    return binary(kRelations, [&] { return binary(kSums, [&] { return binary(kProducts, [&] { return unary(); }); }); });
  }

  NodePtr unary() {
    if (!is("!") && !is("-")) return member();
    std::string_view symbol = peek().text;
    uint32_t position = peek().position;
    size_t count = 0;
    while (is(symbol)) {
      // "-5" is a literal.
      TokenKind next = tokens_[at_ + 1].kind;
      if (symbol == "-" && count == 0 && (next == TokenKind::integer || next == TokenKind::number)) return member();
      ++count, ++at_;
    }
    NodePtr operand = member();
    if (!operand || count % 2 == 0) return limited(std::move(operand));
    return make_call(position, symbol == "!" ? "!_" : "-_", std::move(operand));
  }

  NodePtr member() {
    NodePtr node = primary();
    for (int levels = 0; node; ++levels) {
      if (levels > kMaxDepth) return too_deep(), nullptr;
      if (is(".")) node = select(std::move(node));
      else if (is("[")) node = index(std::move(node));
      else if (is("{") && qualified_name(*node)) node = object(std::move(node));
      else break;
      node = limited(std::move(node));
    }
    return node;
  }

  NodePtr select(NodePtr operand) {
    uint32_t position = peek().position;
    ++at_;
    bool optional = is("?");
    if (optional) position = peek().position, ++at_;
    if (peek().kind != TokenKind::identifier) {
      return report((peek().kind == TokenKind::end ? "no viable alternative at input '.'" : "no viable alternative at input '." + shown() + "'")), nullptr;
    }
    std::string name(peek().text);
    ++at_;
    if (optional) {
      return make_call(position, "_?._", std::move(operand), make_text(position, std::move(name)));
    }
    if (is("(")) {
      NodePtr call = Node::make(NodeKind::call, peek().position, std::move(name));
      call->member = true;
      call->args.push_back(std::move(operand));
      return arguments(std::move(call));
    }
    NodePtr node = Node::make(NodeKind::select, position, std::move(name));
    node->args.push_back(std::move(operand));
    return node;
  }

  NodePtr index(NodePtr operand) {
    uint32_t position = peek().position;
    ++at_;
    bool optional = take("?");
    NodePtr key = expression();
    if (!key || !expect("]")) return nullptr;
    return make_call(position, optional ? "_[?_]" : "_[_]", std::move(operand), std::move(key));
  }

  NodePtr arguments(NodePtr call) {
    ++at_;
    if (!take(")")) {
      do {
        NodePtr argument = expression();
        if (!argument) return nullptr;
        call->args.push_back(std::move(argument));
      } while (take(","));
      if (!expect(")")) return nullptr;
    }
    return expand_macro(std::move(call), issues_, bindings_);
  }

  static bool qualified_name(const Node& node) {
    if (node.kind == NodeKind::ident) return true;
    return node.kind == NodeKind::select && !node.test_only && qualified_name(*node.args[0]);
  }
  static std::string qualified(const Node& node) {
    return node.kind == NodeKind::ident ? node.name : qualified(*node.args[0]) + "." + node.name;
  }

  NodePtr object(NodePtr name) {
    NodePtr node = Node::make(NodeKind::object, peek().position, qualified(*name));
    ++at_;
    while (!is("}")) {
      bool optional = take("?");
      if (peek().kind != TokenKind::identifier) return report("mismatched input '" + shown() + "' expecting {'}', ',', '?', IDENTIFIER}"), nullptr;
      node->fields.emplace_back(peek().text);
      ++at_;
      node->positions.push_back(peek().position);
      if (!expect(":")) return nullptr;
      NodePtr value = expression();
      if (!value) return nullptr;
      node->args.push_back(std::move(value));
      node->optional.push_back(optional);
      if (!take(",")) break;
    }
    return expect("}") ? std::move(node) : nullptr;
  }

  NodePtr primary() {
    const Token& token = peek();
    switch (token.kind) {
      case TokenKind::identifier: return identifier(false);
      case TokenKind::string: return ++at_, make_text(token.position, token.value);
      case TokenKind::bytes: return ++at_, make_text(token.position, token.value, true);
      case TokenKind::integer: case TokenKind::uint: case TokenKind::number: return number(false);
      case TokenKind::keyword:
        if (token.text == "in") break;
        return ++at_, make_literal(token.position, token.text == "null" ? Value::null() : Value::boolean(token.text == "true"));
      case TokenKind::symbol:
        if (token.text == "-" && (tokens_[at_ + 1].kind == TokenKind::integer || tokens_[at_ + 1].kind == TokenKind::number)) return ++at_, number(true);
        if (token.text == "(") {
          ++at_;
          NodePtr inner = expression();
          return inner && expect(")") ? std::move(inner) : nullptr;
        }
        if (token.text == "[") return list();
        if (token.text == "{") return map();
        if (token.text == "." && tokens_[at_ + 1].kind == TokenKind::identifier) return ++at_, identifier(true);
        break;
      default: break;
    }
    report((token.kind == TokenKind::end || at_ == 0 ? "mismatched input '" : "extraneous input '") + shown() + "' " + std::string(kOperandExpected));
    return nullptr;
  }

  NodePtr identifier(bool absolute) {
    const Token& token = peek();
    ++at_;
    std::string name(token.text);
    if (reserved(name)) {
      issues_.report(token.position, "reserved identifier: " + name);
      failed_ = true;
      return nullptr;
    }
    if (is("(")) return arguments(Node::make(NodeKind::call, peek().position, std::move(name)));
    (void)absolute;   // there is one container only, the outermost
    return Node::make(NodeKind::ident, token.position, std::move(name));
  }

  NodePtr number(bool negative) {
    const Token& token = peek();
    uint32_t position = negative ? tokens_[at_ - 1].position : token.position;
    ++at_;
    std::string_view digits = token.text;
    std::string shown = (negative ? "-" : "") + std::string(digits);
    if (token.kind == TokenKind::number) {
      double d = 0;
      auto result = std::from_chars(digits.data(), digits.data() + digits.size(), d);
      if (result.ec != std::errc()) return issues_.report(position, "invalid double literal"), nullptr;
      return make_literal(position, Value::number(negative ? -d : d));
    }
    if (token.kind == TokenKind::uint) digits.remove_suffix(1);
    int base = digits.starts_with("0x") ? 16 : 10;
    if (base == 16) digits.remove_prefix(2);
    uint64_t u = 0;
    bool ok = std::from_chars(digits.data(), digits.data() + digits.size(), u, base).ec == std::errc();
    if (token.kind == TokenKind::uint) {
      if (!ok) return issues_.report(position, "invalid uint literal"), nullptr;
      return make_literal(position, Value::uint(u));
    }
    constexpr uint64_t limit = uint64_t{1} << 63;
    if (!ok || u > limit || (u == limit && !negative)) return issues_.report(position, "invalid int literal"), nullptr;
    return make_literal(position, Value::integer(negative ? static_cast<int64_t>(~u + 1) : static_cast<int64_t>(u)));
  }

  NodePtr list() {
    NodePtr node = Node::make(NodeKind::list, peek().position);
    ++at_;
    while (!is("]")) {
      bool optional = take("?");
      NodePtr item = expression();
      if (!item) return nullptr;
      node->args.push_back(std::move(item));
      node->optional.push_back(optional);
      if (!take(",")) break;
    }
    return expect("]") ? std::move(node) : nullptr;
  }

  NodePtr map() {
    NodePtr node = Node::make(NodeKind::map, peek().position);
    ++at_;
    while (!is("}")) {
      bool optional = take("?");
      NodePtr key = expression();
      if (!key || !expect(":")) return nullptr;
      NodePtr value = expression();
      if (!value) return nullptr;
      node->args.push_back(std::move(key));
      node->args.push_back(std::move(value));
      node->optional.push_back(optional);
      if (!take(",")) break;
    }
    return expect("}") ? std::move(node) : nullptr;
  }

  std::vector<Token> tokens_;
  Issues& issues_;
  const bool bindings_;
  size_t at_ = 0;
  int depth_ = 0;
  bool failed_ = false;
};
}  // namespace

NodePtr parse(std::string_view source, Issues& issues, bool bindings) {
  if (!valid_utf8(source)) return issues.report(0, "Syntax error: source is not valid UTF-8"), nullptr;
  if (uint64_t size = count_code_points(source); size > kMaxSourceLength) {
    issues.report(0, "expression code point size exceeds limit: size: " + std::to_string(size) + ", limit " + std::to_string(kMaxSourceLength));
    return nullptr;
  }
  std::vector<Token> tokens = tokenize(source, issues);
  NodePtr node = Parser(std::move(tokens), issues, bindings).run();
  return issues.empty() ? std::move(node) : nullptr;
}

}  // namespace kcube::cel
