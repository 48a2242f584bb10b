// Environment variables and where their values come from.
#include <algorithm>

#include "pkg/api/names.h"
#include "pkg/api/quantity.h"
#include "pkg/apiserver/machinery/validation_pod.h"

namespace kcube::machinery {
namespace {

void validate_key_ref(const Cursor& ref) {
  Cursor name = ref["name"], key = ref["key"];
  if (!name.empty()) name.check(api::check_dns1123_subdomain(name.text()));
  if (key.empty())
    key.required();
  else
    key.check(api::check_config_map_key(key.text()));
}

void validate_file_ref(const Cursor& ref) {
  if (ref["key"].empty())
    ref["key"].required();
  else
    ref["key"].check(api::check_env_var_name(ref["key"].text()));
  if (ref["volumeName"].empty())
    ref["volumeName"].required();
  else
    ref["volumeName"].check(api::check_dns1123_label(ref["volumeName"].text()));
  if (ref["path"].empty())
    ref["path"].required();
  else
    validate_relative_path(ref["path"]);
}

void validate_value_from(const Cursor& variable) {
  Cursor from = variable["valueFrom"];
  if (!from.present()) return;
  size_t sources = 0;
  auto source = [&](std::string_view name) {
    bool there = from[name].present();
    sources += there;
    return there;
  };
  if (source("fieldRef")) validate_field_ref(from["fieldRef"], false);
  if (source("resourceFieldRef")) validate_resource_field_ref(from["resourceFieldRef"], false);
  if (source("configMapKeyRef")) validate_key_ref(from["configMapKeyRef"]);
  if (source("secretKeyRef")) validate_key_ref(from["secretKeyRef"]);
  if (source("fileKeyRef")) validate_file_ref(from["fileKeyRef"]);
  if (sources == 0)
    from.invalid_text(
        "", "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`");
  else if (!variable["value"].empty())
    from.invalid_text("", "may not be specified when `value` is not empty");
  else if (sources > 1)
    from.invalid_text("", "may not have more than one field specified at a time");
}

// "metadata.labels['a']" is the path and the subscript.
struct FieldPath {
  std::string_view path, subscript;
  bool has_subscript = false;
};
FieldPath split_subscript(std::string_view text) {
  size_t open = text.find("['");
  if (open == std::string_view::npos || !text.ends_with("']")) return {text, {}};
  return {text.substr(0, open), text.substr(open + 2, text.size() - open - 4), true};
}

bool known_label(std::string_view path) {
  for (std::string_view known :
       {"metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid",
        "spec.hostname", "spec.nodeName", "spec.restartPolicy", "spec.serviceAccountName", "spec.schedulerName",
        "status.hostIP", "status.hostIPs", "status.phase", "status.podIP", "status.podIPs"})
    if (path == known) return true;
  return false;
}

// Units that a divisor may have, besides the one of cpu.
bool known_divisor(std::string_view text) {
  for (std::string_view known :
       {"", "0", "1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"})
    if (text == known) return true;
  return false;
}

void validate_divisor(const Cursor& ref) {
  std::string_view resource = ref["resource"].text(), divisor = ref["divisor"].text();
  std::string_view what;
  if (resource.ends_with(".cpu")) {
    if (divisor.empty() || divisor == "0" || divisor == "1" || divisor == "1m") return;
    ref["divisor"].invalid_text(resource, "only divisor's values 1m and 1 are supported with the cpu resource");
    return;
  }
  if (resource.ends_with(".memory"))
    what = "memory";
  else if (resource.ends_with(".ephemeral-storage"))
    what = "local ephemeral storage";
  else if (resource.find(".hugepages-") != std::string_view::npos)
    what = "hugepages";
  if (what.empty() || known_divisor(divisor)) return;
  ref["divisor"].invalid_text(
      resource,
      "only divisor's values 1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei are supported with the " +
          std::string(what) + " resource");
}

}  // namespace

void validate_field_ref(const Cursor& ref, bool volume) {
  if (ref["apiVersion"].empty()) return ref["apiVersion"].required();
  Cursor field = ref["fieldPath"];
  if (field.empty()) return field.required();
  FieldPath parts = split_subscript(field.text());
  if (parts.has_subscript) {
    if (parts.path == "metadata.annotations") {
      std::string lower(parts.subscript);
      std::transform(lower.begin(), lower.end(), lower.begin(),
                     [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
      // A qualified name, after folding the case as annotations do.
      if (std::string problem = api::check_qualified_name(lower); !problem.empty())
        ref.invalid_text(parts.subscript, problem);
    } else if (parts.path == "metadata.labels") {
      if (std::string problem = api::check_qualified_name(parts.subscript); !problem.empty())
        ref.invalid_text(parts.subscript, problem);
    } else {
      field.invalid("error converting fieldPath: field label does not support subscript: " + std::string(field.text()));
    }
    return;
  }
  if (!known_label(parts.path)) {
    field.invalid("error converting fieldPath: field label not supported: " + std::string(parts.path));
    return;
  }
  if (volume) {
    if (!field.in({"metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"}))
      field.not_supported(
          {"metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"});
    return;
  }
  if (!field.in({"metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName",
                 "status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs"}))
    field.not_supported({"metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName",
                         "spec.serviceAccountName", "status.hostIP", "status.hostIPs", "status.podIP",
                         "status.podIPs"});
}

void validate_resource_field_ref(const Cursor& ref, bool volume) {
  if (volume && ref["containerName"].empty()) return ref["containerName"].required();
  Cursor resource = ref["resource"];
  if (resource.empty()) return resource.required();
  bool known = resource.in({"limits.cpu", "limits.ephemeral-storage", "limits.memory", "requests.cpu",
                            "requests.ephemeral-storage", "requests.memory"}) ||
               resource.text().starts_with("limits.hugepages-") || resource.text().starts_with("requests.hugepages-");
  if (!known)
    resource.not_supported({"limits.cpu", "limits.ephemeral-storage", "limits.memory", "requests.cpu",
                            "requests.ephemeral-storage", "requests.memory"});
  validate_divisor(ref);
}

void validate_env(const Cursor& env) {
  for (const Cursor& variable : env.items()) {
    Cursor name = variable["name"];
    if (name.empty())
      name.required();
    else
      name.check(api::check_env_var_name(name.text()));
    validate_value_from(variable);
  }
}

void validate_env_from(const Cursor& env_from) {
  for (const Cursor& item : env_from.items()) {
    if (Cursor prefix = item["prefix"]; !prefix.empty()) prefix.check(api::check_env_var_name(prefix.text()));
    size_t sources = 0;
    for (std::string_view member : {"configMapRef", "secretRef"}) {
      Cursor ref = item[member];
      if (!ref.present()) continue;
      ++sources;
      if (ref["name"].empty())
        ref["name"].required();
      else
        ref["name"].check(api::check_dns1123_subdomain(ref["name"].text()));
    }
    if (sources == 0)
      env_from.invalid_text("", "must specify one of: `configMapRef` or `secretRef`");
    else if (sources > 1)
      env_from.invalid_text("", "may not have more than one field specified at a time");
  }
}

}  // namespace kcube::machinery
