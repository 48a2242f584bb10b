// LimitRanges and ResourceQuotas.
#include "pkg/api/names.h"
#include "pkg/api/quantity.h"
#include "pkg/apiserver/machinery/validation_pod.h"
#include "pkg/apiserver/machinery/validation_rules.h"
#include "pkg/base/strings.h"

namespace kcube::machinery {
namespace {

using api::Quantity;

void check_limit_name(const Cursor& at, std::string_view name, std::string_view type) {
  validate_resource_name(at, name);
  if (type != "Pod" && type != "Container") return;
  bool plain = name.find('/') == std::string_view::npos;
  if (plain && name != "cpu" && name != "memory" && name != "ephemeral-storage" && !is_hugepages(name))
    at.invalid_text(name, "must be a standard resource for containers");
}

// One resource of one limit: what is least, most and default of it must go together.
void check_limit(const Cursor& limit, std::string_view name) {
  auto of = [&](std::string_view member) { return limit[member].entry(name); };
  auto amount = [&](std::string_view member) { return Quantity::from_json(of(member).value()); };
  auto text = [&](std::string_view member) { return amount(member).to_string(); };
  auto both = [&](std::string_view a, std::string_view b) {
    return of(a).present() && of(b).present() && amount(a) > amount(b);
  };
  if (both("min", "max")) of("min").invalid("min value " + text("min") + " is greater than max value " + text("max"));
  if (both("min", "defaultRequest"))
    of("defaultRequest")
        .invalid("min value " + text("min") + " is greater than default request value " + text("defaultRequest"));
  if (both("defaultRequest", "max"))
    of("defaultRequest")
        .invalid("default request value " + text("defaultRequest") + " is greater than max value " + text("max"));
  if (both("defaultRequest", "default"))
    of("defaultRequest")
        .invalid("default request value " + text("defaultRequest") + " is greater than default limit value " +
                 text("default"));
  if (both("min", "default"))
    of("default").invalid(*of("min").value(),
                          "min value " + text("min") + " is greater than default value " + text("default"));
  if (both("default", "max"))
    of("default").invalid(*of("max").value(),
                          "default value " + text("default") + " is greater than max value " + text("max"));
  Cursor ratio = of("maxLimitRequestRatio");
  if (ratio.present() && amount("maxLimitRequestRatio") < Quantity::from_int(1))
    ratio.invalid("ratio " + text("maxLimitRequestRatio") + " is less than 1");
  if (!ratio.present() || !of("min").present() || !of("max").present() || amount("min").zero()) return;
  double most = static_cast<double>(amount("max").milli_value()) / static_cast<double>(amount("min").milli_value());
  if (static_cast<double>(amount("maxLimitRequestRatio").milli_value()) / 1000 > most) {
    char shown[64];
    snprintf(shown, sizeof shown, "%f", most);
    ratio.invalid("ratio " + text("maxLimitRequestRatio") + " is greater than max/min = " + shown);
  }
}

constexpr std::string_view kScopes[] = {"Terminating",          "NotTerminating", "BestEffort",
                                        "NotBestEffort",        "PriorityClass",  "CrossNamespacePodAffinity",
                                        "VolumeAttributesClass"};

bool known_scope(std::string_view scope) {
  for (std::string_view known : kScopes)
    if (scope == known) return true;
  return false;
}

bool is_quota_resource(std::string_view name) { return is_standard_resource(name) && name != "storage"; }

bool scope_fits(std::string_view scope, std::string_view resource) {
  bool compute = resource == "pods" || resource == "cpu" || resource == "memory" || resource == "ephemeral-storage" ||
                 resource.starts_with("requests.") || resource.starts_with("limits.");
  if (resource == "requests.storage") compute = false;
  if (scope == "BestEffort") return resource == "pods";
  if (scope == "VolumeAttributesClass") return resource == "requests.storage" || resource == "persistentvolumeclaims";
  return compute;
}

void check_pairs(const Cursor& at, const std::set<std::string_view>& scopes) {
  if ((scopes.contains("BestEffort") && scopes.contains("NotBestEffort")) ||
      (scopes.contains("Terminating") && scopes.contains("NotTerminating")))
    at.invalid(at.present() ? *at.value() : json::value(nullptr), "conflicting scopes");
}

void validate_scopes(const Cursor& spec) {
  Cursor scopes = spec["scopes"];
  std::set<std::string_view> seen;
  for (const Cursor& scope : scopes.items()) {
    if (!known_scope(scope.text())) scopes.invalid("unsupported scope");
    for (const auto& [name, amount] : spec["hard"].members())
      if (is_quota_resource(name) && !scope_fits(scope.text(), name))
        scopes.invalid("unsupported scope applied to resource");
    seen.insert(scope.text());
  }
  check_pairs(scopes, seen);
}

void validate_scope_selector(const Cursor& spec) {
  // The real server names the list, not the item.
  Cursor list = spec["scopeSelector"]["matchExpressions"];
  std::set<std::string_view> seen;
  for (const Cursor& item : list.items()) {
    Cursor scope = item["scopeName"].renamed(list.path() + ".scopeName"),
           op = item["operator"].renamed(list.path() + ".operator");
    Cursor values = item["values"].renamed(list.path() + ".values");
    if (!known_scope(scope.text())) scope.invalid("unsupported scope");
    for (const auto& [name, amount] : spec["hard"].members())
      if (is_quota_resource(name) && !scope_fits(scope.text(), name))
        list.invalid(*spec["scopeSelector"].value(), "unsupported scope applied to resource");
    if (known_scope(scope.text()) && scope.text() != "PriorityClass" && scope.text() != "VolumeAttributesClass" &&
        op.text() != "Exists")
      op.invalid(
          "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, "
          "ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or "
          "ResourceQuotaScopeCrossNamespacePodAffinity");
    if (op.in({"In", "NotIn"})) {
      if (values.empty())
        values.required("must be at least one value when `operator` is 'In' or 'NotIn' for scope selector");
    } else if (op.in({"Exists", "DoesNotExist"})) {
      if (!values.empty())
        values.invalid("must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector");
    } else {
      op.invalid("not a valid selector operator");
    }
    seen.insert(scope.text());
  }
  check_pairs(spec["scopes"].renamed(list.path()), seen);
}

void validate_amounts(const Cursor& amounts) {
  for (const auto& [name, amount] : amounts.members()) {
    validate_resource_name(amount, name);
    if (name.find('/') == std::string_view::npos && !is_quota_resource(name))
      amount.invalid_text(name, "must be a standard resource for quota");
    validate_quantity(amount, name);
  }
}

}  // namespace

void validate_limit_range(const Validation& v) {
  std::set<std::string_view> types;
  for (const Cursor& limit : v["spec"]["limits"].items()) {
    Cursor type = limit["type"];
    if (std::string problem = api::check_qualified_name(type.text()); !problem.empty())
      validate_label_key(type);
    else if (type.text().find('/') == std::string_view::npos && !type.in({"Pod", "Container", "PersistentVolumeClaim"}))
      type.invalid("must be a standard limit type or fully qualified");
    if (!types.insert(type.text()).second) type.duplicate();
    if (type.text() == "Pod")
      for (std::string_view member : {"default", "defaultRequest"})
        if (!limit[member].empty()) limit[member].forbidden("may not be specified when `type` is 'Pod'");
    std::set<std::string_view> names;
    for (std::string_view member : {"max", "min", "default", "defaultRequest", "maxLimitRequestRatio"}) {
      if (type.text() == "Pod" && member.starts_with("default")) continue;
      for (const auto& [name, amount] : limit[member].members()) {
        check_limit_name(amount, name, type.text());
        names.insert(name);
      }
    }
    if (type.text() == "PersistentVolumeClaim" && !limit["min"].entry("storage").present() &&
        !limit["max"].entry("storage").present())
      limit["limits"].required("either minimum or maximum storage value is required, but neither was provided");
    for (std::string_view name : names) check_limit(limit, name);
  }
}

void validate_resource_quota(const Validation& v) {
  if (!v.main()) {
    validate_amounts(v["status"]["hard"]);
    validate_amounts(v["status"]["used"]);
    return;
  }
  Cursor spec = v["spec"];
  validate_amounts(spec["hard"]);
  validate_scopes(spec);
  validate_scope_selector(spec);
  if (v.creating()) return;
  std::set<std::string_view> now, before;
  for (const Cursor& scope : spec["scopes"].items()) now.insert(scope.text());
  for (const json::value& scope : json::get_array(v.before({"spec", "scopes"})))
    before.insert(json::get_string(&scope));
  if (now != before)
    spec["scopes"].invalid(spec["scopes"].present() ? *spec["scopes"].value() : json::value(nullptr),
                           "field is immutable");
}

}  // namespace kcube::machinery
