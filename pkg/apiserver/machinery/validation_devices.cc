// ResourceClaims, their templates, and DeviceClasses.
#include <map>
#include <set>

#include "pkg/api/names.h"
#include "pkg/apiserver/machinery/device_expressions.h"
#include "pkg/apiserver/machinery/validation_devices.h"
#include "pkg/apiserver/machinery/validation_pod.h"
#include "pkg/apiserver/machinery/validation_rules.h"
#include "pkg/base/strings.h"

namespace kcube::machinery {
namespace {

constexpr size_t kMaxItems = 32, kMaxSubrequests = 8, kMaxIdentifier = 32, kMaxParameters = 10 * 1024;

// Requests by name, and those of which one is taken as "request/subrequest".
using Names = std::set<std::string, std::less<>>;

void validate_name(const Cursor& name) { name.check(api::check_dns1123_label(name.text())); }

// Sound items that have the name of one before them: told after all that the items themselves have wrong.
void check_names_differ(const std::vector<Cursor>& items) {
  std::set<std::string_view> names;
  for (const Cursor& item : items)
    if (!item["name"].empty() && !names.insert(item["name"].text()).second) item.with(item["name"].value()).duplicate();
}

void validate_tolerations_of_taints(const Cursor& tolerations) {
  for (const Cursor& toleration : tolerations.items()) {
    Cursor key = toleration["key"], op = toleration["operator"], value = toleration["value"], effect = toleration["effect"];
    if (!key.empty()) validate_label_key(key);
    if (op.text() == "Exists") {
      if (!value.empty()) value.invalid("must be empty for operator `Exists`");
    } else if (op.empty() || op.text() == "Equal") {
      value.check(api::check_label_value(value.text()));
    } else {
      op.not_supported({"Equal", "Exists"});
    }
    if (!effect.empty()) validate_taint_effect(effect);
  }
}

// What exactly one request asks for.
void validate_wanted(const Cursor& wanted) {
  Cursor klass = wanted["deviceClassName"], mode = wanted["allocationMode"], count = wanted["count"];
  if (klass.empty())
    klass.required();
  else
    klass.check(api::check_dns1123_subdomain(klass.text()));
  validate_device_selectors(wanted["selectors"]);
  if (mode.text() == "All") {
    if (count.number() != 0) count.invalid("must not be specified when allocationMode is 'All'");
  } else if (mode.text() == "ExactCount") {
    if (count.number() <= 0) count.invalid(json::value(count.number()), "must be greater than zero");
  } else {
    mode.not_supported({"All", "ExactCount"});
  }
  validate_tolerations_of_taints(wanted["tolerations"]);
}

void validate_request(const Cursor& request) {
  validate_name(request["name"]);
  Cursor exactly = request["exactly"], first = request["firstAvailable"];
  if (!exactly.present() && first.empty()) return request.required("exactly one of `exactly` or `firstAvailable` is required");
  if (exactly.present() && !first.empty())
    return request.invalid(json::value(nullptr), "exactly one of `exactly` or `firstAvailable` is required, but multiple fields are set");
  if (exactly.present()) return validate_wanted(exactly);
  if (first.size() > kMaxSubrequests) first.too_many(kMaxSubrequests);
  for (const Cursor& one : first.items()) {
    validate_name(one["name"]);
    validate_wanted(one);
  }
  check_names_differ(first.items());
}

Names names_of(const Cursor& requests) {
  Names names;
  for (const Cursor& request : requests.items()) {
    const std::string name(request["name"].text());
    names.insert(name);
    for (const Cursor& one : request["firstAvailable"].items()) names.insert(name + "/" + std::string(one["name"].text()));
  }
  return names;
}

// The requests that a constraint or a configuration is about.
void validate_mentioned(const Cursor& mentioned, const Names& names) {
  if (mentioned.size() > kMaxItems) mentioned.too_many(kMaxItems);
  std::set<std::string_view> seen;
  std::vector<Cursor> twice;
  for (const Cursor& one : mentioned.items()) {
    if (!names.contains(one.text()))
      one.invalid("must be the name of a request in the claim or the name of a request and a subrequest separated by '/'");
    else if (!seen.insert(one.text()).second)
      twice.push_back(one);
  }
  for (const Cursor& one : twice) one.duplicate();
}

void validate_full_name(const Cursor& name) {
  if (name.text().find('/') == std::string_view::npos) name.invalid("a fully qualified name must be a domain and a name separated by a slash");
  validate_attribute_name(name, name.text());
}

void validate_constraint(const Cursor& constraint, const Names& names) {
  validate_mentioned(constraint["requests"], names);
  Cursor match = constraint["matchAttribute"], distinct = constraint["distinctAttribute"];
  if (match.present()) validate_full_name(match);
  else if (distinct.present()) validate_full_name(distinct);
  // Word for word.
  else constraint.required("exactly one of \"matchAttribute\" or \"distinctAttribute\" is required, but multiple fields are set");
}

void validate_configuration(const Cursor& config) {
  Cursor opaque = config["opaque"], parameters = opaque["parameters"];
  if (!opaque.present()) return opaque.required();
  validate_csi_driver_name(opaque["driver"]);
  if (!parameters.present()) return parameters.required();
  if (!parameters.value()->is_object()) parameters.invalid_text("<value omitted>", "must be a valid JSON object");
  else if (json::serialize(*parameters.value()).size() > kMaxParameters) parameters.too_long(kMaxParameters);
}

void validate_claim_devices(const Cursor& devices) {
  Cursor requests = devices["requests"], constraints = devices["constraints"], config = devices["config"];
  if (requests.size() > kMaxItems) requests.too_many(kMaxItems);
  for (const Cursor& request : requests.items()) validate_request(request);
  check_names_differ(requests.items());
  const Names names = names_of(requests);
  if (constraints.size() > kMaxItems) constraints.too_many(kMaxItems);
  for (const Cursor& constraint : constraints.items()) validate_constraint(constraint, names);
  if (config.size() > kMaxItems) config.too_many(kMaxItems);
  for (const Cursor& one : config.items()) {
    validate_mentioned(one["requests"], names);
    validate_configuration(one);
  }
}

bool is_identifier(std::string_view text) {
  auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; };
  if (text.empty() || !letter(text[0])) return false;
  for (char c : text)
    if (!letter(c) && !(c >= '0' && c <= '9')) return false;
  return true;
}

void validate_identifier(const Cursor& at, std::string_view name) {
  if (name.size() > kMaxIdentifier) at.too_long(kMaxIdentifier);
  if (!is_identifier(name))
    at.invalid_text(name, "a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric characters or '_' "
                          "(e.g. 'my_name',  or 'MY_NAME',  or 'MyName', regex used for validation is '[A-Za-z_][A-Za-z0-9_]*')");
}

}  // namespace

