// Root file systems: an overlay over an image's layers, as a mount that is attached nowhere until a container takes it.
// Source: mount(2), fsopen(2) series, Documentation/filesystems/overlayfs.rst.
#pragma once

#include <string>
#include <vector>

#include "pkg/base/fd.h"
#include "pkg/base/status.h"

namespace kcube::runtime {

// The user namespace that files are mapped to: what the layers have as user 0 is its root. None: as they are.
struct IdMap {
  Fd user_namespace;
  uint32_t root = 0;  // its user and group 0, as the host sees them
};

// Stacks `layers` (lowest first) with a writable directory below `directory` (made) and returns the mount. Where the
// file system of `directory` cannot hold an overlay's upper layer, a tmpfs mounted at `directory` does.
Result<Fd> mount_root(const std::vector<std::string>& layers, const std::string& directory, const IdMap& ids = {});
// The layers without anything writable; `sub_path` beneath them when it is not empty.
Result<Fd> mount_image(const std::vector<std::string>& layers, const std::string& sub_path, const IdMap& ids = {});
// A directory as it is, for OCI bundles.
Result<Fd> mount_directory(const std::string& directory);
// Removes what mount_root left in `directory`.
Result<void> remove_root(const std::string& directory);

}  // namespace kcube::runtime
