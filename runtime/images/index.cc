#include "runtime/images/index.h"

#include <algorithm>

#include "pkg/api/json.h"
#include "pkg/base/file.h"
#include "pkg/base/log.h"
#include "pkg/base/strings.h"

namespace kcube::runtime::images {
namespace {

constexpr std::string_view kName = "io.containerd.image.name", kTag = "org.opencontainers.image.ref.name";
constexpr std::string_view kDigests = "io.kcube.image.digests", kPinned = "io.kcube.image.pinned";
constexpr uint64_t kMaxDocument = 16 << 20;
constexpr size_t kMinAbbreviation = 12;

template <typename T>
void add_unique(std::vector<T>& list, const T& item) {
  if (std::ranges::find(list, item) == list.end()) list.push_back(item);
}

json::value member_of(const IndexEntry& entry, const std::string& tag) {
  json::object annotations;
  if (!tag.empty()) {
    annotations[json::key(kName)] = json::key(tag);
    annotations[json::key(kTag)] = json::key(std::string_view(tag).substr(tag.rfind(':') + 1));
  }
  if (!entry.digests.empty()) annotations[json::key(kDigests)] = json::key(join(entry.digests, ","));
  if (entry.pinned) annotations[json::key(kPinned)] = "true";
  json::object member;
  member["mediaType"] = json::key(entry.manifest.media_type);
  member["digest"] = json::key(entry.manifest.digest);
  member["size"] = entry.manifest.size;
  if (!annotations.empty()) member["annotations"] = std::move(annotations);
  return member;
}

// "docker.io/library/nginx" of a tag or of name@digest.
std::string_view name_of(std::string_view reference) {
  if (size_t at = reference.find('@'); at != std::string_view::npos) return reference.substr(0, at);
  return reference.substr(0, reference.rfind(':'));
}

}  // namespace

Result<std::vector<IndexEntry>> read_entries(const Blobs& blobs) {
  auto text = file::read(blobs.path("index.json"), kMaxDocument);
  if (!text) return fail(text.error());
  auto members = parse_index(*text);
  if (!members) return fail(members.error().with_context(blobs.path("index.json")));
  std::vector<IndexEntry> entries;
  for (Descriptor& member : *members) {
    auto entry = std::ranges::find_if(entries, [&](const IndexEntry& e) { return e.manifest.digest == member.digest; });
    if (entry == entries.end()) entry = entries.insert(entries.end(), IndexEntry{.manifest = member});
    if (std::string tag(member.annotation(kName)); !tag.empty()) add_unique(entry->tags, tag);
    for (std::string_view digest : split(member.annotation(kDigests), ','))
      if (!digest.empty()) add_unique(entry->digests, std::string(digest));
    if (member.annotation(kPinned) == "true") entry->pinned = true;
    entry->manifest.annotations.clear();
  }
  return entries;
}

Result<void> write_entries(const Blobs& blobs, const std::vector<IndexEntry>& entries) {
  json::array members;
  for (const IndexEntry& entry : entries) {
    if (entry.tags.empty()) members.push_back(member_of(entry, ""));
    for (const std::string& tag : entry.tags) members.push_back(member_of(entry, tag));
  }
  json::object document;
  document["schemaVersion"] = 2;
  document["mediaType"] = json::key(kOciIndex);
  document["manifests"] = std::move(members);
  if (auto r = file::write_atomic(blobs.path("index.json"), json::serialize(document)); !r) return r;
  return blobs.sync_directory("");
}

void merge_entry(std::vector<IndexEntry>& entries, const IndexEntry& added) {
  for (IndexEntry& entry : entries)
    std::erase_if(entry.tags,
                  [&](const std::string& tag) { return std::ranges::find(added.tags, tag) != added.tags.end(); });
  auto entry =
      std::ranges::find_if(entries, [&](const IndexEntry& e) { return e.manifest.digest == added.manifest.digest; });
  if (entry == entries.end()) entry = entries.insert(entries.end(), IndexEntry{.manifest = added.manifest});
  for (const std::string& tag : added.tags) add_unique(entry->tags, tag);
  for (const std::string& digest : added.digests) add_unique(entry->digests, digest);
  entry->pinned = entry->pinned || added.pinned;
}

Result<Record> read_record(const Blobs& blobs, const IndexEntry& entry) {
  Record record{.manifest_descriptor = entry.manifest};
  auto text = blobs.read(entry.manifest.digest, kMaxDocument);
  if (!text) return fail(text.error());
  auto manifest = parse_manifest(*text);
  if (!manifest) return fail(manifest.error());
  auto config_text = blobs.read(manifest->config.digest, kMaxDocument);
  if (!config_text) return fail(config_text.error());
  auto config = parse_config(*config_text);
  if (!config) return fail(config.error());
  if (config->diff_ids.size() != manifest->layers.size())
    return fail(Status::bad_request("the image config lists " + std::to_string(config->diff_ids.size()) +
                                    " layers and the manifest " + std::to_string(manifest->layers.size())));
  record.image.id = manifest->config.digest;
  record.image.config = std::move(config->image);
  record.image.size_bytes = text->size() + config_text->size();
  for (const Descriptor& layer : manifest->layers) record.image.size_bytes += layer.size;
  record.manifest = std::move(*manifest);
  record.diff_ids = std::move(config->diff_ids);
  record.architecture = config->architecture;
  return record;
}

Result<std::shared_ptr<const Index>> Index::read(const Blobs& blobs, const Index* before) {
  auto entries = read_entries(blobs);
  if (!entries) return fail(entries.error());
  std::map<std::string, std::shared_ptr<Record>> by_id;
  std::vector<std::pair<std::string, std::string>> manifests;  // manifest digest, id
  for (const IndexEntry& entry : *entries) {
    std::shared_ptr<Record> record;
    if (const auto* known = before == nullptr ? nullptr : &before->by_manifest_;
        known != nullptr && known->contains(entry.manifest.digest)) {
      record = std::make_shared<Record>(*known->at(entry.manifest.digest));
      record->image.tags.clear();
      record->image.digests.clear();
      record->image.pinned = false;
    } else {
      auto parsed = read_record(blobs, entry);
      if (!parsed) {
        log::warn("images", "an image is left out, because it is damaged",
                  {{"manifest", entry.manifest.digest}, {"error", parsed.error()}});
        continue;
      }
      record = std::make_shared<Record>(std::move(*parsed));
    }
    auto [at, is_new] = by_id.try_emplace(record->image.id, record);
    Image& image = at->second->image;
    for (const std::string& tag : entry.tags) add_unique(image.tags, tag);
    for (const std::string& digest : entry.digests) add_unique(image.digests, digest);
    image.pinned = image.pinned || entry.pinned;
    manifests.emplace_back(entry.manifest.digest, record->image.id);
  }
  auto index = std::make_shared<Index>();
  index->by_id_.insert(by_id.begin(), by_id.end());
  for (const auto& [manifest, id] : manifests) index->by_manifest_[manifest] = index->by_id_[id];
  for (const auto& [id, record] : index->by_id_) {
    for (const std::string& tag : record->image.tags) index->by_name_[tag] = record;
    for (const std::string& digest : record->image.digests) index->by_name_[digest] = record;
  }
  return index;
}

Result<RecordPtr> Index::by_abbreviation(const std::string& hex) const {
  std::string prefix = "sha256:" + hex;
  auto at = by_id_.lower_bound(prefix);
  if (at == by_id_.end() || !at->first.starts_with(prefix))
    return fail(Status::not_found("no image has the id " + hex));
  if (auto next = std::next(at); next != by_id_.end() && next->first.starts_with(prefix))
    return fail(Status::bad_request("several images have ids that begin with " + hex + "; give more digits"));
  return at->second;
}

Result<RecordPtr> Index::resolve(const std::string& reference) const {
  if (reference.starts_with("sha256:") && is_hex(reference.substr(7)) && reference.size() >= 7 + kMinAbbreviation)
    return by_abbreviation(reference.substr(7));
  auto parsed = ImageReference::parse(reference);
  bool hex = is_hex(reference) && reference.size() >= kMinAbbreviation && reference.size() <= 64;
  if (!parsed && hex) return by_abbreviation(reference);
  if (!parsed) return fail(parsed.error());
  if (auto at = by_name_.find(parsed->to_string()); at != by_name_.end()) return at->second;
  if (!parsed->digest.empty()) {
    // A loaded image never saw a registry, but its manifest has the digest that a registry would give it.
    if (auto at = by_manifest_.find(parsed->digest); at != by_manifest_.end()) {
      const Image& image = at->second->image;
      auto same_name = [&](const std::string& known) { return name_of(known) == parsed->name(); };
      if (std::ranges::any_of(image.tags, same_name) || std::ranges::any_of(image.digests, same_name))
        return at->second;
    }
  } else if (hex) {
    if (auto found = by_abbreviation(reference)) return found;
  }
  return fail(Status::not_found("image \"" + reference + "\": not found"));
}

}  // namespace kcube::runtime::images
