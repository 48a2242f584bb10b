#include "pkg/controllers/service_pods.h"

#include <algorithm>

#include "pkg/controllers/pods.h"
#include "pkg/controllers/support.h"

namespace kcube::controllers {
namespace {

// What of a pod its endpoints show.
bool same_endpoint(const api::Object& a, const api::Object& b) {
  auto same = [&](std::initializer_list<std::string_view> path) { return equivalent(json::at(&a.value(), path), json::at(&b.value(), path)); };
  return a.uid() == b.uid() && a.labels() == b.labels() && a.deleting() == b.deleting() && pod_ready(a) == pod_ready(b) &&
         pod_finished(a) == pod_finished(b) && same({"status", "podIPs"}) && same({"spec", "nodeName"}) && same({"spec", "hostname"}) &&
         same({"spec", "subdomain"});
}

int64_t port_of(const api::Object& pod, const json::value& service_port) {
  const json::value* target = json::find(&service_port, "targetPort");
  if (target == nullptr || target->is_null()) return json::get_int(service_port, {"port"});
  if (!target->is_string()) {
    int64_t number = json::get_int(target);
    return number != 0 ? number : json::get_int(service_port, {"port"});
  }
  std::string_view name = json::get_string(target), protocol = json::get_string(json::find(&service_port, "protocol"), "TCP");
  for (const char* list : {"containers", "initContainers"})
    for (const json::value& container : json::get_array(json::at(&pod.value(), {"spec", list}))) {
      // Of the init containers only sidecars go on serving.
      if (list[0] == 'i' && json::get_string(container, {"restartPolicy"}) != "Always") continue;
      for (const json::value& port : json::get_array(json::find(&container, "ports")))
        if (json::get_string(port, {"name"}) == name && json::get_string(json::find(&port, "protocol"), "TCP") == protocol)
          return json::get_int(port, {"containerPort"});
    }
  return 0;
}

}  // namespace

bool selects_pods(const json::value& service) {
  return json::get_string(service, {"spec", "type"}) != "ExternalName" && !json::get_object(json::at(&service, {"spec", "selector"})).empty();
}

bool is_headless(const json::value& service) { return json::get_string(service, {"spec", "clusterIP"}) == "None"; }

std::vector<api::ObjectPtr> selected_pods(const client::Informer& pods, const api::Object& service) {
  auto selector = api::LabelSelector::from_map(json::at(&service.value(), {"spec", "selector"}));
  std::vector<api::ObjectPtr> out;
  for (const api::ObjectPtr& pod : pods.list(service.namespace_()))
    if (selector.matches(pod->labels())) out.push_back(pod);
  return out;
}

std::vector<std::string> affected_services(const client::Informer& services, const api::Object* before, const api::Object& now) {
  std::vector<std::string> out;
  if (before != nullptr && same_endpoint(*before, now)) return out;
  for (const api::ObjectPtr& service : services.list(now.namespace_())) {
    if (!selects_pods(service->value())) continue;
    auto selector = api::LabelSelector::from_map(json::at(&service->value(), {"spec", "selector"}));
    if (selector.matches(now.labels()) || (before != nullptr && selector.matches(before->labels()))) out.push_back(service->key());
  }
  return out;
}

bool has_endpoint(const api::Object& pod, bool include_terminating) {
  if (pod_finished(pod) || (pod.deleting() && !include_terminating)) return false;
  return !json::get_string(pod.value(), {"status", "podIP"}).empty() || !json::get_array(json::at(&pod.value(), {"status", "podIPs"})).empty();
}

std::string pod_address(const api::Object& pod, std::string_view family) {
  auto is = [&](std::string_view ip) { return !ip.empty() && (ip.find(':') != std::string_view::npos) == (family == "IPv6"); };
  for (const json::value& entry : json::get_array(json::at(&pod.value(), {"status", "podIPs"})))
    if (std::string_view ip = json::get_string(entry, {"ip"}); is(ip)) return std::string(ip);
  std::string_view ip = json::get_string(pod.value(), {"status", "podIP"});
  return is(ip) ? std::string(ip) : std::string();
}

std::vector<std::string> ip_families(const json::value& service) {
  std::vector<std::string> out;
  for (const json::value& f : json::get_array(json::at(&service, {"spec", "ipFamilies"}))) out.emplace_back(json::get_string(&f));
  if (out.empty()) out.emplace_back(json::get_string(service, {"spec", "clusterIP"}).find(':') == std::string_view::npos ? "IPv4" : "IPv6");
  return out;
}

json::array endpoint_ports(const json::value& service, const api::Object& pod) {
  json::array out;
  for (const json::value& port : json::get_array(json::at(&service, {"spec", "ports"}))) {
    int64_t number = port_of(pod, port);
    if (number == 0) continue;
    json::object entry{{"name", text(json::get_string(port, {"name"}))}, {"port", number},
                       {"protocol", text(json::get_string(json::find(&port, "protocol"), "TCP"))}};
    if (const json::value* app = json::find(&port, "appProtocol")) entry["appProtocol"] = *app;
    out.push_back(std::move(entry));
  }
  return out;
}

std::string endpoint_hostname(const json::value& service, const api::Object& pod) {
  if (json::get_string(pod.value(), {"spec", "subdomain"}) != json::get_string(service, {"metadata", "name"})) return {};
  return string_at(pod.value(), {"spec", "hostname"});
}

json::object pod_reference(const api::Object& pod) {
  return {{"kind", "Pod"}, {"namespace", text(pod.namespace_())}, {"name", text(pod.name())}, {"uid", text(pod.uid())}};
}

}  // namespace kcube::controllers
