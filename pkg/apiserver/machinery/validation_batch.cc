// Jobs and CronJobs.
#include "pkg/api/names.h"
#include "pkg/api/selector.h"
#include "pkg/apiserver/machinery/validation_pod.h"
#include "pkg/apiserver/machinery/validation_rules.h"
#include "pkg/base/strings.h"

namespace kcube::machinery {
namespace {

constexpr int64_t kMaxIndexed = 100000, kMaxFailedHigh = 10000;
constexpr size_t kMaxRules = 20, kMaxExitCodes = 255, kMaxConditions = 20, kMaxManagedBy = 63, kMaxCronName = 52;

void validate_exit_codes(const Cursor& codes, const std::set<std::string_view>& containers) {
  Cursor op = codes["operator"], name = codes["containerName"], values = codes["values"];
  if (op.empty())
    op.required("valid values: [\"In\" \"NotIn\"]");
  else if (!op.in({"In", "NotIn"}))
    op.not_supported({"In", "NotIn"});
  if (name.present() && !containers.contains(name.text()))
    name.invalid("must be one of the container or initContainer names in the pod template");
  if (values.empty())
    values.invalid("at least one value is required");
  else if (values.size() > kMaxExitCodes)
    values.too_many(kMaxExitCodes);
  std::set<int64_t> seen;
  int64_t before = 0;
  bool ordered = true;
  for (const Cursor& value : values.items()) {
    if (op.text() == "In" && value.number() == 0) value.invalid("must not be 0 for the In operator");
    if (!seen.empty() && value.number() < before) ordered = false;
    if (!seen.insert(value.number()).second) value.duplicate();
    before = value.number();
  }
  if (!ordered) values.invalid("must be ordered");
}

void validate_conditions(const Cursor& patterns) {
  if (patterns.size() > kMaxConditions) patterns.too_many(kMaxConditions);
  for (const Cursor& pattern : patterns.items()) {
    validate_label_key(pattern["type"]);
    Cursor status = pattern["status"];
    if (status.empty())
      status.required("valid values: [\"False\" \"True\" \"Unknown\"]");
    else if (!status.in({"False", "True", "Unknown"}))
      status.not_supported({"False", "True", "Unknown"});
  }
}

void validate_failure_policy(const Cursor& spec) {
  Cursor rules = spec["podFailurePolicy"]["rules"];
  if (rules.size() > kMaxRules) rules.too_many(kMaxRules);
  std::set<std::string_view> containers;
  for (std::string_view list : {"containers", "initContainers"})
    for (const Cursor& c : spec["template"]["spec"][list].items()) containers.insert(c["name"].text());
  for (const Cursor& rule : rules.items()) {
    Cursor action = rule["action"], codes = rule["onExitCodes"], conditions = rule["onPodConditions"];
    if (action.empty())
      action.required("valid values: [\"Count\" \"FailIndex\" \"FailJob\" \"Ignore\"]");
    else if (!action.in({"Count", "FailIndex", "FailJob", "Ignore"}))
      action.not_supported({"Count", "FailIndex", "FailJob", "Ignore"});
    else if (action.text() == "FailIndex" && !spec["backoffLimitPerIndex"].present())
      action.invalid("requires the backoffLimitPerIndex to be set");
    if (codes.present()) validate_exit_codes(codes, containers);
    validate_conditions(conditions);
    if (codes.present() == !conditions.empty())
      rule.invalid_omitted(codes.present() ? "specifying both OnExitCodes and OnPodConditions is not supported"
                                           : "specifying one of OnExitCodes and OnPodConditions is required");
  }
}

void validate_success_policy(const Cursor& spec) {
  Cursor policy = spec["successPolicy"], rules = policy["rules"];
  if (spec["completionMode"].text() != "Indexed") return policy.invalid("requires indexed completion mode");
  if (rules.empty()) rules.required("at least one rules must be specified when the successPolicy is specified");
  if (rules.size() > kMaxRules) rules.too_many(kMaxRules);
  for (const Cursor& rule : rules.items()) {
    Cursor count = rule["succeededCount"];
    if (!count.present() && !rule["succeededIndexes"].present())
      rule.required("at least one of succeededCount or succeededIndexes must be specified");
    count.non_negative();
    int64_t completions = spec["completions"].number();
    if (count.number() > completions)
      count.invalid("must be less than or equal to " + std::to_string(completions) +
                    " (the number of specified completions)");
  }
}

void validate_indexes(const Cursor& spec) {
  Cursor mode = spec["completionMode"], completions = spec["completions"], failed = spec["maxFailedIndexes"],
         per_index = spec["backoffLimitPerIndex"];
  if (mode.present() && !mode.in({"NonIndexed", "Indexed"})) mode.not_supported({"NonIndexed", "Indexed"});
  if (mode.text() == "Indexed") {
    if (!completions.present()) completions.required("when completion mode is Indexed");
    if (spec["parallelism"].number() > kMaxIndexed)
      spec["parallelism"].invalid("must be less than or equal to 100000 when completion mode is Indexed");
    if (completions.present() && failed.number() > completions.number())
      failed.invalid("must be less than or equal to completions");
    if (failed.number() > kMaxIndexed) failed.invalid("must be less than or equal to 100000");
    if (completions.number() > kMaxIndexed && per_index.present()) {
      if (!failed.present()) failed.required("must be specified when completions is above 100000");
      for (const Cursor& high : {spec["parallelism"], failed})
        if (high.number() > kMaxFailedHigh)
          high.invalid(
              "must be less than or equal to 10000 when completions are above 100000 and used with backoff limit per "
              "index");
    }
  } else if (!mode.present() || mode.text() == "NonIndexed") {
    if (per_index.present()) per_index.invalid("requires indexed completion mode");
    if (failed.present()) failed.invalid("requires indexed completion mode");
  }
}

void validate_restart_policy(const Cursor& spec) {
  Cursor policy = spec["template"]["spec"]["restartPolicy"];
  if (policy.empty() || policy.text() == "Always")
    policy.required("valid values: \"OnFailure\", \"Never\"");
  else if (!policy.in({"OnFailure", "Never"}))
    policy.not_supported({"OnFailure", "Never"});
  else if (spec["podFailurePolicy"].present() && policy.text() != "Never")
    policy.invalid("only \"Never\" is supported when podFailurePolicy is specified");
}

// What jobs and the templates of CronJobs have in common.
void validate_job_spec(const Cursor& spec) {
  for (std::string_view count : {"parallelism", "completions", "activeDeadlineSeconds", "backoffLimit",
                                 "ttlSecondsAfterFinished", "backoffLimitPerIndex", "maxFailedIndexes"})
    spec[count].non_negative();
  if (spec["maxFailedIndexes"].present() && !spec["backoffLimitPerIndex"].present())
    spec["backoffLimitPerIndex"].required("when maxFailedIndexes is specified");
  if (Cursor manager = spec["managedBy"]; manager.present()) {
    if (manager.empty())
      manager.required();
    else if (manager.text().find('/') == std::string_view::npos)
      manager.invalid("must be a domain-prefixed path (such as \"acme.io/foo\")");
    if (manager.text().size() > kMaxManagedBy) manager.too_long(kMaxManagedBy);
  }
  validate_indexes(spec);
  if (spec["podFailurePolicy"].present()) validate_failure_policy(spec);
  if (spec["successPolicy"].present()) validate_success_policy(spec);
  if (Cursor replace = spec["podReplacementPolicy"]; replace.present()) {
    if (spec["podFailurePolicy"].present() && replace.text() != "Failed")
      replace.not_supported({"Failed"});
    else if (!replace.in({"Failed", "TerminatingOrFailed"}))
      replace.not_supported({"Failed", "TerminatingOrFailed"});
  }
  validate_pod_template(spec["template"]);
  validate_restart_policy(spec);
}

// The template of a job that has not begun may still be steered to nodes.
json::value steered_template(const Validation& v) {
  json::value old =
      v.before({"spec", "template"}) == nullptr ? json::value(json::object()) : *v.before({"spec", "template"});
  if (!json::get_bool(v.before({"spec", "suspend"})) || v.before({"status", "startTime"}) != nullptr) return old;
  if (!old.is_object()) return old;
  json::object& pod = json::ensure_object(old.get_object(), "spec");
  auto take = [](json::object& to, std::string_view name, const Cursor& from) {
    if (from.present())
      to[json::key(name)] = *from.value();
    else
      to.erase(json::key(name));
  };
  Cursor now = v["spec"]["template"];
  for (std::string_view name : {"nodeSelector", "tolerations", "schedulingGates"}) take(pod, name, now["spec"][name]);
  json::object& metadata = json::ensure_object(old.get_object(), "metadata");
  for (std::string_view name : {"labels", "annotations"}) take(metadata, name, now["metadata"][name]);
  if (now["spec"]["affinity"].present() || pod.contains("affinity"))
    take(json::ensure_object(pod, "affinity"), "nodeAffinity", now["spec"]["affinity"]["nodeAffinity"]);
  if (pod.contains("affinity") && pod["affinity"].get_object().empty() && !now["spec"]["affinity"].present())
    pod.erase("affinity");
  return old;
}

void without_resources(json::value& pod_template) {
  for (std::string_view list : {"containers", "initContainers"}) {
    json::value* items = json::find(json::find(&pod_template, "spec"), list);
    if (items == nullptr || !items->is_array()) continue;
    for (json::value& container : items->get_array())
      if (container.is_object()) container.get_object().erase("resources");
  }
}

void check_job_update(const Validation& v) {
  Cursor spec = v["spec"];
  Cursor completions = spec["completions"];
  if (spec["completionMode"].text() != "Indexed") {
    completions.unchanged_or(nullptr, v.before({"spec", "completions"}));
  } else if (completions.present() && !same(completions.value(), v.before({"spec", "completions"})) &&
             completions.number() != spec["parallelism"].number(1)) {
    completions.invalid("can only be modified in tandem with spec.parallelism");
  }
  spec["selector"].unchanged(v.before({"spec", "selector"}));
  json::value old = steered_template(v);
  if (json::get_bool(v.before({"spec", "suspend"})) && v.before({"status", "startTime"}) == nullptr) {
    // While it waits to begin, its containers may ask for other resources.
    json::value now = spec["template"].present() ? *spec["template"].value() : json::value();
    without_resources(now);
    without_resources(old);
    if (!same(json::find(&now, "spec"), json::find(&old, "spec")))
      spec["template"]["spec"].invalid("field is immutable");
  } else {
    spec["template"].unchanged(&old);
  }
  for (std::string_view name :
       {"completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy"})
    spec[name].unchanged_or(nullptr, v.before({"spec", name}));
}

void check_has_label(const Validation& v, std::string_view label, std::string_view value) {
  Cursor labels = v["spec"]["template"]["metadata"]["labels"];
  Cursor at = labels.entry(label);
  const std::string detail = "must be '" + std::string(value) + "'";
  if (!at.present()) at.required(detail);
  else if (at.text() != value) at.invalid(*labels.value(), detail);
}

// A selector that was not written by hand finds the pods of this job and of no other.
void validate_generated_selector(const Validation& v) {
  Cursor selector = v["spec"]["selector"], uid = v["metadata"]["uid"];
  if (v["spec"]["manualSelector"].flag() || !selector.present()) return;
  if (uid.empty()) uid.required();
  const std::pair<std::string_view, std::string_view> expected[] = {{"controller-uid", uid.text()},
                                                                    {"job-name", v["metadata"]["name"].text()},
                                                                    {"batch.kubernetes.io/controller-uid", uid.text()},
                                                                    {"batch.kubernetes.io/job-name", v["metadata"]["name"].text()}};
  json::value labels = json::object();
  for (const auto& [label, value] : expected) {
    check_has_label(v, label, value);
    labels.get_object()[json::key(label)] = json::key(value);
  }
  auto parsed = api::LabelSelector::from_json(selector.value());
  if (parsed && !parsed->matches(&labels)) selector.invalid("`selector` not auto-generated");
}

void validate_whole_spec(const Cursor& spec) {
  validate_job_spec(spec);
  Cursor selector = spec["selector"];
  if (!selector.present()) selector.required();
  validate_label_selector(selector);
  auto parsed = api::LabelSelector::from_json(selector.value());
  Cursor labels = spec["template"]["metadata"]["labels"];
  if (parsed && !parsed->matches(labels.value()))
    labels.invalid(labels.present() ? *labels.value() : json::value(nullptr),
                   "`selector` does not match template `labels`");
}

// The pods of an Indexed job are named after it.
void check_indexed_names(const Validation& v) {
  Cursor spec = v["spec"], name = v["metadata"]["name"];
  if (spec["completionMode"].text() != "Indexed" || spec["completions"].number() <= 0) return;
  std::string last = std::string(name.text()) + "-" + std::to_string(spec["completions"].number() - 1);
  if (!api::check_dns1123_label(last).empty())
    name.invalid("will not able to create pod with invalid DNS label: " + last);
}

void validate_job_status(const Validation& v) {
  Cursor status = v["status"];
  for (std::string_view count : {"active", "succeeded", "failed", "ready", "terminating"}) status[count].non_negative();
  if (status["ready"].present() && status["ready"].number() > status["active"].number())
    status["ready"].invalid("cannot set more ready pods than active");
  auto is_true = [&](std::string_view type) {
    for (const Cursor& c : status["conditions"].items())
      if (c["type"].text() == type && c["status"].text() == "True") return true;
    return false;
  };
  bool complete = is_true("Complete"), failed = is_true("Failed");
  if (complete && failed) status["conditions"].invalid_omitted("cannot set Complete=True and Failed=true conditions");
  if (status["completionTime"].present() && !complete)
    status["completionTime"].invalid("cannot set completionTime when there is no Complete=True condition");
  if (!status["completionTime"].present() && complete)
    status["completionTime"].required("completionTime is required for Complete jobs");
  if (failed && !is_true("FailureTarget"))
    status["conditions"].invalid_omitted("cannot set Failed=True condition without the FailureTarget=true condition");
  if (complete && !is_true("SuccessCriteriaMet"))
    status["conditions"].invalid_omitted(
        "cannot set Complete=True condition without the SuccessCriteriaMet=true condition");
  if ((complete || failed) && status["active"].number() > 0)
    status["active"].invalid("active>0 is invalid for finished job");
  if ((complete || failed) && !status["startTime"].present())
    status["startTime"].required("startTime is required for finished job");
}

void validate_time_zone(const Cursor& zone) {
  if (!zone.present()) return;
  if (zone.empty()) return zone.invalid("timeZone must be nil or non-empty string");
  if (to_lower(zone.text()) == "local")
    return zone.invalid("timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones");
  if (!known_time_zone(zone.text())) zone.invalid("unknown time zone " + std::string(zone.text()));
}

}  // namespace

void validate_job(const Validation& v) {
  if (!v.main()) return validate_job_status(v);
  validate_generated_selector(v);
  validate_whole_spec(v["spec"]);
  check_indexed_names(v);
  if (v.creating()) return;
  // Once as a job and once as a change of one.
  validate_whole_spec(v["spec"]);
  check_job_update(v);
}

void validate_cron_job(const Validation& v) {
  if (!v.main()) return;
  Cursor spec = v["spec"];
  Cursor schedule = spec["schedule"];
  if (schedule.empty())
    schedule.required();
  else {
    schedule.check(check_cron_schedule(schedule.text()));
    bool had = json::get_string(v.before({"spec", "schedule"})).find("TZ") != std::string_view::npos;
    if (schedule.text().find("TZ") != std::string_view::npos && !had)
      schedule.invalid("cannot use TZ or CRON_TZ in schedule, use timeZone field instead");
  }
  spec["startingDeadlineSeconds"].non_negative();
  if (v.creating() || !same(spec["timeZone"].value(), v.before({"spec", "timeZone"})))
    validate_time_zone(spec["timeZone"]);
  spec["concurrencyPolicy"].one_of({"Allow", "Forbid", "Replace"});
  Cursor job = spec["jobTemplate"]["spec"];
  validate_job_spec(job);
  if (job["selector"].present()) job["selector"].invalid("`selector` will be auto-generated");
  if (job["manualSelector"].flag()) job["manualSelector"].not_supported({"nil", "false"});
  spec["successfulJobsHistoryLimit"].non_negative();
  spec["failedJobsHistoryLimit"].non_negative();
  Cursor name = v["metadata"]["name"];
  if (v.creating() && name.text().size() > kMaxCronName) name.invalid("must be no more than 52 characters");
}

}  // namespace kcube::machinery
