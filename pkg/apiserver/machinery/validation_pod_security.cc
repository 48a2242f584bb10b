// Security contexts of pods and containers.
#include <limits>

#include "pkg/api/names.h"
#include "pkg/apiserver/machinery/validation_pod.h"
#include "pkg/base/strings.h"

namespace kcube::machinery {
namespace {

constexpr size_t kSysctlMaxLength = 253, kMaxProfileLength = 4095;
constexpr int64_t kMaxId = std::numeric_limits<int32_t>::max();

void validate_id(const Cursor& id) {
  if (id.present()) id.between(0, kMaxId);
}

// The shape of a sysctl: parts of [a-z0-9_-], separated by '.' or '/'.
bool valid_sysctl(std::string_view name) {
  if (name.size() > kSysctlMaxLength) return false;
  auto word = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
  char before = '.';
  for (char c : name) {
    bool separator = c == '.' || c == '/';
    if (separator ? !word(before) : !(word(c) || ((c == '-' || c == '_') && before != '.' && before != '/')))
      return false;
    before = c;
  }
  return word(before);
}

void validate_sysctls(const Cursor& context, const Cursor& spec) {
  std::set<std::string_view> seen;
  for (const Cursor& sysctl : context["sysctls"].items()) {
    Cursor name = sysctl["name"];
    if (name.empty())
      name.required();
    else if (!valid_sysctl(name.text()))
      name.invalid(
          "must have at most 253 characters and match regex "
          "^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$");
    else if (!seen.insert(name.text()).second)
      name.duplicate();
    std::string dotted = replace_all(std::string(name.text()), "/", ".");
    if (spec["hostNetwork"].flag() && dotted.starts_with("net."))
      name.invalid("may not be specified when 'hostNetwork' is true");
    bool ipc = dotted.starts_with("kernel.shm") || dotted.starts_with("kernel.msg") || dotted == "kernel.sem" ||
               dotted.starts_with("fs.mqueue.");
    if (spec["hostIPC"].flag() && ipc) name.invalid("may not be specified when 'hostIPC' is true");
  }
}

void validate_seccomp(const Cursor& profile) {
  if (!profile.present()) return;
  Cursor type = profile["type"], path = profile["localhostProfile"];
  if (type.empty())
    type.required("type is required when seccompProfile is set");
  else if (!type.in({"Localhost", "RuntimeDefault", "Unconfined"}))
    type.not_supported({"Localhost", "RuntimeDefault", "Unconfined"});
  if (type.text() != "Localhost") {
    if (path.present()) path.invalid(*profile.value(), "can only be set when seccomp type is Localhost");
  } else if (!path.present()) {
    path.required("must be set when seccomp type is Localhost");
  } else {
    validate_relative_path(path);
  }
}

void validate_apparmor(const Cursor& profile) {
  if (!profile.present()) return;
  Cursor type = profile["type"], name = profile["localhostProfile"];
  if (type.text() == "Localhost") {
    if (trim(name.text()) != name.text())
      name.invalid("must not be padded with whitespace");
    else if (name.empty())
      name.required("must be set when AppArmor type is Localhost");
    if (name.text().size() > kMaxProfileLength) name.too_long(kMaxProfileLength);
  } else {
    if (type.empty())
      type.required("type is required when appArmorProfile is set");
    else if (!type.in({"RuntimeDefault", "Unconfined"}))
      type.not_supported({"Localhost", "RuntimeDefault", "Unconfined"});
    if (name.present()) name.invalid("can only be set when AppArmor type is Localhost");
  }
}

}  // namespace

void validate_pod_security(const PodContext& pod) {
  Cursor context = pod.spec["securityContext"];
  for (std::string_view id : {"fsGroup", "runAsUser", "runAsGroup"}) validate_id(context[id]);
  for (const Cursor& group : context["supplementalGroups"].items()) validate_id(group);
  if (pod.spec["shareProcessNamespace"].flag() && pod.spec["hostPID"].flag())
    context["shareProcessNamespace"].invalid(json::value(true),
                                             "ShareProcessNamespace and HostPID cannot both be enabled");
  validate_sysctls(context, pod.spec);
  context["fsGroupChangePolicy"].one_of_if_set({"Always", "OnRootMismatch"});
  validate_seccomp(context["seccompProfile"]);
  validate_apparmor(context["appArmorProfile"]);
  context["supplementalGroupsPolicy"].one_of_if_set({"Merge", "Strict"});
  context["seLinuxChangePolicy"].one_of_if_set({"MountOption", "Recursive"});
}

void validate_container_security(const PodContext& pod, const Cursor& context) {
  if (!context.present()) return;
  for (std::string_view id : {"runAsUser", "runAsGroup"}) validate_id(context[id]);
  Cursor proc = context["procMount"];
  proc.one_of_if_set({"Default", "Unmasked"});
  if (proc.text() == "Unmasked" && pod.host_users) proc.invalid("`hostUsers` must be false to use `Unmasked`");
  validate_seccomp(context["seccompProfile"]);
  Cursor escalation = context["allowPrivilegeEscalation"];
  if (escalation.present() && !escalation.flag()) {
    if (context["privileged"].flag())
      context.invalid("cannot set `allowPrivilegeEscalation` to false and `privileged` to true");
    for (const Cursor& capability : context["capabilities"]["add"].items())
      if (capability.text() == "CAP_SYS_ADMIN")
        context.invalid("cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN");
  }
  validate_apparmor(context["appArmorProfile"]);
}

}  // namespace kcube::machinery
