#include "cmd/kcube/demo.h"

#include "pkg/client/wait.h"
#include "pkg/http/client.h"

namespace kcube::cli {
namespace {

constexpr const char* kName = "demo";
const client::GroupVersionResource kDeployments{"apps", "v1", "deployments"};
const client::GroupVersionResource kServices{"", "v1", "services"};

json::value deployment(const std::string& image) {
  json::object probe{{"httpGet", json::object{{"path", "/"}, {"port", 8080}}}, {"periodSeconds", 2}};
  json::object container{{"name", kName}, {"image", image}, {"imagePullPolicy", "IfNotPresent"}, {"ports", json::array{json::object{{"containerPort", 8080}}}}, {"readinessProbe", std::move(probe)}};
  container["resources"] = json::object{{"limits", json::object{{"memory", "32Mi"}}}, {"requests", json::object{{"cpu", "10m"}, {"memory", "8Mi"}}}};
  json::object labels{{"app", kName}};
  json::object pod{{"metadata", json::object{{"labels", labels}}}, {"spec", json::object{{"containers", json::array{std::move(container)}}}}};
  json::object spec{{"replicas", 2}, {"selector", json::object{{"matchLabels", labels}}}, {"template", std::move(pod)}};
  return json::object{{"apiVersion", "apps/v1"}, {"kind", "Deployment"}, {"metadata", json::object{{"name", kName}, {"labels", labels}}}, {"spec", std::move(spec)}};
}

json::value service() {
  json::object labels{{"app", kName}};
  json::object spec{{"type", "NodePort"}, {"selector", labels}, {"ports", json::array{json::object{{"port", 80}, {"targetPort", 8080}}}}};
  return json::object{{"apiVersion", "v1"}, {"kind", "Service"}, {"metadata", json::object{{"name", kName}, {"labels", labels}}}, {"spec", std::move(spec)}};
}

bool available(const json::value& d) {
  int64_t wanted = json::get_int(d, {"spec", "replicas"});
  return json::get_int(d, {"status", "availableReplicas"}) >= wanted && json::get_int(d, {"status", "observedGeneration"}) >= json::get_int(d, {"metadata", "generation"});
}

}  // namespace

Result<std::string> deploy_demo(const Cluster& cluster, const std::string& image, std::chrono::seconds deadline) {
  auto api = admin_client(cluster);
  if (!api) return fail(api.error());
  for (auto& [resource, object] : {std::pair{kDeployments, deployment(image)}, {kServices, service()}}) {
    auto made = (*api)->create(resource, "default", object);
    if (!made && made.error().reason() != "AlreadyExists") return fail(made.error());
  }
  auto ready = client::wait_for(**api, kDeployments, "default", kName, available, deadline, "the demo's pods to be available: see `kubectl describe pods -l app=demo`");
  if (!ready) return fail(ready.error());
  auto stored = (*api)->get(kServices, "default", kName);
  if (!stored) return fail(stored.error());
  const json::array& ports = json::get_array(json::at(&(*stored)->value(), {"spec", "ports"}));
  auto nodes = (*api)->list({"", "v1", "nodes"}, "");
  if (!nodes) return fail(nodes.error());
  std::string address;
  for (const auto& node : nodes->items)
    for (const json::value& a : json::get_array(json::at(&node->value(), {"status", "addresses"})))
      if (address.empty() && json::get_string(a, {"type"}) == "InternalIP") address = json::get_string(a, {"address"});
  if (ports.empty() || address.empty()) return fail(Status::internal("the demo's service has no port or the node no address"));
  std::string url = "http://" + address + ":" + std::to_string(json::get_int(ports[0], {"nodePort"}));
  auto http = http::Client::create({});
  http::ClientRequest request;
  request.url = url + "/";
  auto answer = http->send(request);
  if (!answer) return fail(answer.error().with_context("the demo does not answer at " + url));
  return url;
}

}  // namespace kcube::cli
