// The files of the store: where each is, blobs written with their digest checked, and the lock that keeps collection
// away from work in progress. Thread-safe.
//
//   oci-layout, index.json          the OCI layout; index.json is replaced, never changed in place
//   blobs/sha256/HEX                manifests, configs and layers as they came
//   layers/HEX                      unpacked layers, by diff id; layers/HEX-CHAIN when the directories depend on those
//   below leases/NAME                     JSON: the image and layers that a container uses; NAME is percent-encoded
//   partial/HEX                     layers whose download was cut short
//   tmp/                            what is being written, and the files that leases are further names of (lease-HEX);
//                                   emptied when a store is opened and nobody works
//   lock                            flock: exclusive around changes of index.json
//   activity                        flock: shared while adding or leasing, exclusive while collecting
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "pkg/base/fd.h"
#include "pkg/base/status.h"
#include "runtime/images/digest.h"
#include "runtime/images/source.h"

namespace kcube::runtime::images {

class Blobs {
 public:
  // Makes the directories; empties tmp/ when no other process works there.
  static Result<Blobs> open(const std::string& directory);

  const std::string& directory() const { return directory_; }
  std::string path(std::string_view name) const { return directory_ + "/" + std::string(name); }
  std::string blob_path(std::string_view digest) const { return directory_ + "/blobs/sha256/" + hex_of(digest); }
  bool has(std::string_view digest) const;
  // A new name in tmp/.
  std::string temporary() const;

  Result<std::string> read(std::string_view digest, uint64_t max_bytes) const;
  // A stranger's bytes; fails with 400 when `expected` is not empty and not their digest. Returns the digest.
  Result<std::string> write(std::string_view bytes, std::string_view expected = {}) const;
  // Takes a file whose digest is known: synced and renamed into place.
  Result<void> adopt(const std::string& file, std::string_view digest) const;
  // Makes renames into a directory of the store ("blobs/sha256", "" for the top) durable, once after several.
  Result<void> sync_directory(std::string_view name) const;

  // Waits for other processes and threads.
  Result<Fd> lock_index() const;
  Result<Fd> share_activity() const;
  // Without waiting; no Fd when somebody works.
  Fd try_own_activity() const;

 private:
  explicit Blobs(std::string directory) : directory_(std::move(directory)) {}
  std::string directory_;
};

}  // namespace kcube::runtime::images
