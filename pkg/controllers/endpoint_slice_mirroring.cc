// EndpointSlices for Endpoints that somebody wrote by hand, for a service without a selector: what reads slices only
// (the proxy, DNS) finds these too.
#include <map>
#include <set>

#include "pkg/controllers/factories.h"
#include "pkg/controllers/slice_writer.h"
#include "pkg/controllers/support.h"

namespace kcube::controllers {
namespace {

using namespace client::resources;

constexpr const char* kServiceName = "kubernetes.io/service-name";
constexpr const char* kManagedBy = "endpointslice.kubernetes.io/managed-by";
constexpr const char* kManager = "endpointslicemirroring-controller.k8s.io";
constexpr const char* kSkip = "endpointslice.kubernetes.io/skip-mirror";
constexpr const char* kLeader = "control-plane.alpha.kubernetes.io/leader";
constexpr size_t kMaxPerSubset = 1000;

bool has_selector(const json::value& service) { return !json::get_object(json::at(&service, {"spec", "selector"})).empty(); }

class MirroringController final : public Controller {
 public:
  explicit MirroringController(Context context)
      : Controller(context, "endpointslicemirroring"), endpoints_(follow_own(kEndpoints)), services_(follow_own(kServices)),
        slices_(context.informers.informer(kEndpointSlices)), writer_(context.client, context.clock, slices_) {
    slices_.add_handlers({.changed =
                              [this](const api::ObjectPtr&, const api::ObjectPtr& now) {
                                if (ours(*now)) enqueue(key_of(*now));
                              },
                          .removed =
                              [this](const api::ObjectPtr& last) {
                                if (!ours(*last)) return;
                                writer_.saw_removal(key_of(*last), *last);
                                enqueue(key_of(*last));
                              }});
    slices_.add_index("service", [](const api::Object& slice) {
      return std::vector<std::string>{api::object_key(slice.namespace_(), slice.label(kServiceName))};
    });
  }

 private:
  static bool ours(const api::Object& slice) { return slice.label(kManagedBy) == kManager; }
  static std::string key_of(const api::Object& slice) { return api::object_key(slice.namespace_(), slice.label(kServiceName)); }

  bool wanted(const api::ObjectPtr& endpoints, const api::ObjectPtr& service) const {
    return endpoints && !endpoints->deleting() && service && !has_selector(service->value()) && endpoints->label(kSkip) != "true" &&
           !has(endpoints->value(), {"metadata", "annotations", kLeader});
  }

  Result<void> reconcile(const std::string& key) override {
    api::ObjectPtr endpoints = endpoints_.get(key), service = services_.get(key);
    if (!writer_.current(key)) return {};
    std::vector<api::ObjectPtr> existing;
    for (const auto& slice : slices_.by_index("service", key))
      if (ours(*slice) && !slice->deleting()) existing.push_back(slice);
    if (!wanted(endpoints, service)) {
      for (const auto& slice : existing) {
        auto r = client_.remove(kEndpointSlices, slice->namespace_(), slice->name(), {.uid = std::string(slice->uid())});
        if (!r && !r.error().is_not_found()) return r;
      }
      return {};
    }
    return writer_.write(parent_of(*endpoints), existing, groups_of(endpoints->value()), {}, kMaxPerSubset);
  }

  static SliceParent parent_of(const api::Object& endpoints) {
    SliceParent parent{endpoints.key(), std::string(endpoints.namespace_()), std::string(endpoints.name())};
    for (const auto& [name, value] : endpoints.labels()) parent.labels[name] = text(value);
    parent.labels[kServiceName] = text(endpoints.name());
    parent.labels[kManagedBy] = kManager;
    for (const auto& m : json::get_object(json::at(&endpoints.value(), {"metadata", "annotations"})))
      if (m.key() != "kubectl.kubernetes.io/last-applied-configuration" && m.key() != "endpoints.kubernetes.io/last-change-trigger-time")
        parent.annotations[m.key()] = m.value();
    parent.owner = api::controller_reference(endpoints.value());
    return parent;
  }

  static std::vector<SliceGroup> groups_of(const json::value& endpoints) {
    std::map<std::string, SliceGroup> groups;
    for (const json::value& subset : json::get_array(json::find(&endpoints, "subsets"))) {
      json::array ports = json::get_array(json::find(&subset, "ports"));
      for (json::value& port : ports)
        if (port.is_object() && !port.get_object().contains("name")) port.get_object()["name"] = "";
      std::set<std::string_view> seen;
      for (const char* list : {"addresses", "notReadyAddresses"})
        for (const json::value& address : json::get_array(json::find(&subset, list))) {
          std::string_view ip = json::get_string(address, {"ip"});
          if (ip.empty() || !seen.insert(ip).second) continue;
          std::string type = ip.find(':') == std::string_view::npos ? "IPv4" : "IPv6";
          SliceGroup& group = groups[type + json::serialize(ports)];
          group.address_type = type;
          group.ports = ports;
          if (group.endpoints.size() < kMaxPerSubset) group.endpoints.push_back(endpoint(address, list[0] == 'a'));
        }
    }
    std::vector<SliceGroup> out;
    for (auto& [key, group] : groups) out.push_back(std::move(group));
    return out;
  }

  static json::object endpoint(const json::value& address, bool ready) {
    json::object out{{"addresses", json::array{text(json::get_string(address, {"ip"}))}}, {"conditions", json::object{{"ready", ready}}}};
    for (const char* name : {"hostname", "nodeName", "targetRef"})
      if (const json::value* v = json::find(&address, name)) out[name] = *v;
    return out;
  }

  client::Informer& endpoints_;
  client::Informer& services_;
  client::Informer& slices_;
  SliceWriter writer_;
};

}  // namespace

ControllerPtr make_endpoint_slice_mirroring_controller(Context context) { return std::make_unique<MirroringController>(context); }

}  // namespace kcube::controllers
