// Roles and their bindings.
#include "pkg/api/names.h"
#include "pkg/apiserver/machinery/validation_pod.h"
#include "pkg/apiserver/machinery/validation_rules.h"

namespace kcube::machinery {
namespace {

constexpr std::string_view kGroup = "rbac.authorization.k8s.io";

void validate_policy_rules(const Cursor& rules, bool namespaced) {
  for (const Cursor& rule : rules.items()) {
    if (rule["verbs"].empty()) rule["verbs"].required("verbs must contain at least one value");
    Cursor urls = rule["nonResourceURLs"];
    if (!urls.empty()) {
      if (namespaced) urls.invalid("namespaced rules cannot apply to non-resource URLs");
      if (!rule["apiGroups"].empty() || !rule["resources"].empty() || !rule["resourceNames"].empty())
        urls.invalid("rules cannot apply to both regular resources and non-resource URLs");
      continue;
    }
    if (rule["apiGroups"].empty()) rule["apiGroups"].required("resource rules must supply at least one api group");
    if (rule["resources"].empty()) rule["resources"].required("resource rules must supply at least one resource");
  }
}

void validate_subject(const Cursor& subject, bool namespaced) {
  Cursor name = subject["name"], kind = subject["kind"], group = subject["apiGroup"];
  if (name.empty()) name.required();
  if (kind.text() == "ServiceAccount") {
    if (!name.empty()) name.check(api::check_dns1123_subdomain(name.text()));
    if (!group.empty()) group.not_supported({""});
    if (!namespaced && subject["namespace"].empty()) subject["namespace"].required();
  } else if (kind.in({"User", "Group"})) {
    if (group.text() != kGroup) group.not_supported({kGroup});
  } else {
    kind.not_supported({"ServiceAccount", "User", "Group"});
  }
}

void validate_binding_of(const Validation& v, bool namespaced) {
  Cursor role = v["roleRef"];
  if (role["apiGroup"].text() != kGroup) role["apiGroup"].not_supported({kGroup});
  if (namespaced && !role["kind"].in({"Role", "ClusterRole"})) role["kind"].not_supported({"Role", "ClusterRole"});
  if (!namespaced && role["kind"].text() != "ClusterRole") role["kind"].not_supported({"ClusterRole"});
  if (role["name"].empty())
    role["name"].required();
  else
    role["name"].check(api::check_path_segment(role["name"].text()));
  for (const Cursor& subject : v["subjects"].items()) validate_subject(subject, namespaced);
  if (!v.creating()) role.unchanged(v.before({"roleRef"}), "cannot change roleRef");
}

}  // namespace

void validate_role(const Validation& v) { validate_policy_rules(v["rules"], true); }

void validate_cluster_role(const Validation& v) {
  validate_policy_rules(v["rules"], false);
  Cursor aggregation = v["aggregationRule"];
  if (!aggregation.present()) return;
  Cursor selectors = aggregation["clusterRoleSelectors"];
  if (selectors.empty()) selectors.required("at least one clusterRoleSelector required if aggregationRule is non-nil");
  for (const Cursor& selector : selectors.items()) {
    std::vector<Cause> problems;
    validate_label_selector(Cursor(selector.value(), "", problems));
    validate_label_selector(selector);
    if (!problems.empty()) selector.invalid(json::value(nullptr), "invalid label selector.");
  }
}

void validate_role_binding(const Validation& v) { validate_binding_of(v, true); }
void validate_cluster_role_binding(const Validation& v) { validate_binding_of(v, false); }

}  // namespace kcube::machinery
