// Where a pod may run: affinity, tolerations, spreading; and label selectors, which all kinds use.
#include <arpa/inet.h>

#include "pkg/api/names.h"
#include "pkg/apiserver/machinery/validation_pod.h"
#include "pkg/base/strings.h"

namespace kcube::machinery {
namespace {

void validate_weight(const Cursor& weight) {
  if (weight.number() < 1 || weight.number() > 100)
    weight.invalid(json::value(weight.number()), "must be in the range 1-100");
}

// metadata.name is the only field that a node is chosen by.
void validate_field_requirement(const Cursor& requirement) {
  Cursor op = requirement["operator"], values = requirement["values"], key = requirement["key"];
  if (!op.in({"In", "NotIn"}))
    op.invalid("not a valid selector operator");
  else if (values.size() != 1)
    values.required("must be only one value when `operator` is 'In' or 'NotIn' for node field selector");
  if (key.text() != "metadata.name") return key.invalid("not a valid field selector key");
  for (const Cursor& value : values.items()) value.check(api::check_dns1123_subdomain(value.text()));
}

void validate_node_requirement(const Cursor& requirement, bool check_values) {
  Cursor op = requirement["operator"], values = requirement["values"];
  if (op.in({"In", "NotIn"})) {
    if (values.empty()) values.required("must be specified when `operator` is 'In' or 'NotIn'");
  } else if (op.in({"Exists", "DoesNotExist"})) {
    if (!values.empty()) values.forbidden("may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
  } else if (op.in({"Gt", "Lt"})) {
    if (values.size() != 1) values.required("must be specified single value when `operator` is 'Lt' or 'Gt'");
  } else {
    op.invalid("not a valid selector operator");
  }
  validate_label_key(requirement["key"]);
  if (!check_values) return;
  for (const Cursor& value : values.items()) value.check(api::check_label_value(value.text()));
}

void validate_node_term(const Cursor& term, bool check_values) {
  for (const Cursor& requirement : term["matchExpressions"].items())
    validate_node_requirement(requirement, check_values);
  for (const Cursor& requirement : term["matchFields"].items()) validate_field_requirement(requirement);
}

bool selects_key(const Cursor& selector, std::string_view key) {
  if (json::find(selector["matchLabels"].value(), key) != nullptr) return true;
  for (const Cursor& e : selector["matchExpressions"].items())
    if (e["key"].text() == key) return true;
  return false;
}

void validate_label_keys(const Cursor& keys, const Cursor& selector) {
  if (keys.empty()) return;
  if (!selector.present()) keys.forbidden("must not be specified when labelSelector is not set");
  for (const Cursor& key : keys.items()) validate_label_key(key);
}

void validate_pod_term(const Cursor& term) {
  Cursor selector = term["labelSelector"];
  validate_label_selector(selector);
  validate_label_selector(term["namespaceSelector"]);
  for (const Cursor& ns : term["namespaces"].items())
    ns.renamed(term.path() + ".namespace").check(api::check_dns1123_label(ns.text()));
  validate_label_keys(term["matchLabelKeys"], selector);
  validate_label_keys(term["mismatchLabelKeys"], selector);
  for (const Cursor& key : term["matchLabelKeys"].items())
    for (const Cursor& other : term["mismatchLabelKeys"].items())
      if (key.text() == other.text()) key.invalid("exists in both matchLabelKeys and mismatchLabelKeys");
  Cursor topology = term["topologyKey"];
  if (topology.empty()) topology.required("can not be empty");
  validate_label_key(topology);
}

void validate_affinity(const Cursor& affinity) {
  constexpr std::string_view kRequired = "requiredDuringSchedulingIgnoredDuringExecution",
                             kPreferred = "preferredDuringSchedulingIgnoredDuringExecution";
  Cursor node = affinity["nodeAffinity"];
  if (node[kRequired].present()) validate_node_selector(node[kRequired]);
  for (const Cursor& term : node[kPreferred].items()) {
    validate_weight(term["weight"]);
    validate_node_term(term["preference"], false);
  }
  for (std::string_view kind : {"podAffinity", "podAntiAffinity"}) {
    for (const Cursor& term : affinity[kind][kRequired].items()) validate_pod_term(term);
    for (const Cursor& term : affinity[kind][kPreferred].items()) {
      validate_weight(term["weight"]);
      validate_pod_term(term["podAffinityTerm"]);
    }
  }
}

void validate_spread(const Cursor& constraints) {
  std::vector<Cursor> items = constraints.items();
  for (size_t i = 0; i < items.size(); ++i) {
    const Cursor& c = items[i];
    c["maxSkew"].positive();
    if (c["topologyKey"].empty()) c["topologyKey"].required("can not be empty");
    Cursor when = c["whenUnsatisfiable"];
    if (!when.in({"DoNotSchedule", "ScheduleAnyway"})) when.not_supported({"DoNotSchedule", "ScheduleAnyway"});
    for (size_t j = i + 1; j < items.size(); ++j) {
      if (items[j]["topologyKey"].text() != c["topologyKey"].text() ||
          items[j]["whenUnsatisfiable"].text() != when.text())
        continue;
      json::value shown("{" + std::string(c["topologyKey"].text()) + ", " + std::string(when.text()) + "}");
      c["{topologyKey, whenUnsatisfiable}"].with(&shown).duplicate();
      break;
    }
    if (Cursor domains = c["minDomains"]; domains.present()) {
      domains.positive();
      if (when.text() != "DoNotSchedule")
        domains.invalid("can only use minDomains if whenUnsatisfiable=DoNotSchedule, not " + std::string(when.text()));
    }
    c["nodeAffinityPolicy"].one_of_if_set({"Honor", "Ignore"});
    c["nodeTaintsPolicy"].one_of_if_set({"Honor", "Ignore"});
    validate_label_keys(c["matchLabelKeys"], c["labelSelector"]);
    for (const Cursor& key : c["matchLabelKeys"].items())
      if (json::find(c["labelSelector"]["matchLabels"].value(), key.text()) != nullptr &&
          selects_key(c["labelSelector"], key.text()))
        key.invalid("exists in both matchLabelKeys and labelSelector");
    validate_label_selector(c["labelSelector"]);
  }
}

}  // namespace

void validate_label_key(const Cursor& key) {
  key.check(api::check_qualified_name(key.text()));
  // Of an empty name the real server says what it should look like as well.
  if (key.text().empty()) key.invalid_text("", api::check_qualified_name("-"));
}

void validate_labels(const Cursor& labels) {
  for (const auto& [key, value] : labels.members()) {
    Cursor at = value.renamed(labels.path());
    if (std::string problem = api::check_qualified_name(key); !problem.empty()) at.invalid_text(key, problem);
    at.check(api::check_label_value(value.text()));
  }
}

void validate_annotations(const Cursor& annotations) {
  constexpr size_t kLimit = 256 * 1024;
  size_t total = 0;
  for (const auto& [key, value] : annotations.members()) {
    if (std::string problem = api::check_qualified_name(to_lower(key)); !problem.empty())
      annotations.invalid_text(key, problem);
    total += key.size() + value.text().size();
  }
  if (total > kLimit) annotations.too_long(kLimit);
}

void validate_label_selector(const Cursor& selector, bool check_values) {
  validate_labels(selector["matchLabels"]);
  for (const Cursor& requirement : selector["matchExpressions"].items()) {
    Cursor op = requirement["operator"], values = requirement["values"];
    if (op.in({"In", "NotIn"})) {
      if (values.empty()) values.required("must be specified when `operator` is 'In' or 'NotIn'");
    } else if (op.in({"Exists", "DoesNotExist"})) {
      if (!values.empty()) values.forbidden("may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
    } else {
      op.invalid("not a valid selector operator");
    }
    validate_label_key(requirement["key"]);
    if (!check_values) continue;
    for (const Cursor& value : values.items()) value.check(api::check_label_value(value.text()));
  }
}

void validate_node_selector(const Cursor& selector) {
  Cursor terms = selector["nodeSelectorTerms"];
  if (terms.empty()) return terms.required("must have at least one node selector term");
  for (const Cursor& term : terms.items()) validate_node_term(term, true);
}

void validate_tolerations(const Cursor& tolerations) {
  for (const Cursor& toleration : tolerations.items()) {
    Cursor key = toleration["key"], op = toleration["operator"], value = toleration["value"],
           effect = toleration["effect"];
    if (!key.empty())
      validate_label_key(key);
    else if (op.text() != "Exists")
      op.invalid("operator must be Exists when `key` is empty, which means \"match all values and all keys\"");
    if (toleration["tolerationSeconds"].present() && effect.text() != "NoExecute")
      effect.invalid("effect must be 'NoExecute' when `tolerationSeconds` is set");
    if (op.empty() || op.text() == "Equal") {
      if (std::string problem = api::check_label_value(value.text()); !problem.empty())
        op.invalid_text(value.text(), problem);
    } else if (op.text() == "Exists") {
      if (!value.empty()) op.invalid_text(value.text(), "value must be empty when `operator` is 'Exists'");
    } else if (op.in({"Lt", "Gt"})) {
      op.not_supported({"Equal", "Exists", "Lt", "Gt"});
    } else {
      op.not_supported({"Equal", "Exists"});
    }
    if (!effect.empty() && !effect.in({"NoSchedule", "PreferNoSchedule", "NoExecute"}))
      effect.not_supported({"NoSchedule", "PreferNoSchedule", "NoExecute"});
  }
}

void validate_scheduling(const PodContext& pod) {
  validate_labels(pod.spec["nodeSelector"]);
  validate_affinity(pod.spec["affinity"]);
  validate_spread(pod.spec["topologySpreadConstraints"]);
  validate_tolerations(pod.spec["tolerations"]);
  std::set<std::string_view> gates;
  for (const Cursor& gate : pod.spec["schedulingGates"].items()) {
    Cursor name = gate["name"].renamed(gate.path());
    validate_label_key(name);
    if (!gates.insert(name.text()).second) name.duplicate();
  }
}

}  // namespace kcube::machinery
