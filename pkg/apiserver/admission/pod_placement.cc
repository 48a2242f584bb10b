// PodNodeSelector and PodTolerationRestriction: what a namespace says about where its pods may go. Both are off by default.
// Source: the Kubernetes docs on admission controllers; messages of kube-apiserver.
#include <algorithm>
#include <map>

#include "pkg/api/errors.h"
#include "pkg/apiserver/admission/control.h"
#include "pkg/base/strings.h"

namespace kcube::apiserver {
namespace {

using Labels = std::map<std::string, std::string, std::less<>>;

bool concerns(const Admission& a) { return a.is("", "pods") && a.operation == Operation::create && a.object != nullptr && a.object->is_object(); }

// Null when the namespace does not have it.
const json::value* annotation(const ObjectPtr& ns, std::string_view name) {
  return ns ? json::find(json::at(&ns->value(), {"metadata", "annotations"}), name) : nullptr;
}

// --- PodNodeSelector ---

// "a=b,c=d"
Result<Labels> parse_labels(std::string_view text) {
  Labels out;
  for (std::string_view pair : split(text, ',')) {
    if (trim(pair).empty()) continue;
    size_t equal = pair.find('=');
    if (equal == std::string_view::npos) return fail(Status::internal("invalid selector: " + std::string(pair)));
    out[std::string(trim(pair.substr(0, equal)))] = trim(pair.substr(equal + 1));
  }
  return out;
}

Labels selector_of(const Admission& a) {
  Labels out;
  for (const auto& m : json::get_object(json::at(a.object, {"spec", "nodeSelector"}))) out[std::string(m.key())] = json::get_string(&m.value());
  return out;
}

std::string_view configured(const Admission& a, std::string_view name) {
  return json::get_string(json::find(json::find(a.core.admission.configuration("PodNodeSelector"), "podNodeSelectorPluginConfig"), name));
}

Result<Labels> of_namespace(const Admission& a) {
  ObjectPtr ns = a.core.get("", "namespaces", "", a.call.ns);
  if (!ns) return fail(api::not_found("", "namespaces", a.call.ns));
  const json::value* own = annotation(ns, "scheduler.alpha.kubernetes.io/node-selector");
  return parse_labels(own != nullptr ? json::get_string(own) : configured(a, "clusterDefaultNodeSelector"));
}

Result<void> check_selector(Admission& a) {
  if (!concerns(a)) return {};
  auto wanted = of_namespace(a);
  if (!wanted) return fail(wanted.error());
  Labels own = selector_of(a);
  auto agrees = [](const Labels& with) {
    return [&with](const auto& l) { auto it = with.find(l.first); return it == with.end() || it->second == l.second; };
  };
  if (!std::ranges::all_of(own, agrees(*wanted))) return a.forbid("pod node label selector conflicts with its namespace node label selector");
  auto allowed = parse_labels(configured(a, a.call.ns));
  if (!allowed) return fail(allowed.error());
  auto listed = [&](const auto& l) { auto it = allowed->find(l.first); return it != allowed->end() && it->second == l.second; };
  if (!allowed->empty() && !std::ranges::all_of(own, listed)) return a.forbid("pod node label selector labels conflict with its namespace whitelist");
  return {};
}

Result<void> add_selector(Admission& a) {
  if (!concerns(a)) return {};
  auto wanted = of_namespace(a);
  if (!wanted) return fail(wanted.error());
  Labels own = selector_of(a);
  for (const auto& [key, value] : *wanted) {
    if (own.contains(key)) continue;
    json::object& spec = json::ensure_object(a.object->get_object(), "spec");
    json::ensure_object(spec, "nodeSelector")[key] = value;
  }
  return check_selector(a);
}

// --- PodTolerationRestriction ---

std::string_view text(const json::value& t, std::string_view name) { return json::get_string(json::find(&t, name)); }
std::string_view operator_of(const json::value& t) { return text(t, "operator").empty() ? "Equal" : text(t, "operator"); }

// Whether whatever `narrow` tolerates `wide` tolerates too.
bool covers(const json::value& wide, const json::value& narrow) {
  if (wide == narrow) return true;
  if (!text(wide, "key").empty() && text(wide, "key") != text(narrow, "key")) return false;
  if (!text(wide, "effect").empty() && text(wide, "effect") != text(narrow, "effect")) return false;
  const json::value *limit = json::find(&wide, "tolerationSeconds"), *seconds = json::find(&narrow, "tolerationSeconds");
  if (text(wide, "effect") == "NoExecute" && limit != nullptr && (seconds == nullptr || json::get_int(seconds) > json::get_int(limit))) return false;
  if (operator_of(wide) == "Exists") return true;
  return operator_of(wide) == "Equal" && operator_of(narrow) == "Equal" && text(wide, "value") == text(narrow, "value");
}

// Without those that others cover; of equal ones the first stays.
json::array merged(const json::array& first, const json::array& second) {
  json::array all = first, out;
  for (const json::value& t : second) all.push_back(t);
  for (size_t i = 0; i < all.size(); ++i) {
    bool covered = std::ranges::any_of(out, [&](const json::value& t) { return covers(t, all[i]); });
    for (size_t j = i + 1; j < all.size() && !covered; ++j) covered = all[j] != all[i] && covers(all[j], all[i]);
    if (!covered) out.push_back(all[i]);
  }
  return out;
}

// From the namespace's annotation, or the configuration where there is none.
Result<json::array> tolerations(const Admission& a, const char* annotated, const char* member) {
  ObjectPtr ns = a.core.get("", "namespaces", "", a.call.ns);
  if (!ns) return fail(api::not_found("", "namespaces", a.call.ns));
  const json::value* own = annotation(ns, annotated);
  if (own == nullptr) return json::get_array(json::find(a.core.admission.configuration("PodTolerationRestriction"), member));
  if (json::get_string(own).empty()) return json::array();
  auto parsed = json::parse(json::get_string(own));
  if (!parsed) return fail(Status::internal(parsed.error().message()));
  return json::get_array(&*parsed);
}

bool is_best_effort(const json::value& pod) {
  for (const char* list : {"containers", "initContainers"})
    for (const json::value& c : json::get_array(json::at(&pod, {"spec", list})))
      for (const char* kind : {"requests", "limits"})
        for (const char* resource : {"cpu", "memory"})
          if (json::at(&c, {"resources", kind, resource}) != nullptr) return false;
  return true;
}

Result<void> check_tolerations(Admission& a) {
  if (!concerns(a)) return {};
  auto allowed = tolerations(a, "scheduler.alpha.kubernetes.io/tolerationsWhitelist", "whitelist");
  if (!allowed) return fail(allowed.error());
  if (allowed->empty()) return {};
  for (const json::value& t : json::get_array(json::at(a.object, {"spec", "tolerations"})))
    if (std::ranges::none_of(*allowed, [&](const json::value& w) { return covers(w, t); }))
      return a.forbid("pod tolerations (possibly merged with namespace default tolerations) conflict with its namespace whitelist");
  return {};
}

Result<void> add_tolerations(Admission& a) {
  if (!concerns(a)) return {};
  auto usual = tolerations(a, "scheduler.alpha.kubernetes.io/defaultTolerations", "default");
  if (!usual) return fail(usual.error());
  json::array extra = *usual;
  // A pod that asks for memory does not mind that others have little.
  if (!is_best_effort(*a.object)) extra.push_back(json::object{{"key", "node.kubernetes.io/memory-pressure"}, {"operator", "Exists"}, {"effect", "NoSchedule"}});
  if (!extra.empty()) {
    json::object& spec = json::ensure_object(a.object->get_object(), "spec");
    spec["tolerations"] = merged(extra, json::get_array(spec.if_contains("tolerations")));
  }
  return check_tolerations(a);
}

}  // namespace

const AdmissionPlugin kPodNodeSelector{"PodNodeSelector", add_selector, check_selector};
const AdmissionPlugin kPodTolerationRestriction{"PodTolerationRestriction", add_tolerations, check_tolerations};

}  // namespace kcube::apiserver
