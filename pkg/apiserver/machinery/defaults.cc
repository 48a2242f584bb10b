#include "pkg/apiserver/machinery/defaults.h"

#include <algorithm>
#include <mutex>
#include <unordered_map>

#include "pkg/api/quantity.h"
#include "pkg/base/strings.h"

namespace kcube::machinery {
namespace {

using api::Field;
using api::FieldKind;
using api::Shape;
using api::Type;

// The schema's default texts, parsed once.
const json::value& parsed_default(std::string_view text) {
  static std::mutex mutex;
  static auto* cache = new std::unordered_map<const char*, json::value>();
  std::lock_guard lock(mutex);
  auto it = cache->find(text.data());
  if (it == cache->end()) {
    auto value = json::parse(text);
    KCUBE_CHECK(value.has_value());
    it = cache->emplace(text.data(), std::move(*value)).first;
  }
  return it->second;
}

// Types with at least one default on the way down, so that the others are skipped.
void apply_static(json::value& value, const Type& type);

void apply_static_to_member(json::value& value, const Field& field) {
  switch (field.shape) {
    case Shape::single: apply_static(value, *field.type); break;
    case Shape::list:
      if (value.is_array())
        for (json::value& item : value.get_array()) apply_static(item, *field.type);
      break;
    case Shape::map:
      if (value.is_object())
        for (auto& m : value.get_object()) apply_static(m.value(), *field.type);
      break;
    case Shape::map_of_list: break;
  }
}

void apply_static(json::value& value, const Type& type) {
  if (!value.is_object()) return;
  json::object& object = value.get_object();
  for (const Field& field : type.fields) {
    json::value* member = object.if_contains(json::key(field.name));
    if (member == nullptr) {
      // Every kind has metadata; the rest of a required-but-absent string is for validation to refuse.
      if (field.default_json.empty() || (field.shape != Shape::single && field.default_json != "null")) continue;
      member = &object[json::key(field.name)];
      *member = parsed_default(field.default_json);
    } else if (!field.default_json.empty() && member->is_string() && member->get_string().empty()) {
      // To Go an empty text is an absent one.
      *member = parsed_default(field.default_json);
    }
    if (field.kind == FieldKind::message) apply_static_to_member(*member, field);
  }
}

bool absent(const json::object& o, std::string_view name) { return !o.contains(json::key(name)); }

void set_if_absent(json::object& o, std::string_view name, json::value v) {
  if (absent(o, name)) o[json::key(name)] = std::move(v);
}

json::object* child(json::object& o, std::string_view name) {
  json::value* v = o.if_contains(json::key(name));
  return v != nullptr && v->is_object() ? &v->get_object() : nullptr;
}

json::array* children(json::object& o, std::string_view name) {
  json::value* v = o.if_contains(json::key(name));
  return v != nullptr && v->is_array() ? &v->get_array() : nullptr;
}

std::string_view text(json::object& o, std::string_view name) {
  return json::get_string(o.if_contains(json::key(name)));
}

// "latest" or no tag is pulled always; a digest or another tag only when it is missing.
std::string_view pull_policy(std::string_view image) {
  if (image.find('@') != std::string_view::npos) return "IfNotPresent";
  size_t slash = image.rfind('/'), colon = image.rfind(':');
  if (colon == std::string_view::npos || (slash != std::string_view::npos && colon < slash)) return "Always";
  return image.substr(colon + 1) == "latest" ? "Always" : "IfNotPresent";
}

void default_container(json::object& c, bool in_pod) {
  if (text(c, "imagePullPolicy").empty()) c["imagePullPolicy"] = json::key(pull_policy(text(c, "image")));
  for (std::string_view probe : {"livenessProbe", "readinessProbe", "startupProbe"}) {
    json::object* p = child(c, probe);
    if (p == nullptr) continue;
    for (std::string_view zero_means_default :
         {"timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"}) {
      json::value* v = p->if_contains(json::key(zero_means_default));
      if (v != nullptr && json::get_int(v) == 0)
        *v = zero_means_default == "periodSeconds" ? 10 : zero_means_default == "failureThreshold" ? 3 : 1;
    }
  }
  // Limits without requests: the request is the limit. Pods only; templates keep what was written.
  json::object* resources = child(c, "resources");
  if (!in_pod || resources == nullptr) return;
  json::object* limits = child(*resources, "limits");
  if (limits == nullptr) return;
  json::object& requests = json::ensure_object(*resources, "requests");
  limits = child(*resources, "limits");
  for (const auto& limit : *limits)
    if (!requests.contains(limit.key())) requests[limit.key()] = limit.value();
}

void default_pod_spec(json::object& spec, bool in_pod) {
  for (std::string_view list : {"containers", "initContainers", "ephemeralContainers"})
    if (json::array* items = children(spec, list))
      for (json::value& c : *items)
        if (c.is_object()) default_container(c.get_object(), in_pod && list != "ephemeralContainers");
  bool host_network = json::get_bool(spec.if_contains("hostNetwork"));
  if (host_network) {
    for (std::string_view list : {"containers", "initContainers"})
      if (json::array* items = children(spec, list))
        for (json::value& c : *items)
          if (c.is_object())
            if (json::array* ports = children(c.get_object(), "ports"))
              for (json::value& p : *ports)
                if (p.is_object())
                  set_if_absent(p.get_object(), "hostPort", json::get_int(json::find(&p, "containerPort")));
  }
  if (in_pod) set_if_absent(spec, "enableServiceLinks", true);
  // The old and the new name of the service account always agree.
  if (absent(spec, "serviceAccountName") && !absent(spec, "serviceAccount"))
    spec["serviceAccountName"] = spec["serviceAccount"];
  if (!absent(spec, "serviceAccountName")) {
    json::value name = spec["serviceAccountName"];
    spec["serviceAccount"] = name;
  }
  if (json::array* volumes = children(spec, "volumes"))
    for (json::value& v : *volumes) {
      if (!v.is_object()) continue;
      if (v.get_object().size() == 1) v.get_object()["emptyDir"] = json::object();
      json::object* image = child(v.get_object(), "image");
      if (image == nullptr || !text(*image, "pullPolicy").empty()) continue;
      std::string_view reference = text(*image, "reference");
      (*image)["pullPolicy"] = json::key(reference.empty() ? std::string_view("IfNotPresent") : pull_policy(reference));
    }
}

// Limits of the whole pod: what it requests is what its containers do, else the limit.
void default_pod_resources(json::object& spec) {
  json::object* resources = child(spec, "resources");
  json::object* limits = resources == nullptr ? nullptr : child(*resources, "limits");
  if (limits == nullptr) return;
  json::object requests;
  for (const auto& limit : *limits) {
    if (limit.key() != "cpu" && limit.key() != "memory" && !limit.key().starts_with("hugepages-")) continue;
    api::Quantity sum;
    for (const json::value& c : json::get_array(spec.if_contains("containers")))
      sum += api::Quantity::from_json(json::at(&c, {"resources", "requests", json::view(limit.key())}));
    requests[limit.key()] = sum.zero() ? limit.value() : json::value(sum.to_string());
  }
  json::object& asked = json::ensure_object(*resources, "requests");
  for (const auto& m : requests)
    if (!asked.contains(m.key())) asked[m.key()] = m.value();
}

std::string qos_class(const json::object& spec) {
  bool any = false, guaranteed = true;
  for (std::string_view list : {"containers", "initContainers"}) {
    const json::value* items = spec.if_contains(json::key(list));
    for (const json::value& c : json::get_array(items)) {
      const json::value* limits = json::at(&c, {"resources", "limits"});
      const json::value* requests = json::at(&c, {"resources", "requests"});
      for (std::string_view resource : {"cpu", "memory"}) {
        auto limit = api::Quantity::from_json(json::find(limits, resource));
        auto request = api::Quantity::from_json(json::find(requests, resource));
        any = any || !limit.zero() || !request.zero();
        guaranteed = guaranteed && !limit.zero() && limit == request;
      }
    }
  }
  return !any ? "BestEffort" : guaranteed ? "Guaranteed" : "Burstable";
}

void default_pod(json::object& pod) {
  json::object* spec = child(pod, "spec");
  if (spec == nullptr) return;
  default_pod_spec(*spec, true);
  default_pod_resources(*spec);
  json::object& status = json::ensure_object(pod, "status");
  set_if_absent(status, "qosClass", json::key(qos_class(*child(pod, "spec"))));
}

void default_template(json::object& object) {
  json::object* spec = child(object, "spec");
  json::object* pod_template = spec == nullptr ? nullptr : child(*spec, "template");
  json::object* pod_spec = pod_template == nullptr ? nullptr : child(*pod_template, "spec");
  if (pod_spec != nullptr) default_pod_spec(*pod_spec, false);
}

void default_service(json::object& service) {
  json::object* spec = child(service, "spec");
  if (spec == nullptr) return;
  std::string type(text(*spec, "type"));
  if (json::array* ports = children(*spec, "ports")) {
    for (json::value& p : *ports) {
      if (!p.is_object()) continue;
      json::object& port = p.get_object();
      json::value* target = port.if_contains("targetPort");
      bool unset = target == nullptr || (target->is_int64() && target->get_int64() == 0) ||
                   (target->is_string() && target->get_string().empty());
      if (unset) port["targetPort"] = json::get_int(port.if_contains("port"));
    }
  }
  if (text(*spec, "sessionAffinity") == "None") spec->erase("sessionAffinityConfig");
  if (text(*spec, "sessionAffinity") == "ClientIP") {
    json::object& client = json::ensure_object(json::ensure_object(*spec, "sessionAffinityConfig"), "clientIP");
    set_if_absent(client, "timeoutSeconds", 10800);
  }
  if (type == "ExternalName") return;
  set_if_absent(*spec, "internalTrafficPolicy", "Cluster");
  bool external =
      type == "NodePort" || type == "LoadBalancer" || !json::get_array(spec->if_contains("externalIPs")).empty();
  if (external) set_if_absent(*spec, "externalTrafficPolicy", "Cluster");
  if (type == "LoadBalancer") set_if_absent(*spec, "allocateLoadBalancerNodePorts", true);
}

void default_deployment(json::object& object) {
  default_template(object);
  json::object* spec = child(object, "spec");
  json::object* strategy = spec == nullptr ? nullptr : child(*spec, "strategy");
  if (strategy == nullptr || text(*strategy, "type") != "RollingUpdate") return;
  json::object& rolling = json::ensure_object(*strategy, "rollingUpdate");
  set_if_absent(rolling, "maxUnavailable", "25%");
  set_if_absent(rolling, "maxSurge", "25%");
}

void default_daemon_set(json::object& object) {
  default_template(object);
  json::object* spec = child(object, "spec");
  json::object* strategy = spec == nullptr ? nullptr : child(*spec, "updateStrategy");
  if (strategy == nullptr || text(*strategy, "type") != "RollingUpdate") return;
  json::object& rolling = json::ensure_object(*strategy, "rollingUpdate");
  set_if_absent(rolling, "maxUnavailable", 1);
  set_if_absent(rolling, "maxSurge", 0);
}

void default_stateful_set(json::object& object) {
  default_template(object);
  json::object* spec = child(object, "spec");
  if (spec == nullptr) return;
  json::object* strategy = child(*spec, "updateStrategy");
  if (strategy != nullptr && text(*strategy, "type") == "RollingUpdate") {
    json::object& rolling = json::ensure_object(*strategy, "rollingUpdate");
    set_if_absent(rolling, "partition", 0);
  }
  if (json::array* claims = children(*spec, "volumeClaimTemplates")) {
    for (json::value& claim : *claims) {
      if (!claim.is_object()) continue;
      // Whatever was sent: nothing else can be made of them.
      claim.get_object()["kind"] = "PersistentVolumeClaim";
      claim.get_object()["apiVersion"] = "v1";
      set_if_absent(json::ensure_object(claim.get_object(), "status"), "phase", "Pending");
    }
  }
}

// ReplicationController: selector and labels come from the template.
void default_replication_controller(json::object& object) {
  default_template(object);
  json::object* spec = child(object, "spec");
  if (spec == nullptr) return;
  if (json::get_int(spec->if_contains("minReadySeconds")) == 0) spec->erase("minReadySeconds");
  const json::value* labels = json::at(spec->if_contains("template"), {"metadata", "labels"});
  if (labels == nullptr || !labels->is_object()) return;
  json::value copy = *labels;
  if (json::get_object(spec->if_contains("selector")).empty()) (*spec)["selector"] = copy;
  json::object& metadata = json::ensure_object(object, "metadata");
  if (json::get_object(metadata.if_contains("labels")).empty()) metadata["labels"] = copy;
}

void default_job_spec(json::object& spec) {
  bool has_completions = !absent(spec, "completions"), has_parallelism = !absent(spec, "parallelism");
  if (!has_completions && !has_parallelism) {
    spec["completions"] = 1;
    spec["parallelism"] = 1;
  } else if (!has_parallelism) {
    spec["parallelism"] = 1;
  }
  bool indexed_limit = !absent(spec, "backoffLimitPerIndex");
  set_if_absent(spec, "backoffLimit", indexed_limit ? 2147483647 : 6);
  if (child(spec, "podFailurePolicy") != nullptr) spec["podReplacementPolicy"] = "Failed";
}

void default_job(json::object& object) {
  default_template(object);
  json::object* spec = child(object, "spec");
  if (spec == nullptr) return;
  default_job_spec(*spec);
  // A job's labels default to its template's.
  const json::value* labels = json::at(spec->if_contains("template"), {"metadata", "labels"});
  json::object& metadata = json::ensure_object(object, "metadata");
  if (json::get_object(metadata.if_contains("labels")).empty() && !json::get_object(labels).empty())
    metadata["labels"] = *labels;
}

void default_cron_job(json::object& object) {
  json::object* spec = child(object, "spec");
  json::object* job = spec == nullptr ? nullptr : child(*spec, "jobTemplate");
  json::object* job_spec = job == nullptr ? nullptr : child(*job, "spec");
  if (job_spec == nullptr) return;
  json::object* pod_template = child(*job_spec, "template");
  json::object* pod_spec = pod_template == nullptr ? nullptr : child(*pod_template, "spec");
  if (pod_spec != nullptr) default_pod_spec(*pod_spec, false);
  // What a job gets when it is made stays out of the template.
  for (const char* name : {"completionMode", "suspend", "manualSelector", "podReplacementPolicy"})
    if (json::value* v = job_spec->if_contains(name); v != nullptr && (v->is_bool() ? !v->get_bool() : true))
      job_spec->erase(name);
}

void default_namespace(json::object& object) {
  set_if_absent(json::ensure_object(object, "status"), "phase", "Active");
  json::object& metadata = json::ensure_object(object, "metadata");
  std::string name(text(metadata, "name"));
  if (!name.empty()) json::ensure_object(metadata, "labels")["kubernetes.io/metadata.name"] = json::key(name);
}

void default_rbac_binding(json::object& object) {
  json::object* role = child(object, "roleRef");
  if (role != nullptr && text(*role, "apiGroup").empty()) (*role)["apiGroup"] = "rbac.authorization.k8s.io";
  if (json::array* subjects = children(object, "subjects")) {
    for (json::value& s : *subjects) {
      if (!s.is_object()) continue;
      json::object& subject = s.get_object();
      std::string_view kind = text(subject, "kind");
      if ((kind == "User" || kind == "Group") && text(subject, "apiGroup").empty())
        subject["apiGroup"] = "rbac.authorization.k8s.io";
    }
  }
}

// Both directions only where there are rules for what leaves.
void default_network_policy(json::object& object) {
  json::object* spec = child(object, "spec");
  if (spec == nullptr || !json::get_array(spec->if_contains("policyTypes")).empty()) return;
  json::array types{"Ingress"};
  if (!json::get_array(spec->if_contains("egress")).empty()) types.emplace_back("Egress");
  (*spec)["policyTypes"] = std::move(types);
}

void default_csi_driver(json::object& object) {
  json::object* spec = child(object, "spec");
  if (spec != nullptr && json::get_array(spec->if_contains("volumeLifecycleModes")).empty()) (*spec)["volumeLifecycleModes"] = json::array{"Persistent"};
}

void default_endpoint_slice(json::object& object) {
  if (json::array* ports = children(object, "ports")) {
    for (json::value& p : *ports) {
      if (!p.is_object()) continue;
      set_if_absent(p.get_object(), "name", "");
      set_if_absent(p.get_object(), "protocol", "TCP");
    }
  }
}

void default_volume(json::object& object, const char* phase) {
  set_if_absent(json::ensure_object(object, "status"), "phase", json::value(phase));
}

// A claim's source stands in two members that agree. The older of them knows claims and snapshots only.
void default_claim(json::object& object) {
  default_volume(object, "Pending");
  json::object* spec = child(object, "spec");
  if (spec == nullptr) return;
  if (json::object* source = child(*spec, "dataSource")) {
    std::string_view group = text(*source, "apiGroup"), kind = text(*source, "kind");
    bool known = (group.empty() && kind == "PersistentVolumeClaim") ||
                 (group == "snapshot.storage.k8s.io" && kind == "VolumeSnapshot");
    if (!known) spec->erase("dataSource");
  }
  json::object *source = child(*spec, "dataSource"), *ref = child(*spec, "dataSourceRef");
  if (source != nullptr && ref == nullptr) {
    json::value copy(*source);
    (*spec)["dataSourceRef"] = std::move(copy);
  } else if (source == nullptr && ref != nullptr && text(*ref, "namespace").empty()) {
    json::object copy(*ref);
    copy.erase("namespace");
    (*spec)["dataSource"] = std::move(copy);
  }
}

// One device, where nothing else is said.
void default_device_request(json::object& wanted) {
  set_if_absent(wanted, "allocationMode", "ExactCount");
  if (text(wanted, "allocationMode") == "ExactCount" && json::get_int(wanted.if_contains("count")) == 0)
    wanted["count"] = 1;
}

void default_devices(json::object* claim_spec) {
  json::object* devices = claim_spec == nullptr ? nullptr : child(*claim_spec, "devices");
  json::array* requests = devices == nullptr ? nullptr : children(*devices, "requests");
  if (requests == nullptr) return;
  for (json::value& r : *requests) {
    if (!r.is_object()) continue;
    if (json::object* exactly = child(r.get_object(), "exactly")) default_device_request(*exactly);
    if (json::array* first = children(r.get_object(), "firstAvailable"))
      for (json::value& one : *first)
        if (one.is_object()) default_device_request(one.get_object());
  }
}

void default_limit_range(json::object& object) {
  json::object* spec = child(object, "spec");
  json::array* limits = spec == nullptr ? nullptr : children(*spec, "limits");
  if (limits == nullptr) return;
  auto copy_missing = [](json::object& to, const json::object* from) {
    if (from == nullptr) return;
    for (const auto& m : *from)
      if (!to.contains(m.key())) to[m.key()] = m.value();
  };
  for (json::value& item : *limits) {
    if (!item.is_object() || json::get_string(item, {"type"}) != "Container") continue;
    json::object& limit = item.get_object();
    // default <- max, defaultRequest <- default, then min. A new member may move the others, so both are made first.
    for (const char* name : {"default", "defaultRequest"}) json::ensure_object(limit, name);
    copy_missing(*child(limit, "default"), child(limit, "max"));
    copy_missing(*child(limit, "defaultRequest"), child(limit, "default"));
    copy_missing(*child(limit, "defaultRequest"), child(limit, "min"));
    for (const char* name : {"default", "defaultRequest"})
      if (child(limit, name)->empty()) limit.erase(name);
  }
}

void default_custom_resource_definition(json::object& object) {
  json::object* spec = child(object, "spec");
  json::object* names = spec == nullptr ? nullptr : child(*spec, "names");
  if (names == nullptr) return;
  std::string kind(json::get_string(names->if_contains("kind")));
  if (kind.empty()) return;
  if (json::get_string(names->if_contains("listKind")).empty()) (*names)["listKind"] = json::key(kind + "List");
  if (json::get_string(names->if_contains("singular")).empty()) (*names)["singular"] = json::key(to_lower(kind));
}

using Defaulter = void (*)(json::object&);
struct Entry {
  std::string_view group, kind;
  Defaulter apply;
};
constexpr Entry kDefaulters[] = {
    {"networking.k8s.io", "NetworkPolicy", default_network_policy},
    {"storage.k8s.io", "CSIDriver", default_csi_driver},
    {"", "Pod", default_pod},
    {"", "PodTemplate",
     [](json::object& o) {
       json::object* t = child(o, "template");
       if (json::object* s = t == nullptr ? nullptr : child(*t, "spec")) default_pod_spec(*s, false);
     }},
    {"", "Service", default_service},
    {"", "Namespace", default_namespace},
    {"", "Node",
     [](json::object& o) {
       json::object* spec = child(o, "spec");
       if (spec != nullptr && spec->contains("taints") && json::get_array(spec->if_contains("taints")).empty()) spec->erase("taints");
     }},
    {"", "ReplicationController", default_replication_controller},
    {"", "PersistentVolume", [](json::object& o) { default_volume(o, "Pending"); }},
    {"", "PersistentVolumeClaim", default_claim},
    {"", "LimitRange", default_limit_range},
    {"apps", "Deployment", default_deployment},
    {"apps", "ReplicaSet", default_template},
    {"apps", "StatefulSet", default_stateful_set},
    {"apps", "DaemonSet", default_daemon_set},
    {"batch", "Job", default_job},
    {"batch", "CronJob", default_cron_job},
    {"rbac.authorization.k8s.io", "RoleBinding", default_rbac_binding},
    {"rbac.authorization.k8s.io", "ClusterRoleBinding", default_rbac_binding},
    {"discovery.k8s.io", "EndpointSlice", default_endpoint_slice},
    {"resource.k8s.io", "ResourceClaim", [](json::object& o) { default_devices(child(o, "spec")); }},
    {"resource.k8s.io", "ResourceClaimTemplate",
     [](json::object& o) {
       json::object* spec = child(o, "spec");
       default_devices(spec == nullptr ? nullptr : child(*spec, "spec"));
     }},
    {"apiextensions.k8s.io", "CustomResourceDefinition", default_custom_resource_definition},
    {"networking.k8s.io", "IngressClass",
     [](json::object& o) {
       json::object* spec = child(o, "spec");
       json::object* parameters = spec == nullptr ? nullptr : child(*spec, "parameters");
       if (parameters != nullptr) set_if_absent(*parameters, "scope", "Cluster");
     }},
};

// Go writes no empty map or list of metadata: what a patch takes the last label from has none.
void drop_empty(json::object& metadata) {
  for (const char* member : {"labels", "annotations"})
    if (const json::value* v = metadata.if_contains(member); v != nullptr && v->is_object() && v->get_object().empty()) metadata.erase(member);
  for (const char* member : {"finalizers", "ownerReferences", "managedFields"})
    if (const json::value* v = metadata.if_contains(member); v != nullptr && v->is_array() && v->get_array().empty()) metadata.erase(member);
}

}  // namespace

void apply_defaults(const api::ResourceInfo& resource, json::value& object) {
  if (!object.is_object()) return;
  drop_empty(json::ensure_object(object.get_object(), "metadata"));
  if (resource.type == nullptr) return;
  apply_static(object, *resource.type);
  for (const Entry& entry : kDefaulters)
    if (entry.group == resource.kind_group && entry.kind == resource.kind) entry.apply(object.get_object());
}

}  // namespace kcube::machinery
