#include "pkg/apiserver/admission/image_policy.h"

#include "pkg/apiserver/admission/control.h"
#include "pkg/base/log.h"

namespace kcube::apiserver {
namespace {

constexpr size_t kMaxKept = 1024;
constexpr const char* kAnnotation = "imagepolicywebhook.image-policy.k8s.io/";

json::value spec_of(const Admission& a) {
  json::array containers;
  auto add = [&](const char* list) {
    for (const json::value& c : json::get_array(json::at(a.object, {"spec", list}))) containers.push_back(json::object{{"image", json::get_string(c, {"image"})}});
  };
  if (a.call.resource->subresource().empty()) {
    add("containers");
    add("initContainers");
  } else {
    add("ephemeralContainers");
  }
  json::object annotations;
  for (const auto& m : json::get_object(json::at(a.object, {"metadata", "annotations"})))
    if (json::view(m.key()).find(".image-policy.k8s.io/") != std::string_view::npos) annotations[m.key()] = m.value();
  json::object spec{{"containers", std::move(containers)}};
  if (!annotations.empty()) spec["annotations"] = std::move(annotations);
  spec["namespace"] = a.call.ns;
  return spec;
}

Result<void> check_images(Admission& a) {
  ImagePolicy* policy = a.core.admission.image_policy();
  if (policy == nullptr || a.object == nullptr || (a.operation != Operation::create && a.operation != Operation::update)) return {};
  if (!a.is("", "pods") && !a.is("", "pods", "ephemeralcontainers")) return {};
  auto status = policy->review(spec_of(a), a.core.clock);
  if (!status) {
    if (!policy->default_allow()) return a.forbid(status.error().message());
    log::warn("admission", "the image policy webhook cannot be asked; allowed, as defaultAllow says", {{"error", status.error()}});
    a.call.audit_annotations[std::string(kAnnotation) + "failed-open"] = "true";
    return {};
  }
  for (const auto& m : json::get_object(json::find(&*status, "auditAnnotations"))) a.call.audit_annotations[kAnnotation + std::string(m.key())] = json::get_string(&m.value());
  if (json::get_bool(json::find(&*status, "allowed"))) return {};
  std::string reason(json::get_string(*status, {"reason"}));
  return a.forbid(reason.empty() ? "one or more images rejected by webhook backend" : "image policy webhook backend denied one or more images: " + reason);
}

}  // namespace

Result<std::unique_ptr<ImagePolicy>> ImagePolicy::create(const json::value& configuration) {
  const json::value* config = json::find(&configuration, "imagePolicy");
  std::string path(json::get_string(json::find(config, "kubeConfigFile")));
  if (path.empty()) return fail(Status::bad_request("imagePolicy.kubeConfigFile: Required value"));
  auto target = read_webhook_kubeconfig(path);
  if (!target) return fail(target.error());
  std::unique_ptr<ImagePolicy> out(new ImagePolicy(std::move(*target)));
  for (auto [member, ttl] : {std::pair{"allowTTL", &out->allow_ttl_}, {"denyTTL", &out->deny_ttl_}}) {
    int64_t seconds = json::get_int(json::find(config, member));
    if (seconds < -1 || seconds > 1800) return fail(Status::bad_request("valid value is between 1s and 30m0s, got " + std::to_string(seconds) + "s for imagePolicy." + member));
    if (seconds != 0) *ttl = std::chrono::seconds(std::max<int64_t>(seconds, 0));   // -1: not kept
  }
  out->default_allow_ = json::get_bool(json::find(config, "defaultAllow"));
  return out;
}

Result<json::value> ImagePolicy::review(const json::value& spec, Clock& clock) {
  std::string key = json::serialize(spec);
  {
    std::lock_guard lock(mutex_);
    auto it = kept_.find(key);
    if (it != kept_.end() && it->second.until > clock.steady_now()) return it->second.status;
  }
  auto answer = webhook_.post(json::object{{"kind", "ImageReview"}, {"apiVersion", "imagepolicy.k8s.io/v1alpha1"}, {"metadata", json::object()}, {"spec", spec}, {"status", json::object{{"allowed", false}}}});
  if (!answer) return answer;
  const json::value* status = json::find(&*answer, "status");
  json::value out = status != nullptr ? *status : json::value(json::object());
  std::lock_guard lock(mutex_);
  if (kept_.size() >= kMaxKept) kept_.clear();
  kept_[key] = {out, clock.steady_now() + (json::get_bool(json::find(&out, "allowed")) ? allow_ttl_ : deny_ttl_)};
  return out;
}

const AdmissionPlugin kImagePolicyWebhook{"ImagePolicyWebhook", nullptr, check_images};

}  // namespace kcube::apiserver
