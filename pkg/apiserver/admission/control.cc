#include "pkg/apiserver/admission/control.h"

#include <algorithm>

#include "pkg/api/yaml.h"

namespace kcube::apiserver {
namespace {

constexpr std::string_view kRegistration = "admissionregistration.k8s.io";

struct Row {
  const AdmissionPlugin* plugin;
  bool by_default = true;
};

// The order of kube-apiserver.
constexpr Row kPlugins[] = {
    {&kAlwaysAdmit, false},
    {&kNamespaceLifecycle},
    {&kLimitPodHardAntiAffinityTopology, false},
    {&kLimitRanger},
    {&kServiceAccount},
    {&kNodeRestriction},
    {&kTaintNodesByCondition},
    {&kAlwaysPullImages, false},
    {&kPodSecurity},
    {&kPriority},
    {&kDefaultTolerationSeconds},
    {&kExtendedResourceToleration, false},
    {&kDefaultStorageClass},
    {&kStorageObjectInUseProtection},
    {&kPersistentVolumeClaimResize},
    {&kRuntimeClass},
    {&kCertificateApproval},
    {&kCertificateSigning},
    {&kClusterTrustBundleAttest},
    {&kCertificateSubjectRestriction},
    {&kDefaultIngressClass},
    {&kDenyServiceExternalIPs, false},
    {&kPodTopologyLabels},
    {&kMutatingAdmissionPolicy},
    {&kMutatingAdmissionWebhook},
    {&kValidatingAdmissionPolicy},
    {&kValidatingAdmissionWebhook},
    {&kResourceQuota},
    {&kAlwaysDeny, false},
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
      validating_policies_({core.cache.find(kRegistration, "validatingadmissionpolicies"), core.cache.find(kRegistration, "validatingadmissionpolicybindings")},
                           [&core] { return read_policies(*core.cache.find(kRegistration, "validatingadmissionpolicies"), *core.cache.find(kRegistration, "validatingadmissionpolicybindings")); }),
      mutating_policies_({core.cache.find(kRegistration, "mutatingadmissionpolicies"), core.cache.find(kRegistration, "mutatingadmissionpolicybindings")},
                         [&core] { return read_policies(*core.cache.find(kRegistration, "mutatingadmissionpolicies"), *core.cache.find(kRegistration, "mutatingadmissionpolicybindings")); }),
      calls_({"webhooks", 64, 1024}) {
  (void)configure({});
}

Result<void> AdmissionControl::configure(const AdmissionOptions& options) {
  const auto &enable = options.enable, &disable = options.disable;
  if (auto done = known(enable, "enable-admission-plugins"); !done) return done;
  if (auto done = known(disable, "disable-admission-plugins"); !done) return done;
  for (const std::string& name : enable)
    if (names(disable, name)) return fail(Status::bad_request(name + " in enable-admission-plugins and disable-admission-plugins overlapped"));
  plugins_.clear();
  for (const Row& row : kPlugins) {
    std::string_view name = row.plugin->name;
    if ((row.by_default && !names(disable, name)) || names(enable, name)) plugins_.push_back(row.plugin);
  }
  return read_configuration(options.configuration);
}

Result<void> AdmissionControl::read_configuration(const std::string& text) {
  if (text.empty()) return {};
  auto document = api::parse_yaml(text);
  if (!document) return fail(document.error().with_context("admission configuration"));
  if (json::get_string(*document, {"kind"}) != "AdmissionConfiguration")
    return fail(Status::bad_request("admission configuration: no kind \"" + std::string(json::get_string(*document, {"kind"})) + "\" is known, AdmissionConfiguration is"));
  for (const json::value& plugin : json::get_array(json::find(&*document, "plugins"))) {
    const json::value* configuration = json::find(&plugin, "configuration");
    if (json::get_string(plugin, {"name"}) != "PodSecurity" || configuration == nullptr) continue;
    auto settings = read_pod_security(*configuration);
    if (!settings) return fail(settings.error().with_context("admission configuration: PodSecurity"));
    pod_security_ = std::move(*settings);
  }
  return {};
}

void AdmissionControl::stop() { calls_.stop(); }

}  // namespace kcube::apiserver
