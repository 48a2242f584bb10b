// PersistentVolumes and their claims.
#include "pkg/api/names.h"
#include "pkg/api/quantity.h"
#include "pkg/apiserver/machinery/validation_pod.h"
#include "pkg/apiserver/machinery/validation_rules.h"

namespace kcube::machinery {
namespace {

void validate_access_modes(const Cursor& modes) {
  bool single = false, others = false;
  for (const Cursor& mode : modes.items()) {
    bool known = mode.in({"ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"});
    // The real server names the list.
    if (!known)
      mode.renamed(modes.path()).not_supported({"ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"});
    (mode.text() == "ReadWriteOncePod" ? single : others) |= known;
  }
  if (single && others) modes.forbidden("may not use ReadWriteOncePod with other access modes");
}

void validate_data_source(const Cursor& source) {
  if (!source.present()) return;
  if (source["name"].empty()) source["name"].required();
  if (source["kind"].empty()) source["kind"].required();
  Cursor group = source["apiGroup"];
  if (group.empty() && source["kind"].text() != "PersistentVolumeClaim")
    source.invalid_text(source["kind"].text(), "must be 'PersistentVolumeClaim' when referencing the default apiGroup");
  if (!group.empty()) group.check(api::check_dns1123_subdomain(group.text()));
  if (Cursor ns = source["namespace"]; !ns.empty()) ns.check(api::check_dns1123_label(ns.text()));
}

void validate_class_name(const Cursor& name) {
  if (!name.empty()) name.check(api::check_dns1123_subdomain(name.text()));
}

void validate_volume_source(const Validation& v) {
  static constexpr std::string_view kNotSources[] = {"accessModes",      "capacity",
                                                     "claimRef",         "mountOptions",
                                                     "nodeAffinity",     "persistentVolumeReclaimPolicy",
                                                     "storageClassName", "volumeAttributesClassName",
                                                     "volumeMode"};
  Cursor spec = v["spec"];
  size_t count = 0;
  for (const auto& m : json::get_object(spec.value())) {
    std::string_view name = json::view(m.key());
    bool source = !m.value().is_null();
    for (std::string_view other : kNotSources) source = source && name != other;
    if (!source) continue;
    Cursor at = spec[name];
    if (count++ > 0) {
      at.forbidden("may not specify more than 1 volume type");
    } else if (name == "local") {
      if (at["path"].empty())
        at["path"].required();
      else
        validate_no_backsteps(at["path"]);
      if (!spec["nodeAffinity"].present()) spec["nodeAffinity"].required("Local volume requires node affinity");
    } else {
      validate_common_volume_source(name, at, true);
    }
  }
  if (count == 0) spec.required("must specify a volume type");
}

void check_volume_update(const Validation& v) {
  const json::value* old = v.before({"spec"});
  Cursor spec = v["spec"];
  static constexpr std::string_view kFree[] = {"accessModes",      "capacity",
                                               "claimRef",         "mountOptions",
                                               "nodeAffinity",     "persistentVolumeReclaimPolicy",
                                               "storageClassName", "volumeAttributesClassName",
                                               "volumeMode"};
  auto free = [&](std::string_view name) {
    for (std::string_view known : kFree)
      if (name == known) return true;
    return false;
  };
  bool changed = false;
  for (const json::value* side : {spec.value(), old})
    for (const auto& m : json::get_object(side)) {
      std::string_view name = json::view(m.key());
      changed = changed || (!free(name) && !same(json::find(spec.value(), name), json::find(old, name)));
    }
  if (changed) spec["persistentvolumesource"].forbidden("spec.persistentvolumesource is immutable after creation\n");
  spec["volumeMode"].renamed("volumeMode").unchanged(json::find(old, "volumeMode"));
  const json::value* affinity = json::find(old, "nodeAffinity");
  if (affinity != nullptr) spec["nodeAffinity"].unchanged(affinity);
}

bool equal_amounts(const json::value* a, const json::value* b) {
  if (json::get_object(a).size() != json::get_object(b).size()) return false;
  for (const auto& m : json::get_object(a)) {
    const json::value* other = json::find(b, json::view(m.key()));
    if (other == nullptr || api::Quantity::from_json(&m.value()) != api::Quantity::from_json(other)) return false;
  }
  return true;
}

// Everything but what a bound claim may ask for more of.
bool spec_changed(const Validation& v, bool bound) {
  const json::value* old = v.before({"spec"});
  const json::value* now = v["spec"].value();
  for (const json::value* side : {now, old})
    for (const auto& m : json::get_object(side)) {
      std::string_view name = json::view(m.key());
      const json::value *a = json::find(now, name), *b = json::find(old, name);
      if (name == "volumeName" && json::get_string(b).empty()) continue;
      if (bound && name == "volumeAttributesClassName") continue;
      if (name == "storageClassName" && b == nullptr) continue;  // a class given afterwards
      if (name == "storageClassName" && a == nullptr) return true;  // no name is another thing than the name ""
      if (name == "resources") {
        if (!bound && !equal_amounts(json::find(a, "requests"), json::find(b, "requests"))) return true;
        if (!equal_amounts(json::find(a, "limits"), json::find(b, "limits"))) return true;
        continue;
      }
      if (!same(a, b)) return true;
    }
  return false;
}

void validate_volume(const Validation& v) {
  Cursor spec = v["spec"];
  if (spec["accessModes"].empty()) spec["accessModes"].required();
  validate_access_modes(spec["accessModes"]);
  Cursor capacity = spec["capacity"];
  if (capacity.empty()) capacity.required();
  if (!capacity.entry("storage").present() || capacity.size() > 1) capacity.not_supported(capacity.present() ? *capacity.value() : json::value(nullptr), {"storage"});
  for (const auto& [name, amount] : capacity.members()) {
    validate_quantity(amount, name);
    if (api::Quantity::from_json(amount.value()) <= api::Quantity()) amount.invalid("must be greater than zero");
  }
  Cursor policy = spec["persistentVolumeReclaimPolicy"];
  if (!policy.empty() && !policy.in({"Delete", "Recycle", "Retain"}))
    policy.not_supported({"Delete", "Recycle", "Retain"});
  if (Cursor affinity = spec["nodeAffinity"]; affinity.present()) {
    if (!affinity["required"].present())
      affinity["required"].required("must specify required node constraints");
    else
      validate_node_selector(affinity["required"]);
  }
  validate_volume_source(v);
  if (spec["hostPath"]["path"].text() == "/" && policy.text() == "Recycle")
    policy.forbidden("may not be 'recycle' for a hostPath mount of '/'");
  validate_class_name(spec["storageClassName"]);
  if (spec["volumeMode"].present() && !spec["volumeMode"].in({"Block", "Filesystem"}))
    spec["volumeMode"].not_supported({"Block", "Filesystem"});
  if (Cursor attributes = spec["volumeAttributesClassName"]; attributes.present()) {
    if (attributes.empty())
      attributes.required("an empty string is disallowed");
    else
      validate_class_name(attributes);
    if (!spec["csi"].present()) spec["csi"].required("has to be specified when using volumeAttributesClassName");
  }
}

}  // namespace

void validate_claim_spec(const Cursor& spec) {
  if (spec["accessModes"].empty()) spec["accessModes"].required("at least 1 access mode is required");
  validate_label_selector(spec["selector"]);
  validate_access_modes(spec["accessModes"]);
  // The real server's path leaves out "requests".
  Cursor storage =
      spec["resources"].entry("storage").with(json::at(spec.value(), {"resources", "requests", "storage"}));
  if (!storage.present())
    storage.required();
  else if (api::Quantity::from_json(storage.value()) <= api::Quantity())
    storage.invalid("must be greater than zero");
  validate_class_name(spec["storageClassName"]);
  if (spec["volumeMode"].present() && !spec["volumeMode"].in({"Block", "Filesystem"}))
    spec["volumeMode"].not_supported({"Block", "Filesystem"});
  Cursor source = spec["dataSource"], ref = spec["dataSourceRef"];
  validate_data_source(source);
  validate_data_source(ref);
  if (source.present() && !ref["namespace"].empty())
    spec.invalid_text(source.path(), "may not be specified when dataSourceRef.namespace is specified");
  else if (source.present() && ref.present() && !same(source.value(), ref.value()))
    spec.invalid_text(source.path(), "must match dataSourceRef");
  validate_class_name(spec["volumeAttributesClassName"]);
}

void validate_persistent_volume_claim(const Validation& v) {
  if (v.subresource == "status")
    for (const auto& [name, amount] : v["status"]["capacity"].members())
      if (api::Quantity::from_json(amount.value()) < api::Quantity()) amount.invalid_omitted(std::string(amount.text()) + ": must be a valid resource quantity");
  if (!v.main()) return;
  Cursor spec = v["spec"];
  validate_claim_spec(spec);
  if (v.creating()) return;
  bool bound = v["status"]["phase"].text() == "Bound";
  if (spec_changed(v, bound))
    spec.forbidden(
        "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims\n");
  auto now = api::Quantity::from_json(json::at(spec.value(), {"resources", "requests", "storage"}));
  auto before = api::Quantity::from_json(v.before({"spec", "resources", "requests", "storage"}));
  auto have = api::Quantity::from_json(v.before({"status", "capacity", "storage"}));
  if (now < before && now <= have)
    spec["resources.requests.storage"].forbidden("field can not be less than status.capacity");
  spec["volumeMode"].renamed("volumeMode").unchanged(v.before({"spec", "volumeMode"}));
}

void validate_persistent_volume(const Validation& v) {
  if (!v.main()) return;
  validate_volume(v);
  if (v.creating()) return;
  // Once as a volume and once as a change of one.
  validate_volume(v);
  check_volume_update(v);
}

}  // namespace kcube::machinery
