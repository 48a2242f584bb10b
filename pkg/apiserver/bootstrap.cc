#include "pkg/apiserver/bootstrap.h"

#include <algorithm>

#include "pkg/apiserver/local_api_services.h"
#include "pkg/apiserver/service_allocator.h"
#include "pkg/base/strings.h"

namespace kcube::apiserver {
namespace {

constexpr std::string_view kRbac = "rbac.authorization.k8s.io";
constexpr const char* kAutoUpdate = "rbac.authorization.kubernetes.io/autoupdate";

json::array text_list(std::string_view commas) {
  json::array out;
  if (commas.empty()) return out;
  for (std::string_view s : split(commas, ',')) out.push_back(json::value(json::key(s)));
  return out;
}

// JSON in a string, as extension API servers read it.
std::string list_text(const std::vector<std::string>& list) {
  json::array out;
  for (const std::string& s : list) out.push_back(json::value(s));
  return json::serialize(json::value(std::move(out)));
}

class Bootstrapper {
 public:
  Bootstrapper(Engine& engine, const BootstrapOptions& options) : engine_(engine), options_(options) {}

  Result<void> run() {
    for (const char* name : {"default", "kube-system", "kube-public", "kube-node-lease"})
      add("", "namespaces", "", name, json::object{{"apiVersion", "v1"}, {"kind", "Namespace"}});
    for (const api::BootstrapRole& role : api::Schema::builtin().bootstrap_roles()) add_role(role);
    for (const api::BootstrapBinding& binding : api::Schema::builtin().bootstrap_bindings()) add_binding(binding);
    add_priority("system-cluster-critical", 2000000000, "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.");
    add_priority("system-node-critical", 2000001000, "Used for system critical pods that must not be moved from their current node.");
    add_kubernetes_service();
    add_config_maps();
    add_api_services();
    return std::move(failure_);
  }

 private:
  Call call(std::string_view group, std::string_view resource, std::string_view ns, std::string_view name) const {
    Call c;
    c.user = {"system:apiserver", "", {"system:masters"}, {}};
    c.resource = engine_.core().registry.find_stored(group, resource);
    c.ns = ns;
    c.name = name;
    c.trusted = true;
    c.field_manager = "kube-apiserver";
    return c;
  }

  // Creates what is not there. The first failure is kept and ends the rest.
  void add(std::string_view group, std::string_view resource, std::string_view ns, std::string_view name, json::object object) {
    if (!failure_ || engine_.core().get(group, resource, ns, name)) return;
    json::object& metadata = json::ensure_object(object, "metadata");
    metadata["name"] = json::key(name);
    Call c = call(group, resource, ns, name);
    auto done = engine_.create(c, json::value(std::move(object)));
    if (!done && done.error().reason() != "AlreadyExists") failure_ = fail(done.error().with_context("bootstrap " + std::string(resource) + "/" + std::string(name)));
  }

  static json::array rules_json(const std::vector<api::BootstrapRole::Rule>& rules) {
    json::array out;
    for (const auto& rule : rules) {
      json::object one{{"verbs", text_list(rule.verbs)}};
      if (rule.has_groups) one["apiGroups"] = rule.groups.empty() ? json::array{json::value("")} : text_list(rule.groups);
      if (!rule.resources.empty()) one["resources"] = text_list(rule.resources);
      if (!rule.names.empty()) one["resourceNames"] = text_list(rule.names);
      if (!rule.urls.empty()) one["nonResourceURLs"] = text_list(rule.urls);
      out.push_back(std::move(one));
    }
    return out;
  }

  static json::object head(std::string_view kind, std::string_view labels) {
    json::object object{{"apiVersion", "rbac.authorization.k8s.io/v1"}, {"kind", json::key(kind)}};
    json::object& metadata = json::ensure_object(object, "metadata");
    metadata["labels"] = json::object{{"kubernetes.io/bootstrapping", "rbac-defaults"}};
    for (std::string_view pair : split(labels, ',')) {
      size_t equal = pair.find('=');
      if (equal != std::string_view::npos) metadata["labels"].get_object()[json::key(pair.substr(0, equal))] = json::key(pair.substr(equal + 1));
    }
    metadata["annotations"] = json::object{{kAutoUpdate, "true"}};
    return object;
  }

  static std::string_view resource_of(std::string_view kind) {
    if (kind == "ClusterRole") return "clusterroles";
    if (kind == "Role") return "roles";
    return kind == "ClusterRoleBinding" ? "clusterrolebindings" : "rolebindings";
  }

  void add_role(const api::BootstrapRole& role) {
    json::object object = head(role.kind, role.labels);
    object["rules"] = rules_json(role.rules);
    if (!role.aggregation_labels.empty()) {
      json::array selectors;
      for (std::string_view pair : split(role.aggregation_labels, ',')) {
        size_t equal = pair.find('=');
        selectors.push_back(json::object{{"matchLabels", json::object{{json::key(pair.substr(0, equal)), json::key(pair.substr(equal + 1))}}}});
      }
      object["aggregationRule"] = json::object{{"clusterRoleSelectors", std::move(selectors)}};
    }
    add(kRbac, resource_of(role.kind), role.namespace_, role.name, std::move(object));
  }

