// LimitRanger: a namespace's default requests and limits, and its bounds.
#include <map>

#include "pkg/api/errors.h"
#include "pkg/api/quantity.h"
#include "pkg/apiserver/admission/admission.h"

namespace kcube::apiserver {
namespace {

using Amounts = std::map<std::string, api::Quantity>;

Amounts amounts_of(const json::value* map) {
  Amounts out;
  for (const auto& m : json::get_object(map))
    if (auto q = api::Quantity::parse(json::get_string(&m.value()))) out.emplace(m.key(), *q);
  return out;
}

// Defaults of every Container limit in the namespace; the first that names a resource holds.
void fill(json::value& container, const json::value& item) {
  json::object& resources = json::ensure_object(container.get_object(), "resources");
  for (auto [from, to] : {std::pair{"default", "limits"}, {"defaultRequest", "requests"}}) {
    for (const auto& m : json::get_object(json::find(&item, from))) {
      json::object& target = json::ensure_object(resources, to);
      if (!target.contains(m.key())) target[m.key()] = m.value();
    }
  }
}

template <typename Visit>
void each_limit(const Admission& a, const Visit& visit) {
  for (SnapshotPtr all = a.core.cache.find("", "limitranges")->snapshot(); const ObjectPtr& range : all->objects) {
    if (range->namespace_() != a.call.ns) continue;
    for (const json::value& item : json::get_array(json::at(&range->value(), {"spec", "limits"}))) visit(item);
  }
}

Result<void> apply_defaults(Admission& a) {
  if (!a.is("", "pods") || a.operation != Operation::create) return {};
  json::object& spec = json::ensure_object(a.object->get_object(), "spec");
  each_limit(a, [&](const json::value& item) {
    if (json::get_string(item, {"type"}) != "Container") return;
    for (const char* list : {"initContainers", "containers"}) {
      json::value* containers = spec.if_contains(list);
      if (containers == nullptr || !containers->is_array()) continue;
      for (json::value& c : containers->get_array())
        if (c.is_object()) fill(c, item);
    }
  });
  return {};
}

// What one limit says against amounts that someone asks for, as sentences.
void check(const json::value& item, const Amounts& requests, const Amounts& limits, std::vector<std::string>& problems) {
  std::string type(json::get_string(item, {"type"}));
  auto text = [](const api::Quantity& q) { return q.to_string(); };
  for (const auto& [name, bound] : amounts_of(json::find(&item, "min"))) {
    auto request = requests.find(name), limit = limits.find(name);
    if (request == requests.end()) problems.push_back("minimum " + name + " usage per " + type + " is " + text(bound) + ".  No request is specified");
    else if (request->second < bound) problems.push_back("minimum " + name + " usage per " + type + " is " + text(bound) + ", but request is " + text(request->second));
    else if (limit != limits.end() && limit->second < bound) problems.push_back("minimum " + name + " usage per " + type + " is " + text(bound) + ", but limit is " + text(limit->second));
  }
  for (const auto& [name, bound] : amounts_of(json::find(&item, "max"))) {
    auto request = requests.find(name), limit = limits.find(name);
    if (limit == limits.end()) problems.push_back("maximum " + name + " usage per " + type + " is " + text(bound) + ".  No limit is specified");
    else if (bound < limit->second) problems.push_back("maximum " + name + " usage per " + type + " is " + text(bound) + ", but limit is " + text(limit->second));
    else if (request != requests.end() && bound < request->second) problems.push_back("maximum " + name + " usage per " + type + " is " + text(bound) + ", but request is " + text(request->second));
  }
  for (const auto& [name, ratio] : amounts_of(json::find(&item, "maxLimitRequestRatio"))) {
    auto request = requests.find(name), limit = limits.find(name);
    if (request == requests.end() || limit == limits.end() || request->second.milli_value() == 0) {
      problems.push_back(name + " max limit to request ratio per " + type + " is " + text(ratio) + ", but no request is specified or request is 0.");
      continue;
    }
    double actual = static_cast<double>(limit->second.milli_value()) / static_cast<double>(request->second.milli_value());
    if (actual * 1000 > static_cast<double>(ratio.milli_value()))
      problems.push_back(name + " max limit to request ratio per " + type + " is " + text(ratio) + ", but provided ratio is " + std::to_string(actual));
  }
}

void add(Amounts& total, const Amounts& more) {
  for (const auto& [name, q] : more) {
    auto [it, fresh] = total.try_emplace(name, q);
    if (!fresh) it->second += q;
  }
}

Result<void> check_bounds(Admission& a) {
  bool pods = a.is("", "pods") && a.operation == Operation::create;
  bool claims = a.is("", "persistentvolumeclaims") && (a.operation == Operation::create || a.operation == Operation::update);
  if ((!pods && !claims) || a.object == nullptr) return {};
  std::vector<std::string> problems;
  Amounts requests, limits;
  if (pods) {
    for (const json::value& c : json::get_array(json::at(a.object, {"spec", "containers"}))) {
      add(requests, amounts_of(json::at(&c, {"resources", "requests"})));
      add(limits, amounts_of(json::at(&c, {"resources", "limits"})));
    }
  }
  each_limit(a, [&](const json::value& item) {
    std::string_view type = json::get_string(item, {"type"});
    if (claims && type == "PersistentVolumeClaim") {
      Amounts asked = amounts_of(json::at(a.object, {"spec", "resources", "requests"}));
      check(item, asked, asked, problems);
    }
    if (pods && type == "Pod") check(item, requests, limits, problems);
    if (!pods || type != "Container") return;
    for (const char* list : {"initContainers", "containers"})
      for (const json::value& c : json::get_array(json::at(a.object, {"spec", list})))
        check(item, amounts_of(json::at(&c, {"resources", "requests"})), amounts_of(json::at(&c, {"resources", "limits"})), problems);
  });
  if (problems.empty()) return {};
  std::string message;
  for (const std::string& p : problems) message += (message.empty() ? "" : ", ") + p;
  return a.forbid(problems.size() == 1 ? message : "[" + message + "]");
}

}  // namespace

const AdmissionPlugin kLimitRanger{"LimitRanger", apply_defaults, check_bounds};

}  // namespace kcube::apiserver
