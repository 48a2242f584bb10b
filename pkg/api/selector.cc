#include "pkg/api/selector.h"

#include <algorithm>

#include "pkg/api/names.h"
#include "pkg/base/strings.h"

namespace kcube::api {
namespace {

// Words of the selector language: identifiers and the operators "=" "==" "!=" "!" "," "(" ")" "<" ">".
class Lexer {
 public:
  explicit Lexer(std::string_view text) : text_(text) { next(); }
  std::string_view token() const { return token_; }
  bool end() const { return token_.empty(); }
  bool identifier() const { return !end() && !is_special(token_[0]); }
  std::string_view take() {
    auto t = token_;
    next();
    return t;
  }

 private:
  static bool is_special(char c) { return c == '=' || c == '!' || c == ',' || c == '(' || c == ')' || c == '<' || c == '>'; }
  static bool is_space(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

  void next() {
    while (at_ < text_.size() && is_space(text_[at_])) ++at_;
    size_t start = at_;
    if (at_ >= text_.size()) {
      token_ = {};
    } else if (is_special(text_[at_])) {
      char c = text_[at_++];
      if ((c == '=' || c == '!') && at_ < text_.size() && text_[at_] == '=') ++at_;
      token_ = text_.substr(start, at_ - start);
    } else {
      while (at_ < text_.size() && !is_special(text_[at_]) && !is_space(text_[at_])) ++at_;
      token_ = text_.substr(start, at_ - start);
    }
  }

  std::string_view text_;
  size_t at_ = 0;
  std::string_view token_;
};

using Requirement = LabelSelector::Requirement;
using Op = LabelSelector::Op;

Status cannot_parse(std::string_view what) { return Status::bad_request("unable to parse requirement: " + std::string(what)); }

Result<std::vector<std::string>> parse_values(Lexer& lexer) {
  if (lexer.take() != "(") return fail(cannot_parse("found '" + std::string(lexer.token()) + "' expected: '('"));
  std::vector<std::string> values;
  // "(a,,b)" and "()" hold empty values, as the real parser has it.
  std::string value;
  while (true) {
    if (lexer.end()) return fail(cannot_parse("found '', expected: ',' or ')'"));
    if (lexer.identifier()) {
      value = lexer.take();
      continue;
    }
    std::string_view token = lexer.take();
    if (token != "," && token != ")") return fail(cannot_parse("found '" + std::string(token) + "', expected: ',', or identifier"));
    values.push_back(std::move(value));
    value.clear();
    if (token == ")") break;
  }
  std::ranges::sort(values);
  return values;
}

Result<Requirement> parse_requirement(Lexer& lexer) {
  Requirement r{"", Op::exists, {}};
  bool negated = false;
  if (lexer.token() == "!") {
    lexer.take();
    negated = true;
  }
  if (!lexer.identifier()) return fail(cannot_parse("found '" + std::string(lexer.token()) + "', expected: identifier"));
  r.key = lexer.take();
  if (std::string problem = check_qualified_name(r.key); !problem.empty())
    return fail(cannot_parse("key: Invalid value: \"" + r.key + "\": " + problem));
  if (negated) {
    r.op = Op::not_exists;
    return r;
  }
  if (lexer.end() || lexer.token() == ",") return r;
  std::string_view op = lexer.take();
  if (op == "in" || op == "notin") {
    r.op = op == "in" ? Op::in : Op::not_in;
    auto values = parse_values(lexer);
    if (!values) return fail(values.error());
    r.values = std::move(*values);
  } else if (op == "=" || op == "==" || op == "!=") {
    r.op = op == "!=" ? Op::not_in : Op::in;
    r.values = {lexer.identifier() ? std::string(lexer.take()) : std::string()};
  } else if (op == ">" || op == "<") {
    r.op = op == ">" ? Op::greater : Op::less;
    r.values = {lexer.identifier() ? std::string(lexer.take()) : std::string()};
    if (!parse_int<int64_t>(r.values[0])) return fail(cannot_parse("values[0]: for 'Gt', 'Lt' operators, the value must be an integer"));
  } else {
    return fail(cannot_parse("found '" + std::string(op) + "', expected: in, notin, =, ==, !=, gt, lt"));
  }
  for (const std::string& value : r.values)
    if (std::string problem = check_label_value(value); !problem.empty())
      return fail(cannot_parse("values[0][" + r.key + "]: Invalid value: \"" + value + "\": " + problem));
  return r;
}

bool holds(const Requirement& r, const std::string* value) {
  switch (r.op) {
    case Op::exists: return value != nullptr;
    case Op::not_exists: return value == nullptr;
    case Op::in: return value != nullptr && std::ranges::binary_search(r.values, *value);
    case Op::not_in: return value == nullptr || !std::ranges::binary_search(r.values, *value);
    case Op::greater:
    case Op::less: {
      if (value == nullptr) return false;
      auto number = parse_int<int64_t>(*value), limit = parse_int<int64_t>(r.values[0]);
      if (!number || !limit) return false;
      return r.op == Op::greater ? *number > *limit : *number < *limit;
    }
  }
  return false;
}

}  // namespace

LabelSelector LabelSelector::nothing() {
  LabelSelector s;
  s.nothing_ = true;
  return s;
}

Result<LabelSelector> LabelSelector::parse(std::string_view text) {
  LabelSelector selector;
  Lexer lexer(text);
  while (!lexer.end()) {
    auto r = parse_requirement(lexer);
    if (!r) return fail(r.error());
    selector.requirements_.push_back(std::move(*r));
    if (lexer.end()) break;
    if (lexer.take() != ",") return fail(cannot_parse("found '" + std::string(lexer.token()) + "', expected: ',' or 'end of string'"));
    if (lexer.end()) return fail(cannot_parse("found '', expected: identifier after ','"));
  }
  return selector;
}

Result<LabelSelector> LabelSelector::from_json(const json::value* selector) {
  if (selector == nullptr || selector->is_null()) return nothing();
  LabelSelector out = from_map(json::find(selector, "matchLabels"));
  for (const json::value& e : json::get_array(json::find(selector, "matchExpressions"))) {
    Requirement r{std::string(json::get_string(json::find(&e, "key"))), Op::exists, {}};
    std::string_view op = json::get_string(json::find(&e, "operator"));
    if (op == "In") r.op = Op::in;
    else if (op == "NotIn") r.op = Op::not_in;
    else if (op == "Exists") r.op = Op::exists;
    else if (op == "DoesNotExist") r.op = Op::not_exists;
    else if (op == "Gt") r.op = Op::greater;
    else if (op == "Lt") r.op = Op::less;
    else return fail(Status::bad_request("\"" + std::string(op) + "\" is not a valid label selector operator"));
    for (const json::value& v : json::get_array(json::find(&e, "values"))) r.values.emplace_back(json::get_string(&v));
    if ((r.op == Op::greater || r.op == Op::less) && r.values.size() != 1)
      return fail(Status::bad_request("for 'Gt', 'Lt' operators, exactly one value is required"));
    std::ranges::sort(r.values);
    out.requirements_.push_back(std::move(r));
  }
  return out;
}

LabelSelector LabelSelector::from_map(const json::value* map) {
  LabelSelector out;
  for (const auto& member : json::get_object(map))
    out.requirements_.push_back({std::string(member.key()), Op::in, {std::string(json::get_string(&member.value()))}});
  return out;
}

bool LabelSelector::matches(const LabelPairs& labels) const {
  if (nothing_) return false;
  return std::ranges::all_of(requirements_, [&](const Requirement& r) {
    auto it = std::ranges::lower_bound(labels, r.key, {}, [](const auto& l) -> const std::string& { return l.first; });
    return holds(r, it != labels.end() && it->first == r.key ? &it->second : nullptr);
  });
}

bool LabelSelector::matches(const json::value* labels_object) const {
  LabelPairs labels;
  for (const auto& member : json::get_object(labels_object))
    labels.emplace_back(std::string(member.key()), std::string(json::get_string(&member.value())));
  std::ranges::sort(labels);
  return matches(labels);
}

std::string LabelSelector::to_string() const {
  std::string out;
  for (const Requirement& r : requirements_) {
    if (!out.empty()) out += ',';
    switch (r.op) {
      case Op::exists: out += r.key; break;
      case Op::not_exists: out += "!" + r.key; break;
      case Op::greater: out += r.key + ">" + r.values[0]; break;
      case Op::less: out += r.key + "<" + r.values[0]; break;
      case Op::in:
      case Op::not_in:
        if (r.values.size() == 1) out += r.key + (r.op == Op::in ? "=" : "!=") + r.values[0];
        else out += r.key + (r.op == Op::in ? " in (" : " notin (") + join(r.values, ",") + ")";
    }
  }
  return out;
}

Result<FieldSelector> FieldSelector::parse(std::string_view text) {
  FieldSelector selector;
  // Terms end at unescaped commas.
  std::vector<std::string> terms(1);
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 1 < text.size()) {
      terms.back() += text[i];
      terms.back() += text[++i];
    } else if (text[i] == ',') {
      terms.emplace_back();
    } else {
      terms.back() += text[i];
    }
  }
  for (const std::string& term : terms) {
    if (term.empty()) continue;
    Term t;
    size_t op = term.find_first_of("=!"), value_at;
    if (op == std::string::npos || (term[op] == '!' && (op + 1 >= term.size() || term[op + 1] != '=')))
      return fail(Status::bad_request("invalid selector: '" + std::string(text) + "'; can't understand '" + term + "'"));
    t.negated = term[op] == '!';
    value_at = op + (t.negated || (op + 1 < term.size() && term[op + 1] == '=') ? 2 : 1);
    t.path = term.substr(0, op);
    for (size_t i = value_at; i < term.size(); ++i) {
      char c = term[i];
      if (c == '\\') {
        if (i + 1 >= term.size() || std::string_view("\\,=").find(term[i + 1]) == std::string_view::npos)
          return fail(Status::bad_request("invalid field selector: invalid escape sequence in value: " + term));
        c = term[++i];
      } else if (c == '=') {
        return fail(Status::bad_request("invalid field selector: unescaped character in value: " + term));
      }
      t.value += c;
    }
    selector.terms_.push_back(std::move(t));
  }
  return selector;
}

bool FieldSelector::matches(const json::value& object) const {
  return std::ranges::all_of(terms_, [&](const Term& term) {
    const json::value* v = &object;
    for (std::string_view part : split(term.path, '.')) v = json::find(v, part);
    std::string text;
    if (v != nullptr) {
      if (v->is_string()) text = json::view(v->get_string());
      else if (v->is_bool() || v->is_int64()) text = json::serialize(*v);
    } else if (term.value == "false" || term.value == "true") {
      text = "false";  // an absent bool is false
    }
    return (text == term.value) != term.negated;
  });
}

const std::string* FieldSelector::required_value(std::string_view path) const {
  for (const Term& term : terms_)
    if (!term.negated && term.path == path) return &term.value;
  return nullptr;
}

}  // namespace kcube::api
