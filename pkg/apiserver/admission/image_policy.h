// The webhook that ImagePolicyWebhook asks about the images of a pod. Thread-safe; its answers are kept for a while.
// Source: the Kubernetes docs on ImagePolicyWebhook; the API reference of imagepolicy.k8s.io/v1alpha1.
#pragma once

#include <chrono>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>

#include "pkg/apiserver/admission/admission.h"
#include "pkg/apiserver/configured_webhook.h"

namespace kcube::apiserver {

class ImagePolicy {
 public:
  // `configuration` has the member imagePolicy: kubeConfigFile, allowTTL, denyTTL, defaultAllow. 400 when it cannot be used.
  static Result<std::unique_ptr<ImagePolicy>> create(const json::value& configuration);
  // The status of an ImageReview.
  Result<json::value> review(const json::value& spec, Clock& clock);
  bool default_allow() const { return default_allow_; }

 private:
  explicit ImagePolicy(WebhookTarget target) : webhook_(std::move(target)) {}
  struct Kept {
    json::value status;
    SteadyTime until;
  };

  ConfiguredWebhook webhook_;
  std::chrono::seconds allow_ttl_{300}, deny_ttl_{30};
  bool default_allow_ = false;
  std::mutex mutex_;
  std::unordered_map<std::string, Kept> kept_;
};

}  // namespace kcube::apiserver
