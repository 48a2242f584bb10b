// Namespaces, Nodes, PodTemplates.
#include "pkg/api/names.h"
#include "pkg/apiserver/machinery/validation_network.h"
#include "pkg/apiserver/machinery/validation_pod.h"
#include "pkg/apiserver/machinery/validation_rules.h"

namespace kcube::machinery {
namespace {

void check_finalizer(const Cursor& at, std::string_view name) {
  if (std::string problem = api::check_qualified_name(name); !problem.empty()) at.invalid_text(name, problem);
  if (name.find('/') == std::string_view::npos && name != "kubernetes" && name != "orphan" &&
      name != "foregroundDeletion")
    at.invalid_text(name, "name is neither a standard finalizer name nor is it fully qualified");
}

// The real server puts them under metadata.
void validate_taints(const Validation& v) {
  std::set<std::pair<std::string_view, std::string_view>> seen;
  for (const Cursor& taint : v["spec"]["taints"].renamed("metadata.taints").items()) {
    validate_label_key(taint["key"]);
    taint["value"].check(api::check_label_value(taint["value"].text()));
    Cursor effect = taint["effect"];
    effect.one_of({"NoSchedule", "PreferNoSchedule", "NoExecute"});
    if (seen.insert({effect.text(), taint["key"].text()}).second) continue;
    Cause cause = api::field_duplicate(taint.path(), *taint.value());
    cause.message += ": taints must be unique by key and effect pair";
    v.add(std::move(cause));
  }
}

void check_node_update(const Validation& v) {
  Cursor cidrs = v["spec"]["podCIDRs"];
  const json::value* before = v.before({"spec", "podCIDRs"});
  if (!json::get_array(before).empty() && !same(cidrs.value(), before))
    cidrs.forbidden("node updates may not change podCIDR except from \"\" to valid");
  Cursor provider = v["spec"]["providerID"];
  std::string_view old = json::get_string(v.before({"spec", "providerID"}));
  if (!old.empty() && old != provider.text())
    provider.forbidden("node updates may not change providerID except from \"\" to valid");
  std::set<std::pair<std::string_view, std::string_view>> seen;
  for (const Cursor& address : v["status"]["addresses"].items())
    if (!seen.insert({address["type"].text(), address["address"].text()}).second) address.duplicate();
}

}  // namespace

void validate_namespace(const Validation& v) {
  if (v.subresource == "finalize") {
    for (const Cursor& finalizer : v["spec"]["finalizers"].items()) check_finalizer(finalizer, finalizer.text());
  } else if (v.creating()) {
    for (const Cursor& finalizer : v["spec"]["finalizers"].items())
      check_finalizer(v["spec"]["finalizers"], finalizer.text());
  }
}

void validate_node(const Validation& v) {
  validate_taints(v);
  for (std::string_view list : {"capacity", "allocatable"})
    for (const auto& [name, amount] : v["status"][list].members())
      validate_quantity(amount.renamed("status." + std::string(list) + "." + std::string(name)), name);
  if (!v.creating()) return check_node_update(v);
  std::vector<Cursor> cidrs = v["spec"]["podCIDRs"].items();
  for (const Cursor& cidr : cidrs) check_cidr(cidr);
  bool two_of_a_kind = cidrs.size() == 2 && (cidrs[0].text().find(':') == std::string_view::npos) ==
                                                (cidrs[1].text().find(':') == std::string_view::npos);
  if (cidrs.size() > 2 || two_of_a_kind)
    v["spec"]["podCIDRs"].invalid("may specify no more than one CIDR for each IP family");
}

void validate_pod_template_object(const Validation& v) { validate_pod_template(v["template"]); }

}  // namespace kcube::machinery
