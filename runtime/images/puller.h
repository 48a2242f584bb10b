// Pulls one image from its registry or a mirror into the store's blobs.
#pragma once

#include <memory>
#include <string>

#include "runtime/images/index.h"
#include "runtime/images/registries.h"

namespace kcube::runtime::images {

// The blobs are in the store afterwards, the index does not know them yet. The caller shares activity.
Result<IndexEntry> pull_image(Registries& registries, const ImageReference& reference, const PullOptions& options,
                              const Blobs& blobs);

}  // namespace kcube::runtime::images
