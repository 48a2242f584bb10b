#include "pkg/apiserver/extension/rules.h"

#include <algorithm>

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

cel::TypeRef string_type(const Structural& s) {
  if (!s.format.empty())
    if (const cel::TypeRef& type = cel::Type::of_format(s.format); type->kind() != cel::TypeKind::string) return type;
  return s.max_length ? cel::Type::limited(cel::Type::string(), bound(s.max_length)) : cel::Type::string();
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

Cause cause_of(std::string_view reason, std::string path, std::string_view type, const std::string& message) {
  json::value shown(json::key(type));
  if (path.empty()) path = "<nil>";
  if (reason == "FieldValueRequired") return api::field_required(path, message);
  if (reason == "FieldValueForbidden") return api::field_forbidden(path, message);
  if (reason == "FieldValueDuplicate") return api::field_duplicate(path, shown);
  return api::field_invalid(path, shown, message);
}

}  // namespace

cel::TypeRef cel_type(const Structural& s, bool resource) {
  cel::TypeRef made;
  if (s.int_or_string) return cel::Type::dyn();
  if (s.type == "array") {
    if (!s.items) return cel::Type::dyn();
    made = cel::Type::list(cel_type(*s.items, s.items->embedded), bound(s.max_items), list_kind(s), s.list_map_keys);
  } else if (s.type == "object") {
    if (s.additional && s.properties.empty()) return cel::Type::map(cel::Type::string(), cel_type(*s.additional, s.additional->embedded), bound(s.max_properties));
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

void Rules::check(const Structural& schema, bool resource, const std::string& path, std::vector<Cause>& causes) {
  if (!schema.has_rules) return;
  cel::TypeRef type = schema.rules.is_null() ? nullptr : cel_type(schema, resource);
  size_t i = 0;
  for (const json::value& r : json::get_array(&schema.rules)) {
    std::string at = path + ".x-kubernetes-validations[" + std::to_string(i++) + "]";
    bool optional_old = json::get_bool(r, {"optionalOldSelf"});
    cel::Environment environment = environment_of(type, optional_old);
    std::string source(trim(text_of(r, "rule"))), message = text_of(r, "message"), expression = text_of(r, "messageExpression"), reason = text_of(r, "reason");
    // The whole rule, as the real server shows it.
    json::object shown{{"Rule", text_of(r, "rule")}, {"Message", message}, {"MessageExpression", expression},
                       {"Reason", reason.empty() ? json::value() : json::value(reason)}, {"FieldPath", text_of(r, "fieldPath")},
                       {"OptionalOldSelf", json::find(&r, "optionalOldSelf") == nullptr ? json::value() : json::value(optional_old)}};
    if (source.empty()) causes.push_back(api::field_required(at + ".rule", "rule is not specified"));
    if (json::find(&r, "message") != nullptr && !message.empty() && trim(message).empty())
      causes.push_back(api::field_invalid(at + ".message", json::value(message), "message must be non-empty if specified"));
    if (message.find('\n') != std::string::npos)
      causes.push_back(api::field_invalid(at + ".message", json::value(message), "message must not contain line breaks"));
    if (source.find('\n') != std::string::npos && trim(message).empty())
      causes.push_back(api::field_required(at + ".message", "message must be specified if rule contains line breaks"));
    constexpr std::string_view kReasons[] = {"FieldValueInvalid", "FieldValueForbidden", "FieldValueRequired", "FieldValueDuplicate"};
    if (!reason.empty() && std::ranges::find(kReasons, reason) == std::end(kReasons))
      causes.push_back(api::field_not_supported(at + ".reason", json::value(reason), {"FieldValueRequired", "FieldValueInvalid", "FieldValueForbidden", "FieldValueDuplicate"}));
    if (source.empty()) continue;
    auto program = cel::compile(source, environment);
    if (!program) {
      causes.push_back(api::field_invalid(at + ".rule", json::value(shown), "compilation failed: " + program.error().message()));
    } else {
      if (!cel::returns(**program, *cel::Type::boolean()))
        causes.push_back(api::field_invalid(at + ".rule", json::value(shown), "cel expression must evaluate to a bool"));
      if (optional_old && !is_transition(**program))
        causes.push_back(api::field_invalid(at + ".optionalOldSelf", json::value(true), "must not be set unless oldSelf is referenced in the rule"));
    }
    if (expression.empty()) continue;
    auto compiled = cel::compile(expression, environment);
    if (!compiled)
      causes.push_back(api::field_invalid(at + ".messageExpression", json::value(shown), "messageExpression compilation failed: " + compiled.error().message()));
    else if (!cel::returns(**compiled, *cel::Type::string()))
      causes.push_back(api::field_invalid(at + ".messageExpression", json::value(shown), "messageExpression must evaluate to a string"));
  }
  for (const auto& [name, part] : schema.properties) check(part, part.embedded, path + ".properties[" + name + "]", causes);
  if (schema.additional) check(*schema.additional, schema.additional->embedded, path + ".additionalProperties", causes);
  if (schema.items) check(*schema.items, schema.items->embedded, path + ".items", causes);
}

void Rules::evaluate(const json::value& value, const json::value* old, std::vector<Cause>& causes) const {
  uint64_t budget = cel::kBudget;
  evaluate_at(value, old, "", budget, causes);
}

void Rules::evaluate_at(const json::value& value, const json::value* old, const Path& path, uint64_t& budget, std::vector<Cause>& causes) const {
  if (value.is_null()) return;
  // What has not changed was judged when it came (ratcheting); what names the old value has nothing to say either.
  if (old != nullptr && *old == value) return;
  for (const Rule& rule : rules_) evaluate_rule(rule, value, old, path, budget, causes);
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
                           : cel::is_budget(result.error()) ? "validation failed due to running out of cost budget, no further validation rules will be run" : why + " evaluating rule: " + said;
    causes.push_back(cause_of("FieldValueInvalid", path, type, text));
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
  causes.push_back(cause_of(rule.reason, at, type, said));
}

}  // namespace kcube::apiserver::extension
