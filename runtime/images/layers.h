// Unpacked layers: made once, found by diff id, complete or not there at all. Thread-safe; the caller shares activity.
#pragma once

#include <condition_variable>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "runtime/images/index.h"

namespace kcube::runtime::images {

class Layers {
 public:
  explicit Layers(const Blobs& blobs) : blobs_(blobs) {}
  // The directories of the image's layers, lowest first, unpacked now where missing. A layer that occurs twice is
  // listed once, at its upper place: overlayfs refuses the same directory twice, and the lower one cannot be seen.
  Result<std::vector<std::string>> ensure(const Record& record);
  // Names below layers/ that an image with these layers may use.
  static std::vector<std::string> names(const std::vector<std::string>& diff_ids);

 private:
  struct Fresh {
    std::string temporary, name;
  };
  Result<std::vector<std::string>> unpack_missing(const Record& record);
  Result<Fresh> unpack(const Descriptor& layer, const std::string& diff_id, const std::string& chain_id,
                       const std::vector<std::string>& below);
  Result<void> publish(const std::vector<Fresh>& fresh);
  // The directory of the layer when it is there, else "".
  std::string find(const std::string& diff_id, const std::string& chain_id) const;

  const Blobs& blobs_;
  std::mutex mutex_;
  std::condition_variable done_;
  std::set<std::string> unpacking_;  // ids of images: two pods that start at once do the work once
};

}  // namespace kcube::runtime::images
