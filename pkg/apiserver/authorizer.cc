#include "pkg/apiserver/authorizer.h"

#include <algorithm>

#include "pkg/apiserver/authorization/webhook_authorizer.h"
#include "pkg/api/scan.h"

namespace kcube::apiserver {
namespace {

constexpr std::string_view kRbac = "rbac.authorization.k8s.io";
constexpr std::string_view kWatched[] = {"roles", "rolebindings", "clusterroles", "clusterrolebindings"};
constexpr std::string_view kNodePrefix = "system:node:";

std::vector<std::string> strings(const json::value* list) {
  std::vector<std::string> out;
  for (const json::value& v : json::get_array(list)) out.emplace_back(json::get_string(&v));
  return out;
}

// The index key of a binding's subject; empty for what cannot be a subject.
std::string subject_key(const json::value& subject, std::string_view binding_ns) {
  std::string_view kind = json::get_string(subject, {"kind"}), name = json::get_string(subject, {"name"});
  if (kind == "User") return "u:" + std::string(name);
  if (kind == "Group") return "g:" + std::string(name);
  if (kind != "ServiceAccount") return {};
  std::string_view ns = json::get_string(subject, {"namespace"});
  if (ns.empty()) ns = binding_ns;
  return "u:system:serviceaccount:" + std::string(ns) + ":" + std::string(name);
}

// As reasons have it: `User "jane"`, `ServiceAccount "default/prod"` with the name first.
std::string subject_text(const json::value& subject, std::string_view binding_ns) {
  std::string kind(json::get_string(subject, {"kind"})), name(json::get_string(subject, {"name"}));
  std::string_view ns = json::get_string(subject, {"namespace"});
  if (kind == "ServiceAccount") name += "/" + std::string(ns.empty() ? binding_ns : ns);
  return kind + " \"" + name + "\"";
}

}  // namespace

std::vector<auth::PolicyRule> read_rules(const json::value* rules) {
  std::vector<auth::PolicyRule> out;
  for (const json::value& r : json::get_array(rules)) {
    out.push_back({strings(json::find(&r, "verbs")), strings(json::find(&r, "apiGroups")), strings(json::find(&r, "resources")),
                   strings(json::find(&r, "resourceNames")), strings(json::find(&r, "nonResourceURLs"))});
  }
  return out;
}

Authorizer::Rules Authorizer::role_rules(std::string_view ns, std::string_view kind, std::string_view name) const {
  bool cluster = kind == "ClusterRole";
  ObjectPtr role = cache_.find(kRbac, cluster ? "clusterroles" : "roles")->get(cluster ? "" : ns, name);
  if (!role) return nullptr;
  return std::make_shared<const std::vector<auth::PolicyRule>>(read_rules(json::find(&role->value(), "rules")));
}

void Authorizer::add_bindings(Index& index, std::string_view resource, bool cluster) const {
  std::unordered_map<std::string, Rules> known;
  for (SnapshotPtr all = cache_.find(kRbac, resource)->snapshot(); const ObjectPtr& binding : all->objects) {
    const json::value& b = binding->value();
    std::string_view kind = json::get_string(b, {"roleRef", "kind"}), name = json::get_string(b, {"roleRef", "name"});
    std::string key = std::string(kind) + "/" + (kind == "Role" ? std::string(binding->namespace_()) : "") + "/" + std::string(name);
    auto [it, fresh] = known.try_emplace(key);
    if (fresh) it->second = role_rules(binding->namespace_(), kind, name);
    if (!it->second) continue;
    for (const json::value& subject : json::get_array(json::find(&b, "subjects"))) {
      std::string who = subject_key(subject, binding->namespace_());
      if (!who.empty()) index.by_subject[who].push_back({cluster ? "" : std::string(binding->namespace_()), it->second, binding->key(), std::string(kind) + " \"" + std::string(name) + "\"", subject_text(subject, binding->namespace_())});
    }
  }
}

std::shared_ptr<const Authorizer::Index> Authorizer::index() const {
  std::lock_guard lock(mutex_);
  uint64_t revisions[4];
  for (size_t i = 0; i < 4; ++i) revisions[i] = cache_.find(kRbac, kWatched[i])->changed();
  if (index_ && std::ranges::equal(revisions, index_->revisions)) return index_;
  auto made = std::make_shared<Index>();
  std::ranges::copy(revisions, made->revisions);
  add_bindings(*made, "clusterrolebindings", true);
  add_bindings(*made, "rolebindings", false);
  index_ = made;
  return index_;
}

template <typename Visit>
void Authorizer::each_grant(const auth::User& user, std::string_view ns, const Visit& visit) const {
  auto current = index();
  auto look = [&](const std::string& key) {
    auto it = current->by_subject.find(key);
    if (it == current->by_subject.end()) return false;
    for (const Grant& grant : it->second)
      if ((grant.ns.empty() || grant.ns == ns) && visit(grant)) return true;
    return false;
  };
  if (look("u:" + user.name)) return;
  for (const std::string& group : user.groups)
    if (look("g:" + group)) return;
}

Authorizer::Authorizer(const Cache& cache) : cache_(cache) {
  chain_ = {[this](const auth::Attributes& a) { return decide_node(a); }, [this](const auth::Attributes& a) { return decide_rbac(a); }};
}

Authorizer::~Authorizer() = default;

void Authorizer::configure(const std::vector<AuthorizerConfig>& chain, Clock& clock) {
  if (chain.empty()) return;
  chain_.clear();
  for (const AuthorizerConfig& config : chain) {
    if (config.type == "Node") chain_.push_back([this](const auth::Attributes& a) { return decide_node(a); });
    if (config.type == "RBAC") chain_.push_back([this](const auth::Attributes& a) { return decide_rbac(a); });
    if (config.type == "AlwaysAllow") chain_.push_back([](const auth::Attributes&) { return Decision{true, false, ""}; });
    if (config.type == "AlwaysDeny") chain_.push_back([](const auth::Attributes&) { return Decision{false, false, "Everything is forbidden."}; });
    if (config.type == "ABAC")
      chain_.push_back([policy = config.abac](const auth::Attributes& a) { return policy->allows(a) ? Decision{true, false, ""} : Decision{false, false, "No policy matched."}; });
    if (config.type == "Webhook") {
      webhooks_.push_back(std::make_unique<WebhookAuthorizer>(config, clock));
      chain_.push_back([hook = webhooks_.back().get()](const auth::Attributes& a) { return hook->decide(a); });
    }
  }
}

Authorizer::Decision Authorizer::decide(const auth::Attributes& a) const {
  if (a.user.in_group("system:masters")) return {true, false, ""};
  Decision decision;
  for (const Link& link : chain_) {
    Decision one = link(a);
    if (one.allowed || one.denied) return one;
    if (!one.reason.empty()) decision.reason += (decision.reason.empty() ? "" : ", ") + one.reason;
  }
  return decision;
}

std::string Authorizer::unresolved(const auth::User& user) const {
  std::string text = user.in_group("system:nodes") && user.name.starts_with(kNodePrefix) ? "node authorizer does not support user rule resolution" : "";
  if (webhooks_.empty()) return text;
  return text + (text.empty() ? "" : ", ") + "webhook authorizer does not support user rule resolution";
}

Authorizer::Decision Authorizer::decide_node(const auth::Attributes& a) const {
  Decision decision;
  if (a.user.in_group("system:nodes") && a.user.name.starts_with(kNodePrefix))
    decision.allowed = node_may(a, std::string_view(a.user.name).substr(kNodePrefix.size()), decision.reason);
  if (decision.allowed) decision.reason.clear();
  return decision;
}

Authorizer::Decision Authorizer::decide_rbac(const auth::Attributes& a) const {
  Decision decision;
  each_grant(a.user, a.namespace_, [&](const Grant& grant) {
    for (const auth::PolicyRule& rule : *grant.rules) {
      if (!auth::rule_allows(rule, a)) continue;
      decision.allowed = true;
      decision.reason = std::string("RBAC: allowed by ") + (grant.ns.empty() ? "ClusterRoleBinding" : "RoleBinding") + " \"" + grant.binding + "\" of " + grant.role + " to " + grant.subject;
      return true;
    }
    return false;
  });
  return decision;
}

std::vector<auth::PolicyRule> Authorizer::rules_of(const auth::User& user, std::string_view ns) const {
  std::vector<auth::PolicyRule> rules;
  each_grant(user, ns, [&](const Grant& grant) {
    rules.insert(rules.end(), grant.rules->begin(), grant.rules->end());
    return false;
  });
  return rules;
}

// --- Nodes ------------------------------------------------------------------------------------------------------------

// True when a pod bound to `node` names the object: only then may its kubelet read it.
bool Authorizer::pod_of_node_uses(std::string_view node, std::string_view resource, std::string_view ns, std::string_view name) const {
  auto names = [&](const json::value* v) { return json::get_string(v) == name; };
  auto in_env = [&](const json::value& spec, std::string_view from, std::string_view ref) {
    for (std::string_view list : {"containers", "initContainers", "ephemeralContainers"}) {
      for (const json::value& c : json::get_array(json::find(&spec, list))) {
        for (const json::value& e : json::get_array(json::find(&c, "envFrom")))
          if (names(json::at(&e, {from, "name"}))) return true;
        for (const json::value& e : json::get_array(json::find(&c, "env")))
          if (names(json::at(&e, {"valueFrom", ref, "name"}))) return true;
      }
    }
    return false;
  };
  auto in_volumes = [&](const json::value& spec, std::string_view source, std::string_view member) {
    for (const json::value& v : json::get_array(json::find(&spec, "volumes"))) {
      if (names(json::at(&v, {source, member}))) return true;
      for (const json::value& s : json::get_array(json::at(&v, {"projected", "sources"})))
        if (names(json::at(&s, {source, "name"}))) return true;
    }
    return false;
  };
  for (SnapshotPtr all = cache_.find("", "pods")->snapshot(); const ObjectPtr& pod : all->objects) {
    if (!ns.empty() && pod->namespace_() != ns) continue;
    if (api::scalar_text(api::scan_path(pod->bytes(), {"spec", "nodeName"})) != node) continue;
    const json::value* spec = json::find(&pod->value(), "spec");
    if (spec == nullptr) continue;
    if (resource == "pods" && pod->name() == name) return true;
    if (resource == "configmaps" && (in_env(*spec, "configMapRef", "configMapKeyRef") || in_volumes(*spec, "configMap", "name"))) return true;
    if (resource == "secrets") {
      if (in_env(*spec, "secretRef", "secretKeyRef") || in_volumes(*spec, "secret", "secretName")) return true;
      for (const json::value& s : json::get_array(json::find(spec, "imagePullSecrets")))
        if (names(json::find(&s, "name"))) return true;
    }
    if (resource == "serviceaccounts" && json::get_string(json::find(spec, "serviceAccountName")) == name) return true;
    if (resource == "persistentvolumeclaims" && in_volumes(*spec, "persistentVolumeClaim", "claimName")) return true;
    if (resource == "persistentvolumes") {
      for (const json::value& v : json::get_array(json::find(spec, "volumes"))) {
        ObjectPtr claim = cache_.find("", "persistentvolumeclaims")->get(pod->namespace_(), json::get_string(v, {"persistentVolumeClaim", "claimName"}));
        if (claim && json::get_string(claim->value(), {"spec", "volumeName"}) == name) return true;
      }
    }
  }
  return false;
}

// What the graph decides; the rest a node may do is in the ClusterRole system:node, bound here to the group.
bool Authorizer::node_may(const auth::Attributes& a, std::string_view node, std::string& reason) const {
  constexpr std::string_view kGraph[] = {"configmaps", "secrets", "persistentvolumeclaims", "persistentvolumes"};
  bool read_one = a.verb == "get" || ((a.verb == "list" || a.verb == "watch") && !a.name.empty());
  if (a.resource_request && a.api_group.empty() && std::ranges::find(kGraph, a.resource) != std::end(kGraph) && a.subresource.empty()) {
    if (read_one && pod_of_node_uses(node, a.resource, a.namespace_, a.name)) return true;
    reason = "no relationship found between node '" + std::string(node) + "' and this object";
    return false;
  }
  if (a.resource_request && a.api_group.empty() && a.resource == "serviceaccounts" && a.subresource == "token")
    return a.verb == "create" && pod_of_node_uses(node, "serviceaccounts", a.namespace_, a.name);
  if (a.resource_request && a.api_group == "coordination.k8s.io" && a.resource == "leases")
    return a.namespace_ == "kube-node-lease" && (a.name == node || a.verb == "create");
  Rules rules = role_rules("", "ClusterRole", "system:node");
  if (!rules) return false;
  return std::ranges::any_of(*rules, [&](const auth::PolicyRule& rule) {
    // What the graph rules is not given by the role.
    return auth::rule_allows(rule, a);
  });
}

}  // namespace kcube::apiserver
