#include "pkg/api/selector.h"

#include <algorithm>

#include "pkg/api/names.h"
#include "pkg/base/go_quoted.h"
#include "pkg/base/strings.h"

namespace kcube::api {
namespace {

// Words of the selector language: identifiers and the operators "=" "==" "!=" "!" "," "(" ")" "<" ">".
class Lexer {
 public:
  // A zero byte ends the text, as it does to the real one.
  explicit Lexer(std::string_view text) : text_(text.substr(0, text.find('\0'))) { next(); }
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

std::string found(std::string_view token, std::string_view expected) { return "found '" + std::string(token) + "', expected: " + std::string(expected); }

Result<std::vector<std::string>> parse_values(Lexer& lexer) {
  if (lexer.token() != "(") return fail(cannot_parse("found '" + std::string(lexer.token()) + "' expected: '('"));
  lexer.take();
  if (lexer.token() == ")") return lexer.take(), std::vector<std::string>{""};
  if (!lexer.identifier() && lexer.token() != ",") return fail(cannot_parse(found(lexer.token(), "',', ')' or identifier")));
  // "(a,,b)" holds an empty value, as the real parser has it.
  std::vector<std::string> values;
  while (true) {
    if (lexer.identifier()) {
      values.emplace_back(lexer.take());
      if (lexer.token() == ")") break;
      if (lexer.token() != ",") return fail(cannot_parse(found(lexer.token(), "',' or ')'")));
      continue;
    }
    if (lexer.token() != ",") return fail(cannot_parse(found(lexer.token(), "',', or identifier")));
    lexer.take();
    if (values.empty() || lexer.token() == ")" || lexer.token() == ",") values.emplace_back();
    if (lexer.token() == ")") break;
    if (lexer.token() == ",") lexer.take();
  }
  lexer.take();
  std::ranges::sort(values);
  values.erase(std::ranges::unique(values).begin(), values.end());
  return values;
}

Result<std::string> parse_exact_value(Lexer& lexer) {
  if (lexer.end() || lexer.token() == ",") return std::string();
  if (!lexer.identifier()) return fail(cannot_parse(found(lexer.token(), "identifier")));
  return std::string(lexer.take());
}

// As labels say their faults, which are more than those of other qualified names.
std::string label_key_problem(std::string_view key) {
  std::string problem = check_qualified_name(key);
  constexpr std::string_view kOther = "a qualified name ", kEmpty = "name part must be non-empty";
  if (problem.starts_with(kOther)) problem.replace(0, kOther.size(), "a valid label key ");
  if (problem == kEmpty) problem += "; " + check_qualified_name("-");
  return problem;
}

// The key has been read. What is wrong with the values.
Result<void> parse_operation(Lexer& lexer, Requirement& r) {
  std::string_view op = lexer.token();
  if (op == "in" || op == "notin") {
    lexer.take();
    r.op = op == "in" ? Op::in : Op::not_in;
    auto values = parse_values(lexer);
    if (!values) return fail(values.error());
    r.values = std::move(*values);
  } else if (op == "=" || op == "==" || op == "!=" || op == ">" || op == "<") {
    lexer.take();
    r.op = op == "!=" ? Op::not_in : op == ">" ? Op::greater : op == "<" ? Op::less : Op::in;
    auto value = parse_exact_value(lexer);
    if (!value) return fail(value.error());
    r.values = {std::move(*value)};
  } else {
    return fail(cannot_parse(found(op, "in, notin, =, ==, !=, gt, lt")));
  }
  std::vector<std::string> problems;
  if ((r.op == Op::greater || r.op == Op::less) && !parse_int<int64_t>(r.values[0]))
    problems.push_back("values[0]: Invalid value: " + go_quoted(r.values[0]) + ": for 'Gt', 'Lt' operators, the value must be an integer");
  for (size_t i = 0; i < r.values.size(); ++i)
    if (std::string problem = check_label_value(r.values[i]); !problem.empty())
      problems.push_back("values[" + std::to_string(i) + "][" + r.key + "]: Invalid value: " + go_quoted(r.values[i]) + ": " + problem);
  if (problems.empty()) return {};
  return fail(cannot_parse(problems.size() == 1 ? problems[0] : "[" + join(problems, ", ") + "]"));
}

Result<Requirement> parse_requirement(Lexer& lexer) {
  Requirement r{"", Op::exists, {}};
  if (lexer.token() == "!") {
    lexer.take();
    r.op = Op::not_exists;
  }
  if (!lexer.identifier()) return fail(cannot_parse(found(lexer.token(), "identifier")));
  r.key = lexer.take();
  if (std::string problem = label_key_problem(r.key); !problem.empty())
    return fail(cannot_parse("<nil>: Invalid value: " + go_quoted(r.key) + ": " + problem));
  if (r.op == Op::not_exists || lexer.end() || lexer.token() == ",") return r;
  if (auto done = parse_operation(lexer, r); !done) return fail(done.error());
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
    if (!lexer.identifier() && lexer.token() != "!") return fail(Status::bad_request(found(lexer.token(), "!, identifier, or 'end of string'")));
    auto r = parse_requirement(lexer);
    if (!r) return fail(r.error());
    selector.requirements_.push_back(std::move(*r));
    if (lexer.end()) break;
    if (lexer.token() != ",") return fail(Status::bad_request(found(lexer.token(), "',' or 'end of string'")));
    lexer.take();
    if (!lexer.identifier() && lexer.token() != "!") return fail(Status::bad_request(found(lexer.token(), "identifier after ','")));
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

namespace {

// A value of a field selector without its backslashes.
Result<std::string> unescaped(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == ',' || text[i] == '=')
      return fail(Status::bad_request("invalid field selector: unescaped character in value: " + std::to_string(text[i])));   // its number
    if (text[i] == '\\') {
      std::string_view next = text.substr(++i);
      if (next.empty() || std::string_view("\\,=").find(next[0]) == std::string_view::npos)
        return fail(Status::bad_request("invalid field selector: invalid escape sequence: \\" + std::string(next.substr(0, utf8_length(next)))));
    }
    out += text[i];
  }
  return out;
}

// Ends at unescaped commas.
std::vector<std::string> field_terms(std::string_view text) {
  std::vector<std::string> terms(1);
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == ',') {
      terms.emplace_back();
      continue;
    }
    terms.back() += text[i];
    if (text[i] == '\\' && i + 1 < text.size()) terms.back() += text[++i];
  }
  std::ranges::sort(terms);
  return terms;
}

}  // namespace

Result<FieldSelector> FieldSelector::parse(std::string_view text) {
  FieldSelector selector;
  for (const std::string& term : field_terms(text)) {
    if (term.empty()) continue;
    size_t equals = term.find('=');
    if (equals == std::string::npos) return fail(Status::bad_request("invalid selector: '" + std::string(text) + "'; can't understand '" + term + "'"));
    Term t;
    t.negated = equals > 0 && term[equals - 1] == '!';
    t.path = term.substr(0, equals - (t.negated ? 1 : 0));
    auto value = unescaped(std::string_view(term).substr(equals + (!t.negated && term.substr(equals, 2) == "==" ? 2 : 1)));
    if (!value) return fail(value.error());
    t.value = std::move(*value);
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
