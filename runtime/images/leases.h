// Leases and the collection of what no image needs. Thread-safe; see blobs.h for the locks the callers hold.
#pragma once

#include <string>
#include <vector>

#include "runtime/images/blobs.h"

namespace kcube::runtime::images {

struct Lease {
  std::string name, image_id;
  std::vector<std::string> layers;  // names below layers/
};

Result<void> write_lease(const Blobs& blobs, const Lease& lease);
void remove_lease(const Blobs& blobs, const std::string& name);
Result<std::vector<Lease>> list_leases(const Blobs& blobs);

// Deletes blobs and layers that neither an image nor a lease uses. When others are at work it leaves a note, and the
// one who finishes last collects (finish_activity).
Result<void> collect(const Blobs& blobs);
// Ends the shared activity and collects if somebody wanted to meanwhile.
void finish_activity(const Blobs& blobs, Fd activity);

}  // namespace kcube::runtime::images
