// Cells of apps, batch, autoscaling and policy.
#include <span>

#include "pkg/api/views/apps_v1.h"
#include "pkg/api/views/batch_v1.h"
#include "pkg/apiserver/machinery/table.h"
#include "pkg/apiserver/machinery/table_cells.h"
#include "pkg/base/strings.h"

namespace kcube::machinery {
namespace {

json::value text(const json::value& o, std::initializer_list<std::string_view> path) { return text_cell(json::get_string(json::at(&o, path))); }
json::value number(const json::value& o, std::initializer_list<std::string_view> path) { return json::get_int(json::at(&o, path)); }

json::value names(const json::value& o, SystemTime) { return text_cell(container_names(json::at(&o, {"spec", "template", "spec"}))); }
json::value images(const json::value& o, SystemTime) { return text_cell(container_images(json::at(&o, {"spec", "template", "spec"}))); }
json::value selector(const json::value& o, SystemTime) { return text_cell(selector_text(json::at(&o, {"spec", "selector"}))); }
json::value ready_of_replicas(const json::value& o, SystemTime) {
  return text_cell(std::to_string(json::get_int(o, {"status", "readyReplicas"})) + "/" + std::to_string(json::get_int(o, {"spec", "replicas"})));
}

std::string job_status(const json::value& o) {
  batch::v1::Job job(o);
  auto has = [&](std::string_view type) {
    for (auto c : job.status().conditions())
      if (c.type() == type && c.status() == "True") return true;
    return false;
  };
  if (has("Complete")) return "Complete";
  if (has("Failed")) return "Failed";
  if (!job.metadata().deletion_timestamp().empty()) return "Terminating";
  if (has("Suspended")) return "Suspended";
  if (has("FailureTarget")) return "FailureTarget";
  if (has("SuccessCriteriaMet")) return "SuccessCriteriaMet";
  return "Running";
}

std::string job_completions(const json::value& o) {
  batch::v1::Job job(o);
  std::string done = std::to_string(job.status().succeeded());
  if (job.spec().has_completions()) return done + "/" + std::to_string(job.spec().completions());
  int64_t parallelism = job.spec().parallelism();
  return parallelism > 1 ? done + "/1 of " + std::to_string(parallelism) : done + "/1";
}

json::value job_duration(const json::value& o, SystemTime now) {
  SystemTime start, end;
  if (!parse_time(json::get_string(o, {"status", "startTime"}), start)) return "";
  if (!parse_time(json::get_string(o, {"status", "completionTime"}), end)) end = now;
  return text_cell(human_duration(end - start));
}

json::value cron_last(const json::value& o, SystemTime now) {
  std::string_view last = json::get_string(o, {"status", "lastScheduleTime"});
  return last.empty() ? json::value("<none>") : age_of(last, now);
}

std::string int_or_text(const json::value* v, std::string_view absent) {
  if (v == nullptr) return std::string(absent);
  return v->is_string() ? std::string(json::get_string(v)) : std::to_string(json::get_int(v));
}

std::string controller_text(const json::value& o) {
  for (const json::value& r : json::get_array(json::at(&o, {"metadata", "ownerReferences"}))) {
    if (!json::get_bool(json::find(&r, "controller"))) continue;
    std::string api_version(json::get_string(json::find(&r, "apiVersion"))), kind = to_lower(json::get_string(json::find(&r, "kind")));
    size_t slash = api_version.find('/');
    if (slash != std::string::npos) kind += "." + api_version.substr(0, slash);
    return kind + "/" + std::string(json::get_string(json::find(&r, "name")));
  }
  return "<none>";
}

std::string hpa_targets(const json::value& o) {
  if (const json::value* v1 = json::at(&o, {"spec", "targetCPUUtilizationPercentage"})) {
    const json::value* now = json::at(&o, {"status", "currentCPUUtilizationPercentage"});
    return (now == nullptr ? "<unknown>" : std::to_string(json::get_int(now)) + "%") + std::string("/") + std::to_string(json::get_int(v1)) + "%";
  }
  std::vector<std::string> parts;
  size_t i = 0;
  const json::array& current = json::get_array(json::at(&o, {"status", "currentMetrics"}));
  for (const json::value& m : json::get_array(json::at(&o, {"spec", "metrics"}))) {
    const json::value* resource = json::find(&m, "resource");
    const json::value* seen = i < current.size() ? json::find(&current[i], "resource") : nullptr;
    ++i;
    if (resource == nullptr) {
      parts.emplace_back("<unknown>");
      continue;
    }
    std::string name(json::get_string(json::find(resource, "name")));
    const json::value* target = json::find(resource, "target");
    if (const json::value* utilization = json::find(target, "averageUtilization")) {
      const json::value* now = json::at(seen, {"current", "averageUtilization"});
      parts.push_back(name + ": " + (now == nullptr ? "<unknown>" : std::to_string(json::get_int(now)) + "%") + "/" + std::to_string(json::get_int(utilization)) + "%");
    } else {
      parts.push_back(name + ": " + std::string(json::get_string(json::at(seen, {"current", "averageValue"}), "<unknown>")) + "/" +
                      std::string(json::get_string(json::find(target, "averageValue"))));
    }
  }
  return or_none(join(parts, ", "));
}


const CellRule kRules[] = {
    {"apps", "deployments", "Ready", ready_of_replicas},
    {"apps", "deployments", "Up-to-date", [](const json::value& o, SystemTime) -> json::value { return number(o, {"status", "updatedReplicas"}); }},
    {"apps", "deployments", "Available", [](const json::value& o, SystemTime) -> json::value { return number(o, {"status", "availableReplicas"}); }},
    {"apps", "deployments", "Containers", names},
    {"apps", "deployments", "Images", images},
    {"apps", "deployments", "Selector", selector},
    {"apps", "replicasets", "Desired", [](const json::value& o, SystemTime) -> json::value { return number(o, {"spec", "replicas"}); }},
    {"apps", "replicasets", "Current", [](const json::value& o, SystemTime) -> json::value { return number(o, {"status", "replicas"}); }},
    {"apps", "replicasets", "Ready", [](const json::value& o, SystemTime) -> json::value { return number(o, {"status", "readyReplicas"}); }},
    {"apps", "replicasets", "Containers", names},
    {"apps", "replicasets", "Images", images},
    {"apps", "replicasets", "Selector", selector},
    {"apps", "statefulsets", "Ready", ready_of_replicas},
    {"apps", "statefulsets", "Containers", names},
    {"apps", "statefulsets", "Images", images},
    {"apps", "daemonsets", "Desired", [](const json::value& o, SystemTime) -> json::value { return number(o, {"status", "desiredNumberScheduled"}); }},
    {"apps", "daemonsets", "Current", [](const json::value& o, SystemTime) -> json::value { return number(o, {"status", "currentNumberScheduled"}); }},
    {"apps", "daemonsets", "Ready", [](const json::value& o, SystemTime) -> json::value { return number(o, {"status", "numberReady"}); }},
    {"apps", "daemonsets", "Up-to-date", [](const json::value& o, SystemTime) -> json::value { return number(o, {"status", "updatedNumberScheduled"}); }},
    {"apps", "daemonsets", "Available", [](const json::value& o, SystemTime) -> json::value { return number(o, {"status", "numberAvailable"}); }},
    {"apps", "daemonsets", "Node Selector", [](const json::value& o, SystemTime) -> json::value { return text_cell(joined_map(json::at(&o, {"spec", "template", "spec", "nodeSelector"}))); }},
    {"apps", "daemonsets", "Containers", names},
    {"apps", "daemonsets", "Images", images},
    {"apps", "daemonsets", "Selector", selector},
    {"apps", "controllerrevisions", "Controller", [](const json::value& o, SystemTime) -> json::value { return text_cell(controller_text(o)); }},
    {"apps", "controllerrevisions", "Revision", [](const json::value& o, SystemTime) -> json::value { return json::get_int(o, {"revision"}); }},
    {"batch", "jobs", "Status", [](const json::value& o, SystemTime) -> json::value { return text_cell(job_status(o)); }},
    {"batch", "jobs", "Completions", [](const json::value& o, SystemTime) -> json::value { return text_cell(job_completions(o)); }},
    {"batch", "jobs", "Duration", job_duration},
    {"batch", "jobs", "Containers", names},
    {"batch", "jobs", "Images", images},
    {"batch", "jobs", "Selector", selector},
    {"batch", "cronjobs", "Schedule", [](const json::value& o, SystemTime) -> json::value { return text(o, {"spec", "schedule"}); }},
    {"batch", "cronjobs", "Timezone", [](const json::value& o, SystemTime) -> json::value { return text_cell(or_none(json::get_string(o, {"spec", "timeZone"}))); }},
    {"batch", "cronjobs", "Suspend", [](const json::value& o, SystemTime) -> json::value { return text_cell(json::get_bool(o, {"spec", "suspend"}) ? "True" : "False"); }},
    {"batch", "cronjobs", "Active", [](const json::value& o, SystemTime) -> json::value { return static_cast<int64_t>(json::get_array(json::at(&o, {"status", "active"})).size()); }},
    {"batch", "cronjobs", "Last Schedule", cron_last},
    {"batch", "cronjobs", "Containers", [](const json::value& o, SystemTime) -> json::value { return text_cell(container_names(json::at(&o, {"spec", "jobTemplate", "spec", "template", "spec"}))); }},
    {"batch", "cronjobs", "Images", [](const json::value& o, SystemTime) -> json::value { return text_cell(container_images(json::at(&o, {"spec", "jobTemplate", "spec", "template", "spec"}))); }},
    {"batch", "cronjobs", "Selector", [](const json::value& o, SystemTime) -> json::value {
       const json::value* s = json::at(&o, {"spec", "jobTemplate", "spec", "selector"});
       return text_cell(s == nullptr ? "<none>" : selector_text(s));
     }},
    {"autoscaling", "horizontalpodautoscalers", "Reference", [](const json::value& o, SystemTime) -> json::value {
       return text_cell(std::string(json::get_string(o, {"spec", "scaleTargetRef", "kind"})) + "/" + std::string(json::get_string(o, {"spec", "scaleTargetRef", "name"})));
     }},
    {"autoscaling", "horizontalpodautoscalers", "Targets", [](const json::value& o, SystemTime) -> json::value { return text_cell(hpa_targets(o)); }},
    {"autoscaling", "scales", "Desired", [](const json::value& o, SystemTime) -> json::value { return number(o, {"spec", "replicas"}); }},
    {"autoscaling", "scales", "Available", [](const json::value& o, SystemTime) -> json::value { return number(o, {"status", "replicas"}); }},
    {"autoscaling", "horizontalpodautoscalers", "MinPods", [](const json::value& o, SystemTime) -> json::value { return text_cell(int_or_text(json::at(&o, {"spec", "minReplicas"}), "<unset>")); }},
    {"autoscaling", "horizontalpodautoscalers", "MaxPods", [](const json::value& o, SystemTime) -> json::value { return json::get_int(o, {"spec", "maxReplicas"}); }},
    {"autoscaling", "horizontalpodautoscalers", "Replicas", [](const json::value& o, SystemTime) -> json::value { return json::get_int(o, {"status", "currentReplicas"}); }},
    {"policy", "poddisruptionbudgets", "Min Available", [](const json::value& o, SystemTime) -> json::value { return text_cell(int_or_text(json::at(&o, {"spec", "minAvailable"}), "N/A")); }},
    {"policy", "poddisruptionbudgets", "Max Unavailable", [](const json::value& o, SystemTime) -> json::value { return text_cell(int_or_text(json::at(&o, {"spec", "maxUnavailable"}), "N/A")); }},
    {"policy", "poddisruptionbudgets", "Allowed Disruptions", [](const json::value& o, SystemTime) -> json::value { return number(o, {"status", "disruptionsAllowed"}); }},
};

}  // namespace

std::span<const CellRule> workload_cell_rules() { return kRules; }

}  // namespace kcube::machinery
