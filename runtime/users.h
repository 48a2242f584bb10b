// Users and groups of an image, as its own /etc/passwd and /etc/group have them. Source: passwd(5), group(5).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "pkg/base/fd.h"
#include "pkg/base/status.h"
#include "runtime/pod_runtime.h"

namespace kcube::runtime {

struct User {
  uint32_t uid = 0, gid = 0;
  std::vector<uint32_t> groups;  // supplemental
  std::string home = "/";
};

// Who a container with `security` runs as; `image_user` is the image's "user[:group]", `root` its root file system.
// 400 when a name is unknown to the image.
Result<User> find_user(const Fd& root, const std::string& image_user, const SecurityConfig& security);

}  // namespace kcube::runtime
