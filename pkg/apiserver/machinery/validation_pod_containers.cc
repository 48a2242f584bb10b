// Containers of every sort: their names, images, ports, and where each sort differs.
#include <map>

#include "pkg/api/names.h"
#include "pkg/apiserver/machinery/validation_pod.h"
#include "pkg/base/strings.h"

namespace kcube::machinery {
namespace {

constexpr size_t kMaxRestartRules = 20, kMaxExitCodes = 255;

void validate_ports(const Cursor& ports) {
  std::set<std::string_view> names;
  for (const Cursor& port : ports.items()) {
    if (Cursor name = port["name"]; !name.empty()) {
      if (name.check(api::check_port_name(name.text())) && !names.insert(name.text()).second) name.duplicate();
    }
    if (port["containerPort"].number() == 0)
      port["containerPort"].required();
    else
      port["containerPort"].port();
    if (port["hostPort"].number() != 0) port["hostPort"].port();
    port["protocol"].one_of({"SCTP", "TCP", "UDP"});
  }
}

// Two containers of a pod that want the same port of the host.
void check_host_ports(const std::vector<Cursor>& containers) {
  std::set<std::string> taken;
  for (const Cursor& container : containers) {
    for (const Cursor& port : container["ports"].items()) {
      if (port["hostPort"].number() == 0) continue;
      std::string key = std::string(port["protocol"].text()) + "/" + std::string(port["hostIP"].text()) + "/" +
                        std::to_string(port["hostPort"].number());
      json::value shown(key);
      if (!taken.insert(key).second) port["hostPort"].with(&shown).duplicate();
    }
  }
}

void validate_resize_policy(const Cursor& policies, std::string_view pod_restart_policy) {
  std::set<std::string_view> seen;
  for (const Cursor& policy : policies.items()) {
    Cursor name = policy["resourceName"], restart = policy["restartPolicy"];
    if (!seen.insert(name.text()).second) policy.with(name.value()).duplicate();
    // The real server names the list, not the item.
    name.renamed(policies.path()).one_of({"cpu", "memory"});
    restart.renamed(policies.path()).one_of({"NotRequired", "RestartContainer"});
    if (pod_restart_policy == "Never" && restart.text() != "NotRequired")
      restart.renamed(policies.path()).invalid("must be 'NotRequired' when pod `restartPolicy` is 'Never'");
  }
}

void validate_restart_rules(const Cursor& rules) {
  if (rules.size() > kMaxRestartRules) rules.too_many(kMaxRestartRules);
  for (const Cursor& rule : rules.items()) {
    if (!rule["action"].in({"Restart", "RestartAllContainers"}))
      rule["action"].not_supported({"Restart", "RestartAllContainers"});
    Cursor codes = rule["exitCodes"];
    if (!codes.present()) {
      codes.required("must be specified");
      continue;
    }
    if (!codes["operator"].in({"In", "NotIn"})) codes["operator"].not_supported({"In", "NotIn"});
    if (codes["values"].size() > kMaxExitCodes) codes["values"].too_many(kMaxExitCodes);
  }
}

void validate_restart_policy(const Cursor& container, bool init) {
  Cursor policy = container["restartPolicy"], rules = container["restartPolicyRules"];
  if (!policy.present()) {
    if (!rules.empty()) policy.required("must specify restartPolicy when restart rules are used");
    return;
  }
  if (init && policy.text() == "Always" && !rules.empty())
    rules.forbidden("restartPolicyRules are not allowed for init containers with restart policy Always");
  if (!policy.in({"Always", "Never", "OnFailure"})) policy.not_supported({"Always", "Never", "OnFailure"});
  validate_restart_rules(rules);
}

void validate_image(const PodContext& pod, const Cursor& image) {
  if (image.empty())
    image.required();
  else if (pod.pod && trim(image.text()) != image.text())
    image.invalid("must not have leading or trailing whitespace");
}

void validate_common(const PodContext& pod, const Cursor& container) {
  Cursor name = container["name"];
  if (name.empty())
    name.required();
  else
    name.check(api::check_dns1123_label(name.text()));
  validate_image(pod, container["image"]);
  Cursor message = container["terminationMessagePolicy"];
  if (!message.empty() && !message.in({"FallbackToLogsOnError", "File"}))
    message.not_supported({"File", "FallbackToLogsOnError"});
  validate_ports(container["ports"]);
  validate_env(container["env"]);
  validate_env_from(container["envFrom"]);
  validate_volume_mounts(pod, container);
  container["imagePullPolicy"].one_of({"Always", "IfNotPresent", "Never"});
  validate_resources(container["resources"], &pod.claims);
  validate_resize_policy(container["resizePolicy"], pod.restart_policy);
  validate_container_security(pod, container["securityContext"]);
}

void validate_init_container(const PodContext& pod, const Cursor& container) {
  validate_common(pod, container);
  validate_restart_policy(container, true);
  check_host_ports({container});
  bool sidecar = container["restartPolicy"].text() == "Always";
  if (sidecar) {
    validate_probes_and_lifecycle(pod, container);
    return;
  }
  for (std::string_view member : {"lifecycle", "livenessProbe", "readinessProbe", "startupProbe"})
    if (container[member].present())
      container[member].forbidden("may not be set for init containers without restartPolicy=Always");
  for (const Cursor& policy : container["resizePolicy"].items())
    if (policy["restartPolicy"].text() == "RestartContainer")
      policy["restartPolicy"].invalid("must not be set to 'RestartContainer' for non-sidecar initContainers");
}

}  // namespace

void validate_containers(const PodContext& pod) {
  std::set<std::string_view> names;
  Cursor containers = pod.spec["containers"];
  std::vector<Cursor> items = containers.items();
  if (items.empty()) containers.required();
  for (const Cursor& container : items) {
    validate_common(pod, container);
    Cursor name = container["name"];
    if (!name.empty() && !names.insert(name.text()).second) name.duplicate();
    validate_probes_and_lifecycle(pod, container);
    validate_restart_policy(container, false);
  }
  check_host_ports(items);
  for (const Cursor& container : pod.spec["initContainers"].items()) {
    validate_init_container(pod, container);
    Cursor name = container["name"];
    if (!name.empty() && !names.insert(name.text()).second) name.duplicate();
  }
}

void validate_ephemeral_containers(const PodContext& pod) {
  std::set<std::string_view> names, targets;
  for (std::string_view list : {"containers", "initContainers"})
    for (const Cursor& container : pod.spec[list].items()) names.insert(container["name"].text());
  for (const Cursor& container : pod.spec["containers"].items()) targets.insert(container["name"].text());
  // Init containers that go on running may be looked into as well.
  for (const Cursor& container : pod.spec["initContainers"].items()) targets.insert(container["name"].text());
  for (const Cursor& container : pod.spec["ephemeralContainers"].items()) {
    validate_common(pod, container);
    Cursor name = container["name"], target = container["targetContainerName"];
    if (!name.empty() && !names.insert(name.text()).second) name.duplicate();
    if (!target.empty() && !targets.contains(target.text())) target.not_found();
    for (std::string_view member :
         {"lifecycle", "livenessProbe", "ports", "readinessProbe", "resizePolicy", "resources", "startupProbe"})
      if (!container[member].empty()) container[member].forbidden("cannot be set for an Ephemeral Container");
    for (const Cursor& mount : container["volumeMounts"].items())
      for (std::string_view member : {"subPath", "subPathExpr"})
        if (!mount[member].empty()) mount[member].forbidden("cannot be set for an Ephemeral Container");
    validate_restart_policy(container, false);
  }
}

}  // namespace kcube::machinery
