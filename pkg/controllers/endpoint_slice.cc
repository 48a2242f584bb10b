// EndpointSlices of services with a selector: the addresses and states of the pods behind them.
#include <algorithm>
#include <map>

#include "pkg/controllers/factories.h"
#include "pkg/controllers/pods.h"
#include "pkg/controllers/service_pods.h"
#include "pkg/controllers/slice_writer.h"
#include "pkg/controllers/support.h"

namespace kcube::controllers {
namespace {

using namespace client::resources;

constexpr const char* kServiceName = "kubernetes.io/service-name";
constexpr const char* kManagedBy = "endpointslice.kubernetes.io/managed-by";
constexpr const char* kManager = "endpointslice-controller.k8s.io";
constexpr const char* kHeadless = "service.kubernetes.io/headless";
constexpr const char* kZone = "topology.kubernetes.io/zone";

class EndpointSliceController final : public Controller {
 public:
  explicit EndpointSliceController(Context context)
      : Controller(context, "endpointslice"), services_(follow_own(kServices)), pods_(context.informers.informer(kPods)),
        nodes_(context.informers.informer(kNodes)), slices_(context.informers.informer(kEndpointSlices)),
        writer_(context.client, context.clock, slices_) {
    pods_.add_handlers({.changed =
                            [this](const api::ObjectPtr& before, const api::ObjectPtr& now) {
                              for (const auto& key : affected_services(services_, before.get(), *now)) enqueue(key);
                            },
                        .removed =
                            [this](const api::ObjectPtr& last) {
                              for (const auto& key : affected_services(services_, nullptr, *last)) enqueue(key);
                            }});
    slices_.add_handlers({.changed =
                              [this](const api::ObjectPtr&, const api::ObjectPtr& now) {
                                if (ours(*now)) enqueue(service_key(*now));
                              },
                          .removed =
                              [this](const api::ObjectPtr& last) {
                                if (!ours(*last)) return;
                                writer_.saw_removal(service_key(*last), *last);
                                enqueue(service_key(*last));
                              }});
    slices_.add_index("service", [](const api::Object& slice) {
      return std::vector<std::string>{api::object_key(slice.namespace_(), slice.label(kServiceName))};
    });
    nodes_.add_handlers({.changed = [this](const api::ObjectPtr& before, const api::ObjectPtr& now) {
      if (before && before->label(kZone) == now->label(kZone)) return;
      if (!before && now->label(kZone).empty()) return;
      for (const auto& service : services_.list()) enqueue(service->key());
    }});
  }

 private:
  static bool ours(const api::Object& slice) { return slice.label(kManagedBy) == kManager && !slice.label(kServiceName).empty(); }
  static std::string service_key(const api::Object& slice) { return api::object_key(slice.namespace_(), slice.label(kServiceName)); }

  Result<void> reconcile(const std::string& key) override {
    api::ObjectPtr service = services_.get(key);
    // The slices of a deleted service go with it: it owns them.
    if (!service) {
      writer_.forget(key);
      return {};
    }
    if (!selects_pods(service->value()) || service->deleting() || !writer_.current(key)) return {};
    std::vector<api::ObjectPtr> existing;
    for (const auto& slice : slices_.by_index("service", key))
      if (ours(*slice) && !slice->deleting()) existing.push_back(slice);
    auto families = ip_families(service->value());
    return writer_.write(parent_of(*service), existing, groups_of(*service, families), {families.begin(), families.end()});
  }

  SliceParent parent_of(const api::Object& service) const {
    SliceParent parent{service.key(), std::string(service.namespace_()), std::string(service.name())};
    for (const auto& [name, value] : service.labels())
      if (name != kServiceName && name != kManagedBy && name != kHeadless) parent.labels[name] = text(value);
    parent.labels[kServiceName] = text(service.name());
    parent.labels[kManagedBy] = kManager;
    if (is_headless(service.value())) parent.labels[kHeadless] = "";
    parent.owner = api::controller_reference(service.value());
    return parent;
  }

  std::vector<SliceGroup> groups_of(const api::Object& service, const std::vector<std::string>& families) const {
    std::map<std::string, SliceGroup> groups;
    bool has_ports = !json::get_array(json::at(&service.value(), {"spec", "ports"})).empty();
    for (const auto& pod : selected_pods(pods_, service)) {
      if (!has_endpoint(*pod, true)) continue;
      json::array ports = endpoint_ports(service.value(), *pod);
      // A pod that serves none of the ports is no endpoint, but a headless service may have no ports at all.
      if (ports.empty() && has_ports && !is_headless(service.value())) continue;
      for (const std::string& family : families) {
        std::string address = pod_address(*pod, family);
        if (address.empty()) continue;
        SliceGroup& group = groups[family + json::serialize(ports)];
        group.address_type = family;
        group.ports = ports;
        group.endpoints.push_back(endpoint(service.value(), *pod, address));
      }
    }
    std::vector<SliceGroup> out;
    for (auto& [key, group] : groups) {
      add_hints(service.value(), group.endpoints);
      out.push_back(std::move(group));
    }
    return out;
  }

  json::object endpoint(const json::value& service, const api::Object& pod, const std::string& address) const {
    bool serving = pod_ready(pod), terminating = pod.deleting();
    bool ready = json::get_bool(service, {"spec", "publishNotReadyAddresses"}) || (serving && !terminating);
    json::object out{{"addresses", json::array{text(address)}},
                     {"conditions", json::object{{"ready", ready}, {"serving", serving}, {"terminating", terminating}}}};
    if (std::string hostname = endpoint_hostname(service, pod); !hostname.empty()) out["hostname"] = text(hostname);
    if (std::string_view node = pod_node(pod); !node.empty()) {
      out["nodeName"] = text(node);
      if (auto object = nodes_.get(node); object && !object->label(kZone).empty()) out["zone"] = text(object->label(kZone));
    }
    out["targetRef"] = pod_reference(pod);
    return out;
  }

  // spec.trafficDistribution: who should use an endpoint. Only where every one can say its place.
  static void add_hints(const json::value& service, json::array& endpoints) {
    std::string_view wish = json::get_string(service, {"spec", "trafficDistribution"});
    if (wish != "PreferClose" && wish != "PreferSameZone" && wish != "PreferSameNode") return;
    for (json::value& e : endpoints) {
      json::object hints;
      if (std::string zone = string_at(e, {"zone"}); !zone.empty()) hints["forZones"] = json::array{json::object{{"name", text(zone)}}};
      if (std::string node = string_at(e, {"nodeName"}); !node.empty() && wish == "PreferSameNode")
        hints["forNodes"] = json::array{json::object{{"name", text(node)}}};
      if (!hints.empty() && json::get_bool(e, {"conditions", "ready"})) e.as_object()["hints"] = std::move(hints);
    }
  }

  client::Informer& services_;
  client::Informer& pods_;
  client::Informer& nodes_;
  client::Informer& slices_;
  SliceWriter writer_;
};

}  // namespace

ControllerPtr make_endpoint_slice_controller(Context context) { return std::make_unique<EndpointSliceController>(context); }

}  // namespace kcube::controllers
