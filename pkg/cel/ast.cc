#include "pkg/cel/ast.h"

#include <algorithm>

namespace kcube::cel {

NodePtr make_literal(uint32_t position, Value constant) {
  NodePtr node = Node::make(NodeKind::literal, position);
  node->constant = std::move(constant);
  return node;
}

NodePtr make_text(uint32_t position, std::string text, bool bytes) {
  NodePtr node = Node::make(NodeKind::literal, position);
  node->constant = bytes ? Value::bytes(std::move(text)) : Value::string(std::move(text));
  return node;
}

uint32_t depth_of(Node& node) {
  if (node.depth) return node.depth;
  uint32_t below = 0;
  for (const NodePtr& arg : node.args) below = std::max(below, depth_of(*arg));
  return node.depth = below + 1;
}

namespace {

bool continues(char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; }

}  // namespace

Issues::Issues(std::string_view source) : source_(source) {}

void Issues::report(uint32_t position, std::string message) {
  uint32_t line = 1, column = 0, seen = 0;
  for (size_t i = 0; i < source_.size() && seen < position; ++i) {
    if (i + 1 < source_.size() && continues(source_[i + 1])) continue;
    ++seen;
    if (source_[i] == '\n') ++line, column = 0;
    else ++column;
  }
  issues_.push_back({line, column, std::move(message)});
}

std::string Issues::to_string() const {
  std::vector<Issue> sorted = issues_;
  std::ranges::stable_sort(sorted, [](const Issue& a, const Issue& b) { return std::pair(a.line, a.column) < std::pair(b.line, b.column); });
  std::string out;
  for (const Issue& issue : sorted) {
    if (!out.empty()) out += '\n';
    // Of nothing there is no first column, and nothing to show.
    if (source_.empty()) {
      out += "ERROR: <input>:1:0: " + issue.message;
      continue;
    }
    out += "ERROR: <input>:" + std::to_string(issue.line) + ':' + std::to_string(issue.column + 1) + ": " + issue.message;
    size_t begin = 0;
    for (uint32_t line = 1; line < issue.line && begin != std::string_view::npos; ++line) begin = source_.find('\n', begin) + 1;
    size_t end = source_.find('\n', begin);
    std::string_view snippet = source_.substr(begin, end == std::string_view::npos ? end : end - begin);
    out += "\n | ";
    for (char c : snippet) out += c == '\t' ? ' ' : c;
    out += "\n | " + std::string(issue.column, '.') + '^';
  }
  return out;
}

}  // namespace kcube::cel
