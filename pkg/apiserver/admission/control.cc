#include "pkg/apiserver/admission/control.h"

#include <algorithm>

#include "pkg/api/yaml.h"
#include "pkg/base/file.h"

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
    {&kNamespaceAutoProvision, false},
    {&kNamespaceLifecycle},
    {&kNamespaceExists, false},
    {&kLimitPodHardAntiAffinityTopology, false},
    {&kLimitRanger},
    {&kServiceAccount},
    {&kNodeRestriction},
    {&kTaintNodesByCondition},
    {&kAlwaysPullImages, false},
    {&kImagePolicyWebhook, false},
    {&kPodSecurity},
    {&kPodNodeSelector, false},
    {&kPriority},
    {&kDefaultTolerationSeconds},
    {&kPodTolerationRestriction, false},
    {&kEventRateLimit, false},
    {&kExtendedResourceToleration, false},
    {&kDefaultStorageClass},
    {&kStorageObjectInUseProtection},
    {&kPodGroupProtection},
    {&kOwnerReferencesPermissionEnforcement, false},
    {&kPersistentVolumeClaimResize},
    {&kRuntimeClass},
    {&kCertificateApproval},
    {&kCertificateSigning},
    {&kClusterTrustBundleAttest},
    {&kCertificateSubjectRestriction},
    {&kDefaultIngressClass},
    {&kDenyServiceExternalIPs, false},
    {&kPodTopologyLabels},
    {&kPodGroupWorkloadExists},
    {&kNodeDeclaredFeatureValidator},
    {&kJobValidation},
    {&kPodResizeValidator},
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
    : core_(core),
      mutating_({core.cache.find(kRegistration, "mutatingwebhookconfigurations")},
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
    if ((row.by_default && !names(disable, name)) || names(enable, name)) {
      auto& times = times_[name];
      if (!times) times = std::make_unique<AdmissionTimes>();
      plugins_.push_back({row.plugin, times.get()});
    }
  }
  if (auto done = read_configuration(options.configuration); !done) return done;
  return apply_configuration();
}

Result<void> AdmissionControl::apply_configuration() {
  auto on = [&](const AdmissionPlugin& plugin) { return std::ranges::find(plugins_, &plugin, &Active::plugin) != plugins_.end(); };
  auto wrong = [](std::string_view plugin, const Status& why) { return fail(why.with_context("admission configuration: " + std::string(plugin))); };
  if (const json::value* own = configuration("PodSecurity")) {
    auto settings = read_pod_security(*own);
    if (!settings) return wrong("PodSecurity", settings.error());
    pod_security_ = std::move(*settings);
  }
  if (const json::value* own = configuration("EventRateLimit"); own != nullptr && on(kEventRateLimit)) {
    auto rates = EventRates::create(*own, core_.clock);
    if (!rates) return wrong("EventRateLimit", rates.error());
    event_rates_ = std::move(*rates);
  }
  if (!on(kImagePolicyWebhook)) return {};
  const json::value* own = configuration("ImagePolicyWebhook");
  if (own == nullptr) return wrong("ImagePolicyWebhook", Status::bad_request("no config specified"));
  auto policy = ImagePolicy::create(*own);
  if (!policy) return wrong("ImagePolicyWebhook", policy.error());
  image_policy_ = std::move(*policy);
  return {};
}

Result<void> AdmissionControl::read_configuration(const std::string& text) {
  if (text.empty()) return {};
  auto document = api::parse_yaml(text);
  if (!document) return fail(document.error().with_context("admission configuration"));
  if (json::get_string(*document, {"kind"}) != "AdmissionConfiguration")
    return fail(Status::bad_request("admission configuration: no kind \"" + std::string(json::get_string(*document, {"kind"})) + "\" is known, AdmissionConfiguration is"));
  for (const json::value& plugin : json::get_array(json::find(&*document, "plugins"))) {
    std::string name(json::get_string(plugin, {"name"})), path(json::get_string(plugin, {"path"}));
    if (const json::value* configuration = json::find(&plugin, "configuration")) {
      configurations_[name] = *configuration;
    } else if (!path.empty()) {
      auto content = file::read(path);
      if (!content) return fail(content.error().with_context("admission configuration: " + name));
      auto parsed = api::parse_yaml(*content);
      if (!parsed) return fail(parsed.error().with_context("admission configuration: " + name));
      configurations_[name] = std::move(*parsed);
    }
  }
  return {};
}

void AdmissionControl::write_metrics(MetricsText& out) const {
  out.family("apiserver_admission_controller_admission_duration_seconds", "histogram", "[STABLE] Admission controller latency histogram in seconds, identified by name and broken out for each operation and API resource and type (validate or admit).");
  for (const auto& [name, times] : times_) times->write(out, name);
  metrics_.write(out);
}

void AdmissionControl::stop() { calls_.stop(); }

}  // namespace kcube::apiserver
