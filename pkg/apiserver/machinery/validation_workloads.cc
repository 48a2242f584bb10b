// Deployments, ReplicaSets, ReplicationControllers, StatefulSets, DaemonSets, ControllerRevisions.
#include "pkg/api/names.h"
#include "pkg/api/selector.h"
#include "pkg/apiserver/machinery/validation_pod.h"
#include "pkg/apiserver/machinery/validation_rules.h"
#include "pkg/base/strings.h"

namespace kcube::machinery {
namespace {

// What a template must be where pods are to run on and on.
void validate_lasting_template(const Cursor& pod_template, std::string_view kind) {
  validate_pod_template(pod_template);
  Cursor spec = pod_template["spec"];
  if (spec["restartPolicy"].text() != "Always") spec["restartPolicy"].not_supported({"Always"});
  if (spec["activeDeadlineSeconds"].present())
    spec["activeDeadlineSeconds"].forbidden("activeDeadlineSeconds in " + std::string(kind) + " is not Supported");
}

// Every key and value is one that a label can have.
bool selector_is_sound(const json::value* selector) {
  std::vector<Cause> causes;
  validate_label_selector(Cursor(selector, "", causes));
  return causes.empty();
}

// `unsound` is what is said once more of a selector that is not sound in itself.
void check_selector_matches(const Cursor& spec, std::string_view unsound) {
  auto selector = api::LabelSelector::from_json(spec["selector"].value());
  Cursor labels = spec["template"]["metadata"]["labels"];
  if (!selector || !selector_is_sound(spec["selector"].value())) {
    spec["selector"].invalid(unsound);
  } else if (!selector->everything() && !selector->matches(labels.value())) {
    static const json::value kNone(nullptr);
    labels.invalid(labels.present() ? *labels.value() : kNone, "`selector` does not match template `labels`");
  }
}

void validate_selector(const Cursor& selector, std::string_view kind) {
  if (!selector.present()) return selector.required();
  validate_label_selector(selector);
  if (selector["matchLabels"].empty() && selector["matchExpressions"].empty())
    selector.invalid("empty selector is invalid for " + std::string(kind));
}

void check_counts(const Cursor& spec, std::initializer_list<std::string_view> members) {
  for (std::string_view member : members) spec[member].non_negative();
}

bool is_percent(std::string_view text) {
  if (text.size() < 2 || !text.ends_with('%')) return false;
  text.remove_suffix(1);
  for (char c : text)
    if (c < '0' || c > '9') return false;
  return true;
}

void validate_deployment_strategy(const Cursor& strategy) {
  Cursor rolling = strategy["rollingUpdate"];
  std::string_view type = strategy["type"].text();
  if (type == "Recreate") {
    if (rolling.present()) rolling.forbidden("may not be specified when strategy `type` is 'Recreate'");
  } else if (type == "RollingUpdate") {
    check_int_or_percent(rolling["maxUnavailable"]);
    check_int_or_percent(rolling["maxSurge"]);
    if (int_or_percent(rolling["maxUnavailable"]) == 0 && int_or_percent(rolling["maxSurge"]) == 0)
      rolling["maxUnavailable"].invalid(
          rolling["maxUnavailable"].present() ? *rolling["maxUnavailable"].value() : json::value(0),
          "may not be 0 when `maxSurge` is 0");
    check_not_above_all(rolling["maxUnavailable"]);
  } else {
    strategy.not_supported({"Recreate", "RollingUpdate"});
  }
}

void validate_daemon_strategy(const Cursor& strategy) {
  std::string_view type = strategy["type"].text();
  if (type == "OnDelete") return;
  if (type != "RollingUpdate") return strategy.not_supported({"RollingUpdate", "OnDelete"});
  Cursor rolling = strategy["rollingUpdate"];
  if (!rolling.present()) return rolling.required();
  Cursor unavailable = rolling["maxUnavailable"], surge = rolling["maxSurge"];
  check_int_or_percent(unavailable);
  check_int_or_percent(surge);
  check_not_above_all(unavailable);
  check_not_above_all(surge);
  bool some = int_or_percent(unavailable) != 0, more = int_or_percent(surge) != 0;
  if (some && more) surge.invalid("may not be set when maxUnavailable is non-zero");
  if (!some && !more) unavailable.required("cannot be 0 when maxSurge is 0");
}

void validate_stateful_strategy(const Cursor& strategy) {
  Cursor rolling = strategy["rollingUpdate"];
  std::string_view type = strategy["type"].text();
  if (type.empty()) return strategy.required();
  if (type == "OnDelete") {
    if (rolling.present()) rolling.invalid("only allowed for updateStrategy 'RollingUpdate'");
  } else if (type == "RollingUpdate") {
    rolling["partition"].non_negative();
  } else {
    strategy.invalid("must be 'RollingUpdate' or 'OnDelete'");
  }
}

// The template as it is with the volumes that claims make, and without the names that the controller gives.
json::value effective_template(const Cursor& spec) {
  json::value pod_template = spec["template"].present() ? *spec["template"].value() : json::value(json::object());
  json::value* pod = json::find(&pod_template, "spec");
  if (pod == nullptr || !pod->is_object()) return pod_template;
  json::object& pod_spec = pod->get_object();
  pod_spec.erase("hostname");
  pod_spec.erase("subdomain");
  const json::array& claims = json::get_array(spec["volumeClaimTemplates"].value());
  if (claims.empty()) return pod_template;
  json::array volumes;
  std::set<std::string_view> claimed;
  for (const json::value& claim : claims) {
    std::string_view name = json::get_string(claim, {"metadata", "name"});
    if (!claimed.insert(name).second) continue;
    volumes.push_back(
        json::object{{"name", json::key(name)}, {"persistentVolumeClaim", {{"claimName", json::key(name)}}}});
  }
  for (const json::value& volume : json::get_array(pod_spec.if_contains("volumes")))
    if (!claimed.contains(json::get_string(volume, {"name"}))) volumes.push_back(volume);
  pod_spec["volumes"] = std::move(volumes);
  return pod_template;
}

void check_stateful_update(const Validation& v) {
  for (const auto& m : json::get_object(v["spec"].value())) {
    std::string_view name = json::view(m.key());
    bool free = false;
    for (std::string_view allowed : {"replicas", "ordinals", "template", "updateStrategy", "revisionHistoryLimit",
                                     "persistentVolumeClaimRetentionPolicy", "minReadySeconds"})
      free = free || name == allowed;
    if (free || same(&m.value(), v.before({"spec", name}))) continue;
    return v["spec"].forbidden(
        "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', "
        "'revisionHistoryLimit', "
        "'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden");
  }
  for (std::string_view name : {"selector", "serviceName", "volumeClaimTemplates", "podManagementPolicy"})
    if (same(v["spec"][name].value(), nullptr) && !same(v.before({"spec", name}), nullptr))
      return v["spec"].forbidden(
          "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', "
          "'revisionHistoryLimit', "
          "'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden");
}

void validate_counts_of_status(const Cursor& status) {
  for (const auto& m : json::get_object(status.value()))
    if (m.value().is_int64()) status[json::view(m.key())].non_negative();
}

void check_not_above(const Cursor& status, std::initializer_list<std::string_view> members, std::string_view limit,
                     std::string_view words) {
  for (std::string_view member : members)
    if (status[member].number() > status[limit].number())
      status[member].invalid(json::value(status[member].number()), "cannot be greater than " + std::string(words));
}

}  // namespace

int64_t int_or_percent(const Cursor& v) {
  if (!v.is_text()) return v.number();
  return is_percent(v.text()) ? parse_int<int64_t>(v.text().substr(0, v.text().size() - 1)).value_or(0)
                              : parse_int<int64_t>(v.text()).value_or(0);
}

void check_int_or_percent(const Cursor& v) {
  if (!v.present()) return;
  if (!v.is_text())
    v.non_negative();
  else if (!is_percent(v.text()))
    v.invalid(
        "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used "
        "for validation is '[0-9]+%')");
}

void validate_deployment(const Validation& v) {
  if (!v.main()) {
    Cursor status = v["status"];
    validate_counts_of_status(status);
    check_not_above(status, {"updatedReplicas", "readyReplicas", "availableReplicas"}, "replicas", "status.replicas");
    check_not_above(status, {"availableReplicas"}, "readyReplicas", "readyReplicas");
    return;
  }
  Cursor spec = v["spec"];
  check_counts(spec, {"replicas"});
  validate_selector(spec["selector"], "deployment");
  check_selector_matches(spec, "invalid label selector");
  validate_lasting_template(spec["template"], "ReplicaSet");
  validate_deployment_strategy(spec["strategy"]);
  check_counts(spec, {"minReadySeconds", "revisionHistoryLimit"});
  if (Cursor deadline = spec["progressDeadlineSeconds"]; deadline.present()) {
    deadline.non_negative();
    if (deadline.number() <= spec["minReadySeconds"].number()) deadline.invalid("must be greater than minReadySeconds");
  }
  if (!v.creating()) spec["selector"].unchanged(v.before({"spec", "selector"}));
}

void validate_replica_set(const Validation& v) {
  if (!v.main()) {
    Cursor status = v["status"];
    validate_counts_of_status(status);
    check_not_above(status, {"fullyLabeledReplicas", "readyReplicas", "availableReplicas"}, "replicas",
                    "status.replicas");
    check_not_above(status, {"availableReplicas"}, "readyReplicas", "readyReplicas");
    return;
  }
  Cursor spec = v["spec"];
  check_counts(spec, {"replicas", "minReadySeconds"});
  validate_selector(spec["selector"], "deployment");
  check_selector_matches(spec, "invalid label selector");
  validate_lasting_template(spec["template"], "ReplicaSet");
  if (!v.creating()) spec["selector"].unchanged(v.before({"spec", "selector"}));
}

void validate_replication_controller(const Validation& v) {
  if (!v.main()) return validate_counts_of_status(v["status"]);
  Cursor spec = v["spec"];
  check_counts(spec, {"minReadySeconds"});
  if (spec["selector"].empty()) spec["selector"].required();
  check_counts(spec, {"replicas"});
  if (!spec["template"].present()) return spec["template"].required();
  Cursor labels = spec["template"]["metadata"]["labels"];
  if (!spec["selector"].empty() && !api::LabelSelector::from_map(spec["selector"].value()).matches(labels.value()))
    labels.invalid(labels.present() ? *labels.value() : json::value(nullptr),
                   "`selector` does not match template `labels`");
  validate_lasting_template(spec["template"], "ReplicationController");
}

void validate_stateful_set(const Validation& v) {
  if (!v.main()) {
    Cursor status = v["status"];
    validate_counts_of_status(status);
    check_not_above(status, {"readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas"}, "replicas",
                    "status.replicas");
    check_not_above(status, {"availableReplicas"}, "readyReplicas", "status.readyReplicas");
    return;
  }
  Cursor spec = v["spec"];
  Cursor management = spec["podManagementPolicy"];
  if (management.empty())
    management.required();
  else if (!management.in({"OrderedReady", "Parallel"}))
    management.invalid("must be 'OrderedReady' or 'Parallel'");
  validate_stateful_strategy(spec["updateStrategy"]);
  if (Cursor retention = spec["persistentVolumeClaimRetentionPolicy"]; retention.present())
    for (std::string_view member : {"whenDeleted", "whenScaled"})
      if (!retention[member].in({"Retain", "Delete"})) retention[member].not_supported({"Retain", "Delete"});
  if (v.creating())
    for (const Cursor& claim : spec["volumeClaimTemplates"].items()) validate_claim_spec(claim["spec"]);
  check_counts(spec, {"replicas", "minReadySeconds"});
  spec["ordinals.start"].with(spec["ordinals"]["start"].value()).non_negative();
  if (v.creating() && !spec["serviceName"].empty())
    spec["serviceName"].check(api::check_dns1123_label(spec["serviceName"].text()));
  validate_selector(spec["selector"], "statefulset");
  check_selector_matches(spec, {});
  json::value pod_template = effective_template(spec);
  validate_lasting_template(spec["template"].with(&pod_template), "StatefulSet");
  if (!v.creating()) check_stateful_update(v);
}

void validate_daemon_set(const Validation& v) {
  if (!v.main()) return validate_counts_of_status(v["status"]);
  Cursor spec = v["spec"];
  Cursor selector = spec["selector"];
  if (!v.creating()) selector.unchanged(v.before({"spec", "selector"}));
  validate_label_selector(selector);
  if (selector_is_sound(selector.value())) check_selector_matches(spec, {});
  if (selector.present() && selector["matchLabels"].empty() && selector["matchExpressions"].empty())
    selector.invalid("empty selector is invalid for daemonset");
  validate_lasting_template(spec["template"], "DaemonSet");
  check_counts(spec, {"minReadySeconds"});
  validate_daemon_strategy(spec["updateStrategy"]);
  check_counts(spec, {"revisionHistoryLimit"});
}

void validate_controller_revision(const Validation& v) {
  v["revision"].non_negative();
  if (v.creating()) {
    if (!v["data"].present())
      v["data"].required("data is mandatory");
    else if (!v["data"].value()->is_object())
      v["data"].required("data must be a valid JSON object");
  } else {
    v["data"].unchanged(v.before({"data"}));
  }
}

}  // namespace kcube::machinery
