// Images for containers and image volumes: pull policies, credentials of imagePullSecrets, and back-off after failures.
#pragma once

#include <map>
#include <mutex>
#include <string>

#include "pkg/api/views/core_v1.h"
#include "pkg/base/clock.h"
#include "pkg/kubelet/environment.h"
#include "runtime/image_store.h"

namespace kcube::kubelet {

class ImageManager {
 public:
  ImageManager(runtime::ImageStore& images, Clock& clock) : images_(images), clock_(clock) {}

  struct Outcome {
    runtime::Image image;
    bool pulled = false;
    Duration took{};
  };
  // The image, pulled when the policy (Always, IfNotPresent, Never) says so; `pulling` is called before. Failures carry the waiting reason in Status::reason: ErrImageNeverPull,
  // InvalidImageName, ErrImagePull, ImagePullBackOff.
  Result<Outcome> ensure(const core::v1::Pod& pod, std::string_view image, std::string_view policy, const EnvironmentSources& sources,
                         const std::function<void()>& pulling);

 private:
  struct Failure {
    Duration delay{};
    SteadyTime until{};
    std::string message;
  };
  std::vector<runtime::RegistryAuth> credentials(const core::v1::Pod& pod, const std::string& image, const EnvironmentSources& sources);

  runtime::ImageStore& images_;
  Clock& clock_;
  std::mutex mutex_;
  std::map<std::string, Failure> failures_;   // by image and pod
};

}  // namespace kcube::kubelet
