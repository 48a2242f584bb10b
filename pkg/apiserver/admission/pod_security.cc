// PodSecurity: a namespace's labels say which of the Pod Security Standards its pods keep; what violates them is refused
// (enforce), warned of (warn) or noted for the audit log (audit). Templates of pods are only warned of and noted.
// Source: the Kubernetes docs on Pod Security Admission.
#include "pkg/apiserver/admission/pod_security.h"

#include <algorithm>
#include <map>

#include "pkg/api/errors.h"
#include "pkg/apiserver/admission/control.h"

namespace kcube::apiserver {
namespace {

constexpr std::string_view kPrefix = "pod-security.kubernetes.io/";
constexpr size_t kPodsLooked = 3000;   // at most, for the warnings to who tightens a namespace

struct Policies {
  SecurityPolicy enforce, audit, warn;
  std::vector<Cause> problems;           // of the labels

  bool all_privileged() const {
    return enforce.level == SecurityLevel::privileged && audit.level == SecurityLevel::privileged && warn.level == SecurityLevel::privileged;
  }
};

Policies read_policies(const PodSecuritySettings& settings, const json::value* labels) {
  Policies out{settings.enforce, settings.audit, settings.warn, {}};
  auto text = [&](const std::string& name) { return json::find(labels, std::string(kPrefix) + name); };
  auto problem = [&](const std::string& name, const json::value& value, std::string_view detail) {
    out.problems.push_back(api::field_invalid("metadata.labels[" + std::string(kPrefix) + name + "]", value, detail));
  };
  // A label that makes no sense counts as the strictest where it refuses.
  auto read = [&](const std::string& mode, SecurityPolicy& policy, SecurityLevel fallback) {
    if (const json::value* level = text(mode)) {
      auto parsed = parse_security_level(json::get_string(level));
      policy.level = parsed.value_or(fallback);
      if (!parsed) problem(mode, *level, "must be one of privileged, baseline, restricted");
    }
    if (const json::value* version = text(mode + "-version")) {
      auto parsed = parse_security_version(json::get_string(version));
      policy.minor = parsed.value_or(SecurityPolicy::kLatest);
      if (!parsed) problem(mode + "-version", *version, "must be \"latest\" or \"v1.x\"");
    }
  };
  read("enforce", out.enforce, SecurityLevel::restricted);
  read("audit", out.audit, SecurityLevel::privileged);
  read("warn", out.warn, SecurityLevel::privileged);
  // Without a level of its own, warnings follow what is enforced.
  if (text("warn") == nullptr && text("enforce") != nullptr && text("warn-version") == nullptr && out.enforce.level > out.warn.level) out.warn = out.enforce;
  return out;
}

// Where the pod's template stands in what makes pods; null for anything else.
const json::value* template_of(const Admission& a) {
  const Resource& r = *a.call.resource;
  if (a.object == nullptr) return nullptr;
  if (r.is("", "podtemplates")) return json::find(a.object, "template");
  if (r.is("batch", "cronjobs")) return json::at(a.object, {"spec", "jobTemplate", "spec", "template"});
  bool makes_pods = r.is("", "replicationcontrollers") || r.is("apps", "replicasets") || r.is("apps", "deployments") || r.is("apps", "statefulsets") ||
                    r.is("apps", "daemonsets") || r.is("batch", "jobs");
  return makes_pods ? json::at(a.object, {"spec", "template"}) : nullptr;
}

// Of an update only new images count: all else that violates cannot be changed.
bool significant(const json::value& pod, const json::value& old) {
  for (const char* list : {"initContainers", "containers", "ephemeralContainers"}) {
    const json::array &now = json::get_array(json::at(&pod, {"spec", list})), &before = json::get_array(json::at(&old, {"spec", list}));
    if (now.size() != before.size()) return true;
    for (size_t i = 0; i < now.size(); ++i)
      if (json::get_string(now[i], {"image"}) != json::get_string(before[i], {"image"})) return true;
  }
  return false;
}

std::string would_violate(const SecurityPolicy& policy, const std::string& what) { return "would violate PodSecurity \"" + policy.to_string() + "\": " + what; }

Result<void> judge(Admission& a, const Policies& policies, const json::value* metadata, const json::value& spec, bool enforce) {
  // The same policy in several modes is looked at once.
  std::map<SecurityPolicy, std::string> known;
  auto violations = [&](const SecurityPolicy& policy) -> const std::string& {
    auto [it, fresh] = known.try_emplace(policy);
    if (fresh) it->second = security_violations(policy, metadata, spec);
    return it->second;
  };
  auto note = [&](std::string_view key, std::string text) { a.call.audit_annotations[std::string(kPrefix) + std::string(key)] = std::move(text); };
  if (enforce) note("enforce-policy", policies.enforce.to_string());
  if (const std::string& found = violations(policies.audit); !found.empty()) note("audit-violations", would_violate(policies.audit, found));
  if (enforce)
    if (const std::string& found = violations(policies.enforce); !found.empty())
      return a.forbid("violates PodSecurity \"" + policies.enforce.to_string() + "\": " + found);
  if (const std::string& found = violations(policies.warn); !found.empty()) a.call.warn(would_violate(policies.warn, found));
  return {};
}

// "namespace", "user", "runtimeClass", or nothing.
std::string exemption(const PodSecuritySettings& settings, const Admission& a, const json::value& spec) {
  if (settings.namespaces.contains(a.call.ns)) return "namespace";
  if (settings.users.contains(a.call.user.name)) return "user";
  std::string_view runtime_class = json::get_string(spec, {"runtimeClassName"});
  return !runtime_class.empty() && settings.runtime_classes.contains(runtime_class) ? "runtimeClass" : "";
}

Result<void> check_pods(Admission& a) {
  bool is_pod = a.call.resource->is("", "pods");
  std::string_view sub = a.call.resource->subresource();
  if (a.verbatim || a.object == nullptr || (!sub.empty() && !(is_pod && sub == "ephemeralcontainers"))) return {};
  const json::value* pod = is_pod ? a.object : template_of(a);
  const json::value* spec = json::find(pod, "spec");
  if (spec == nullptr) return {};
  const PodSecuritySettings& settings = a.core.admission.pod_security();
  if (std::string why = exemption(settings, a, *spec); !why.empty()) {
    a.call.audit_annotations[std::string(kPrefix) + "exempt"] = why;
    return {};
  }
  ObjectPtr ns = a.core.get("", "namespaces", "", a.call.ns);
  if (!ns) return {};
  const json::value* labels = json::at(&ns->value(), {"metadata", "labels"});
  Policies policies = read_policies(settings, labels);
  if (policies.all_privileged()) return {};
  if (is_pod && a.old != nullptr && !significant(*a.object, *a.old)) return {};
  return judge(a, policies, json::find(pod, "metadata"), *spec, is_pod);
}

// Pods that are there already stay; who tightens the policy is told which of them it would refuse.
void warn_of_existing(Admission& a, const SecurityPolicy& policy) {
  std::map<std::string, std::vector<std::string>> by_violations;   // of the pods, by name
  size_t looked = 0;
  for (const ObjectPtr& pod : a.core.cache.find("", "pods")->in_namespace(a.call.name)) {
    const json::value* spec = json::find(&pod->value(), "spec");
    if (spec == nullptr || ++looked > kPodsLooked) break;
    std::string found = security_violations(policy, json::find(&pod->value(), "metadata"), *spec);
    // Words about containers differ from pod to pod; the reasons alone tell.
    std::string reasons;
    int depth = 0;
    for (char c : found) {
      if (c == '(') ++depth;
      if (depth == 0) reasons += c;
      if (c == ')') --depth;
    }
    while (reasons.find(" ,") != std::string::npos) reasons.replace(reasons.find(" ,"), 2, ",");
    while (reasons.ends_with(' ')) reasons.pop_back();
    if (!found.empty()) by_violations[reasons].emplace_back(pod->name());
  }
  if (by_violations.empty()) return;
  a.call.warn("existing pods in namespace \"" + a.call.name + "\" violate the new PodSecurity enforce level \"" + policy.to_string() + "\"");
  std::vector<std::string> lines;
  for (const auto& [reasons, pods] : by_violations) {
    std::string line = pods.front();
    if (pods.size() == 2) line += " (and 1 other pod)";
    else if (pods.size() > 2) line += " (and " + std::to_string(pods.size() - 1) + " other pods)";
    lines.push_back(line + ": " + reasons);
  }
  std::ranges::sort(lines);
  for (std::string& line : lines) a.call.warn(std::move(line));
}

Result<void> check_namespace(Admission& a) {
  if (a.object == nullptr || !a.call.resource->subresource().empty()) return {};
  const PodSecuritySettings& settings = a.core.admission.pod_security();
  Policies now = read_policies(settings, json::at(a.object, {"metadata", "labels"}));
  Policies before = read_policies(settings, json::at(a.old, {"metadata", "labels"}));
  if (!now.problems.empty() && (a.old == nullptr || before.problems.empty())) return fail(api::invalid("", "Namespace", a.call.name, std::move(now.problems)));
  if (a.old == nullptr || now.enforce == before.enforce || now.enforce.level == SecurityLevel::privileged) return {};
  // A weaker level of the same version finds nothing new.
  if (now.enforce.minor == before.enforce.minor && now.enforce.level < before.enforce.level) return {};
  if (settings.namespaces.contains(a.call.name)) return {};
  warn_of_existing(a, now.enforce);
  return {};
}

Result<void> check(Admission& a) {
  if (a.operation == Operation::remove || a.operation == Operation::connect) return {};
  return a.call.resource->is("", "namespaces") ? check_namespace(a) : check_pods(a);
}

}  // namespace

Result<PodSecuritySettings> read_pod_security(const json::value& configuration) {
  PodSecuritySettings out;
  const json::value *defaults = json::find(&configuration, "defaults"), *exemptions = json::find(&configuration, "exemptions");
  auto read = [&](const std::string& mode, SecurityPolicy& policy) -> Result<void> {
    auto level = parse_security_level(json::get_string(json::find(defaults, mode), "privileged"));
    auto minor = parse_security_version(json::get_string(json::find(defaults, mode + "-version"), "latest"));
    if (!level) return fail(Status::bad_request("defaults." + mode + ": must be one of privileged, baseline, restricted"));
    if (!minor) return fail(Status::bad_request("defaults." + mode + "-version: must be \"latest\" or \"v1.x\""));
    policy = {*level, *minor};
    return {};
  };
  if (auto done = read("enforce", out.enforce); !done) return fail(done.error());
  if (auto done = read("audit", out.audit); !done) return fail(done.error());
  if (auto done = read("warn", out.warn); !done) return fail(done.error());
  auto names = [&](const char* member, auto& set) {
    for (const json::value& name : json::get_array(json::find(exemptions, member))) set.emplace(json::get_string(&name));
  };
  names("usernames", out.users);
  names("runtimeClasses", out.runtime_classes);
  names("namespaces", out.namespaces);
  return out;
}

const AdmissionPlugin kPodSecurity{"PodSecurity", nullptr, check};

}  // namespace kcube::apiserver
