// StorageClasses, CSIDrivers, CSINodes, VolumeAttachments, CSIStorageCapacities, VolumeAttributesClasses.
#include "pkg/api/names.h"
#include "pkg/api/quantity.h"
#include "pkg/apiserver/machinery/validation_pod.h"
#include "pkg/apiserver/machinery/validation_rules.h"
#include "pkg/base/strings.h"

namespace kcube::machinery {
namespace {

constexpr size_t kMaxParameters = 512, kMaxParameterBytes = 256 * 1024, kMaxNodeId = 256;

void validate_provisioner(const Cursor& name) {
  if (name.empty()) return name.required();
  if (std::string problem = api::check_qualified_name(to_lower(name.text())); !problem.empty())
    name.invalid_text(to_lower(name.text()), problem);
}

void validate_parameters(const Cursor& parameters) {
  if (parameters.size() > kMaxParameters) parameters.too_long(kMaxParameters);
  size_t total = 0;
  for (const auto& [key, value] : parameters.members()) {
    if (key.empty()) parameters.invalid_text(key, "field can not be empty.");
    total += key.size() + value.text().size();
  }
  if (total > kMaxParameterBytes) parameters.too_long(kMaxParameterBytes);
}

void validate_topologies(const Cursor& topologies) {
  for (const Cursor& term : topologies.items()) {
    std::set<std::string_view> keys;
    for (const Cursor& e : term["matchLabelExpressions"].items()) {
      if (e["values"].empty()) e["values"].required();
      std::set<std::string_view> values;
      for (const Cursor& value : e["values"].items())
        if (!values.insert(value.text()).second) value.duplicate();
      validate_label_key(e["key"]);
      if (!keys.insert(e["key"].text()).second) e["key"].duplicate();
    }
  }
}

}  // namespace

void validate_storage_class(const Validation& v) {
  validate_provisioner(v["provisioner"]);
  validate_parameters(v["parameters"]);
  Cursor policy = v["reclaimPolicy"], mode = v["volumeBindingMode"];
  if (!policy.empty() && !policy.in({"Delete", "Retain"})) policy.not_supported({"Delete", "Retain"});
  if (!mode.present())
    mode.required();
  else if (!mode.in({"Immediate", "WaitForFirstConsumer"}))
    mode.not_supported({"Immediate", "WaitForFirstConsumer"});
  validate_topologies(v["allowedTopologies"]);
  if (v.creating()) return;
  for (std::string_view member : {"parameters", "provisioner", "reclaimPolicy", "volumeBindingMode"})
    v[member].unchanged(v.before({member}));
}

void validate_csi_driver(const Validation& v) {
  Cursor spec = v["spec"];
  spec["fsGroupPolicy"].one_of_if_set({"File", "None", "ReadWriteOnceWithFSType"});
  std::set<std::string_view> audiences;
  for (const Cursor& request : spec["tokenRequests"].items()) {
    if (!audiences.insert(request["audience"].text()).second) {
      request["audience"].duplicate();
      continue;
    }
    if (request["expirationSeconds"].present() && request["expirationSeconds"].number() < 600)
      request["expirationSeconds"].invalid("may not specify a duration less than 10 minutes");
  }
  for (const Cursor& mode : spec["volumeLifecycleModes"].items())
    if (!mode.in({"Persistent", "Ephemeral"}))
      mode.renamed(spec["volumeLifecycleModes"].path()).not_supported({"Persistent", "Ephemeral"});
  Cursor period = spec["nodeAllocatableUpdatePeriodSeconds"];
  if (period.present() && period.number() < 10) period.invalid("must be greater than or equal to 10 seconds");
  if (v.creating()) return;
  spec["attachRequired"].renamed("spec.attachedRequired").unchanged(v.before({"spec", "attachRequired"}));
  spec["volumeLifecycleModes"].unchanged(v.before({"spec", "volumeLifecycleModes"}));
}

// A driver that is registered stays as it is, but for what it can take.
void check_drivers_stay(const Validation& v) {
  Cursor drivers = v["spec"]["drivers"];
  auto without_count = [](json::value driver) {
    if (driver.is_object()) driver.get_object().erase("allocatable");
    return driver;
  };
  for (const json::value& old : json::get_array(v.before({"spec", "drivers"})))
    for (const Cursor& now : drivers.items())
      if (now["name"].text() == json::get_string(old, {"name"}) && without_count(*now.value()) != without_count(old)) return drivers.invalid("field is immutable");
}

void validate_csi_node(const Validation& v) {
  std::set<std::string_view> names;
  for (const Cursor& driver : v["spec"]["drivers"].items()) {
    validate_csi_driver_name(driver["name"]);
    Cursor id = driver["nodeID"];
    if (id.empty())
      id.required();
    else if (id.text().size() > kMaxNodeId)
      id.invalid("must be 256 characters or less");
    driver["allocatable"]["count"].non_negative();
    if (!names.insert(driver["name"].text()).second) driver["name"].duplicate();
    std::set<std::string_view> keys;
    for (const Cursor& key : driver["topologyKeys"].items()) {
      if (key.empty()) driver.required();
      if (!keys.insert(key.text()).second) driver.with(key.value()).duplicate();
      validate_label_key(key.renamed(driver.path()));
    }
  }
  if (!v.creating()) check_drivers_stay(v);
}

void validate_volume_attachment(const Validation& v) {
  if (!v.main()) return;
  Cursor spec = v["spec"], source = spec["source"];
  Cursor volume = source["persistentVolumeName"];
  validate_csi_driver_name(spec["attacher"]);
  bool inlined = source["inlineVolumeSpec"].present();
  if (!inlined && !volume.present())
    source.required("must specify exactly one of inlineVolumeSpec and persistentVolumeName");
  else if (inlined && volume.present())
    source.forbidden("must specify exactly one of inlineVolumeSpec and persistentVolumeName");
  else if (volume.present() && volume.empty())
    volume.required("must specify non empty persistentVolumeName");
  if (volume.present()) volume.check(api::check_dns1123_subdomain(volume.text()));
  spec["nodeName"].check(api::check_dns1123_subdomain(spec["nodeName"].text()));
  if (!v.creating()) spec.unchanged(v.before({"spec"}));
}

void validate_storage_capacity(const Validation& v) {
  validate_label_selector(v["nodeTopology"]);
  v["storageClassName"].check(api::check_dns1123_subdomain(v["storageClassName"].text()));
  if (api::Quantity::from_json(v["capacity"].value()) < api::Quantity())
    v["capacity"].invalid("must be greater than or equal to 0");
  if (v.creating()) return;
  v["nodeTopology"].unchanged(v.before({"nodeTopology"}));
  v["storageClassName"].unchanged(v.before({"storageClassName"}));
}

void validate_volume_attributes_class(const Validation& v) {
  validate_provisioner(v["driverName"]);
  validate_parameters(v["parameters"]);
  if (v["parameters"].empty()) v["parameters"].required("must contain at least one key/value pair");
  if (v.creating()) return;
  for (std::string_view member : {"driverName", "parameters"})
    if (!same(v[member].value(), v.before({member})))
      v[member].forbidden("updates to " + std::string(member) + " are forbidden.");
}

}  // namespace kcube::machinery
