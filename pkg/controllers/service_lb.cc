// Services of type LoadBalancer: every node takes their traffic, so the nodes' addresses are the load balancer's.
#include <algorithm>
#include <set>

#include "pkg/controllers/factories.h"
#include "pkg/controllers/support.h"

namespace kcube::controllers {
namespace {

using namespace client::resources;

constexpr const char* kExclude = "node.kubernetes.io/exclude-from-external-load-balancers";

class ServiceLbController final : public Controller {
 public:
  explicit ServiceLbController(Context context)
      : Controller(context, "service-lb-controller", 2), recorder_(context.client, context.clock, "service-controller"), services_(follow_own(kServices)),
        nodes_(context.informers.informer(kNodes)), slices_(context.informers.informer(kEndpointSlices)) {
    auto all = [this] {
      for (const auto& service : services_.list())
        if (ours(service->value())) enqueue(service->key());
    };
    nodes_.add_handlers({.changed =
                             [all](const api::ObjectPtr& before, const api::ObjectPtr& now) {
                               bool same = before && condition_is(before->value(), "Ready") == condition_is(now->value(), "Ready") && before->labels() == now->labels() &&
                                           equivalent(json::at(&before->value(), {"status", "addresses"}), json::at(&now->value(), {"status", "addresses"}));
                               if (!same) all();
                             },
                         .removed = [all](const api::ObjectPtr&) { all(); }});
    // With externalTrafficPolicy Local it matters where the endpoints are.
    auto local = [this](const api::Object& slice) {
      api::ObjectPtr service = services_.get(slice.namespace_(), slice.label("kubernetes.io/service-name"));
      if (service && ours(service->value()) && is_local(service->value())) enqueue(service->key());
    };
    slices_.add_handlers({.changed = [local](const api::ObjectPtr&, const api::ObjectPtr& now) { local(*now); },
                          .removed = [local](const api::ObjectPtr& last) { local(*last); }});
  }

 private:
  static bool ours(const json::value& service) {
    return json::get_string(service, {"spec", "type"}) == "LoadBalancer" && json::get_string(service, {"spec", "loadBalancerClass"}).empty();
  }
  static bool is_local(const json::value& service) { return json::get_string(service, {"spec", "externalTrafficPolicy"}) == "Local"; }

  Result<void> reconcile(const std::string& key) override {
    api::ObjectPtr service = services_.get(key);
    if (!service || service->deleting()) return {};
    bool wanted = ours(service->value());
    // Another class's load balancer is its own affair.
    if (!wanted && json::get_string(service->value(), {"spec", "type"}) == "LoadBalancer") return {};
    json::object balancer;
    if (wanted)
      if (json::array ingress = addresses(*service); !ingress.empty()) balancer["ingress"] = std::move(ingress);
    json::value status = has(service->value(), {"status"}) ? *json::find(&service->value(), "status") : json::value(json::object());
    json::value next(std::move(balancer));
    if (equivalent(json::find(&status, "loadBalancer"), &next)) return {};
    status.as_object()["loadBalancer"] = std::move(next);
    auto written = update_status(client_, kServices, *service, std::move(status));
    if (written && wanted) recorder_.event(service->value(), "Normal", "EnsuredLoadBalancer", "Ensured load balancer");
    return written;
  }

  json::array addresses(const api::Object& service) const {
    std::set<std::string> families, ips, serving;
    for (const json::value& f : json::get_array(json::at(&service.value(), {"spec", "ipFamilies"}))) families.emplace(json::get_string(&f));
    bool local = is_local(service.value());
    if (local) serving = serving_nodes(service);
    for (const auto& node : nodes_.list()) {
      bool excluded = std::ranges::any_of(node->labels(), [](const auto& l) { return l.first == kExclude; });
      if (excluded || node->deleting() || !condition_is(node->value(), "Ready") || (local && !serving.contains(std::string(node->name())))) continue;
      for (const std::string& ip : node_ips(*node)) {
        bool v6 = ip.find(':') != std::string::npos;
        if (families.empty() ? !v6 : families.contains(v6 ? "IPv6" : "IPv4")) ips.insert(ip);
      }
    }
    json::array out;
    for (const auto& ip : ips) out.push_back(json::object{{"ip", text(ip)}, {"ipMode", "VIP"}});
    return out;
  }

  static std::vector<std::string> node_ips(const api::Object& node) {
    for (const char* type : {"ExternalIP", "InternalIP"}) {
      std::vector<std::string> out;
      for (const json::value& a : json::get_array(json::at(&node.value(), {"status", "addresses"})))
        if (json::get_string(a, {"type"}) == type) out.push_back(string_at(a, {"address"}));
      if (!out.empty()) return out;
    }
    return {};
  }

  std::set<std::string> serving_nodes(const api::Object& service) const {
    std::set<std::string> out;
    for (const auto& slice : slices_.list(service.namespace_())) {
      if (slice->label("kubernetes.io/service-name") != service.name()) continue;
      for (const json::value& e : json::get_array(json::find(&slice->value(), "endpoints")))
        if (json::get_bool(e, {"conditions", "ready"}, true)) out.insert(string_at(e, {"nodeName"}));
    }
    return out;
  }

  client::EventRecorder recorder_;
  client::Informer& services_;
  client::Informer& nodes_;
  client::Informer& slices_;
};

}  // namespace

ControllerPtr make_service_lb_controller(Context context) { return std::make_unique<ServiceLbController>(context); }

}  // namespace kcube::controllers
