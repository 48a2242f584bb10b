#include "pkg/kubelet/user_namespaces.h"

#include <algorithm>
#include <optional>

#include "pkg/api/json.h"
#include "pkg/base/file.h"
#include "pkg/base/log.h"
#include "runtime/pod_runtime.h"

namespace kcube::kubelet {
namespace {

constexpr uint32_t kIds = runtime::kUserNamespaceIds;

// The kubelet's own format.
std::string record_of(uint32_t start) {
  json::array mapping{json::object{{"hostId", start}, {"containerId", 0}, {"length", kIds}}};
  return json::serialize(json::object{{"uidMappings", mapping}, {"gidMappings", mapping}});
}

std::optional<uint32_t> read_record(const std::string& path) {
  auto text = file::read(path);
  if (!text) return std::nullopt;
  auto value = json::parse(*text);
  if (!value) return std::nullopt;
  const json::array& mappings = json::get_array(json::find(&*value, "uidMappings"));
  int64_t start = mappings.empty() ? 0 : json::get_int(json::find(&mappings[0], "hostId"));
  if (start < kIds || start > UINT32_MAX - kIds) return std::nullopt;
  return static_cast<uint32_t>(start);
}

}  // namespace

UserNamespaces::UserNamespaces(std::string pods_dir, uint32_t max_pods) : pods_dir_(std::move(pods_dir)), max_pods_(max_pods) {
  for (const std::string& uid : file::list(pods_dir_).value_or(std::vector<std::string>())) {
    if (!file::exists(file_of(uid))) continue;
    if (auto start = read_record(file_of(uid)))
      starts_[uid] = *start;
    else
      log::warn("kubelet", "a pod's user namespace record cannot be read", {{"file", file_of(uid)}});
  }
}

Result<uint32_t> UserNamespaces::allocate(const std::string& pod_uid) {
  std::lock_guard lock(mutex_);
  if (auto it = starts_.find(pod_uid); it != starts_.end()) return it->second;
  for (uint32_t i = 1; i <= max_pods_; ++i) {
    uint32_t start = i * kIds;
    if (std::ranges::any_of(starts_, [&](const auto& entry) { return entry.second == start; })) continue;
    if (auto r = file::make_dirs(pods_dir_ + "/" + pod_uid, 0750); !r) return fail(r.error());
    if (auto r = file::write_atomic(file_of(pod_uid), record_of(start), 0600); !r) return fail(r.error());
    starts_[pod_uid] = start;
    return start;
  }
  return fail(Status::unavailable("could not find an empty slot to allocate a user namespace"));
}

void UserNamespaces::release(const std::string& pod_uid) {
  std::lock_guard lock(mutex_);
  starts_.erase(pod_uid);
}

}  // namespace kcube::kubelet
