// Cells of the core group and the helpers of all rules.
#include "pkg/apiserver/machinery/table_cells.h"

#include <algorithm>
#include <span>

#include "pkg/api/selector.h"
#include "pkg/api/views/core_v1.h"
#include "pkg/apiserver/machinery/table.h"
#include "pkg/base/strings.h"

namespace kcube::machinery {

std::span<const CellRule> workload_cell_rules();
std::span<const CellRule> other_cell_rules();

json::value text_cell(std::string_view text) { return json::value(json::key(text)); }

json::value age_of(std::string_view time, SystemTime now) {
  SystemTime t;
  if (!parse_time(time, t)) return "<unknown>";
  return text_cell(human_duration(now - t));
}

std::string or_unknown(std::string_view text) { return text.empty() ? "<unknown>" : std::string(text); }
std::string or_none(std::string_view text) { return text.empty() ? "<none>" : std::string(text); }

std::string joined_map(const json::value* map) {
  std::vector<std::string> parts;
  for (const auto& m : json::get_object(map)) parts.push_back(std::string(m.key()) + "=" + std::string(json::get_string(&m.value())));
  std::ranges::sort(parts);
  return or_none(join(parts, ","));
}

namespace {

std::string container_field(const json::value* pod_spec, std::string_view field) {
  std::vector<std::string> parts;
  for (const json::value& c : json::get_array(json::find(pod_spec, "containers"))) parts.emplace_back(json::get_string(json::find(&c, field)));
  return join(parts, ",");
}

bool restartable_init(core::v1::Container c) { return c.restart_policy() == "Always"; }

// What the STATUS column says of a pod: the most telling reason among its containers.
// Source: the states that kubectl shows, observed from the real server.
std::string pod_status(const json::value& object) {
  core::v1::Pod pod(object);
  std::string reason(pod.status().phase());
  if (!pod.status().reason().empty()) reason = pod.status().reason();
  for (auto c : pod.status().conditions())
    if (c.type() == "PodScheduled" && c.reason() == "SchedulingGated") reason = "SchedulingGated";

  size_t init_total = pod.spec().init_containers().size(), i = 0;
  bool initializing = false;
  for (auto status : pod.status().init_container_statuses()) {
    bool sidecar = false;
    for (auto c : pod.spec().init_containers())
      if (c.name() == status.name()) sidecar = restartable_init(c);
    auto terminated = status.state().terminated();
    auto waiting = status.state().waiting();
    size_t index = i++;
    if (terminated && terminated.exit_code() == 0) continue;
    if (sidecar && status.started()) continue;
    if (terminated) {
      if (!terminated.reason().empty()) reason = "Init:" + std::string(terminated.reason());
      else if (terminated.signal() != 0) reason = "Init:Signal:" + std::to_string(terminated.signal());
      else reason = "Init:ExitCode:" + std::to_string(terminated.exit_code());
    } else if (waiting && !waiting.reason().empty() && waiting.reason() != "PodInitializing") {
      reason = "Init:" + std::string(waiting.reason());
    } else {
      reason = "Init:" + std::to_string(index) + "/" + std::to_string(init_total);
    }
    initializing = true;
    break;
  }

  auto initialized = [&] {
    for (auto c : pod.status().conditions())
      if (c.type() == "Initialized" && c.status() == "True") return true;
    return false;
  };
  if (!initializing || initialized()) {
    bool running = false;
    auto statuses = pod.status().container_statuses();
    for (size_t k = statuses.size(); k-- > 0;) {
      auto state = statuses[k].state();
      if (state.waiting() && !state.waiting().reason().empty()) {
        reason = state.waiting().reason();
      } else if (auto t = state.terminated()) {
        if (!t.reason().empty()) reason = t.reason();
        else if (t.signal() != 0) reason = "Signal:" + std::to_string(t.signal());
        else reason = "ExitCode:" + std::to_string(t.exit_code());
      } else if (statuses[k].ready() && state.running()) {
        running = true;
      }
    }
    if (reason == "Completed" && running) {
      bool ready = false;
      for (auto c : pod.status().conditions()) ready = ready || (c.type() == "Ready" && c.status() == "True");
      reason = ready ? "Running" : "NotReady";
    }
  }
  if (!pod.metadata().deletion_timestamp().empty()) {
    bool over = pod.status().phase() == "Succeeded" || pod.status().phase() == "Failed";
    if (pod.status().reason() == "NodeLost") reason = "Unknown";
    else if (!over) reason = "Terminating";
  }
  return reason;
}

json::value pod_ready(const json::value& object, SystemTime) {
  core::v1::Pod pod(object);
  size_t total = pod.spec().containers().size(), ready = 0;
  for (auto c : pod.spec().init_containers()) total += restartable_init(c) ? 1 : 0;
  for (auto s : pod.status().container_statuses()) ready += s.ready() && s.state().running() ? 1 : 0;
  for (auto s : pod.status().init_container_statuses())
    for (auto c : pod.spec().init_containers())
      if (c.name() == s.name() && restartable_init(c) && s.ready()) ++ready;
  return text_cell(std::to_string(ready) + "/" + std::to_string(total));
}

json::value pod_restarts(const json::value& object, SystemTime now) {
  core::v1::Pod pod(object);
  int64_t restarts = 0;
  SystemTime last{};
  auto count = [&](core::v1::ContainerStatus s) {
    restarts += s.restart_count();
    SystemTime t;
    if (parse_time(s.last_state().terminated().finished_at(), t) && t > last) last = t;
  };
  for (auto s : pod.status().container_statuses()) count(s);
  for (auto s : pod.status().init_container_statuses())
    for (auto c : pod.spec().init_containers())
      if (c.name() == s.name() && restartable_init(c)) count(s);
  std::string out = std::to_string(restarts);
  if (restarts > 0 && last != SystemTime{}) out += " (" + human_duration(now - last) + " ago)";
  return text_cell(out);
}

json::value pod_readiness_gates(const json::value& object, SystemTime) {
  core::v1::Pod pod(object);
  size_t total = pod.spec().readiness_gates().size(), met = 0;
  if (total == 0) return "<none>";
  for (auto gate : pod.spec().readiness_gates())
    for (auto c : pod.status().conditions())
      if (c.type() == gate.condition_type() && c.status() == "True") ++met;
  return text_cell(std::to_string(met) + "/" + std::to_string(total));
}

std::string node_status(const json::value& object) {
  core::v1::Node node(object);
  std::string status = "Unknown";
  for (auto c : node.status().conditions())
    if (c.type() == "Ready") status = c.status() == "True" ? "Ready" : "NotReady";
  if (node.spec().unschedulable()) status += ",SchedulingDisabled";
  return status;
}

std::string node_roles(const json::value& object) {
  std::vector<std::string> roles;
  for (const auto& [key, value] : core::v1::Node(object).metadata().labels()) {
    if (key.starts_with("node-role.kubernetes.io/")) roles.emplace_back(key.substr(24));
    else if (key == "kubernetes.io/role" && !value.empty()) roles.emplace_back(value);
  }
  std::ranges::sort(roles);
  return or_none(join(roles, ","));
}

std::string node_address(const json::value& object, std::string_view type) {
  for (auto a : core::v1::Node(object).status().addresses())
    if (a.type() == type) return std::string(a.address());
  return "<none>";
}

std::string service_external_ip(const json::value& object) {
  core::v1::Service service(object);
  std::vector<std::string> ips;
  for (auto ip : service.spec().external_ips()) ips.emplace_back(ip);
  if (service.spec().type() == "ExternalName") return std::string(service.spec().external_name());
  if (service.spec().type() == "LoadBalancer") {
    std::vector<std::string> all;
    for (auto i : service.status().load_balancer().ingress()) all.emplace_back(i.ip().empty() ? i.hostname() : i.ip());
    all.insert(all.end(), ips.begin(), ips.end());
    return all.empty() ? "<pending>" : join(all, ",");
  }
  return ips.empty() ? "<none>" : join(ips, ",");
}

std::string service_ports(const json::value& object) {
  std::vector<std::string> parts;
  for (auto p : core::v1::Service(object).spec().ports()) {
    std::string text = std::to_string(p.port());
    if (p.node_port() > 0) text += ":" + std::to_string(p.node_port());
    parts.push_back(text + "/" + std::string(p.protocol()));
  }
  return or_none(join(parts, ","));
}

std::string endpoints_text(const json::value& object) {
  std::vector<std::string> parts;
  size_t more = 0;
  for (auto subset : core::v1::Endpoints(object).subsets())
    for (auto address : subset.addresses()) {
      if (subset.ports().empty()) parts.emplace_back(address.ip());
      for (auto port : subset.ports()) {
        if (parts.size() < 3) parts.push_back(std::string(address.ip()) + ":" + std::to_string(port.port()));
        else ++more;
      }
    }
  std::string out = or_none(join(parts, ","));
  if (more > 0) out += " + " + std::to_string(more) + " more...";
  return out;
}

std::string quota_usage(const json::value& object, bool limits) {
  core::v1::ResourceQuota quota(object);
  std::vector<std::string> parts;
  for (const auto& m : json::get_object(json::at(&object, {"status", "hard"}))) {
    std::string name(m.key());
    if (name.starts_with("limits.") != limits) continue;
    const json::value* used = json::at(&object, {"status", "used", name});
    parts.push_back(name + ": " + std::string(json::get_string(used, "0")) + "/" + std::string(json::get_string(&m.value())));
  }
  std::ranges::sort(parts);
  return join(parts, ", ");
}

std::string access_modes(const json::value* list) {
  std::vector<std::string> out;
  for (const json::value& m : json::get_array(list)) {
    std::string_view mode = json::get_string(&m);
    out.emplace_back(mode == "ReadWriteOnce" ? "RWO" : mode == "ReadOnlyMany" ? "ROX" : mode == "ReadWriteMany" ? "RWX" : "RWOP");
  }
  return join(out, ",");
}

std::string volume_phase(const json::value& object) {
  if (!json::get_string(object, {"metadata", "deletionTimestamp"}).empty()) return "Terminating";
  return std::string(json::get_string(object, {"status", "phase"}));
}

int64_t count_of(const json::value& object, std::initializer_list<std::string_view> path) {
  const json::value* v = json::at(&object, path);
  return v == nullptr ? 0 : v->is_object() ? static_cast<int64_t>(v->get_object().size()) : static_cast<int64_t>(json::get_array(v).size());
}

json::value event_last_seen(const json::value& o, SystemTime now) {
  std::string_view last = json::get_string(o, {"series", "lastObservedTime"});
  if (last.empty()) last = json::get_string(o, {"lastTimestamp"});
  if (last.empty()) last = json::get_string(o, {"eventTime"});
  return age_of(last, now);
}

json::value event_first_seen(const json::value& o, SystemTime now) {
  std::string_view first = json::get_string(o, {"firstTimestamp"});
  if (first.empty()) first = json::get_string(o, {"eventTime"});
  return age_of(first, now);
}

std::string event_source(const json::value& o) {
  std::string out(json::get_string(o, {"source", "component"}));
  if (out.empty()) out = json::get_string(o, {"reportingComponent"});
  std::string host(json::get_string(o, {"source", "host"}));
  if (host.empty()) host = json::get_string(o, {"reportingInstance"});
  return host.empty() ? out : out + ", " + host;
}

const CellRule kCoreRules[] = {
    {"", "pods", "Ready", pod_ready},
    {"", "pods", "Status", [](const json::value& o, SystemTime) { return text_cell(pod_status(o)); }},
    {"", "pods", "Restarts", pod_restarts},
    {"", "pods", "IP", [](const json::value& o, SystemTime) { return text_cell(or_none(json::get_string(o, {"status", "podIP"}))); }},
    {"", "pods", "Node", [](const json::value& o, SystemTime) { return text_cell(or_none(json::get_string(o, {"spec", "nodeName"}))); }},
    {"", "pods", "Nominated Node", [](const json::value& o, SystemTime) { return text_cell(or_none(json::get_string(o, {"status", "nominatedNodeName"}))); }},
    {"", "pods", "Readiness Gates", pod_readiness_gates},
    {"", "nodes", "Status", [](const json::value& o, SystemTime) { return text_cell(node_status(o)); }},
    {"", "nodes", "Roles", [](const json::value& o, SystemTime) { return text_cell(node_roles(o)); }},
    {"", "nodes", "Version", [](const json::value& o, SystemTime) { return text_cell(json::get_string(o, {"status", "nodeInfo", "kubeletVersion"})); }},
    {"", "nodes", "Internal-IP", [](const json::value& o, SystemTime) { return text_cell(node_address(o, "InternalIP")); }},
    {"", "nodes", "External-IP", [](const json::value& o, SystemTime) { return text_cell(node_address(o, "ExternalIP")); }},
    {"", "nodes", "OS-Image", [](const json::value& o, SystemTime) { return text_cell(or_unknown(json::get_string(o, {"status", "nodeInfo", "osImage"}))); }},
    {"", "nodes", "Kernel-Version", [](const json::value& o, SystemTime) { return text_cell(or_unknown(json::get_string(o, {"status", "nodeInfo", "kernelVersion"}))); }},
    {"", "nodes", "Container-Runtime", [](const json::value& o, SystemTime) { return text_cell(or_unknown(json::get_string(o, {"status", "nodeInfo", "containerRuntimeVersion"}))); }},
    {"", "services", "Type", [](const json::value& o, SystemTime) { return text_cell(json::get_string(o, {"spec", "type"})); }},
    {"", "services", "Cluster-IP", [](const json::value& o, SystemTime) { return text_cell(or_none(json::get_string(o, {"spec", "clusterIP"}))); }},
    {"", "services", "External-IP", [](const json::value& o, SystemTime) { return text_cell(service_external_ip(o)); }},
    {"", "services", "Port(s)", [](const json::value& o, SystemTime) { return text_cell(service_ports(o)); }},
    {"", "services", "Selector", [](const json::value& o, SystemTime) { return text_cell(joined_map(json::at(&o, {"spec", "selector"}))); }},
    {"", "endpoints", "Endpoints", [](const json::value& o, SystemTime) { return text_cell(endpoints_text(o)); }},
    {"", "namespaces", "Status", [](const json::value& o, SystemTime) { return text_cell(json::get_string(o, {"status", "phase"})); }},
    {"", "configmaps", "Data", [](const json::value& o, SystemTime) { return json::value(count_of(o, {"data"}) + count_of(o, {"binaryData"})); }},
    {"", "secrets", "Type", [](const json::value& o, SystemTime) { return text_cell(json::get_string(o, {"type"})); }},
    {"", "secrets", "Data", [](const json::value& o, SystemTime) { return json::value(count_of(o, {"data"})); }},
    {"", "resourcequotas", "Request", [](const json::value& o, SystemTime) { return text_cell(quota_usage(o, false)); }},
    {"", "resourcequotas", "Limit", [](const json::value& o, SystemTime) { return text_cell(quota_usage(o, true)); }},
    {"", "replicationcontrollers", "Desired", [](const json::value& o, SystemTime) { return json::value(json::get_int(o, {"spec", "replicas"})); }},
    {"", "replicationcontrollers", "Current", [](const json::value& o, SystemTime) { return json::value(json::get_int(o, {"status", "replicas"})); }},
    {"", "replicationcontrollers", "Ready", [](const json::value& o, SystemTime) { return json::value(json::get_int(o, {"status", "readyReplicas"})); }},
    {"", "replicationcontrollers", "Containers", [](const json::value& o, SystemTime) { return text_cell(container_names(json::at(&o, {"spec", "template", "spec"}))); }},
    {"", "replicationcontrollers", "Images", [](const json::value& o, SystemTime) { return text_cell(container_images(json::at(&o, {"spec", "template", "spec"}))); }},
    {"", "replicationcontrollers", "Selector", [](const json::value& o, SystemTime) { return text_cell(joined_map(json::at(&o, {"spec", "selector"}))); }},
    {"", "podtemplates", "Containers", [](const json::value& o, SystemTime) { return text_cell(container_names(json::at(&o, {"template", "spec"}))); }},
    {"", "podtemplates", "Images", [](const json::value& o, SystemTime) { return text_cell(container_images(json::at(&o, {"template", "spec"}))); }},
    {"", "podtemplates", "Pod Labels", [](const json::value& o, SystemTime) { return text_cell(joined_map(json::at(&o, {"template", "metadata", "labels"}))); }},
    {"", "persistentvolumes", "Capacity", [](const json::value& o, SystemTime) { return text_cell(json::get_string(o, {"spec", "capacity", "storage"})); }},
    {"", "persistentvolumes", "Access Modes", [](const json::value& o, SystemTime) { return text_cell(access_modes(json::at(&o, {"spec", "accessModes"}))); }},
    {"", "persistentvolumes", "Reclaim Policy", [](const json::value& o, SystemTime) { return text_cell(json::get_string(o, {"spec", "persistentVolumeReclaimPolicy"})); }},
    {"", "persistentvolumes", "Status", [](const json::value& o, SystemTime) { return text_cell(volume_phase(o)); }},
    {"", "persistentvolumes", "Claim", [](const json::value& o, SystemTime) { return text_cell(json::at(&o, {"spec", "claimRef"}) == nullptr ? std::string()
        : std::string(json::get_string(o, {"spec", "claimRef", "namespace"})) + "/" + std::string(json::get_string(o, {"spec", "claimRef", "name"}))); }},
    {"", "persistentvolumes", "StorageClass", [](const json::value& o, SystemTime) { return text_cell(json::get_string(o, {"spec", "storageClassName"})); }},
    {"", "persistentvolumes", "VolumeAttributesClass", [](const json::value& o, SystemTime) { return text_cell(json::get_string(json::at(&o, {"spec", "volumeAttributesClassName"}), "<unset>")); }},
    {"", "persistentvolumes", "Reason", [](const json::value& o, SystemTime) { return text_cell(json::get_string(o, {"status", "reason"})); }},
    {"", "persistentvolumes", "VolumeMode", [](const json::value& o, SystemTime) { return text_cell(json::get_string(json::at(&o, {"spec", "volumeMode"}), "<unset>")); }},
    {"", "persistentvolumeclaims", "Status", [](const json::value& o, SystemTime) { return text_cell(volume_phase(o)); }},
    {"", "persistentvolumeclaims", "Volume", [](const json::value& o, SystemTime) { return text_cell(json::get_string(o, {"spec", "volumeName"})); }},
    {"", "persistentvolumeclaims", "Capacity", [](const json::value& o, SystemTime) { return text_cell(json::get_string(o, {"status", "capacity", "storage"})); }},
    {"", "persistentvolumeclaims", "Access Modes", [](const json::value& o, SystemTime) { return text_cell(json::get_string(o, {"spec", "volumeName"}).empty() ? std::string() : access_modes(json::at(&o, {"status", "accessModes"}))); }},
    {"", "persistentvolumeclaims", "StorageClass", [](const json::value& o, SystemTime) { return text_cell(json::get_string(o, {"spec", "storageClassName"})); }},
    {"", "persistentvolumeclaims", "VolumeAttributesClass", [](const json::value& o, SystemTime) { return text_cell(json::get_string(json::at(&o, {"spec", "volumeAttributesClassName"}), "<unset>")); }},
    {"", "persistentvolumeclaims", "VolumeMode", [](const json::value& o, SystemTime) { return text_cell(json::get_string(json::at(&o, {"spec", "volumeMode"}), "<unset>")); }},
    {"", "events", "Last Seen", event_last_seen},
    {"", "events", "Type", [](const json::value& o, SystemTime) { return text_cell(json::get_string(o, {"type"})); }},
    {"", "events", "Reason", [](const json::value& o, SystemTime) { return text_cell(json::get_string(o, {"reason"})); }},
    {"", "events", "Object", [](const json::value& o, SystemTime) { return text_cell(to_lower(json::get_string(o, {"involvedObject", "kind"})) + "/" + std::string(json::get_string(o, {"involvedObject", "name"}))); }},
    {"", "events", "Subobject", [](const json::value& o, SystemTime) { return text_cell(json::get_string(o, {"involvedObject", "fieldPath"})); }},
    {"", "events", "Source", [](const json::value& o, SystemTime) { return text_cell(event_source(o)); }},
    {"", "events", "Message", [](const json::value& o, SystemTime) { return text_cell(trim(json::get_string(o, {"message"}))); }},
    {"", "events", "First Seen", event_first_seen},
    {"", "events", "Count", [](const json::value& o, SystemTime) { return json::value(json::get_int(o, {"count"}, 1)); }},
};

}  // namespace

std::string container_names(const json::value* pod_spec) { return container_field(pod_spec, "name"); }
std::string container_images(const json::value* pod_spec) { return container_field(pod_spec, "image"); }

std::string selector_text(const json::value* label_selector) {
  auto selector = api::LabelSelector::from_json(label_selector);
  return selector ? or_none(selector->to_string()) : "<none>";
}

Cell find_cell(std::string_view group, std::string_view resource, std::string_view column) {
  // events.k8s.io shows the same events by the same rules.
  if (group == "events.k8s.io") group = "";
  for (std::span<const CellRule> rules : {std::span<const CellRule>(kCoreRules), workload_cell_rules(), other_cell_rules()})
    for (const CellRule& rule : rules)
      if (rule.resource == resource && rule.column == column && rule.group == group) return rule.cell;
  return nullptr;
}

}  // namespace kcube::machinery
