// Downloads the blobs of one image: three at a time, each resumed where an earlier attempt was cut short.
#pragma once

#include <functional>
#include <vector>

#include "runtime/images/blobs.h"
#include "runtime/images/manifest.h"
#include "runtime/images/registry_client.h"

namespace kcube::runtime::images {

// Those that the store has are counted as done. All of them are in the store, digests checked, when it succeeds; on
// failure what has come so far is kept under partial/. `progress` is called by one thread at a time.
Result<void> download_blobs(RegistryClient& client, const std::vector<Descriptor>& wanted, const Blobs& blobs,
                            const std::function<void(uint64_t done, uint64_t total)>& progress);

}  // namespace kcube::runtime::images
