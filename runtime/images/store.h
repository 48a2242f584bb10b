// The store itself: one object per process and directory. Private to the room; open_image_store() makes it.
#pragma once

#include <sys/stat.h>

#include <memory>
#include <mutex>

#include "runtime/image_store.h"
#include "runtime/images/index.h"
#include "runtime/images/layers.h"
#include "runtime/images/puller.h"

namespace kcube::runtime::images {

class Store final : public ImageStore {
 public:
  Store(Blobs blobs, std::unique_ptr<Registries> registries);
  ~Store() override;
  Result<Image> resolve(const std::string& reference) override;
  Result<std::vector<Image>> list() override;
  Result<std::vector<Image>> load(const std::string& path, bool pin) override;
  Result<std::vector<Image>> load_bytes(std::string_view archive, bool pin) override;
  Result<void> save(const std::vector<std::string>& references, const std::string& path) override;
  Result<Image> pull(const std::string& reference, const PullOptions& options) override;
  Result<void> tag(const std::string& reference, const std::string& new_tag) override;
  Result<void> remove(const std::string& reference) override;
  Result<std::vector<std::string>> lease_layers(const std::string& image_id, const std::string& lease) override;
  void unlease(const std::string& lease) override;

 private:
  // What index.json says now; read again only when the file has been replaced.
  Result<std::shared_ptr<const Index>> index();
  Result<std::vector<Image>> load_source(std::unique_ptr<ByteSource> source, bool pin);
  // Unpacks and enters images whose blobs are all there.
  Result<std::vector<Image>> commit(const std::vector<IndexEntry>& entries);
  Result<void> change(const std::function<Result<void>(std::vector<IndexEntry>&)>& change);
  Result<void> refuse_leased(const std::string& image_id);

  Blobs blobs_;
  Layers layers_;
  std::unique_ptr<Registries> registries_;
  std::mutex mutex_;  // guards the two below
  std::shared_ptr<const Index> index_;
  struct stat seen_ {};  // of the index.json that index_ was read from
};

}  // namespace kcube::runtime::images