  void add_binding(const api::BootstrapBinding& binding) {
    json::object object = head(binding.kind, {});
    json::array subjects;
    for (std::string_view subject : binding.subjects) {
      size_t colon = subject.find(':');
      std::string_view kind = subject.substr(0, colon), name = subject.substr(colon + 1);
      json::object one{{"kind", json::key(kind)}};
      if (kind == "ServiceAccount") {
        size_t slash = name.find('/');
        one["namespace"] = json::key(name.substr(0, slash));
        one["name"] = json::key(name.substr(slash + 1));
      } else {
        one["apiGroup"] = json::key(kRbac);
        one["name"] = json::key(name);
      }
      subjects.push_back(std::move(one));
    }
    object["roleRef"] = json::object{{"apiGroup", json::key(kRbac)}, {"kind", json::key(binding.role_kind)}, {"name", json::key(binding.role_name)}};
    object["subjects"] = std::move(subjects);
    add(kRbac, resource_of(binding.kind), binding.namespace_, binding.name, std::move(object));
  }

  void add_priority(std::string_view name, int64_t value, std::string_view description) {
    add("scheduling.k8s.io", "priorityclasses", "", name,
        json::object{{"apiVersion", "scheduling.k8s.io/v1"}, {"kind", "PriorityClass"}, {"value", value}, {"description", json::key(description)}});
  }

  void add_kubernetes_service() {
    json::object port{{"name", "https"}, {"protocol", "TCP"}, {"port", 443}, {"targetPort", options_.port}};
    json::object spec{{"clusterIP", engine_.core().services.first_address()}, {"type", "ClusterIP"}, {"ports", json::array{std::move(port)}}};
    json::object labels{{"component", "apiserver"}, {"provider", "kubernetes"}};
    add("", "services", "default", "kubernetes",
        json::object{{"apiVersion", "v1"}, {"kind", "Service"}, {"metadata", json::object{{"labels", std::move(labels)}}}, {"spec", std::move(spec)}});
    set_endpoints();
    set_endpoint_slice();
  }

  json::array endpoint_ports() const { return {json::object{{"name", "https"}, {"port", options_.port}, {"protocol", "TCP"}}}; }

  // The address may be another than at the last start.
  void set_endpoints() {
    json::array addresses{json::object{{"ip", options_.advertise_address}}};
    json::object subset{{"addresses", std::move(addresses)}, {"ports", endpoint_ports()}};
    json::object object{{"apiVersion", "v1"}, {"kind", "Endpoints"}};
    json::ensure_object(object, "metadata")["labels"] = json::object{{"endpointslice.kubernetes.io/skip-mirror", "true"}};
    object["subsets"] = json::array{std::move(subset)};
    replace("", "endpoints", "default", "kubernetes", std::move(object), "subsets");
  }

  void set_endpoint_slice() {
    json::object endpoint{{"addresses", json::array{json::value(options_.advertise_address)}}, {"conditions", json::object{{"ready", true}}}};
    json::object object{{"apiVersion", "discovery.k8s.io/v1"}, {"kind", "EndpointSlice"}, {"addressType", "IPv4"}};
    json::ensure_object(object, "metadata")["labels"] = json::object{{"kubernetes.io/service-name", "kubernetes"}};
    object["endpoints"] = json::array{std::move(endpoint)};
    object["ports"] = endpoint_ports();
    replace("discovery.k8s.io", "endpointslices", "default", "kubernetes", std::move(object), "endpoints");
  }

  void replace(std::string_view group, std::string_view resource, std::string_view ns, std::string_view name, json::object object, std::string_view member) {
    ObjectPtr old = engine_.core().get(group, resource, ns, name);
    if (!old) return add(group, resource, ns, name, std::move(object));
    if (!failure_) return;
    Call c = call(group, resource, ns, name);
    auto done = engine_.modify(c, [&](json::value& current) -> Result<void> {
      current.get_object()[json::key(member)] = object[json::key(member)];
      if (object.contains("ports")) current.get_object()["ports"] = object["ports"];
      return {};
    });
    if (!done) failure_ = fail(done.error());
  }

  void add_config_maps() {
    json::object data{{"client-ca-file", options_.ca_pem}};
    const RequestHeaderOptions& h = options_.request_header;
    if (!h.ca_pem.empty()) {
      data["requestheader-client-ca-file"] = h.ca_pem;
      data["requestheader-allowed-names"] = list_text(h.allowed_names);
      data["requestheader-username-headers"] = list_text(h.username_headers);
      data["requestheader-uid-headers"] = list_text(h.uid_headers);
      data["requestheader-group-headers"] = list_text(h.group_headers);
      data["requestheader-extra-headers-prefix"] = list_text(h.extra_prefixes);
    }
    replace("", "configmaps", "kube-system", "extension-apiserver-authentication", json::object{{"apiVersion", "v1"}, {"kind", "ConfigMap"}, {"data", std::move(data)}}, "data");
  }

  void add_api_services() {
    for (const LocalApiService& local : local_api_services()) {
      json::object spec{{"version", local.version}, {"groupPriorityMinimum", local.group_priority}, {"versionPriority", local.version_priority}};
      if (!local.group.empty()) spec["group"] = local.group;
      json::object metadata{{"labels", json::object{{"kube-aggregator.kubernetes.io/automanaged", "onstart"}}}};
      add("apiregistration.k8s.io", "apiservices", "", local.name(),
          json::object{{"apiVersion", "apiregistration.k8s.io/v1"}, {"kind", "APIService"}, {"metadata", std::move(metadata)}, {"spec", std::move(spec)}});
    }
  }

  Engine& engine_;
  const BootstrapOptions& options_;
  Result<void> failure_;
};

}  // namespace

Result<void> bootstrap(Engine& engine, const BootstrapOptions& options) { return Bootstrapper(engine, options).run(); }

}  // namespace kcube::apiserver
