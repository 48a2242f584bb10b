#include "pkg/server/addons.h"

#include "pkg/base/strings.h"

namespace kcube::server {
namespace {

constexpr const char* kSystem = "kube-system";
constexpr const char* kNodeGroup = "system:bootstrappers:kcube:default-node-token";
constexpr const char* kConfig = "kcube-node-config";
const client::GroupVersionResource kConfigMaps{"", "v1", "configmaps"};

json::object head(std::string_view api_version, std::string_view kind, std::string_view name) {
  return {{"apiVersion", json::key(api_version)}, {"kind", json::key(kind)}, {"metadata", json::object{{"name", json::key(name)}}}};
}

class Addons {
 public:
  Addons(client::Client& client, const AddonOptions& options) : client_(client), options_(options) {}

  Result<void> run() {
    node_config();
    dns_service();
    storage_class();
    service_cidr();
    joining();
    SystemTime now = RealClock::instance().now();
    add({"", "v1", "secrets"}, kSystem, bootstrap_token_secret(options_.join_token, std::chrono::seconds(0), now, "the token of this cluster's server").get_object());
    return std::move(failure_);
  }

 private:
  void add(const client::GroupVersionResource& resource, std::string_view ns, json::object object) {
    if (!failure_) return;
    auto made = client_.create(resource, ns, json::value(std::move(object)));
    if (!made && made.error().reason() != "AlreadyExists") failure_ = fail(made.error().with_context("create " + resource.resource));
  }

  void node_config() {
    const agent::NetworkOptions& n = options_.network;
    json::object object = head("v1", "ConfigMap", kConfig);
    object["data"] = json::object{{"clusterCIDR", n.cluster_cidr}, {"serviceCIDR", n.service_cidr}, {"clusterDNS", n.dns_vip}, {"clusterDomain", n.cluster_domain},
                                  {"vxlanID", std::to_string(n.vxlan_id)}, {"vxlanPort", std::to_string(n.vxlan_port)}};
    if (client_.get(kConfigMaps, kSystem, kConfig)) {
      auto patched = client_.patch(kConfigMaps, kSystem, kConfig, client::PatchType::merge, json::object{{"data", object["data"]}});
      if (!patched) failure_ = fail(patched.error());
    } else {
      add(kConfigMaps, kSystem, std::move(object));
    }
    json::object role = head("rbac.authorization.k8s.io/v1", "Role", "kcube:node-config");
    role["rules"] = json::array{json::object{{"apiGroups", json::array{json::value("")}}, {"resources", json::array{json::value("configmaps")}}, {"resourceNames", json::array{json::value(kConfig)}}, {"verbs", json::array{json::value("get")}}}};
    add({"rbac.authorization.k8s.io", "v1", "roles"}, kSystem, std::move(role));
    bind("rolebindings", kSystem, "kcube:node-config", "Role", "kcube:node-config", "system:nodes");
  }

  void bind(std::string_view resource, std::string_view ns, std::string_view name, std::string_view role_kind, std::string_view role, std::string_view group) {
    json::object binding = head("rbac.authorization.k8s.io/v1", resource == "rolebindings" ? "RoleBinding" : "ClusterRoleBinding", name);
    binding["roleRef"] = json::object{{"apiGroup", "rbac.authorization.k8s.io"}, {"kind", json::key(role_kind)}, {"name", json::key(role)}};
    binding["subjects"] = json::array{json::object{{"apiGroup", "rbac.authorization.k8s.io"}, {"kind", "Group"}, {"name", json::key(group)}}};
    add({"rbac.authorization.k8s.io", "v1", std::string(resource)}, ns, std::move(binding));
  }

  // DNS is answered by every node in process: the service only makes it visible.
  void dns_service() {
    json::object object = head("v1", "Service", "kube-dns");
    json::object labels{{"k8s-app", "kube-dns"}, {"kubernetes.io/cluster-service", "true"}, {"kubernetes.io/name", "CoreDNS"}};
    json::ensure_object(object, "metadata")["labels"] = std::move(labels);
    json::array ports;
    ports.push_back(json::object{{"name", "dns"}, {"protocol", "UDP"}, {"port", 53}, {"targetPort", 53}});
    ports.push_back(json::object{{"name", "dns-tcp"}, {"protocol", "TCP"}, {"port", 53}, {"targetPort", 53}});
    object["spec"] = json::object{{"clusterIP", options_.network.dns_vip}, {"ports", std::move(ports)}};
    add({"", "v1", "services"}, kSystem, std::move(object));
  }

