#include "pkg/apiserver/extension/rules.h"

#include <algorithm>
#include <cstdio>

#include "pkg/api/errors.h"
#include "pkg/apiserver/extension/schema_check.h"
#include "pkg/base/strings.h"

namespace kcube::apiserver::extension {
namespace {

std::string text_of(const json::value& rule, std::string_view member) { return std::string(json::get_string(json::find(&rule, member))); }

uint64_t bound(const std::optional<int64_t>& n) { return n && *n >= 0 ? static_cast<uint64_t>(*n) : cel::kUnbounded; }

cel::ListKind list_kind(const Structural& s) {
  return s.list_type == "map" ? cel::ListKind::map : s.list_type == "set" ? cel::ListKind::set : cel::ListKind::atomic;
}

// What a document may hold at most, since a request does: an array of strings has at most so many. Source: the limit of 3 MiB
// on requests, and the shortest JSON of each type.
constexpr uint64_t kRequestBytes = 3 * 1024 * 1024;

cel::TypeRef string_type(const Structural& s) {
  if (!s.format.empty())
    if (const cel::TypeRef& type = cel::Type::of_format(s.format); type->kind() != cel::TypeKind::string) return type;
  uint64_t longest = 0;
  for (const json::value& v : s.enumeration) longest = std::max<uint64_t>(longest, json::get_string(&v).size());
  if (s.enumeration.empty()) longest = s.max_length ? bound(s.max_length) : kRequestBytes - 2;
  return cel::Type::limited(cel::Type::string(), longest);
}

// A rule is of the whole transition when it names the old value.
bool is_transition(const cel::Program& program) { return program.uses("oldSelf"); }

cel::Environment environment_of(const cel::TypeRef& type, bool optional_old) {
  cel::Environment environment;
  environment.declare("self", type).declare("oldSelf", optional_old ? cel::Type::optional(type) : type);
  return environment;
}

// "spec" and ".a['b']" joined.
std::string join_path(const std::string& base, std::string_view relative) {
  std::string out = base;
  while (!relative.empty()) {
    if (relative.starts_with("['") && relative.find("']") != std::string_view::npos) {
      size_t end = relative.find("']");
      out += "[" + std::string(relative.substr(2, end - 2)) + "]";
      relative.remove_prefix(end + 2);
      continue;
    }
    if (relative.starts_with('.')) relative.remove_prefix(1);
    size_t end = std::min(relative.find_first_of(".["), relative.size());
    if (end == 0) break;
    out += (out.empty() ? "" : ".") + std::string(relative.substr(0, end));
    relative.remove_prefix(end);
  }
  return out;
}

// Scalars are shown, objects and lists would say too much.
Cause cause_of(std::string_view reason, std::string path, const json::value& value, const std::string& message) {
  if (path.empty()) path = "<nil>";
  if (reason == "FieldValueRequired") return api::field_required(path, message);
  if (reason == "FieldValueForbidden") return api::field_forbidden(path, message);
  if (reason == "FieldValueDuplicate") return api::field_duplicate(path, value);
  if (value.is_object() || value.is_array()) return {"FieldValueInvalid", "Invalid value: " + message, std::move(path)};
  return api::field_invalid(path, value, message);
}

uint64_t least_bytes(const Structural& s) {
  if (s.fallback) return json::serialize(*s.fallback).size();
  if (s.type == "boolean") return 4;
  if (s.type == "integer" || s.type == "number" || s.int_or_string) return 1;
  if (s.type != "object") return 2;
  uint64_t bytes = 2;
  for (const std::string& name : s.required)
    if (const Structural* part = s.member(name)) bytes += name.size() + 4 + least_bytes(*part);
  return bytes;
}

uint64_t most_items(const Structural& s) { return s.max_items ? bound(s.max_items) : (kRequestBytes - 2) / (least_bytes(*s.items) + 1); }
uint64_t most_properties(const Structural& s) { return s.max_properties ? bound(s.max_properties) : (kRequestBytes - 2) / (least_bytes(*s.additional) + 6); }

uint64_t saturated(uint64_t a, uint64_t b) {
  uint64_t product = 0;
  return __builtin_mul_overflow(a, b, &product) ? UINT64_MAX : product;
}

std::string factor_text(uint64_t cost, uint64_t limit) {
  double factor = static_cast<double>(cost) / static_cast<double>(limit);
  if (factor > 100) return "more than 100x";
  char text[64];
  std::snprintf(text, sizeof text, factor < 1.5 ? "%fx" : "%.1fx", factor);
  return text;
}

constexpr const char* kAdvice = " (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)";

// Examines the rules of a definition: whether they compile, and what they may cost at worst.
class RuleChecker {
 public:
  explicit RuleChecker(std::vector<Cause>& causes) : causes_(causes) {}

