#include "pkg/apiserver/extension/json_path.h"

#include <cctype>
#include <optional>

#include "pkg/base/strings.h"

namespace kcube::apiserver::extension {
namespace {

constexpr size_t kLimit = 4096;

Status bad(std::string message) { return Status::bad_request(std::move(message)); }

bool is_name(char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '-' || c == '/' || c == '\\' || static_cast<unsigned char>(c) >= 0x80; }

// The end of the bracket that opens at `at`, or npos; quotes and nested brackets are passed over.
size_t closing(std::string_view text, size_t at) {
  int depth = 0;
  char quote = 0;
  for (; at < text.size(); ++at) {
    char c = text[at];
    if (quote != 0) {
      if (c == '\\') ++at;
      else if (c == quote) quote = 0;
    } else if (c == '"' || c == '\'') {
      quote = c;
    } else if (c == '[' || c == '(') {
      ++depth;
    } else if ((c == ']' || c == ')') && --depth == 0) {
      return at;
    }
  }
  return std::string_view::npos;
}

std::optional<std::string> unquote(std::string_view text) {
  if (text.size() < 2 || (text.front() != '\'' && text.front() != '"') || text.back() != text.front()) return std::nullopt;
  std::string out;
  for (size_t i = 1; i + 1 < text.size(); ++i) {
    if (text[i] == '\\' && i + 2 < text.size()) ++i;
    out += text[i];
  }
  return out;
}

bool less(const json::value& a, const json::value& b) {
  if (a.is_number() && b.is_number()) return json::get_double(&a) < json::get_double(&b);
  if (a.is_string() && b.is_string()) return a.get_string() < b.get_string();
  return false;
}
bool equal(const json::value& a, const json::value& b) {
  if (a.is_number() && b.is_number()) return json::get_double(&a) == json::get_double(&b);
  return a == b;
}

}  // namespace

Result<JsonPath> JsonPath::parse(std::string_view text) {
  if (text.size() > kLimit) return fail(bad("path is too long"));
  JsonPath path;
  size_t at = 0;
  if (text.starts_with('$') || text.starts_with('@')) at = 1;
  while (at < text.size()) {
    char c = text[at];
    if (c == '.') {
      if (text.substr(at).starts_with("..")) {
        path.steps_.push_back({.kind = Step::Kind::recursive});
        at += 2;
        if (at < text.size() && text[at] == '[') continue;
      } else {
        ++at;
      }
      if (at >= text.size()) break;
      if (text[at] == '[') continue;
      if (text[at] == '*') {
        path.steps_.push_back({.kind = Step::Kind::all});
        ++at;
        continue;
      }
      std::string name;
      while (at < text.size() && is_name(text[at])) {
        if (text[at] == '\\' && at + 1 < text.size()) ++at;
        name += text[at++];
      }
      if (name.empty()) return fail(bad(std::string("unrecognized character in action: U+00") + to_hex(text.substr(at, 1))));
      path.steps_.push_back({.kind = Step::Kind::member, .names = {std::move(name)}});
      continue;
    }
    if (c != '[') return fail(bad("unrecognized character in path: '" + std::string(1, c) + "'"));
    size_t end = closing(text, at);
    if (end == std::string_view::npos) return fail(bad("unterminated array"));
    std::string_view inside = trim(text.substr(at + 1, end - at - 1));
    at = end + 1;
    Step step;
    if (inside == "*") {
      step.kind = Step::Kind::all;
    } else if (inside.starts_with("?(") && inside.ends_with(")")) {
      step.kind = Step::Kind::filter;
      std::string_view expression = trim(inside.substr(2, inside.size() - 3));
      size_t found = std::string_view::npos;
      char quote = 0;
      for (size_t i = 0; i < expression.size() && found == std::string_view::npos; ++i) {
        char e = expression[i];
        if (quote != 0) {
          if (e == quote) quote = 0;
        } else if (e == '"' || e == '\'') {
          quote = e;
        } else if (e == '=' || e == '<' || e == '>' || e == '!') {
          found = i;
        }
      }
      auto side = [](std::string_view s, std::shared_ptr<const JsonPath>& into, json::value& literal) -> Result<void> {
        s = trim(s);
        if (auto quoted = unquote(s)) {
          literal = json::value(*quoted);
        } else if (s.starts_with('@') || s.starts_with('.') || s.starts_with('$')) {
          auto inner = JsonPath::parse(s);
          if (!inner) return fail(inner.error());
          into = std::make_shared<const JsonPath>(std::move(*inner));
        } else {
          auto value = json::parse(s);
          if (!value) return fail(bad("invalid literal in filter: " + std::string(s)));
          literal = std::move(*value);
        }
        return {};
      };
      if (auto done = side(expression.substr(0, found), step.left_path, step.left); !done) return fail(done.error());
      if (found != std::string_view::npos) {
        size_t length = found + 1 < expression.size() && expression[found + 1] == '=' ? 2 : 1;
        step.op = expression.substr(found, length);
        if (auto done = side(expression.substr(found + length), step.right_path, step.right); !done) return fail(done.error());
      }
    } else if (auto name = unquote(inside); name && inside.find("',") == std::string_view::npos && inside.find("\",") == std::string_view::npos) {
      step.names.push_back(std::move(*name));
    } else if (inside.starts_with('\'') || inside.starts_with('"')) {
      for (std::string_view part : split(inside, ',')) {
        auto one = unquote(trim(part));
        if (!one) return fail(bad("invalid array index " + std::string(inside)));
        step.names.push_back(std::move(*one));
      }
    } else {
      auto parts = split(inside, ':');
      step.kind = parts.size() == 1 ? Step::Kind::index : Step::Kind::slice;
      if (parts.size() > 3) return fail(bad("invalid array index " + std::string(inside)));
      for (size_t i = 0; i < parts.size(); ++i) {
        if (trim(parts[i]).empty() && parts.size() > 1) continue;
        auto n = parse_int<int64_t>(trim(parts[i]));
        if (!n) return fail(bad("invalid array index " + std::string(inside)));
        if (i == 0) step.first = *n, step.has_first = true;
        if (i == 1) step.last = *n, step.has_last = true;
        if (i == 2) step.step = *n;
      }
      if (step.step < 1) return fail(bad("step must be > 0"));
    }
    path.steps_.push_back(std::move(step));
  }
  return path;
}

bool JsonPath::holds(const Step& filter, const json::value& element) {
  auto resolve = [&](const std::shared_ptr<const JsonPath>& path, const json::value& literal) -> const json::value* {
    if (!path) return &literal;
    auto found = path->find(element);
    return found.empty() ? nullptr : found.front();
  };
  const json::value* left = resolve(filter.left_path, filter.left);
  if (filter.op.empty()) return left != nullptr;
  const json::value* right = resolve(filter.right_path, filter.right);
  if (left == nullptr || right == nullptr) return false;
  if (filter.op == "==" || filter.op == "=") return equal(*left, *right);
  if (filter.op == "!=") return !equal(*left, *right);
  if (filter.op == "<") return less(*left, *right);
  if (filter.op == "<=") return !less(*right, *left);
  if (filter.op == ">") return less(*right, *left);
  return !less(*left, *right);
}

void JsonPath::apply(const Step& step, const json::value& value, std::vector<const json::value*>& out) {
  switch (step.kind) {
    case Step::Kind::member:
      for (const std::string& name : step.names)
        if (const json::value* found = json::find(&value, name)) out.push_back(found);
      return;
    case Step::Kind::index:
    case Step::Kind::slice: {
      if (!value.is_array()) return;
      auto size = static_cast<int64_t>(value.get_array().size());
      auto place = [&](int64_t i) { return i < 0 ? i + size : i; };
      if (step.kind == Step::Kind::index) {
        int64_t i = place(step.first);
        if (i >= 0 && i < size) out.push_back(&value.get_array()[static_cast<size_t>(i)]);
        return;
      }
      int64_t first = step.has_first ? std::max<int64_t>(0, place(step.first)) : 0, last = step.has_last ? std::min(place(step.last), size) : size;
      for (int64_t i = first; i < last; i += step.step) out.push_back(&value.get_array()[static_cast<size_t>(i)]);
      return;
    }
    case Step::Kind::all:
      if (value.is_array())
        for (const json::value& item : value.get_array()) out.push_back(&item);
      if (value.is_object())
        for (const auto& m : value.get_object()) out.push_back(&m.value());
      return;
    case Step::Kind::recursive:
      out.push_back(&value);
      if (value.is_array())
        for (const json::value& item : value.get_array()) apply(step, item, out);
      if (value.is_object())
        for (const auto& m : value.get_object()) apply(step, m.value(), out);
      return;
    case Step::Kind::filter:
      if (!value.is_array()) return;
      for (const json::value& item : value.get_array())
        if (holds(step, item)) out.push_back(&item);
      return;
  }
}

std::vector<const json::value*> JsonPath::find(const json::value& root) const {
  std::vector<const json::value*> current{&root};
  for (const Step& step : steps_) {
    std::vector<const json::value*> next;
    for (const json::value* v : current) apply(step, *v, next);
    current = std::move(next);
  }
  return current;
}

}  // namespace kcube::apiserver::extension
