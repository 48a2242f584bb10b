// ResourceClaims, their templates, and DeviceClasses: the structure; the expressions in them are the scheduler's.
#include <map>
#include <set>

#include "pkg/api/names.h"
#include "pkg/apiserver/machinery/validation_pod.h"
#include "pkg/apiserver/machinery/validation_rules.h"
#include "pkg/base/strings.h"

namespace kcube::machinery {
namespace {

constexpr size_t kMaxItems = 32, kMaxSubrequests = 8;

void validate_name(const Cursor& name) { name.check(api::check_dns1123_label(name.text())); }

// What exactly one request asks for.
void validate_wanted(const Cursor& wanted) {
  Cursor klass = wanted["deviceClassName"], mode = wanted["allocationMode"], count = wanted["count"];
  if (klass.empty())
    klass.required();
  else
    klass.check(api::check_dns1123_subdomain(klass.text()));
  if (wanted["selectors"].size() > kMaxItems) wanted["selectors"].too_many(kMaxItems);
  for (const Cursor& selector : wanted["selectors"].items())
    if (!selector["cel"].present()) selector["cel"].required();
  if (mode.text() == "All") {
    if (count.number() != 0) count.invalid("must not be specified when allocationMode is 'All'");
  } else if (mode.text() == "ExactCount") {
    if (count.number() <= 0) count.invalid(json::value(count.number()), "must be greater than zero");
  } else {
    mode.not_supported({"All", "ExactCount"});
  }
}

void validate_requests(const Cursor& requests) {
  if (requests.size() > kMaxItems) requests.too_many(kMaxItems);
  std::set<std::string_view> names;
  for (const Cursor& request : requests.items()) {
    validate_name(request["name"]);
    if (!request["name"].empty() && !names.insert(request["name"].text()).second) request.duplicate();
    Cursor exactly = request["exactly"], first = request["firstAvailable"];
    if (!exactly.present() && first.empty())
      request.required("exactly one of `exactly` or `firstAvailable` is required");
    else if (exactly.present() && !first.empty())
      request.invalid(json::value(nullptr),
                      "exactly one of `exactly` or `firstAvailable` is required, but multiple fields are set");
    else if (exactly.present())
      validate_wanted(exactly);
    if (first.size() > kMaxSubrequests) first.too_many(kMaxSubrequests);
    if (exactly.present()) continue;
    for (const Cursor& one : first.items()) {
      validate_name(one["name"]);
      validate_wanted(one);
    }
  }
}

void validate_claim_devices(const Cursor& devices) {
  validate_requests(devices["requests"]);
  for (std::string_view list : {"constraints", "config"})
    if (devices[list].size() > kMaxItems) devices[list].too_many(kMaxItems);
  for (const Cursor& config : devices["config"].items()) {
    Cursor opaque = config["opaque"];
    if (!opaque.present())
      opaque.required();
    else
      validate_csi_driver_name(opaque["driver"]);
  }
}

}  // namespace

void validate_resource_claim(const Validation& v) {
  if (!v.main()) return;
  if (!v.creating()) {
    v["spec"].unchanged(v.before({"spec"}));
    return;
  }
  validate_claim_devices(v["spec"]["devices"]);
}

void validate_resource_claim_template(const Validation& v) {
  Cursor metadata = v["spec"]["metadata"];
  if (!v.creating()) {
    v["spec"].unchanged(v.before({"spec"}));
    return;
  }
  validate_labels(metadata["labels"]);
  validate_annotations(metadata["annotations"]);
  validate_claim_devices(v["spec"]["spec"]["devices"]);
}

void validate_resource_slice(const Validation& v) {
  Cursor spec = v["spec"], driver = spec["driver"], pool = spec["pool"], count = pool["resourceSliceCount"];
  if (driver.empty()) driver.required();
  else validate_csi_driver_name(driver);
  if (pool["name"].empty()) pool["name"].required();
  else
    for (std::string_view part : split(pool["name"].text(), '/')) pool["name"].check(api::check_dns1123_subdomain(part));
  if (count.number() <= 0) count.invalid(json::value(count.number()), "must be greater than zero");
  if (pool["generation"].number() < 0) pool["generation"].invalid("must be greater than or equal to zero");
  if (Cursor node = spec["nodeName"]; node.present() && node.empty()) node.invalid("must be either unset or set to a non-empty string");
  else if (node.present()) node.check(api::check_dns1123_subdomain(node.text()));
  if (spec["nodeName"].empty() && !spec["nodeSelector"].present() && !spec["allNodes"].flag() && !spec["perDeviceNodeSelection"].flag())
    spec.required("exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required");
  std::set<std::string_view> names;
  for (const Cursor& device : spec["devices"].items()) {
    Cursor name = device["name"];
    if (std::string problem = api::check_dns1123_label(name.text()); !problem.empty()) name.invalid_text(name.text(), problem);
    else if (!names.insert(name.text()).second) device.with(name.value()).duplicate();
  }
  if (v.creating()) return;
  driver.unchanged(v.before({"spec", "driver"}));
  pool["name"].unchanged(v.before({"spec", "pool", "name"}));
  spec["nodeName"].unchanged(v.before({"spec", "nodeName"}));
}

void validate_device_class(const Validation& v) {
  for (std::string_view list : {"selectors", "config"})
    if (v["spec"][list].size() > kMaxItems) v["spec"][list].too_many(kMaxItems);
  for (const Cursor& selector : v["spec"]["selectors"].items())
    if (!selector["cel"].present()) selector["cel"].required();
  for (const Cursor& config : v["spec"]["config"].items())
    if (!config["opaque"].present()) config["opaque"].required();
}

}  // namespace kcube::machinery
