// Requests and limits, and the names of resources.
#include "pkg/api/names.h"
#include "pkg/api/quantity.h"
#include "pkg/apiserver/machinery/validation_pod.h"

namespace kcube::machinery {
namespace {

constexpr std::string_view kHugePages = "hugepages-";

bool has_prefix_domain(std::string_view name) { return name.find('/') != std::string_view::npos; }

bool is_native(std::string_view name) {
  return !has_prefix_domain(name) || name.find("kubernetes.io/") != std::string_view::npos;
}

// cpu, memory and ephemeral-storage may be limited above what is requested.
bool overcommitable(std::string_view name) { return is_native(name) && !is_hugepages(name); }

bool is_container_resource(std::string_view name) {
  return name == "cpu" || name == "memory" || name == "ephemeral-storage" || is_hugepages(name);
}

void validate_container_resource_name(const Cursor& at, std::string_view name) {
  if (std::string problem = api::check_qualified_name(name); !problem.empty()) {
    at.invalid_text(name, problem);
    if (!has_prefix_domain(name)) at.invalid_text(name, "must be a standard resource for containers");
    return;
  }
  if (!has_prefix_domain(name)) {
    if (!is_standard_resource(name)) at.invalid_text(name, "must be a standard resource type or fully qualified");
    if (!is_container_resource(name)) at.invalid_text(name, "must be a standard resource for containers");
  } else if (!is_native(name) && !is_extended_resource(name)) {
    at.invalid_text(name, "doesn't follow extended resource name standard");
  }
}

void validate_entry(const Cursor& at, std::string_view name, bool pod_level) {
  if (pod_level) {
    if (!(name == "cpu" || name == "memory" || is_hugepages(name))) {
      json::value shown(json::key(name));
      at.with(&shown).not_supported({"cpu", "hugepages-", "memory"});
    }
  } else {
    validate_container_resource_name(at, name);
  }
  validate_quantity(at, name);
  if (!is_hugepages(name)) return;
  auto page = api::Quantity::parse(name.substr(kHugePages.size()));
  int64_t size = page ? page->value() : 0, amount = api::Quantity::from_json(at.value()).value();
  if (size > 0 && amount % size != 0)
    at.invalid(std::string(at.text()) + " is not positive integer multiple of " + std::string(name));
}

void validate_claims(const Cursor& list, const std::set<std::string_view>& known) {
  std::set<std::string> seen;
  for (const Cursor& claim : list.items()) {
    std::string_view name = claim["name"].text(), request = claim["request"].text();
    if (name.empty()) {
      claim.required();
      continue;
    }
    std::string key = std::string(name) + (request.empty() ? "" : "/" + std::string(request));
    json::value shown(key);
    if (!seen.insert(key).second) claim.with(&shown).duplicate();
    if (known.contains(name)) continue;
    std::string detail = "must be one of the names in pod.spec.resourceClaims";
    claim.with(claim["name"].value()).not_found(known.empty() ? detail + " which is empty" : detail);
  }
}

}  // namespace

bool is_hugepages(std::string_view resource) { return resource.starts_with(kHugePages); }

bool is_standard_resource(std::string_view resource) {
  for (std::string_view known : {"cpu",
                                 "memory",
                                 "ephemeral-storage",
                                 "storage",
                                 "requests.cpu",
                                 "requests.memory",
                                 "requests.ephemeral-storage",
                                 "limits.cpu",
                                 "limits.memory",
                                 "limits.ephemeral-storage",
                                 "pods",
                                 "resourcequotas",
                                 "services",
                                 "replicationcontrollers",
                                 "secrets",
                                 "configmaps",
                                 "persistentvolumeclaims",
                                 "services.nodeports",
                                 "services.loadbalancers",
                                 "requests.storage"})
    if (resource == known) return true;
  return is_hugepages(resource) || resource.starts_with("requests.hugepages-");
}

bool is_extended_resource(std::string_view resource) {
  if (is_native(resource) || resource.starts_with("requests.")) return false;
  return api::check_qualified_name("requests." + std::string(resource)).empty();
}

bool is_integer_resource(std::string_view resource) {
  for (std::string_view known :
       {"pods", "services", "replicationcontrollers", "resourcequotas", "secrets", "configmaps",
        "persistentvolumeclaims", "services.nodeports", "services.loadbalancers", "count/pods"})
    if (resource == known) return true;
  return is_extended_resource(resource);
}

void validate_resource_name(const Cursor& at, std::string_view name) {
  if (std::string problem = api::check_qualified_name(name); !problem.empty())
    at.invalid_text(name, problem);
  else if (!has_prefix_domain(name) && !is_standard_resource(name))
    at.invalid_text(name, "must be a standard resource type or fully qualified");
}

void validate_quantity(const Cursor& at, std::string_view resource) {
  auto amount = api::Quantity::from_json(at.value());
  if (amount < api::Quantity()) at.invalid("must be greater than or equal to 0");
  if (is_integer_resource(resource) && amount.milli_value() % 1000 != 0) at.invalid("must be an integer");
}

void validate_resources(const Cursor& resources, const std::set<std::string_view>* claims, bool pod_level) {
  Cursor limits = resources["limits"], requests = resources["requests"];
  bool huge = false, compute = false;
  auto look = [&](std::string_view name, const Cursor& entry) {
    validate_entry(entry, name, pod_level);
    huge = huge || is_hugepages(name);
    compute = compute || name == "cpu" || name == "memory";
  };
  for (const auto& [name, limit] : limits.members()) look(name, limit);
  for (const auto& [name, request] : requests.members()) {
    look(name, request);
    Cursor limit = limits.entry(name);
    auto asked = api::Quantity::from_json(request.value()), most = api::Quantity::from_json(limit.value());
    if (!limit.present()) {
      if (!overcommitable(name)) limits.required("Limit must be set for non overcommitable resources");
    } else if (asked != most && !overcommitable(name)) {
      requests.with(request.value()).invalid("must be equal to " + std::string(name) + " limit of " + most.to_string());
    } else if (asked > most) {
      requests.with(request.value())
          .invalid("must be less than or equal to " + std::string(name) + " limit of " + most.to_string());
    }
  }
  if (huge && !compute) resources.forbidden("HugePages require cpu or memory");
  if (claims != nullptr) validate_claims(resources["claims"], *claims);
}

}  // namespace kcube::machinery
