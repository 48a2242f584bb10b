// Endpoints (v1), the older form: one object a service, for clients that have not moved to EndpointSlices.
#include <algorithm>
#include <map>

#include "pkg/controllers/factories.h"
#include "pkg/controllers/pods.h"
#include "pkg/controllers/service_pods.h"
#include "pkg/controllers/support.h"

namespace kcube::controllers {
namespace {

using namespace client::resources;

constexpr size_t kMaxAddresses = 1000;
constexpr const char* kOverCapacity = "endpoints.kubernetes.io/over-capacity";
constexpr const char* kManagedBy = "endpoints.kubernetes.io/managed-by";
constexpr const char* kManager = "endpoint-controller";
constexpr const char* kHeadless = "service.kubernetes.io/headless";

struct Subset {
  json::array ports, ready, not_ready;
};

json::object address(const api::Object& pod, const json::value& service, const std::string& ip) {
  json::object out{{"ip", text(ip)}};
  if (std::string hostname = endpoint_hostname(service, pod); !hostname.empty()) out["hostname"] = text(hostname);
  if (std::string_view node = pod_node(pod); !node.empty()) out["nodeName"] = text(node);
  out["targetRef"] = pod_reference(pod);
  return out;
}

// Cuts to the limit, those that are not ready first. True when something was cut.
bool truncate(std::map<std::string, Subset>& subsets) {
  size_t room = kMaxAddresses;
  bool cut = false;
  for (bool ready : {true, false})
    for (auto& [key, subset] : subsets) {
      json::array& list = ready ? subset.ready : subset.not_ready;
      if (list.size() > room) {
        list.resize(room);
        cut = true;
      }
      room -= list.size();
    }
  return cut;
}

class EndpointsController final : public Controller {
 public:
  explicit EndpointsController(Context context)
      : Controller(context, "endpoint"), services_(follow_own(kServices)), pods_(context.informers.informer(kPods)),
        endpoints_(context.informers.informer(kEndpoints)) {
    pods_.add_handlers({.changed =
                            [this](const api::ObjectPtr& before, const api::ObjectPtr& now) {
                              for (const auto& key : affected_services(services_, before.get(), *now)) enqueue(key);
                            },
                        .removed =
                            [this](const api::ObjectPtr& last) {
                              for (const auto& key : affected_services(services_, nullptr, *last)) enqueue(key);
                            }});
    // Somebody deleted it: it comes back.
    endpoints_.add_handlers({.removed = [this](const api::ObjectPtr& last) {
      if (services_.get(last->key())) enqueue(last->key());
    }});
  }

 private:
  // Services that went while no controller ran.
  void on_start() override {
    for (const auto& e : endpoints_.list())
      if (e->label(kManagedBy) == kManager) enqueue(e->key());
  }

  Result<void> reconcile(const std::string& key) override {
    api::ObjectPtr service = services_.get(key);
    auto [ns, name] = api::split_key(key);
    if (!service) return remove(ns, name);
    if (!selects_pods(service->value()) || service->deleting()) return {};
    std::map<std::string, Subset> subsets = subsets_of(*service);
    bool over = truncate(subsets);
    return write(*service, to_json(subsets), over);
  }

  Result<void> remove(const std::string& ns, const std::string& name) {
    api::ObjectPtr current = endpoints_.get(ns, name);
    if (!current) return {};
    auto r = client_.remove(kEndpoints, ns, name, {.uid = std::string(current->uid())});
    return r || r.error().is_not_found() ? Result<void>() : r;
  }

  std::map<std::string, Subset> subsets_of(const api::Object& service) const {
    std::map<std::string, Subset> subsets;
    bool publish = json::get_bool(service.value(), {"spec", "publishNotReadyAddresses"});
    bool has_ports = !json::get_array(json::at(&service.value(), {"spec", "ports"})).empty();
    std::string family = ip_families(service.value()).front();
    for (const auto& pod : selected_pods(pods_, service)) {
      if (!has_endpoint(*pod, publish)) continue;
      std::string ip = pod_address(*pod, family);
      if (ip.empty()) continue;
      json::array ports = endpoint_ports(service.value(), *pod);
      if (ports.empty() && (has_ports || !is_headless(service.value()))) continue;
      for (json::value& port : ports)
        if (json::get_string(port, {"name"}).empty()) port.as_object().erase("name");
      Subset& subset = subsets[json::serialize(ports)];
      subset.ports = ports;
      (publish || pod_ready(*pod) ? subset.ready : subset.not_ready).push_back(address(*pod, service.value(), ip));
    }
    return subsets;
  }

  static json::array to_json(std::map<std::string, Subset>& subsets) {
    auto by_ip = [](const json::value& a, const json::value& b) { return json::get_string(a, {"ip"}) < json::get_string(b, {"ip"}); };
    json::array out;
    for (auto& [key, subset] : subsets) {
      std::ranges::sort(subset.ready, by_ip);
      std::ranges::sort(subset.not_ready, by_ip);
      json::object entry;
      if (!subset.ready.empty()) entry["addresses"] = std::move(subset.ready);
      if (!subset.not_ready.empty()) entry["notReadyAddresses"] = std::move(subset.not_ready);
      if (!subset.ports.empty()) entry["ports"] = std::move(subset.ports);
      if (entry.contains("addresses") || entry.contains("notReadyAddresses")) out.push_back(std::move(entry));
    }
    return out;
  }

  Result<void> write(const api::Object& service, json::array subsets, bool over) {
    api::ObjectPtr current = endpoints_.get(service.namespace_(), service.name());
    json::value next = current ? json::value(current->value()) : json::value(json::object{{"apiVersion", "v1"}, {"kind", "Endpoints"}});
    json::object& metadata = json::ensure_path(next, {"metadata"});
    metadata["name"] = text(service.name());
    metadata["namespace"] = text(service.namespace_());
    json::object labels = json::get_object(json::at(&service.value(), {"metadata", "labels"}));
    labels[kManagedBy] = kManager;
    if (is_headless(service.value())) labels[kHeadless] = "";
    else labels.erase(kHeadless);
    metadata["labels"] = std::move(labels);
    json::object& annotations = json::ensure_object(metadata, "annotations");
    if (over) annotations[kOverCapacity] = "truncated";
    else annotations.erase(kOverCapacity);
    if (annotations.empty()) metadata.erase("annotations");
    next.as_object()["subsets"] = std::move(subsets);
    if (current && equivalent(&next, &current->value())) return {};
    auto written = current ? client_.update(kEndpoints, service.namespace_(), service.name(), next) : client_.create(kEndpoints, service.namespace_(), next);
    if (written) return {};
    // The namespace is going away.
    for (const Cause& cause : written.error().details().causes)
      if (cause.reason == "NamespaceTerminating") return {};
    return fail(written.error());
  }

  client::Informer& services_;
  client::Informer& pods_;
  client::Informer& endpoints_;
};

}  // namespace

ControllerPtr make_endpoints_controller(Context context) { return std::make_unique<EndpointsController>(context); }

}  // namespace kcube::controllers
