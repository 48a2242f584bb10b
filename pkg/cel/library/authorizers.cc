// authorizer.group('apps').resource('deployments').namespace('x').check('get').allowed() and its relatives.
#include "pkg/cel/authorizer.h"

#include "pkg/api/names.h"
#include "pkg/api/selector.h"
#include "pkg/cel/functions.h"

namespace kcube::cel {

const TypeRef& authorizer_type() {
  static const TypeRef type = Type::opaque("kubernetes.authorization.Authorizer");
  return type;
}
const TypeRef& path_check_type() {
  static const TypeRef type = Type::opaque("kubernetes.authorization.PathCheck");
  return type;
}
const TypeRef& group_check_type() {
  static const TypeRef type = Type::opaque("kubernetes.authorization.GroupCheck");
  return type;
}
const TypeRef& resource_check_type() {
  static const TypeRef type = Type::opaque("kubernetes.authorization.ResourceCheck");
  return type;
}
const TypeRef& decision_type() {
  static const TypeRef type = Type::opaque("kubernetes.authorization.Decision");
  return type;
}

namespace {

// The question as far as it is put together; which step it is, its type says.
class CheckValue final : public Opaque {
 public:
  CheckValue(const TypeRef& type, const AccessSource& source, AccessQuestion question)
      : type_(type), source(source), question(std::move(question)) {}
  const Type& type() const override { return *type_; }

 private:
  const TypeRef& type_;

 public:
  const AccessSource& source;
  const AccessQuestion question;
};

class DecisionValue final : public Opaque {
 public:
  explicit DecisionValue(AccessAnswer answer) : answer(std::move(answer)) {}
  const Type& type() const override { return *decision_type(); }
  const AccessAnswer answer;
};

const CheckValue& check_of(const Value& v) { return *v.opaque_as<CheckValue>(); }
const AccessAnswer& answer_of(const Value& v) { return v.opaque_as<DecisionValue>()->answer; }

// The next step: the same question with a little more in it.
template <typename Change>
Value next(const Value& before, const TypeRef& type, Change change) {
  AccessQuestion question = check_of(before).question;
  change(question);
  return Value::opaque(new CheckValue(type, check_of(before).source, std::move(question)));
}

Value path(Arguments a, const Node&) {
  if (a[1].as_text().empty()) return Value::failure("path must not be empty");
  return next(a[0], path_check_type(), [&](AccessQuestion& q) { q.path = a[1].as_text(); });
}
Value group(Arguments a, const Node&) {
  return next(a[0], group_check_type(), [&](AccessQuestion& q) { q.group = a[1].as_text(), q.resource_request = true; });
}
Value service_account(Arguments a, const Node&) {
  if (!api::check_dns1123_subdomain(a[2].as_text()).empty()) return Value::failure("Invalid service account name");
  if (!api::check_dns1123_label(a[1].as_text()).empty()) return Value::failure("Invalid service account namespace");
  return next(a[0], authorizer_type(), [&](AccessQuestion& q) {
    q.service_account_namespace = a[1].as_text(), q.service_account_name = a[2].as_text();
  });
}
Value resource(Arguments a, const Node&) {
  if (a[1].as_text().empty()) return Value::failure("resource must not be empty");
  return next(a[0], resource_check_type(), [&](AccessQuestion& q) { q.resource = a[1].as_text(); });
}
Value subresource(Arguments a, const Node&) {
  return next(a[0], resource_check_type(), [&](AccessQuestion& q) { q.subresource = a[1].as_text(); });
}
Value namespace_(Arguments a, const Node&) {
  return next(a[0], resource_check_type(), [&](AccessQuestion& q) { q.namespace_ = a[1].as_text(); });
}
Value name(Arguments a, const Node&) {
  return next(a[0], resource_check_type(), [&](AccessQuestion& q) { q.name = a[1].as_text(); });
}

Value field_selector(Arguments a, const Node&) {
  return next(a[0], resource_check_type(), [&](AccessQuestion& q) {
    q.field_requirements.clear(), q.field_selector_error.clear();
    auto selector = api::FieldSelector::parse(a[1].as_text());
    if (!selector) return void(q.field_selector_error = selector.error().message());
    for (const auto& term : selector->terms()) q.field_requirements.push_back({term.path, term.negated ? "NotIn" : "In", {term.value}});
  });
}
Value label_selector(Arguments a, const Node&) {
  return next(a[0], resource_check_type(), [&](AccessQuestion& q) {
    q.label_requirements.clear(), q.label_selector_error.clear();
    auto selector = api::LabelSelector::parse(a[1].as_text());
    if (!selector) return void(q.label_selector_error = selector.error().message());
    static constexpr std::string_view names[]{"In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"};
    for (const auto& r : selector->requirements()) q.label_requirements.push_back({r.key, std::string(names[static_cast<int>(r.op)]), r.values});
  });
}

Value check(Arguments a, const Node&) {
  AccessQuestion question = check_of(a[0]).question;
  question.verb = a[1].as_text();
  return Value::opaque(new DecisionValue(check_of(a[0]).source.check(question)));
}
Value allowed(Arguments a, const Node&) { return Value::boolean(answer_of(a[0]).allowed); }
Value reason(Arguments a, const Node&) { return Value::string(answer_of(a[0]).reason); }
Value errored(Arguments a, const Node&) { return Value::boolean(answer_of(a[0]).error.has_value()); }
Value error(Arguments a, const Node&) { return Value::string(answer_of(a[0]).error.value_or("")); }

constexpr FunctionRow kRows[]{
    {"path", ".(authorizer, string) path_check", path},
    {"group", ".(authorizer, string) group_check", group},
    {"serviceAccount", ".(authorizer, string, string) authorizer", service_account},
    {"resource", ".(group_check, string) resource_check", resource},
    {"subresource", ".(resource_check, string) resource_check", subresource},
    {"namespace", ".(resource_check, string) resource_check", namespace_},
    {"name", ".(resource_check, string) resource_check", name},
    {"fieldSelector", ".(resource_check, string) resource_check", field_selector, CostRule::selector},
    {"labelSelector", ".(resource_check, string) resource_check", label_selector, CostRule::selector},
    {"check", ".(path_check, string) decision", check, CostRule::authorize},
    {"check", ".(resource_check, string) decision", check, CostRule::authorize},
    {"allowed", ".(decision) bool", allowed},
    {"reason", ".(decision) string", reason},
    {"errored", ".(decision) bool", errored},
    {"error", ".(decision) string", error},
};

}  // namespace

std::span<const FunctionRow> authorizer_functions() { return kRows; }

Value authorizer_value(const AccessSource& source) { return Value::opaque(new CheckValue(authorizer_type(), source, {})); }
Value resource_check_value(const AccessSource& source, AccessQuestion question) {
  question.resource_request = true;
  return Value::opaque(new CheckValue(resource_check_type(), source, std::move(question)));
}

}  // namespace kcube::cel
