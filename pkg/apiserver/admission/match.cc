#include "pkg/apiserver/admission/match.h"

#include <algorithm>

#include "pkg/api/errors.h"
#include "pkg/apiserver/conversion.h"
#include "pkg/apiserver/extension/custom_resource.h"
#include "pkg/apiserver/machinery/defaults.h"
#include "pkg/apiserver/scale.h"
#include "pkg/apiserver/strategy.h"

namespace kcube::apiserver {
namespace {

std::vector<std::string> strings(const json::value* list) {
  std::vector<std::string> out;
  for (const json::value& v : json::get_array(list)) out.emplace_back(json::get_string(&v));
  return out;
}

bool names(const std::vector<std::string>& list, std::string_view what) {
  return std::ranges::any_of(list, [&](const std::string& s) { return s == "*" || s == what; });
}

// "pods", "pods/log", "pods/*", "*/scale", "*", "*/*".
bool names_resource(const std::vector<std::string>& list, const Resource& r) {
  return std::ranges::any_of(list, [&](const std::string& rule) {
    size_t slash = rule.find('/');
    std::string_view resource = std::string_view(rule).substr(0, slash);
    std::string_view sub = slash == std::string::npos ? std::string_view() : std::string_view(rule).substr(slash + 1);
    return (resource == "*" || resource == r.resource()) && (sub == "*" || sub == r.subresource());
  });
}

bool in_scope(const std::string& scope, const Resource& r) {
  if (scope.empty() || scope == "*") return true;
  return (scope == "Namespaced") == r.namespaced();
}

bool holds(const MatchRule& rule, const Admission& a, const Resource& r) {
  if (!names(rule.operations, operation_name(a.operation)) || !names(rule.groups, r.group()) || !names(rule.versions, r.info->version)) return false;
  if (!names_resource(rule.resources, r) || !in_scope(rule.scope, r)) return false;
  return rule.names.empty() || std::ranges::find(rule.names, a.call.name) != rule.names.end();
}

bool any_holds(const std::vector<MatchRule>& rules, const Admission& a, const Resource& r) {
  return std::ranges::any_of(rules, [&](const MatchRule& rule) { return holds(rule, a, r); });
}

// By exact rules first, then by the same thing in other groups and versions.
const Resource* by_rules(const std::vector<MatchRule>& rules, bool equivalent, const Admission& a) {
  const Resource& asked = *a.call.resource;
  if (any_holds(rules, a, asked)) return &asked;
  if (!equivalent || asked.cache == nullptr) return nullptr;
  if (asked.custom != nullptr) {
    for (const auto& version : asked.custom->owner->versions()) {
      const Resource* other = version->served ? version->part(asked.subresource()) : nullptr;
      if (other != nullptr && other != &asked && any_holds(rules, a, *other)) return other;
    }
    return nullptr;
  }
  for (const auto& other : a.core.registry.all()) {
    if (other->cache != asked.cache || other.get() == &asked || other->subresource() != asked.subresource()) continue;
    if (any_holds(rules, a, *other)) return other.get();
  }
  return nullptr;
}

Result<bool> namespace_matches(const api::LabelSelector& selector, const Admission& a) {
  if (selector.everything()) return true;
  bool is_namespace = a.call.resource->is("", "namespaces");
  if (!is_namespace && a.call.ns.empty()) return true;
  if (is_namespace && a.object != nullptr && a.call.resource->subresource().empty() && a.operation != Operation::remove)
    return selector.matches(json::at(a.object, {"metadata", "labels"}));
  const std::string& name = is_namespace ? a.call.name : a.call.ns;
  ObjectPtr ns = a.core.get("", "namespaces", "", name);
  if (!ns) return fail(api::not_found("", "namespaces", name));
  return selector.matches(ns->labels());
}

bool object_matches(const api::LabelSelector& selector, const Admission& a) {
  if (selector.everything()) return true;
  auto one = [&](const json::value* object) {
    const json::value* metadata = json::find(object, "metadata");
    return metadata != nullptr && selector.matches(json::find(metadata, "labels"));
  };
  return one(a.object) || one(a.old);
}

Result<api::LabelSelector> read_selector(const json::value* selector) {
  if (selector == nullptr) return api::LabelSelector();
  return api::LabelSelector::from_json(selector);
}

Result<void> read_selectors(const json::value* from, MatchConstraints& out) {
  out.equivalent = json::get_string(json::find(from, "matchPolicy"), "Equivalent") != "Exact";
  auto namespaces = read_selector(json::find(from, "namespaceSelector"));
  if (!namespaces) return fail(namespaces.error());
  auto objects = read_selector(json::find(from, "objectSelector"));
  if (!objects) return fail(objects.error());
  out.namespaces = std::move(*namespaces);
  out.objects = std::move(*objects);
  return {};
}

}  // namespace

std::string_view operation_name(Operation operation) {
  switch (operation) {
    case Operation::create: return "CREATE";
    case Operation::update: return "UPDATE";
    case Operation::remove: return "DELETE";
    case Operation::connect: return "CONNECT";
  }
  return "";
}

std::vector<MatchRule> read_match_rules(const json::value* rules) {
  std::vector<MatchRule> out;
  for (const json::value& r : json::get_array(rules))
    out.push_back({strings(json::find(&r, "operations")), strings(json::find(&r, "apiGroups")), strings(json::find(&r, "apiVersions")),
                   strings(json::find(&r, "resources")), std::string(json::get_string(r, {"scope"})), strings(json::find(&r, "resourceNames"))});
  return out;
}

Result<MatchConstraints> read_webhook_constraints(const json::value& webhook) {
  MatchConstraints out;
  out.rules = read_match_rules(json::find(&webhook, "rules"));
  if (auto done = read_selectors(&webhook, out); !done) return fail(done.error());
  return out;
}

Result<MatchConstraints> read_policy_constraints(const json::value* resources) {
  MatchConstraints out;
  out.rules = read_match_rules(json::find(resources, "resourceRules"));
  out.any_resource = out.rules.empty();
  out.excluded = read_match_rules(json::find(resources, "excludeResourceRules"));
  if (auto done = read_selectors(resources, out); !done) return fail(done.error());
  return out;
}

Result<const Resource*> match(const MatchConstraints& constraints, const Admission& a) {
  // The cheap and most selective test first.
  const Resource* as = constraints.any_resource ? a.call.resource.get() : by_rules(constraints.rules, constraints.equivalent, a);
  if (as == nullptr) return nullptr;
  if (!constraints.excluded.empty() && by_rules(constraints.excluded, constraints.equivalent, a) != nullptr) return nullptr;
  auto inside = namespace_matches(constraints.namespaces, a);
  if (!inside) return fail(inside.error());
  if (!*inside || !object_matches(constraints.objects, a)) return nullptr;
  return as;
}

Result<json::value> served_as(const Admission& a, const json::value& object, const Resource& to) {
  if (a.verbatim) return object;
  if (to.subresource() == "scale") return to_scale(*a.call.resource, object);
  json::value copy = object;
  if (!copy.is_object()) return copy;
  if (to.custom != nullptr) {
    if (to.custom == a.call.resource->custom) return copy;
    if (auto done = to.custom->convert(copy); !done) return fail(done.error());
    return copy;
  }
  if (to.main != to.stored) convert(copy, *to.stored, *to.main);
  copy.get_object()["apiVersion"] = to.main->api_version();
  return copy;
}

Result<json::value> from_served(const Admission& a, const Resource& from, json::value changed) {
  const bool custom = from.custom != nullptr && from.subresource() != "scale";   // its type is for merging alone
  if (const api::Type* type = from.info->type; type != nullptr && !custom) {
    auto checked = machinery::check_types(std::move(changed), *type, machinery::FieldValidation::ignore);
    if (!checked) return fail(Status::internal(checked.error().message()));
    changed = std::move(checked->value);
  }
  if (a.verbatim) return changed;
  if (from.subresource() == "scale") return from_scale(*a.call.resource, *a.object, changed);
  const Resource& own = *a.call.resource;
  if (own.custom != nullptr) {
    if (auto done = from.custom->adopt(changed); !done) return fail(done.error());
    if (from.custom == own.custom) return changed;
    if (auto done = own.custom->convert(changed); !done) return fail(done.error());
    return changed;
  }
  if (from.main != own.stored) convert(changed, *from.main, *own.stored);
  if (changed.is_object()) changed.get_object()["apiVersion"] = own.stored->api_version();
  machinery::apply_defaults(*own.stored, changed);
  return changed;
}

json::object user_info(const auth::User& user) {
  json::object out{{"username", user.name}};
  if (!user.uid.empty()) out["uid"] = user.uid;
  json::array groups;
  for (const std::string& g : user.groups) groups.emplace_back(g);
  if (!groups.empty()) out["groups"] = std::move(groups);
  json::object extra;
  for (const auto& [key, values] : user.extra) {
    json::array list;
    for (const std::string& v : values) list.emplace_back(v);
    extra[key] = std::move(list);
  }
  if (!extra.empty()) out["extra"] = std::move(extra);
  return out;
}

json::value options_of(const Admission& a) {
  json::object out{{"apiVersion", "meta.k8s.io/v1"}};
  if (a.call.dry_run) out["dryRun"] = json::array{"All"};
  if (a.operation == Operation::connect) return nullptr;
  if (a.operation == Operation::remove) {
    out["kind"] = "DeleteOptions";
    if (a.deletion == nullptr) return out;
    if (a.deletion->grace_period_seconds >= 0) out["gracePeriodSeconds"] = a.deletion->grace_period_seconds;
    if (!a.deletion->propagation.empty()) out["propagationPolicy"] = a.deletion->propagation;
    json::object preconditions;
    if (!a.deletion->uid.empty()) preconditions["uid"] = a.deletion->uid;
    if (!a.deletion->resource_version.empty()) preconditions["resourceVersion"] = a.deletion->resource_version;
    if (!preconditions.empty()) out["preconditions"] = std::move(preconditions);
    return out;
  }
  out["kind"] = a.operation == Operation::create ? "CreateOptions" : "UpdateOptions";
  if (!a.call.field_manager.empty()) out["fieldManager"] = a.call.field_manager;
  if (a.call.field_validation == machinery::FieldValidation::strict) out["fieldValidation"] = "Strict";
  else if (a.call.field_validation == machinery::FieldValidation::warn) out["fieldValidation"] = "Warn";
  return out;
}

}  // namespace kcube::apiserver
