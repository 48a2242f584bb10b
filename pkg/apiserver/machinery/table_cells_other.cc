// Cells of the remaining groups.
#include <span>

#include "pkg/apiserver/machinery/table.h"
#include "pkg/apiserver/machinery/table_cells.h"
#include "pkg/base/strings.h"

namespace kcube::machinery {
namespace {

json::value text(const json::value& o, std::initializer_list<std::string_view> path, std::string_view absent = {}) {
  return text_cell(json::get_string(json::at(&o, path), absent));
}
json::value count(const json::value& o, std::initializer_list<std::string_view> path) {
  return static_cast<int64_t>(json::get_array(json::at(&o, path)).size());
}
json::value flag(const json::value& o, std::initializer_list<std::string_view> path) { return json::get_bool(json::at(&o, path)); }

std::string csr_condition(const json::value& o) {
  std::string out;
  bool approved = false, denied = false, failed = false;
  for (const json::value& c : json::get_array(json::at(&o, {"status", "conditions"}))) {
    std::string_view type = json::get_string(json::find(&c, "type"));
    approved = approved || type == "Approved";
    denied = denied || type == "Denied";
    failed = failed || type == "Failed";
  }
  out = denied ? "Denied" : approved ? "Approved" : "Pending";
  if (failed) out += ",Failed";
  if (!json::get_string(o, {"status", "certificate"}).empty()) out += ",Issued";
  return out;
}

std::string ingress_hosts(const json::value& o) {
  std::vector<std::string> hosts;
  size_t total = 0;
  for (const json::value& rule : json::get_array(json::at(&o, {"spec", "rules"}))) {
    std::string_view host = json::get_string(json::find(&rule, "host"));
    if (host.empty()) continue;
    if (++total <= 3) hosts.emplace_back(host);
  }
  if (total == 0) return "*";
  std::string out = join(hosts, ",");
  if (total > 3) out += " + " + std::to_string(total - 3) + " more...";
  return out;
}

std::string ingress_addresses(const json::value& o) {
  std::vector<std::string> out;
  for (const json::value& i : json::get_array(json::at(&o, {"status", "loadBalancer", "ingress"}))) {
    std::string_view ip = json::get_string(json::find(&i, "ip"));
    out.emplace_back(ip.empty() ? json::get_string(json::find(&i, "hostname")) : ip);
  }
  return join(out, ",");
}

std::string slice_ports(const json::value& o) {
  std::vector<std::string> out;
  for (const json::value& p : json::get_array(json::at(&o, {"ports"}))) {
    const json::value* port = json::find(&p, "port");
    out.push_back(port == nullptr ? "*" : std::to_string(json::get_int(port)));
  }
  return out.empty() ? "<unset>" : join(out, ",");
}

std::string slice_endpoints(const json::value& o) {
  std::vector<std::string> out;
  size_t more = 0;
  for (const json::value& e : json::get_array(json::at(&o, {"endpoints"})))
    for (const json::value& a : json::get_array(json::find(&e, "addresses"))) {
      if (out.size() < 3) out.emplace_back(json::get_string(&a));
      else ++more;
    }
  if (out.empty()) return "<unset>";
  std::string text = join(out, ",");
  if (more > 0) text += " + " + std::to_string(more) + " more...";
  return text;
}

std::string subjects_of(const json::value& o, std::string_view kind) {
  std::vector<std::string> out;
  for (const json::value& s : json::get_array(json::at(&o, {"subjects"}))) {
    if (json::get_string(json::find(&s, "kind")) != kind) continue;
    std::string name(json::get_string(json::find(&s, "name")));
    out.push_back(kind == "ServiceAccount" ? std::string(json::get_string(json::find(&s, "namespace"))) + "/" + name : name);
  }
  return join(out, ", ");
}

std::string api_service_available(const json::value& o) {
  for (const json::value& c : json::get_array(json::at(&o, {"status", "conditions"}))) {
    if (json::get_string(json::find(&c, "type")) != "Available") continue;
    std::string status(json::get_string(json::find(&c, "status")));
    return status == "True" ? status : status + " (" + std::string(json::get_string(json::find(&c, "reason"))) + ")";
  }
  return "Unknown";
}

std::string joined_list(const json::value* list) {
  std::vector<std::string> out;
  for (const json::value& v : json::get_array(list)) out.emplace_back(json::get_string(&v));
  return join(out, ",");
}

json::value number_or(const json::value* v, std::string_view absent) { return v == nullptr ? text_cell(absent) : json::value(json::get_int(v)); }

std::string claim_state(const json::value& o) {
  std::vector<std::string> states;
  if (json::at(&o, {"metadata", "deletionTimestamp"}) != nullptr) states.push_back("deleted");
  if (json::at(&o, {"status", "allocation"}) == nullptr) {
    if (states.empty()) states.push_back("pending");
  } else {
    states.push_back("allocated");
    if (!json::get_array(json::at(&o, {"status", "reservedFor"})).empty()) states.push_back("reserved");
  }
  return join(states, ",");
}

std::string param_kind(const json::value& o) {
  const json::value* p = json::at(&o, {"spec", "paramKind"});
  if (p == nullptr) return "<unset>";
  return std::string(json::get_string(json::find(p, "apiVersion"))) + "/" + std::string(json::get_string(json::find(p, "kind")));
}

std::string param_ref(const json::value& o) {
  const json::value* p = json::at(&o, {"spec", "paramRef"});
  if (p == nullptr) return "<unset>";
  std::string ns(json::get_string(json::find(p, "namespace"))), name(json::get_string(json::find(p, "name")));
  return ns.empty() ? name : ns + "/" + name;
}


const CellRule kRules[] = {
    {"apiregistration.k8s.io", "apiservices", "Service", [](const json::value& o, SystemTime) -> json::value {
       const json::value* s = json::at(&o, {"spec", "service"});
       return text_cell(s == nullptr ? "Local" : std::string(json::get_string(json::find(s, "namespace"))) + "/" + std::string(json::get_string(json::find(s, "name"))));
     }},
    {"apiregistration.k8s.io", "apiservices", "Available", [](const json::value& o, SystemTime) -> json::value { return text_cell(api_service_available(o)); }},
    {"certificates.k8s.io", "certificatesigningrequests", "SignerName", [](const json::value& o, SystemTime) -> json::value { return text(o, {"spec", "signerName"}); }},
    {"certificates.k8s.io", "certificatesigningrequests", "Requestor", [](const json::value& o, SystemTime) -> json::value { return text(o, {"spec", "username"}); }},
    {"certificates.k8s.io", "certificatesigningrequests", "RequestedDuration", [](const json::value& o, SystemTime) -> json::value {
       const json::value* s = json::at(&o, {"spec", "expirationSeconds"});
       return text_cell(s == nullptr ? "<none>" : human_duration(std::chrono::seconds(json::get_int(s))));
     }},
    {"certificates.k8s.io", "certificatesigningrequests", "Condition", [](const json::value& o, SystemTime) -> json::value { return text_cell(csr_condition(o)); }},
    {"networking.k8s.io", "ingresses", "Class", [](const json::value& o, SystemTime) -> json::value {
       std::string_view annotated = json::get_string(json::at(&o, {"metadata", "annotations", "kubernetes.io/ingress.class"}));
       return text_cell(or_none(json::get_string(json::at(&o, {"spec", "ingressClassName"}), annotated)));
     }},
    {"networking.k8s.io", "ingresses", "Hosts", [](const json::value& o, SystemTime) -> json::value { return text_cell(ingress_hosts(o)); }},
    {"networking.k8s.io", "ingresses", "Address", [](const json::value& o, SystemTime) -> json::value { return text_cell(ingress_addresses(o)); }},
    {"networking.k8s.io", "ingresses", "Ports", [](const json::value& o, SystemTime) -> json::value { return text_cell(json::get_array(json::at(&o, {"spec", "tls"})).empty() ? "80" : "80, 443"); }},
    {"networking.k8s.io", "ingressclasses", "Controller", [](const json::value& o, SystemTime) -> json::value { return text(o, {"spec", "controller"}); }},
    {"networking.k8s.io", "ingressclasses", "Parameters", [](const json::value& o, SystemTime) -> json::value {
       const json::value* p = json::at(&o, {"spec", "parameters"});
       if (p == nullptr) return "<none>";
       std::string kind(json::get_string(json::find(p, "kind"))), group(json::get_string(json::find(p, "apiGroup")));
       return text_cell(kind + (group.empty() ? "" : "." + group) + "/" + std::string(json::get_string(json::find(p, "name"))));
     }},
    {"networking.k8s.io", "ipaddresses", "ParentRef", [](const json::value& o, SystemTime) -> json::value {
       const json::value* p = json::at(&o, {"spec", "parentRef"});
       std::string group(json::get_string(json::find(p, "group")));
       return text_cell(std::string(json::get_string(json::find(p, "resource"))) + (group.empty() ? "" : "." + group) + "/" + std::string(json::get_string(json::find(p, "namespace"))) + "/" +
                        std::string(json::get_string(json::find(p, "name"))));
     }},
    {"networking.k8s.io", "networkpolicies", "Pod-Selector", [](const json::value& o, SystemTime) -> json::value { return text_cell(selector_text(json::at(&o, {"spec", "podSelector"}))); }},
    {"networking.k8s.io", "servicecidrs", "CIDRs", [](const json::value& o, SystemTime) -> json::value { return text_cell(joined_list(json::at(&o, {"spec", "cidrs"}))); }},
    {"rbac.authorization.k8s.io", "clusterrolebindings", "Role", [](const json::value& o, SystemTime) -> json::value {
       return text_cell(std::string(json::get_string(o, {"roleRef", "kind"})) + "/" + std::string(json::get_string(o, {"roleRef", "name"})));
     }},
    {"rbac.authorization.k8s.io", "clusterrolebindings", "Users", [](const json::value& o, SystemTime) -> json::value { return text_cell(subjects_of(o, "User")); }},
    {"rbac.authorization.k8s.io", "clusterrolebindings", "Groups", [](const json::value& o, SystemTime) -> json::value { return text_cell(subjects_of(o, "Group")); }},
    {"rbac.authorization.k8s.io", "clusterrolebindings", "ServiceAccounts", [](const json::value& o, SystemTime) -> json::value { return text_cell(subjects_of(o, "ServiceAccount")); }},
    {"rbac.authorization.k8s.io", "rolebindings", "Role", [](const json::value& o, SystemTime) -> json::value {
       return text_cell(std::string(json::get_string(o, {"roleRef", "kind"})) + "/" + std::string(json::get_string(o, {"roleRef", "name"})));
     }},
    {"rbac.authorization.k8s.io", "rolebindings", "Users", [](const json::value& o, SystemTime) -> json::value { return text_cell(subjects_of(o, "User")); }},
    {"rbac.authorization.k8s.io", "rolebindings", "Groups", [](const json::value& o, SystemTime) -> json::value { return text_cell(subjects_of(o, "Group")); }},
    {"rbac.authorization.k8s.io", "rolebindings", "ServiceAccounts", [](const json::value& o, SystemTime) -> json::value { return text_cell(subjects_of(o, "ServiceAccount")); }},
    {"storage.k8s.io", "csidrivers", "AttachRequired", [](const json::value& o, SystemTime) -> json::value { return flag(o, {"spec", "attachRequired"}); }},
    {"storage.k8s.io", "csidrivers", "PodInfoOnMount", [](const json::value& o, SystemTime) -> json::value { return flag(o, {"spec", "podInfoOnMount"}); }},
    {"storage.k8s.io", "csidrivers", "StorageCapacity", [](const json::value& o, SystemTime) -> json::value { return flag(o, {"spec", "storageCapacity"}); }},
    {"storage.k8s.io", "csidrivers", "TokenRequests", [](const json::value& o, SystemTime) -> json::value {
       std::vector<std::string> audiences;
       for (const json::value& t : json::get_array(json::at(&o, {"spec", "tokenRequests"}))) audiences.emplace_back(json::get_string(json::find(&t, "audience")));
       return text_cell(audiences.empty() ? "<unset>" : join(audiences, ","));
     }},
    {"storage.k8s.io", "csidrivers", "RequiresRepublish", [](const json::value& o, SystemTime) -> json::value { return flag(o, {"spec", "requiresRepublish"}); }},
    {"storage.k8s.io", "csidrivers", "Modes", [](const json::value& o, SystemTime) -> json::value {
       std::string modes = joined_list(json::at(&o, {"spec", "volumeLifecycleModes"}));
       return text_cell(modes.empty() ? "<none>" : modes);
     }},
    {"storage.k8s.io", "csinodes", "Drivers", [](const json::value& o, SystemTime) -> json::value { return count(o, {"spec", "drivers"}); }},
    {"storage.k8s.io", "storageclasses", "Name", [](const json::value& o, SystemTime) -> json::value {
       bool is_default = json::get_string(json::at(&o, {"metadata", "annotations", "storageclass.kubernetes.io/is-default-class"})) == "true";
       return text_cell(std::string(json::get_string(o, {"metadata", "name"})) + (is_default ? " (default)" : ""));
     }},
    {"storage.k8s.io", "storageclasses", "Provisioner", [](const json::value& o, SystemTime) -> json::value { return text(o, {"provisioner"}); }},
    {"storage.k8s.io", "storageclasses", "ReclaimPolicy", [](const json::value& o, SystemTime) -> json::value { return text(o, {"reclaimPolicy"}); }},
    {"storage.k8s.io", "storageclasses", "VolumeBindingMode", [](const json::value& o, SystemTime) -> json::value { return text(o, {"volumeBindingMode"}); }},
    {"storage.k8s.io", "storageclasses", "AllowVolumeExpansion", [](const json::value& o, SystemTime) -> json::value { return flag(o, {"allowVolumeExpansion"}); }},
    {"storage.k8s.io", "volumeattachments", "Attacher", [](const json::value& o, SystemTime) -> json::value { return text(o, {"spec", "attacher"}); }},
    {"storage.k8s.io", "volumeattachments", "PV", [](const json::value& o, SystemTime) -> json::value { return text(o, {"spec", "source", "persistentVolumeName"}); }},
    {"storage.k8s.io", "volumeattachments", "Node", [](const json::value& o, SystemTime) -> json::value { return text(o, {"spec", "nodeName"}); }},
    {"storage.k8s.io", "volumeattachments", "Attached", [](const json::value& o, SystemTime) -> json::value { return flag(o, {"status", "attached"}); }},
    {"storage.k8s.io", "volumeattributesclasses", "DriverName", [](const json::value& o, SystemTime) -> json::value { return text(o, {"driverName"}); }},
    {"admissionregistration.k8s.io", "mutatingwebhookconfigurations", "Webhooks", [](const json::value& o, SystemTime) -> json::value { return count(o, {"webhooks"}); }},
    {"admissionregistration.k8s.io", "validatingwebhookconfigurations", "Webhooks", [](const json::value& o, SystemTime) -> json::value { return count(o, {"webhooks"}); }},
    {"admissionregistration.k8s.io", "validatingadmissionpolicies", "Validations", [](const json::value& o, SystemTime) -> json::value { return count(o, {"spec", "validations"}); }},
    {"admissionregistration.k8s.io", "validatingadmissionpolicies", "ParamKind", [](const json::value& o, SystemTime) -> json::value { return text_cell(param_kind(o)); }},
    {"admissionregistration.k8s.io", "mutatingadmissionpolicies", "Mutations", [](const json::value& o, SystemTime) -> json::value { return count(o, {"spec", "mutations"}); }},
    {"admissionregistration.k8s.io", "mutatingadmissionpolicies", "ParamKind", [](const json::value& o, SystemTime) -> json::value { return text_cell(param_kind(o)); }},
    {"admissionregistration.k8s.io", "validatingadmissionpolicybindings", "PolicyName", [](const json::value& o, SystemTime) -> json::value { return text(o, {"spec", "policyName"}); }},
    {"admissionregistration.k8s.io", "validatingadmissionpolicybindings", "ParamRef", [](const json::value& o, SystemTime) -> json::value { return text_cell(param_ref(o)); }},
    {"admissionregistration.k8s.io", "mutatingadmissionpolicybindings", "PolicyName", [](const json::value& o, SystemTime) -> json::value { return text(o, {"spec", "policyName"}); }},
    {"admissionregistration.k8s.io", "mutatingadmissionpolicybindings", "ParamRef", [](const json::value& o, SystemTime) -> json::value { return text_cell(param_ref(o)); }},
    {"scheduling.k8s.io", "priorityclasses", "Value", [](const json::value& o, SystemTime) -> json::value { return json::get_int(o, {"value"}); }},
    {"scheduling.k8s.io", "priorityclasses", "Global-Default", [](const json::value& o, SystemTime) -> json::value { return flag(o, {"globalDefault"}); }},
    {"scheduling.k8s.io", "priorityclasses", "PreemptionPolicy", [](const json::value& o, SystemTime) -> json::value { return text(o, {"preemptionPolicy"}, "PreemptLowerPriority"); }},
    {"coordination.k8s.io", "leases", "Holder", [](const json::value& o, SystemTime) -> json::value { return text(o, {"spec", "holderIdentity"}); }},
    {"node.k8s.io", "runtimeclasses", "Handler", [](const json::value& o, SystemTime) -> json::value { return text(o, {"handler"}); }},
    {"discovery.k8s.io", "endpointslices", "AddressType", [](const json::value& o, SystemTime) -> json::value { return text(o, {"addressType"}); }},
    {"discovery.k8s.io", "endpointslices", "Ports", [](const json::value& o, SystemTime) -> json::value { return text_cell(slice_ports(o)); }},
    {"discovery.k8s.io", "endpointslices", "Endpoints", [](const json::value& o, SystemTime) -> json::value { return text_cell(slice_endpoints(o)); }},
    {"resource.k8s.io", "resourceclaims", "State", [](const json::value& o, SystemTime) -> json::value { return text_cell(claim_state(o)); }},
    {"resource.k8s.io", "resourceslices", "Node", [](const json::value& o, SystemTime) -> json::value { return text(o, {"spec", "nodeName"}); }},
    {"resource.k8s.io", "resourceslices", "Driver", [](const json::value& o, SystemTime) -> json::value { return text(o, {"spec", "driver"}); }},
    {"resource.k8s.io", "resourceslices", "Pool", [](const json::value& o, SystemTime) -> json::value { return text(o, {"spec", "pool", "name"}); }},
    {"flowcontrol.apiserver.k8s.io", "flowschemas", "PriorityLevel", [](const json::value& o, SystemTime) -> json::value { return text(o, {"spec", "priorityLevelConfiguration", "name"}); }},
    {"flowcontrol.apiserver.k8s.io", "flowschemas", "MatchingPrecedence", [](const json::value& o, SystemTime) -> json::value { return number_or(json::at(&o, {"spec", "matchingPrecedence"}), "<none>"); }},
    {"flowcontrol.apiserver.k8s.io", "flowschemas", "DistinguisherMethod", [](const json::value& o, SystemTime) -> json::value { return text(o, {"spec", "distinguisherMethod", "type"}, "<none>"); }},
    {"flowcontrol.apiserver.k8s.io", "flowschemas", "MissingPL", [](const json::value& o, SystemTime) -> json::value {
       for (const json::value& c : json::get_array(json::at(&o, {"status", "conditions"})))
         if (json::get_string(json::find(&c, "type")) == "Dangling") return text_cell(json::get_string(json::find(&c, "status")));
       return "?";
     }},
    {"flowcontrol.apiserver.k8s.io", "prioritylevelconfigurations", "Type", [](const json::value& o, SystemTime) -> json::value { return text(o, {"spec", "type"}); }},
    {"flowcontrol.apiserver.k8s.io", "prioritylevelconfigurations", "NominalConcurrencyShares", [](const json::value& o, SystemTime) -> json::value {
       return number_or(json::at(&o, {"spec", "limited", "nominalConcurrencyShares"}), "<none>");
     }},
    {"flowcontrol.apiserver.k8s.io", "prioritylevelconfigurations", "Queues", [](const json::value& o, SystemTime) -> json::value { return number_or(json::at(&o, {"spec", "limited", "limitResponse", "queuing", "queues"}), "<none>"); }},
    {"flowcontrol.apiserver.k8s.io", "prioritylevelconfigurations", "HandSize", [](const json::value& o, SystemTime) -> json::value { return number_or(json::at(&o, {"spec", "limited", "limitResponse", "queuing", "handSize"}), "<none>"); }},
    {"flowcontrol.apiserver.k8s.io", "prioritylevelconfigurations", "QueueLengthLimit", [](const json::value& o, SystemTime) -> json::value {
       return number_or(json::at(&o, {"spec", "limited", "limitResponse", "queuing", "queueLengthLimit"}), "<none>");
     }},
};

}  // namespace

std::span<const CellRule> other_cell_rules() { return kRules; }

}  // namespace kcube::machinery
