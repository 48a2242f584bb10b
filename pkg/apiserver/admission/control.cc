#include "pkg/apiserver/admission/control.h"

#include <algorithm>

namespace kcube::apiserver {
namespace {

constexpr std::string_view kRegistration = "admissionregistration.k8s.io";

struct Row {
  const AdmissionPlugin* plugin;
  bool by_default = true;
};

// The order of kube-apiserver.
constexpr Row kPlugins[] = {
    {&kNamespaceLifecycle},
    {&kLimitRanger},
    {&kServiceAccount},
    {&kNodeRestriction},
    {&kTaintNodesByCondition},
    {&kPriority},
    {&kDefaultTolerationSeconds},
    {&kDefaultStorageClass},
    {&kRuntimeClass},
    {&kCertificates},
    {&kDefaultIngressClass},
    {&kMutatingAdmissionWebhook},
    {&kValidatingAdmissionWebhook},
    {&kResourceQuota},
};

bool names(const std::vector<std::string>& list, std::string_view name) { return std::ranges::find(list, name) != list.end(); }

Result<void> known(const std::vector<std::string>& list, std::string_view flag) {
  for (const std::string& name : list) {
    if (std::ranges::any_of(kPlugins, [&](const Row& r) { return r.plugin->name == name; })) continue;
    return fail(Status::bad_request(std::string(flag) + " plugin \"" + name + "\" is unknown"));
  }
  return {};
}

}  // namespace

AdmissionControl::AdmissionControl(Core& core)
    : mutating_({core.cache.find(kRegistration, "mutatingwebhookconfigurations")},
                [&core] { return read_webhooks(*core.cache.find(kRegistration, "mutatingwebhookconfigurations")); }),
      validating_({core.cache.find(kRegistration, "validatingwebhookconfigurations")},
                  [&core] { return read_webhooks(*core.cache.find(kRegistration, "validatingwebhookconfigurations")); }),
      calls_({"webhooks", 64, 1024}) {
  (void)configure({}, {});
}

Result<void> AdmissionControl::configure(const std::vector<std::string>& enable, const std::vector<std::string>& disable) {
  if (auto done = known(enable, "enable-admission-plugins"); !done) return done;
  if (auto done = known(disable, "disable-admission-plugins"); !done) return done;
  for (const std::string& name : enable)
    if (names(disable, name)) return fail(Status::bad_request(name + " in enable-admission-plugins and disable-admission-plugins overlapped"));
  plugins_.clear();
  for (const Row& row : kPlugins) {
    std::string_view name = row.plugin->name;
    if ((row.by_default && !names(disable, name)) || names(enable, name)) plugins_.push_back(row.plugin);
  }
  return {};
}

void AdmissionControl::stop() { calls_.stop(); }

}  // namespace kcube::apiserver
