// ResourceSlices.
#include "pkg/api/names.h"
#include "pkg/apiserver/machinery/validation_devices.h"
#include "pkg/apiserver/machinery/validation_pod.h"
#include "pkg/apiserver/machinery/validation_rules.h"
#include "pkg/base/semver.h"
#include "pkg/base/strings.h"

namespace kcube::machinery {
namespace {

constexpr size_t kMaxDevices = 128, kMaxPoolName = 253, kMaxValue = 64;

void validate_pool(const Cursor& pool) {
  Cursor name = pool["name"], count = pool["resourceSliceCount"], generation = pool["generation"];
  if (name.empty()) name.required();
  if (name.text().size() > kMaxPoolName) name.too_long(kMaxPoolName);
  if (!name.empty())
    for (std::string_view part : split(name.text(), '/'))
      if (std::string problem = api::check_dns1123_subdomain(part); !problem.empty()) name.invalid_text(part, problem);
  if (count.number() <= 0) count.invalid(json::value(count.number()), "must be greater than zero");
  if (generation.number() < 0) generation.invalid("must be greater than or equal to zero");
}

// Where the devices can be used: "`nodeName`, `allNodes`", as far as it is said.
std::string said_where(const Cursor& at, std::initializer_list<std::string_view> ways) {
  std::string said;
  for (std::string_view way : ways) {
    Cursor one = at[way];
    const bool counts = way == "nodeName" ? !one.empty() : way == "nodeSelector" ? one.present() : one.flag();
    if (counts) said += (said.empty() ? "`" : ", `") + std::string(way) + "`";
  }
  return said;
}

void validate_where(const Cursor& at, std::initializer_list<std::string_view> ways, const std::string& one_of, const std::string& several) {
  if (Cursor node = at["nodeName"]; node.present() && node.empty()) node.invalid("must be either unset or set to a non-empty string");
  else if (node.present()) node.check(api::check_dns1123_subdomain(node.text()));
  if (Cursor selector = at["nodeSelector"]; selector.present()) {
    validate_node_selector(selector);
    if (Cursor terms = selector["nodeSelectorTerms"]; terms.size() != 1)
      terms.invalid(terms.present() ? *terms.value() : json::value(json::array()), "must have exactly one node selector term");
  }
  for (std::string_view way : ways)
    if (Cursor flag = at[way]; way != "nodeName" && way != "nodeSelector" && flag.present() && !flag.flag()) flag.invalid("must be either unset or set to true");
  const std::string said = said_where(at, ways);
  if (said.empty()) at.required(one_of);
  else if (said.find(',') != std::string::npos) at.invalid_text("{" + said + "}", several);
}

void validate_attribute(const Cursor& attribute) {
  if (attribute.size() != 1) {
    if (attribute.empty()) attribute.invalid_text("", "exactly one value must be specified");
    else attribute.invalid("exactly one value must be specified");
    return;
  }
  if (Cursor version = attribute["version"]; version.present() && !is_semver(version.text())) version.invalid("must be a string compatible with semver.org spec 2.0.0");
  for (std::string_view member : {"string", "version"})
    if (attribute[member].text().size() > kMaxValue) attribute[member].too_long(kMaxValue);
}

void validate_device(const Cursor& device) {
  device["name"].check(api::check_dns1123_label(device["name"].text()));
  for (const auto& [name, attribute] : device["attributes"].members()) {
    validate_attribute_name(device["attributes"], name);
    validate_attribute(attribute);
  }
  for (const auto& [name, capacity] : device["capacity"].members()) validate_attribute_name(device["capacity"], name);
  for (const Cursor& taint : device["taints"].items()) {
    validate_label_key(taint["key"]);
    taint["value"].check(api::check_label_value(taint["value"].text()));
    if (taint["effect"].empty()) taint["effect"].required();
    else validate_taint_effect(taint["effect"]);
  }
}

void check_slice_stays(const Validation& v) {
  Cursor spec = v["spec"];
  spec["pool"]["name"].unchanged(v.before({"spec", "pool", "name"}));
  spec["driver"].unchanged(v.before({"spec", "driver"}));
  spec["nodeName"].unchanged_or(nullptr, v.before({"spec", "nodeName"}));
}

}  // namespace

void validate_resource_slice(const Validation& v) {
  Cursor spec = v["spec"], devices = spec["devices"];
  validate_csi_driver_name(spec["driver"]);
  validate_pool(spec["pool"]);
  if (!v.creating()) check_slice_stays(v);
  const std::string one_of = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required";
  validate_where(spec, {"nodeName", "nodeSelector", "allNodes", "perDeviceNodeSelection"}, one_of, one_of + ", but multiple fields are set");
  if (devices.size() > kMaxDevices) return devices.too_many(kMaxDevices);
  const std::string of_device = "exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when `perDeviceNodeSelection` is set to true in the ResourceSlice spec";
  std::set<std::string_view> names;
  std::vector<Cursor> twice;
  for (const Cursor& device : devices.items()) {
    validate_device(device);
    if (spec["perDeviceNodeSelection"].flag()) validate_where(device, {"nodeName", "nodeSelector", "allNodes"}, of_device, of_device);
    if (!device["name"].empty() && !names.insert(device["name"].text()).second) twice.push_back(device.with(device["name"].value()));
  }
  for (const Cursor& device : twice) device.duplicate();
}

}  // namespace kcube::machinery
