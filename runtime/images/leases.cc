#include "runtime/images/leases.h"

#include <unistd.h>

#include <cerrno>
#include <set>

#include "pkg/api/json.h"
#include "pkg/base/file.h"
#include "pkg/base/log.h"
#include "pkg/base/strings.h"
#include "runtime/images/index.h"
#include "runtime/images/layers.h"

namespace kcube::runtime::images {
namespace {

constexpr uint64_t kMaxLease = 1 << 20;
constexpr int kMaxAttempts = 10;
constexpr const char* kPending = "collect";  // the note that somebody wanted to collect

std::string path_of(const Blobs& blobs, const std::string& name) {
  return blobs.path("leases/") + percent_encode(name);
}

Result<void> write_shared(const Blobs& blobs, const Lease& lease, const std::string& path) {
  json::object document;
  document["image"] = json::key(lease.image_id);
  json::array layers;
  for (const std::string& layer : lease.layers) layers.emplace_back(json::key(layer));
  document["layers"] = std::move(layers);
  std::string temporary = blobs.temporary();
  if (auto r = file::write(temporary, json::serialize(document)); !r) return r;
  return file::rename(temporary, path);
}

struct Used {
  std::set<std::string> blobs, layers;  // hex digests; names below layers/
};

Result<Used> find_used(const Blobs& blobs) {
  Used used;
  auto entries = read_entries(blobs);
  if (!entries) return fail(entries.error());
  for (const IndexEntry& entry : *entries) {
    used.blobs.insert(hex_of(entry.manifest.digest));
    auto record = read_record(blobs, entry);
    if (!record) continue;  // damaged: nothing of it can be used anyway
    used.blobs.insert(hex_of(record->manifest.config.digest));
    for (const Descriptor& layer : record->manifest.layers) used.blobs.insert(hex_of(layer.digest));
    for (std::string& name : Layers::names(record->diff_ids)) used.layers.insert(std::move(name));
  }
  auto leases = list_leases(blobs);
  if (!leases) return fail(leases.error());
  for (const Lease& lease : *leases) used.layers.insert(lease.layers.begin(), lease.layers.end());
  return used;
}

// Layers are only moved aside, which is quick: who starts a container waits for that, not for the deletion.
Result<std::vector<std::string>> unlink_unused(const Blobs& blobs) {
  if (auto r = file::remove(blobs.path(kPending)); !r) return fail(r.error());
  auto used = find_used(blobs);
  if (!used) return fail(used.error());
  auto stored = file::list(blobs.path("blobs/sha256"));
  if (!stored) return fail(stored.error());
  for (const std::string& name : *stored)
    if (!used->blobs.contains(name))
      if (auto r = file::remove(blobs.path("blobs/sha256/") + name); !r) return fail(r.error());
  auto layers = file::list(blobs.path("layers"));
  if (!layers) return fail(layers.error());
  std::vector<std::string> doomed;
  for (const std::string& name : *layers) {
    if (used->layers.contains(name)) continue;
    doomed.push_back(blobs.temporary());
    if (auto r = file::rename(blobs.path("layers/") + name, doomed.back()); !r) return fail(r.error());
  }
  return doomed;
}

Result<void> collect_alone(const Blobs& blobs, Fd alone) {
  auto doomed = unlink_unused(blobs);
  alone.reset();
  if (!doomed) return fail(doomed.error());
  for (const std::string& directory : *doomed)
    if (auto r = file::remove_tree(directory); !r) return r;
  return {};
}

}  // namespace

// All leases of an image are names of one file: a new name costs a directory entry only, where a new file can take ext4
// a millisecond to find an inode for, and pods wait for this. Not synced: after a crash of the machine no container
// that needs the lease lives.
Result<void> write_lease(const Blobs& blobs, const Lease& lease) {
  std::string shared = blobs.path("tmp/lease-") + hex_of(lease.image_id), path = path_of(blobs, lease.name);
  for (int attempt = 0; attempt < kMaxAttempts; ++attempt) {
    if (::link(shared.c_str(), path.c_str()) == 0) return {};
    if (errno == EEXIST) {  // taken before, perhaps for another image
      if (auto r = file::remove(path); !r) return r;
    } else if (errno == ENOENT || errno == EMLINK) {  // the first one, or more than the file system allows
      if (auto r = write_shared(blobs, lease, shared); !r) return r;
    } else {
      return fail(Status::from_errno("lease " + path));
    }
  }
  return fail(Status::unavailable("lease " + path + ": others take the same lease at the same time"));
}

void remove_lease(const Blobs& blobs, const std::string& name) {
  if (auto r = file::remove(path_of(blobs, name)); !r)
    log::warn("images", "a lease cannot be removed", {{"lease", name}, {"error", r.error()}});
}

Result<std::vector<Lease>> list_leases(const Blobs& blobs) {
  auto names = file::list(blobs.path("leases"));
  if (!names) return fail(names.error());
  std::vector<Lease> leases;
  for (const std::string& name : *names) {
    auto text = file::read(blobs.path("leases/") + name, kMaxLease);
    if (!text && text.error().is_not_found()) continue;  // given back meanwhile
    if (!text) return fail(text.error());
    auto document = json::parse(*text);
    if (!document) continue;  // torn by a crash, see write_lease()
    Lease lease{.name = percent_decode(name, false), .image_id = std::string(json::get_string(*document, {"image"}))};
    for (const json::value& layer : json::get_array(json::find(&*document, "layers")))
      lease.layers.emplace_back(json::get_string(&layer));
    leases.push_back(std::move(lease));
  }
  return leases;
}

Result<void> collect(const Blobs& blobs) {
  if (auto r = file::write(blobs.path(kPending), ""); !r) return r;
  Fd alone = blobs.try_own_activity();
  if (!alone) return {};
  return collect_alone(blobs, std::move(alone));
}

void finish_activity(const Blobs& blobs, Fd activity) {
  activity.reset();
  if (!file::exists(blobs.path(kPending))) return;
  Fd alone = blobs.try_own_activity();
  if (!alone || !file::exists(blobs.path(kPending))) return;
  if (auto r = collect_alone(blobs, std::move(alone)); !r)
    log::warn("images", "unused layers cannot be removed", {{"error", r.error()}});
}

}  // namespace kcube::runtime::images