  void run(const Structural& schema, const std::string& path) {
    check(schema, true, path, 1, "");
    if (total_ <= cel::kEstimateBudget) return;
    for (const auto& [cost, at] : costs_)
      if (cost > cel::kEstimateBudget / 100) causes_.push_back(api::field_forbidden(at, "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema"));
    causes_.push_back(api::field_forbidden(path, "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema exceeds budget by factor of " + factor_text(total_, cel::kEstimateBudget) + kAdvice));
  }

 private:
  // `times`: how often the schema applies in one object. `loose`: the list within which elements cannot be told from older ones.
  void check(const Structural& s, bool resource, const std::string& path, uint64_t times, const std::string& loose) {
    if (!s.has_rules) return;
    cel::TypeRef type = s.rules.is_null() ? nullptr : cel_type(s, resource);
    size_t i = 0;
    for (const json::value& r : json::get_array(&s.rules)) {
      std::string at = path + ".x-kubernetes-validations[" + std::to_string(i++) + "]";
      check_words(s, r, at);
      check_programs(r, type, at, times, loose);
    }
    for (const auto& [name, part] : s.properties) check(part, part.embedded, path + ".properties[" + name + "]", times, loose);
    if (s.additional) check(*s.additional, s.additional->embedded, path + ".additionalProperties", saturated(times, most_properties(s)), loose);
    if (s.items) check(*s.items, s.items->embedded, path + ".items", saturated(times, most_items(s)), s.list_type == "map" ? loose : path);
  }

  void check_words(const Structural& s, const json::value& r, const std::string& at) {
    std::string source = text_of(r, "rule"), message = text_of(r, "message"), reason = text_of(r, "reason"), field = text_of(r, "fieldPath");
    if (trim(source).empty()) causes_.push_back(api::field_required(at + ".rule", "rule is not specified"));
    if (!message.empty() && trim(message).empty()) causes_.push_back(api::field_invalid(at + ".message", json::value(message), "must be non-empty if specified"));
    else if (trim(message).find('\n') != std::string_view::npos) causes_.push_back(api::field_invalid(at + ".message", json::value(message), "must not contain line breaks"));
    if (trim(source).find('\n') != std::string_view::npos && trim(message).empty())
      causes_.push_back(api::field_required(at + ".message", "message must be specified if rule contains line breaks"));
    if (!field.empty() && !leads_somewhere(s, field)) causes_.push_back(api::field_invalid(at + ".fieldPath", json::value(field), "must be a valid path"));
    constexpr std::string_view kReasons[] = {"FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"};
    if (!reason.empty() && std::ranges::find(kReasons, reason) == std::end(kReasons))
      causes_.push_back(api::field_not_supported(at + ".reason", json::value(reason), {std::begin(kReasons), std::end(kReasons)}));
  }

  static bool leads_somewhere(const Structural& s, const std::string& path) {
    if (!path.starts_with('.') && !path.starts_with('[')) return false;
    const Structural* at = &s;
    std::string plain = join_path("", path);   // "a[b].c"
    for (size_t i = 0; i < plain.size() && at != nullptr;) {
      size_t end = std::min(plain.find_first_of(".[]", i), plain.size());
      if (end > i) at = at->member(std::string_view(plain).substr(i, end - i));
      i = end + 1;
    }
    return at != nullptr && at != &s;
  }