  // The range that services' addresses come from, as an object. Source: the Kubernetes docs on extending Service IP ranges.
  void service_cidr() {
    json::object object = head("networking.k8s.io/v1", "ServiceCIDR", "kubernetes");
    object["spec"] = json::object{{"cidrs", json::array{json::value(options_.network.service_cidr)}}};
    const client::GroupVersionResource cidrs{"networking.k8s.io", "v1", "servicecidrs"};
    add(cidrs, "", std::move(object));
    json::object ready{{"type", "Ready"}, {"status", "True"}, {"reason", ""}, {"message", "Kubernetes default Service CIDR is ready"},
                       {"lastTransitionTime", format_time(RealClock::instance().now())}};
    auto existing = client_.get(cidrs, "", "kubernetes");
    if (failure_ && existing && json::get_array(json::at(&(*existing)->value(), {"status", "conditions"})).empty()) {
      auto written = client_.patch(cidrs, "", "kubernetes", client::PatchType::merge, json::object{{"status", json::object{{"conditions", json::array{std::move(ready)}}}}}, "status");
      if (!written) failure_ = fail(written.error());
    }
  }

  void storage_class() {
    json::object object = head("storage.k8s.io/v1", "StorageClass", "local-path");
    json::ensure_object(object, "metadata")["annotations"] = json::object{{"storageclass.kubernetes.io/is-default-class", "true"}};
    object["provisioner"] = "kcube.io/local-path";
    object["volumeBindingMode"] = "WaitForFirstConsumer";
    object["reclaimPolicy"] = "Delete";
    add({"storage.k8s.io", "v1", "storageclasses"}, "", std::move(object));
  }

  // Holders of a join token may ask for a node's certificate, which is approved without a person.
  void joining() {
    bind("clusterrolebindings", "", "kcube:node-bootstrapper", "ClusterRole", "system:node-bootstrapper", kNodeGroup);
    bind("clusterrolebindings", "", "kcube:node-autoapprove-bootstrap", "ClusterRole", "system:certificates.k8s.io:certificatesigningrequests:nodeclient", kNodeGroup);
    // The proxy and the DNS server of a node read services and endpoints with the node's own certificate.
    bind("clusterrolebindings", "", "kcube:node-proxier", "ClusterRole", "system:node-proxier", "system:nodes");
    bind("clusterrolebindings", "", "kcube:node-autoapprove-certificate-rotation", "ClusterRole", "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient", "system:nodes");
  }

  client::Client& client_;
  const AddonOptions& options_;
  Result<void> failure_;
};

}  // namespace

json::value bootstrap_token_secret(const auth::JoinToken& token, std::chrono::seconds lifetime, SystemTime now, std::string_view description) {
  json::object secret = head("v1", "Secret", "bootstrap-token-" + token.id);
  json::ensure_object(secret, "metadata")["namespace"] = kSystem;
  secret["type"] = "bootstrap.kubernetes.io/token";
  json::object data{{"token-id", token.id}, {"token-secret", token.secret}, {"usage-bootstrap-authentication", "true"}, {"usage-bootstrap-signing", "true"}, {"auth-extra-groups", kNodeGroup}};
  if (!description.empty()) data["description"] = json::key(description);
  if (lifetime.count() > 0) data["expiration"] = format_time(now + lifetime);
  secret["stringData"] = std::move(data);
  return secret;
}

Result<void> ensure_addons(client::Client& client, const AddonOptions& options) { return Addons(client, options).run(); }

Result<agent::NetworkOptions> read_network_options(client::Client& client) {
  auto config = client.get(kConfigMaps, kSystem, kConfig);
  if (!config) return fail(config.error().with_context("read the cluster's network settings"));
  auto text = [&](std::string_view key, std::string& into) {
    std::string_view value = json::get_string((*config)->value(), {"data", key});
    if (!value.empty()) into = value;
  };
  agent::NetworkOptions n;
  std::string id, port;
  text("clusterCIDR", n.cluster_cidr);
  text("serviceCIDR", n.service_cidr);
  text("clusterDNS", n.dns_vip);
  text("clusterDomain", n.cluster_domain);
  text("vxlanID", id);
  text("vxlanPort", port);
  n.vxlan_id = parse_int<uint32_t>(id).value_or(n.vxlan_id);
  n.vxlan_port = parse_int<uint16_t>(port).value_or(n.vxlan_port);
  return n;
}

}  // namespace kcube::server
