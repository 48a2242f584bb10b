// Takes images out of archives: OCI layouts and what `docker save` writes, old and new, compressed or not.
#pragma once

#include <memory>
#include <vector>

#include "runtime/images/index.h"

namespace kcube::runtime::images {

// Reads the whole archive in one go (it may be a pipe), checks the digest of every blob and moves those of images for
// this machine into the store. What it returns is not yet in the index. The caller shares activity. 400 for what is no
// image archive or is damaged, 404 when no image in it runs here.
Result<std::vector<IndexEntry>> load_archive(std::unique_ptr<ByteSource> archive, const Blobs& blobs);

}  // namespace kcube::runtime::images
