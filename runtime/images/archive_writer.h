// Writes images out: an OCI layout in a tar, with manifest.json beside it for `docker load`.
#pragma once

#include <string>
#include <vector>

#include "runtime/images/index.h"

namespace kcube::runtime::images {

// To `path`, complete or not at all; `-` is standard output. References that are tags or digests name the image in the
// archive; ids take all tags along.
Result<void> save_archive(const Blobs& blobs, const Index& index, const std::vector<std::string>& references,
                          const std::string& path);

}  // namespace kcube::runtime::images