void validate_attribute_name(const Cursor& at, std::string_view name) {
  std::vector<std::string_view> parts = split(name, '/');
  if (name.empty()) return at.required("name required");
  if (parts.size() == 1) return validate_identifier(at, name);
  if (parts.size() != 2) return;
  const json::value domain(json::key(parts[0]));
  if (parts[0].empty()) at.required("the domain must not be empty");
  else validate_csi_driver_name(at.with(&domain));
  if (parts[1].empty()) at.required("the name must not be empty");
  else validate_identifier(at, parts[1]);
}

void validate_taint_effect(const Cursor& effect) {
  if (!effect.in({"NoExecute", "NoSchedule", "None"})) effect.not_supported({"NoExecute", "NoSchedule", "None"});
}

void validate_resource_claim(const Validation& v) {
  if (!v.main()) return;
  if (v.creating()) validate_claim_devices(v["spec"]["devices"]);
  else v["spec"].unchanged(v.before({"spec"}));
}

void validate_resource_claim_template(const Validation& v) {
  Cursor metadata = v["spec"]["metadata"];
  validate_annotations(metadata["annotations"]);
  validate_labels(metadata["labels"]);
  for (std::string_view name : {"name", "generateName", "namespace", "uid"})
    if (!metadata[name].empty()) metadata[name].forbidden("cannot be set");
  validate_claim_devices(v["spec"]["spec"]["devices"]);
  if (!v.creating()) v["spec"].unchanged(v.before({"spec"}));
}

void validate_device_class(const Validation& v) {
  Cursor spec = v["spec"], config = spec["config"];
  validate_device_selectors(spec["selectors"]);
  if (config.size() > kMaxItems) config.too_many(kMaxItems);
  for (const Cursor& one : config.items()) validate_configuration(one);
  if (Cursor name = spec["extendedResourceName"]; name.present() && !is_extended_resource(name.text())) name.invalid("must be a valid extended resource name");
}

}  // namespace kcube::machinery
