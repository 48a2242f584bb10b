#include "pkg/kubelet/image_manager.h"

#include <algorithm>

#include "pkg/base/strings.h"

namespace kcube::kubelet {
namespace {

constexpr Duration kFirstDelay = std::chrono::seconds(10);
constexpr Duration kLastDelay = std::chrono::minutes(5);

Status waiting(std::string reason, std::string message) { return {500, std::move(reason), std::move(message)}; }

}  // namespace

Result<ImageManager::Outcome> ImageManager::ensure(const core::v1::Pod& pod, std::string_view image, std::string_view policy,
                                                   const EnvironmentSources& sources, const std::function<void()>& pulling) {
  std::string name(image);
  auto reference = runtime::ImageReference::parse(name);
  if (!reference)
    return fail(waiting("InvalidImageName", "Failed to apply default image tag \"" + name + "\": couldn't parse image name \"" + name + "\": " + reference.error().message()));
  auto present = images_.resolve(name);
  if (present && policy != "Always") return Outcome{std::move(*present), false, {}};
  if (policy == "Never")
    return fail(waiting("ErrImageNeverPull", "Container image \"" + name + "\" is not present with pull policy of Never"));
  // An image that was loaded by hand has no registry to ask: Always must not break it.
  if (present && present->pinned) return Outcome{std::move(*present), false, {}};

  std::string key = name + "|" + std::string(pod.metadata().uid());
  {
    std::lock_guard lock(mutex_);
    auto it = failures_.find(key);
    if (it != failures_.end() && it->second.until > clock_.steady_now())
      return fail(waiting("ImagePullBackOff", "Back-off pulling image \"" + name + "\": " + it->second.message));
  }
  pulling();
  auto start = clock_.steady_now();
  auto pulled = images_.pull(name, {.auths = credentials(pod, reference->registry, sources)});
  std::lock_guard lock(mutex_);
  if (pulled) {
    failures_.erase(key);
    return Outcome{std::move(*pulled), true, clock_.steady_now() - start};
  }
  Failure& failure = failures_[key];
  failure.delay = failure.delay == Duration::zero() ? kFirstDelay : std::min(kLastDelay, failure.delay * 2);
  failure.until = clock_.steady_now() + failure.delay;
  failure.message = "ErrImagePull: failed to pull and unpack image \"" + reference->to_string() + "\": " + pulled.error().message();
  return fail(waiting("ErrImagePull", failure.message.substr(14)));
}

// Secrets of type kubernetes.io/dockerconfigjson (and the older dockercfg), those of this registry.
std::vector<runtime::RegistryAuth> ImageManager::credentials(const core::v1::Pod& pod, const std::string& registry, const EnvironmentSources& sources) {
  std::vector<runtime::RegistryAuth> out;
  for (auto ref : pod.spec().image_pull_secrets()) {
    auto secret = sources.secret(ref.name());
    if (!secret) continue;
    const json::value& value = (*secret)->value();
    std::string text = base64_decode(json::get_string(json::at(&value, {"data", ".dockerconfigjson"}))).value_or("");
    bool old = text.empty();
    if (old) text = base64_decode(json::get_string(json::at(&value, {"data", ".dockercfg"}))).value_or("");
    auto config = json::parse(text);
    if (!config) continue;
    for (const auto& m : json::get_object(old ? &*config : json::find(&*config, "auths"))) {
      std::string host(m.key());
      for (std::string_view prefix : {"https://", "http://"})
        if (host.starts_with(prefix)) host.erase(0, prefix.size());
      host = host.substr(0, host.find('/'));
      bool hub = registry == "docker.io" && host.ends_with("docker.io");
      if (host != registry && !hub) continue;
      runtime::RegistryAuth auth{std::string(json::get_string(json::find(&m.value(), "username"))), std::string(json::get_string(json::find(&m.value(), "password"))),
                                 std::string(json::get_string(json::find(&m.value(), "identitytoken")))};
      if (std::string both = base64_decode(json::get_string(json::find(&m.value(), "auth"))).value_or(""); !both.empty()) {
        size_t colon = both.find(':');
        auth.username = both.substr(0, colon);
        if (colon != std::string::npos) auth.password = both.substr(colon + 1);
      }
      out.push_back(std::move(auth));
    }
  }
  return out;
}

}  // namespace kcube::kubelet
