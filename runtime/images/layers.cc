#include "runtime/images/layers.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "pkg/base/file.h"
#include "runtime/images/unpack.h"

namespace kcube::runtime::images {
namespace {

// OCI image-spec, config.md, "Layer ChainID".
std::vector<std::string> chain_ids(const std::vector<std::string>& diff_ids) {
  std::vector<std::string> chain;
  for (const std::string& id : diff_ids) chain.push_back(chain.empty() ? id : digest_of(chain.back() + " " + id));
  return chain;
}

std::string plain_name(const std::string& diff_id) { return hex_of(diff_id); }
std::string chained_name(const std::string& diff_id, const std::string& chain_id) {
  return hex_of(diff_id) + "-" + hex_of(chain_id);
}

}  // namespace

std::vector<std::string> Layers::names(const std::vector<std::string>& diff_ids) {
  std::vector<std::string> chain = chain_ids(diff_ids), result;
  for (size_t i = 0; i < diff_ids.size(); ++i) {
    result.push_back(plain_name(diff_ids[i]));
    result.push_back(chained_name(diff_ids[i], chain[i]));
  }
  return result;
}

std::string Layers::find(const std::string& diff_id, const std::string& chain_id) const {
  for (const std::string& name : {plain_name(diff_id), chained_name(diff_id, chain_id)})
    if (std::string path = blobs_.path("layers/") + name; file::is_directory(path)) return path;
  return {};
}

Result<std::vector<std::string>> Layers::ensure(const Record& record) {
  {
    std::unique_lock lock(mutex_);
    done_.wait(lock, [&] { return !unpacking_.contains(record.image.id); });
    unpacking_.insert(record.image.id);
  }
  auto directories = unpack_missing(record);
  {
    std::lock_guard lock(mutex_);
    unpacking_.erase(record.image.id);
  }
  done_.notify_all();
  return directories;
}

Result<std::vector<std::string>> Layers::unpack_missing(const Record& record) {
  std::vector<std::string> chain = chain_ids(record.diff_ids), below, result;
  std::vector<Fresh> fresh;
  Result<void> done;
  for (size_t i = 0; i < record.diff_ids.size() && done; ++i) {
    std::string path = find(record.diff_ids[i], chain[i]);
    result.push_back(path);
    if (path.empty()) {
      auto made = std::ranges::find_if(fresh, [&](const Fresh& f) { return f.name == plain_name(record.diff_ids[i]); });
      if (made == fresh.end()) {
        auto unpacked = unpack(record.manifest.layers[i], record.diff_ids[i], chain[i], below);
        if (!unpacked) {
          done = fail(unpacked.error().with_context("layer " + record.manifest.layers[i].digest));
          break;
        }
        made = fresh.insert(fresh.end(), std::move(*unpacked));
      }
      path = made->temporary;
      result.back() = blobs_.path("layers/") + made->name;
    }
    below.push_back(path);
  }
  if (done && !fresh.empty()) done = publish(fresh);
  for (const Fresh& layer : fresh) (void)file::remove_tree(layer.temporary);  // what publish() left
  if (!done) return fail(done.error());
  std::vector<std::string> unique;
  for (auto it = result.rbegin(); it != result.rend(); ++it)
    if (std::ranges::find(unique, *it) == unique.end()) unique.push_back(*it);
  std::ranges::reverse(unique);
  return unique;
}

Result<Layers::Fresh> Layers::unpack(const Descriptor& layer, const std::string& diff_id, const std::string& chain_id,
                                     const std::vector<std::string>& below) {
  auto blob = file::open(blobs_.blob_path(layer.digest), O_RDONLY);
  if (!blob) return fail(blob.error());
  ::posix_fadvise(blob->get(), 0, 0, POSIX_FADV_SEQUENTIAL);
  Fresh fresh{.temporary = blobs_.temporary()};
  auto made = [&]() -> Result<void> {
    if (auto r = file::make_dirs(fresh.temporary); !r) return r;
    if (::chmod(fresh.temporary.c_str(), 0755) != 0) return fail(Status::from_errno("chmod " + fresh.temporary));
    auto root = file::open(fresh.temporary, O_RDONLY | O_DIRECTORY);
    if (!root) return fail(root.error());
    auto plain = decompressed(from_fd(std::move(*blob), layer.digest));
    if (!plain) return fail(plain.error());
    Sha256 hash;
    auto tar = hashed(std::move(*plain), &hash);
    auto unpacked = unpack_layer(*tar, *root);
    if (!unpacked) return fail(unpacked.error());
    if (std::string digest = hash.finish(); digest != diff_id)
      return fail(
          Status::bad_request("its content has the digest " + digest + ", but the image config says " + diff_id));
    fresh.name = plain_name(diff_id);
    if (unpacked->implied_directories.empty()) return {};
    fresh.name = chained_name(diff_id, chain_id);
    return copy_directory_metadata(unpacked->implied_directories, *root, below);
  }();
  if (made) return fresh;
  (void)file::remove_tree(fresh.temporary);
  return fail(made.error());
}

// One sync for all of them, then the names: after a crash a layer is whole or absent.
Result<void> Layers::publish(const std::vector<Fresh>& fresh) {
  auto directory = file::open(blobs_.path("layers"), O_RDONLY | O_DIRECTORY);
  if (!directory) return fail(directory.error());
  if (::syncfs(directory->get()) != 0) return fail(Status::from_errno("sync " + blobs_.path("layers")));
  for (const Fresh& layer : fresh) {
    std::string path = blobs_.path("layers/") + layer.name;
    if (::rename(layer.temporary.c_str(), path.c_str()) == 0) continue;
    if (errno != ENOTEMPTY && errno != EEXIST) return fail(Status::from_errno("rename to " + path));
    // Another image with the same layer, or another process, was faster: theirs is the same.
  }
  if (::fsync(directory->get()) != 0) return fail(Status::from_errno("sync " + blobs_.path("layers")));
  return {};
}

}  // namespace kcube::runtime::images