  void check_programs(const json::value& r, const cel::TypeRef& type, const std::string& at, uint64_t times, const std::string& loose) {
    std::string source(trim(text_of(r, "rule"))), expression = text_of(r, "messageExpression"), reason = text_of(r, "reason");
    bool optional_old = json::get_bool(r, {"optionalOldSelf"});
    if (source.empty()) return;
    // The whole rule, as the real server shows it.
    auto invalid = [&](const std::string& member, const std::string& detail) {
      json::object shown{{"Rule", text_of(r, "rule")}, {"Message", text_of(r, "message")}, {"MessageExpression", expression},
                         {"Reason", reason.empty() ? json::value() : json::value(reason)}, {"FieldPath", text_of(r, "fieldPath")},
                         {"OptionalOldSelf", json::find(&r, "optionalOldSelf") == nullptr ? json::value() : json::value(optional_old)}};
      causes_.push_back({"FieldValueInvalid", "Invalid value: " + html_escaped(json::serialize(shown)) + ": " + detail, at + member});
    };
    cel::Environment environment = environment_of(type, optional_old);
    auto program = cel::compile(source, environment);
    if (!program) {
      invalid(".rule", "compilation failed: " + program.error().message());
    } else if (!cel::returns(**program, *cel::Type::boolean())) {
      invalid(".rule", "cel expression must evaluate to a bool");
    } else {
      if (optional_old && !is_transition(**program)) causes_.push_back(api::field_invalid(at + ".optionalOldSelf", json::value(true), "may not be set if oldSelf is not used in rule"));
      if (!loose.empty() && is_transition(**program))
        causes_.push_back(api::field_invalid(at + ".rule", json::value(source), "oldSelf cannot be used on the uncorrelatable portion of the schema within " + loose));
      charge(**program, at + ".rule", "rule", times);
    }
    if (expression.empty()) return;
    auto message = cel::compile(expression, environment);
    if (!message) invalid(".messageExpression", "messageExpression compilation failed: " + message.error().message());
    else if (!cel::returns(**message, *cel::Type::string())) invalid(".messageExpression", "messageExpression must evaluate to a string");
    else charge(**message, at + ".messageExpression", "messageExpression", times);
  }

  void charge(const cel::Program& program, const std::string& at, const std::string& what, uint64_t times) {
    uint64_t cost = saturated(program.estimate().max, times);
    if (cost > cel::kEstimateLimit)
      causes_.push_back(api::field_forbidden(at, "estimated " + what + " cost exceeds budget by factor of " + factor_text(cost, cel::kEstimateLimit) + kAdvice));
    costs_.emplace_back(cost, at);
    total_ = total_ > UINT64_MAX - cost ? UINT64_MAX : total_ + cost;
  }

  // As Go's encoder writes it.
  static std::string html_escaped(const std::string& text) {
    std::string out;
    for (char c : text) {
      if (c == '<') out += "\\u003c";
      else if (c == '>') out += "\\u003e";
      else if (c == '&') out += "\\u0026";
      else out += c;
    }
    return out;
  }

