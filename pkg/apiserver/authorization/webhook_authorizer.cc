#include "pkg/apiserver/authorization/webhook_authorizer.h"

#include "pkg/api/selector.h"
#include "pkg/base/log.h"
#include "pkg/cel/program.h"

namespace kcube::apiserver {
namespace {

constexpr size_t kMaxKept = 8192;

json::array texts(const std::vector<std::string>& list) {
  json::array out;
  for (const std::string& s : list) out.push_back(json::value(s));
  return out;
}

// What cannot be parsed is not told: it restricts nothing.
json::array field_requirements(const std::string& text) {
  json::array out;
  auto selector = text.empty() ? api::FieldSelector() : api::FieldSelector::parse(text);
  if (!selector) return out;
  for (const auto& term : selector->terms()) out.push_back(json::object{{"key", term.path}, {"operator", term.negated ? "NotIn" : "In"}, {"values", texts({term.value})}});
  return out;
}

json::array label_requirements(const std::string& text) {
  json::array out;
  auto selector = text.empty() ? api::LabelSelector() : api::LabelSelector::parse(text);
  if (!selector) return out;
  using Op = api::LabelSelector::Op;
  for (const auto& r : selector->requirements()) {
    if (r.op == Op::greater || r.op == Op::less) continue;   // there is no word for them
    json::object one{{"key", r.key}, {"operator", r.op == Op::in ? "In" : r.op == Op::not_in ? "NotIn" : r.op == Op::exists ? "Exists" : "DoesNotExist"}};
    if (!r.values.empty()) one["values"] = texts(r.values);
    out.push_back(std::move(one));
  }
  return out;
}

}  // namespace

json::object review_spec(const auth::Attributes& a) {
  json::object spec;
  if (a.resource_request) {
    json::object r;
    auto add = [&](const char* name, const std::string& value) {
      if (!value.empty()) r[name] = value;
    };
    add("namespace", a.namespace_);
    add("verb", a.verb);
    add("group", a.api_group);
    add("version", a.api_version);
    add("resource", a.resource);
    add("subresource", a.subresource);
    add("name", a.name);
    if (json::array terms = field_requirements(a.field_selector); !terms.empty()) r["fieldSelector"] = json::object{{"requirements", std::move(terms)}};
    if (json::array terms = label_requirements(a.label_selector); !terms.empty()) r["labelSelector"] = json::object{{"requirements", std::move(terms)}};
    spec["resourceAttributes"] = std::move(r);
  } else {
    spec["nonResourceAttributes"] = json::object{{"path", a.path}, {"verb", a.verb}};
  }
  spec["user"] = a.user.name;
  if (!a.user.groups.empty()) spec["groups"] = texts(a.user.groups);
  json::object extra;
  for (const auto& [key, values] : a.user.extra) extra[key] = texts(values);
  if (!extra.empty()) spec["extra"] = std::move(extra);
  if (!a.user.uid.empty()) spec["uid"] = a.user.uid;
  return spec;
}

// With every member there, so that conditions need not ask.
json::value WebhookAuthorizer::condition_request(const auth::Attributes& a) {
  json::object request = review_spec(a);
  auto fill = [](json::object& object, const char* name, json::value empty) {
    if (!object.contains(name)) object[name] = std::move(empty);
  };
  if (json::value* attributes = request.if_contains("resourceAttributes"))
    for (const char* name : {"namespace", "verb", "group", "version", "resource", "subresource", "name"}) fill(attributes->get_object(), name, "");
  fill(request, "groups", json::array());
  fill(request, "extra", json::object());
  fill(request, "uid", "");
  return request;
}

std::optional<AccessDecision> WebhookAuthorizer::exempt(const auth::Attributes& a) const {
  json::value request = condition_request(a);
  cel::Activation activation;
  activation.set("request", cel::Value::json(request));
  uint64_t budget = cel::kMatchConditionBudget;
  std::string failures;
  for (const auto& condition : config_.conditions) {
    auto value = condition->evaluate(activation, {.budget = &budget});
    if (!value) failures += (failures.empty() ? "" : ", ") + ("cel evaluation error: expression '" + condition->source() + "' resulted in error: " + value.error().message());
    else if (!value->is_true()) return AccessDecision{};   // whatever the others would say
  }
  if (failures.empty()) return std::nullopt;
  log::warn("apiserver", "the conditions of an authorization webhook failed", {{"name", config_.name}, {"error", failures}});
  return AccessDecision{false, config_.deny_on_failure, failures};
}

AccessDecision WebhookAuthorizer::decide(const auth::Attributes& a) {
  if (!config_.conditions.empty())
    if (auto decision = exempt(a)) return *decision;
  json::object spec = review_spec(a);
  if (config_.version == "v1beta1" && spec.contains("groups")) {
    spec["group"] = std::move(spec["groups"]);   // its name in the old version
    spec.erase("groups");
  }
  std::string key = auth::sha256(json::serialize(json::value(spec)));
  {
    std::lock_guard lock(mutex_);
    auto it = kept_.find(key);
    if (it != kept_.end() && it->second.until > clock_.steady_now()) return it->second.decision;
  }
  auto review = client_.post(json::object{{"kind", "SubjectAccessReview"}, {"apiVersion", "authorization.k8s.io/" + config_.version}, {"metadata", json::object()}, {"spec", std::move(spec)}, {"status", json::object{{"allowed", false}}}});
  if (!review) {
    log::warn("apiserver", "the authorization webhook cannot be asked", {{"name", config_.name}, {"error", review.error()}});
    return {false, config_.deny_on_failure, review.error().message()};
  }
  const json::value* status = json::find(&*review, "status");
  AccessDecision decision{json::get_bool(json::find(status, "allowed")), json::get_bool(json::find(status, "denied")), std::string(json::get_string(json::find(status, "reason")))};
  if (decision.denied) decision.allowed = false;
  std::lock_guard lock(mutex_);
  if (kept_.size() >= kMaxKept) kept_.clear();
  kept_[key] = {decision, clock_.steady_now() + (decision.allowed ? config_.authorized_ttl : config_.unauthorized_ttl)};
  return decision;
}

}  // namespace kcube::apiserver
