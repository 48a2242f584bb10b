// What images there are: index.json in memory, as an immutable snapshot, and the changes to it.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "runtime/image_store.h"
#include "runtime/images/blobs.h"
#include "runtime/images/manifest.h"

namespace kcube::runtime::images {

// One manifest with all its names; in index.json one member per tag (or one without).
struct IndexEntry {
  Descriptor manifest;
  std::vector<std::string> tags, digests;  // "docker.io/library/nginx:1.25", "docker.io/library/nginx@sha256:…"
  bool pinned = false;
};

Result<std::vector<IndexEntry>> read_entries(const Blobs& blobs);
// Replaces index.json; durable when it returns.
Result<void> write_entries(const Blobs& blobs, const std::vector<IndexEntry>& entries);
// Adds names to an image. Tags move here from where they were; the image they leave stays, by its id.
void merge_entry(std::vector<IndexEntry>& entries, const IndexEntry& added);

// An image with all that its manifest and config say.
struct Record {
  Image image;
  Manifest manifest;
  Descriptor manifest_descriptor;
  std::vector<std::string> diff_ids;  // as many as layers
  std::string architecture;
};
using RecordPtr = std::shared_ptr<const Record>;

// Reads manifest and config; 400 when they contradict each other.
Result<Record> read_record(const Blobs& blobs, const IndexEntry& entry);

class Index {
 public:
  // Parsed manifests are taken from `before` (may be null). Images whose blobs are damaged are left out, with a
  // warning.
  static Result<std::shared_ptr<const Index>> read(const Blobs& blobs, const Index* before);
  // 404 when absent, 400 when an abbreviated id means several.
  Result<RecordPtr> resolve(const std::string& reference) const;
  const std::map<std::string, RecordPtr>& by_id() const { return by_id_; }

 private:
  Result<RecordPtr> by_abbreviation(const std::string& hex) const;
  std::map<std::string, RecordPtr> by_id_;    // "sha256:…" of the config
  std::map<std::string, RecordPtr> by_name_;  // tags and name@digest
  std::map<std::string, RecordPtr> by_manifest_;
};

}  // namespace kcube::runtime::images