  std::vector<Cause>& causes_;
  std::vector<std::pair<uint64_t, std::string>> costs_;
  uint64_t total_ = 0;
};

}  // namespace

cel::TypeRef cel_type(const Structural& s, bool resource) {
  cel::TypeRef made;
  if (s.int_or_string) return cel::Type::dyn();
  if (s.type == "array") {
    if (!s.items) return cel::Type::dyn();
    made = cel::Type::list(cel_type(*s.items, s.items->embedded), most_items(s), list_kind(s), s.list_map_keys);
  } else if (s.type == "object") {
    if (s.additional && s.properties.empty()) return cel::Type::map(cel::Type::string(), cel_type(*s.additional, s.additional->embedded), most_properties(s));
    if (s.properties.empty() && s.keeps_unknown() && !resource) return cel::Type::dyn();
    std::vector<std::pair<std::string, cel::TypeRef>> fields;
    for (const auto& [name, part] : s.properties)
      if (!resource || (name != "apiVersion" && name != "kind" && name != "metadata")) fields.emplace_back(name, cel_type(part, part.embedded));
    if (resource) {
      std::vector<std::pair<std::string, cel::TypeRef>> metadata{{"name", cel::Type::string()}, {"generateName", cel::Type::string()}};
      fields.emplace_back("apiVersion", cel::Type::string());
      fields.emplace_back("kind", cel::Type::string());
      fields.emplace_back("metadata", cel::Type::object("metadata", cel::make_fields(std::move(metadata))));
    }
    made = cel::Type::object("object", cel::make_fields(std::move(fields)));
  } else if (s.type == "string") {
    made = string_type(s);
  } else if (s.type == "integer") {
    made = cel::Type::integer();
  } else if (s.type == "number") {
    made = cel::Type::number();
  } else if (s.type == "boolean") {
    made = cel::Type::boolean();
  } else {
    made = cel::Type::dyn();
  }
  return made;
}

std::unique_ptr<const Rules> Rules::compile(const Structural& schema, bool resource) {
  if (!schema.has_rules) return nullptr;
  std::unique_ptr<Rules> made(new Rules());
  made->schema_ = &schema;
  if (!schema.rules.is_null()) made->type_ = cel_type(schema, resource);
  for (const json::value& r : json::get_array(&schema.rules)) {
    Rule rule;
    rule.source = trim(text_of(r, "rule"));
    rule.message = trim(text_of(r, "message"));
    rule.reason = text_of(r, "reason");
    rule.field_path = text_of(r, "fieldPath");
    rule.optional_old = json::get_bool(r, {"optionalOldSelf"});
    cel::Environment environment = environment_of(made->type_, rule.optional_old);
    auto program = cel::compile(rule.source, environment);
    if (!program) continue;
    rule.program = std::move(*program);
    rule.transition = is_transition(*rule.program);
    if (std::string expression = text_of(r, "messageExpression"); !expression.empty())
      if (auto message = cel::compile(expression, environment)) rule.message_program = std::move(*message);
    made->rules_.push_back(std::move(rule));
  }
  for (const auto& [name, part] : schema.properties)
    if (auto beneath = compile(part, part.embedded)) made->properties_.emplace(name, std::move(beneath));
  if (schema.additional) made->additional_ = compile(*schema.additional, schema.additional->embedded);
  if (schema.items) made->items_ = compile(*schema.items, schema.items->embedded);
  return made;
}

void Rules::check(const Structural& schema, const std::string& path, std::vector<Cause>& causes) {
  RuleChecker(causes).run(schema, path);
}

void Rules::evaluate(const json::value& value, const json::value* old, std::vector<Cause>& causes) const {
  uint64_t budget = cel::kBudget;
  evaluate_at(value, old, "", budget, causes);
}

void Rules::evaluate_at(const json::value& value, const json::value* old, const Path& path, uint64_t& budget, std::vector<Cause>& causes) const {
  if (value.is_null()) return;
  // What has not changed was judged when it came (ratcheting); only rules that name the old value are asked again.
  const bool unchanged = old != nullptr && *old == value;
  for (const Rule& rule : rules_)
    if (!unchanged || rule.transition) evaluate_rule(rule, value, old, path, budget, causes);
  if (value.is_array() && items_) {
    size_t i = 0;
    for (const json::value& item : value.get_array())
      items_->evaluate_at(item, counterpart(*schema_, item, old), path + "[" + std::to_string(i++) + "]", budget, causes);
  }
  if (!value.is_object()) return;
  for (const auto& m : value.get_object()) {
    std::string_view name = json::view(m.key());
    const json::value* before = old == nullptr ? nullptr : json::find(old, name);
    if (auto it = properties_.find(name); it != properties_.end())
      it->second->evaluate_at(m.value(), before, path.empty() ? std::string(name) : path + "." + std::string(name), budget, causes);
    else if (additional_ && !schema_->properties.contains(name))
      additional_->evaluate_at(m.value(), before, path + "[" + std::string(name) + "]", budget, causes);
  }
}

void Rules::evaluate_rule(const Rule& rule, const json::value& value, const json::value* old, const Path& path, uint64_t& budget, std::vector<Cause>& causes) const {
  if (rule.transition && old == nullptr && !rule.optional_old) return;
  cel::Activation activation;
  activation.set("self", cel::Value::json(value, type_.get()));
  if (rule.optional_old) activation.set("oldSelf", old == nullptr ? cel::Value::none() : cel::Value::optional(cel::Value::json(*old, type_.get())));
  else if (old != nullptr) activation.set("oldSelf", cel::Value::json(*old, type_.get()));
  std::string at = join_path(path, rule.field_path);
  std::string_view type = schema_->type.empty() ? std::string_view("object") : std::string_view(schema_->type);
  std::string said = rule.message.empty() ? "failed rule: " + rule.source : rule.message;
  auto result = rule.program->evaluate(activation, {.budget = &budget});
  if (!result) {
    std::string why = result.error().message();
    std::string text = cel::is_cost_limit(result.error())
                           ? "no further validation rules will be run due to call cost exceeds limit for rule: " + said
                           : cel::is_budget(result.error()) ? "validation failed due to running out of cost budget, no further validation rules will be run" : why + " evaluating rule: " + (rule.message.empty() ? rule.source : rule.message);
    causes.push_back(api::field_invalid(path.empty() ? "<nil>" : path, json::value(json::key(type)), text));
    return;
  }
  if (result->is_true()) return;
  if (rule.message_program) {
    auto message = rule.message_program->evaluate(activation, {.budget = &budget});
    if (message && message->is(cel::Kind::string)) {
      std::string text(trim(message->as_text()));
      if (!text.empty() && text.find('\n') == std::string::npos) said = std::move(text);
    }
  }
  causes.push_back(cause_of(rule.reason, at, value, said));
}

}  // namespace kcube::apiserver::extension
