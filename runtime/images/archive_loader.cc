#include "runtime/images/archive_loader.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>

#include "pkg/api/json.h"
#include "pkg/base/file.h"
#include "pkg/base/strings.h"
#include "runtime/images/tar_reader.h"

namespace kcube::runtime::images {
namespace {

constexpr uint64_t kMaxDocument = 16 << 20;
constexpr size_t kMaxFiles = 100'000, kMaxNesting = 4, kMaxLinks = 8;
constexpr std::string_view kBlobs = "blobs/sha256/";

// One file of the archive, put aside under tmp/.
struct Stored {
  std::string path, digest;
  uint64_t size = 0;
  Compression compression = Compression::none;
};

// "./a/../b" as "b", for names and links in the archive; they only select files of the archive itself.
std::string normalised(std::string_view path) {
  std::vector<std::string> parts;
  for (std::string_view part : split(path, '/')) {
    if (part.empty() || part == ".") continue;
    if (part != "..")
      parts.emplace_back(part);
    else if (!parts.empty())
      parts.pop_back();
  }
  return join(parts, "/");
}

class Loader {
 public:
  explicit Loader(const Blobs& blobs) : blobs_(blobs), scratch_(blobs.temporary()) {}
  ~Loader() { (void)file::remove_tree(scratch_); }
  Result<std::vector<IndexEntry>> run(ByteSource& archive);

 private:
  Result<void> read_all(ByteSource& archive);
  Result<void> store(TarReader& reader, const TarEntry& entry);
  const Stored* find(std::string name) const;
  Result<std::string> content(const Stored& stored) const;
  Result<std::string> content(const Descriptor& descriptor) const;
  Result<void> adopt(std::string_view digest);

  Result<std::vector<IndexEntry>> load_oci(const Stored& index);
  Result<Descriptor> manifest_of(Descriptor member);
  Result<IndexEntry> import_manifest(const Descriptor& descriptor);
  Result<void> add_docker_tags(std::vector<IndexEntry>& entries);

  Result<std::vector<IndexEntry>> load_docker(const Stored& manifest);
  Result<IndexEntry> import_docker(const json::value& item);

  const Blobs& blobs_;
  std::string scratch_;
  size_t count_ = 0;  // of all files, also those whose name occurs twice: each has its own under tmp/
  std::map<std::string, Stored> files_;
  std::map<std::string, std::string> links_;
  std::map<std::string, std::string> by_digest_;  // digest: path under tmp/
};

Result<std::vector<std::string>> docker_tags(const json::value& item) {
  std::vector<std::string> tags;
  for (const json::value& tag : json::get_array(json::find(&item, "RepoTags"))) {
    auto reference = ImageReference::parse(std::string(json::get_string(&tag)));
    if (!reference) return fail(reference.error());
    tags.push_back(reference->to_string());
  }
  return tags;
}

// The full name an OCI index gives a member. A bare tag such as "v1" names no repository and is no name.
Result<std::string> name_of(const Descriptor& member) {
  std::string name(member.annotation("io.containerd.image.name"));
  if (name.empty()) {
    name = member.annotation("org.opencontainers.image.ref.name");
    if (name.find_first_of("/:") == std::string::npos) return std::string();
  }
  auto reference = ImageReference::parse(name);
  if (!reference) return fail(reference.error());
  if (reference->tag.empty()) return std::string();
  return reference->name() + ":" + reference->tag;
}

Result<std::vector<IndexEntry>> Loader::run(ByteSource& archive) {
  if (auto r = file::make_dirs(scratch_, 0700); !r) return fail(r.error());
  if (auto r = read_all(archive); !r) return fail(r.error());
  if (const Stored* index = find("index.json")) return load_oci(*index);
  if (const Stored* manifest = find("manifest.json")) return load_docker(*manifest);
  return fail(
      Status::bad_request("the archive has neither index.json (OCI) nor manifest.json (docker save): it is no image"));
}

Result<void> Loader::read_all(ByteSource& archive) {
  TarReader reader(archive);
  TarEntry entry;
  while (true) {
    auto more = reader.next(entry);
    if (!more) return fail(more.error());
    if (!*more) return drain(archive);
    std::string name = normalised(entry.path);
    if (count_ + links_.size() >= kMaxFiles) return fail(Status::bad_request("the archive has too many files"));
    if (entry.type == TarType::file) {
      entry.path = name;
      if (auto r = store(reader, entry); !r) return r;
    } else if (entry.type == TarType::symlink) {
      std::string directory = name.substr(0, name.rfind('/') == std::string::npos ? 0 : name.rfind('/'));
      links_[name] = normalised(directory + "/" + entry.link);
    } else if (entry.type == TarType::hard_link) {
      links_[name] = normalised(entry.link);
    }
  }
}

Result<void> Loader::store(TarReader& reader, const TarEntry& entry) {
  Stored stored{.path = scratch_ + "/" + std::to_string(++count_), .size = entry.size};
  auto fd = file::open(stored.path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
  if (!fd) return fail(fd.error());
  Sha256 hash;
  std::vector<char> buffer(128 * 1024);
  for (bool first = true;; first = false) {
    auto n = reader.read(buffer.data(), buffer.size());
    if (!n) return fail(n.error().with_context(entry.path));
    if (*n == 0) break;
    std::string_view piece(buffer.data(), *n);
    if (first) stored.compression = sniff(piece);
    hash.update(piece);
    while (!piece.empty()) {
      ssize_t written = ::write(fd->get(), piece.data(), piece.size());
      if (written < 0 && errno != EINTR) return fail(Status::from_errno("write " + stored.path));
      if (written > 0) piece.remove_prefix(static_cast<size_t>(written));
    }
  }
  stored.digest = hash.finish();
  if (entry.path.starts_with(kBlobs) && stored.digest != "sha256:" + entry.path.substr(kBlobs.size()))
    return fail(
        Status::bad_request("the archive is damaged: the blob " + entry.path + " has the digest " + stored.digest));
  by_digest_[stored.digest] = stored.path;
  files_[entry.path] = std::move(stored);
  return {};
}

const Stored* Loader::find(std::string name) const {
  name = normalised(name);
  for (size_t i = 0; i < kMaxLinks; ++i) {
    if (auto at = files_.find(name); at != files_.end()) return &at->second;
    auto link = links_.find(name);
    if (link == links_.end()) return nullptr;
    name = link->second;
  }
  return nullptr;
}

Result<std::string> Loader::content(const Stored& stored) const {
  if (file::exists(stored.path)) return file::read(stored.path, kMaxDocument);
  return blobs_.read(stored.digest, kMaxDocument);
}

Result<std::string> Loader::content(const Descriptor& descriptor) const {
  if (auto at = by_digest_.find(descriptor.digest); at != by_digest_.end() && file::exists(at->second))
    return file::read(at->second, kMaxDocument);
  if (blobs_.has(descriptor.digest)) return blobs_.read(descriptor.digest, kMaxDocument);
  return fail(Status::bad_request("the archive lacks the blob " + descriptor.digest + " that its index names"));
}

Result<void> Loader::adopt(std::string_view digest) {
  if (blobs_.has(digest)) return {};
  auto at = by_digest_.find(std::string(digest));
  if (at == by_digest_.end())
    return fail(Status::bad_request("the archive lacks the blob " + std::string(digest) + " that its manifest names"));
  return blobs_.adopt(at->second, digest);
}

// --- OCI ---

Result<std::vector<IndexEntry>> Loader::load_oci(const Stored& index) {
  auto text = content(index);
  if (!text) return fail(text.error());
  auto members = parse_index(*text);
  if (!members) return fail(members.error());
  // Members of one name are the same image for several platforms.
  std::map<std::string, std::vector<Descriptor>> by_name;
  for (Descriptor& member : *members) {
    auto name = name_of(member);
    if (!name) return fail(name.error());
    by_name[*name].push_back(std::move(member));
  }
  std::vector<IndexEntry> entries;
  Status none = Status::bad_request("the archive's index.json names no image");
  for (const auto& [name, variants] : by_name) {
    std::vector<Descriptor> chosen;
    if (name.empty()) {
      for (const Descriptor& variant : variants)
        if (auto fitting = choose_platform({variant})) chosen.push_back(*fitting);
      if (chosen.empty()) none = choose_platform(variants).error();
    } else {
      auto fitting = choose_platform(variants);
      if (!fitting) none = fitting.error();
      if (fitting) chosen.push_back(*fitting);
    }
    for (const Descriptor& member : chosen) {
      auto descriptor = manifest_of(member);
      if (!descriptor) return fail(descriptor.error());
      auto entry = import_manifest(*descriptor);
      if (!entry) return fail(entry.error());
      if (!name.empty()) entry->tags = {name};
      if (!name.empty() && descriptor->digest != member.digest)
        entry->digests = {name.substr(0, name.rfind(':')) + "@" + member.digest};
      merge_entry(entries, *entry);
    }
  }
  if (entries.empty()) return fail(none);
  if (auto r = add_docker_tags(entries); !r) return fail(r.error());
  return entries;
}

// Through nested indexes to the manifest for this machine.
Result<Descriptor> Loader::manifest_of(Descriptor member) {
  for (size_t i = 0; i < kMaxNesting; ++i) {
    auto text = content(member);
    if (!text) return fail(text.error());
    if (!is_index(*text, member.media_type)) return member;
    auto members = parse_index(*text);
    if (!members) return fail(members.error());
    auto chosen = choose_platform(*members);
    if (!chosen) return chosen;
    member = std::move(*chosen);
  }
  return fail(Status::bad_request("the archive's indexes are nested too deeply"));
}

Result<IndexEntry> Loader::import_manifest(const Descriptor& descriptor) {
  auto text = content(descriptor);
  if (!text) return fail(text.error());
  auto manifest = parse_manifest(*text);
  if (!manifest) return fail(manifest.error());
  if (auto r = adopt(manifest->config.digest); !r) return fail(r.error());
  for (const Descriptor& layer : manifest->layers)
    if (auto r = adopt(layer.digest); !r) return fail(r.error());
  if (auto r = adopt(descriptor.digest); !r) return fail(r.error());
  IndexEntry entry{
      .manifest = {.media_type = descriptor.media_type, .digest = descriptor.digest, .size = text->size()}};
  if (entry.manifest.media_type.empty()) entry.manifest.media_type = kOciManifest;
  return entry;
}

// An OCI archive of `docker save` has the tags in manifest.json too, sometimes only there.
Result<void> Loader::add_docker_tags(std::vector<IndexEntry>& entries) {
  const Stored* stored = find("manifest.json");
  if (stored == nullptr) return {};
  auto text = content(*stored);
  if (!text) return fail(text.error());
  auto document = json::parse(*text);
  if (!document) return {};
  for (const json::value& item : json::get_array(&*document)) {
    const Stored* config = find(std::string(json::get_string(item, {"Config"})));
    auto tags = docker_tags(item);
    if (!tags) return fail(tags.error());
    for (IndexEntry& entry : entries) {
      auto record = read_record(blobs_, entry);
      if (!record) return fail(record.error());
      if (config == nullptr || record->image.id != config->digest) continue;
      for (const std::string& tag : *tags)
        if (std::ranges::find(entry.tags, tag) == entry.tags.end()) entry.tags.push_back(tag);
    }
  }
  return {};
}

// --- docker save ---

Result<std::vector<IndexEntry>> Loader::load_docker(const Stored& manifest) {
  auto text = content(manifest);
  if (!text) return fail(text.error());
  auto document = json::parse(*text);
  if (!document) return fail(document.error().with_context("the archive's manifest.json"));
  std::vector<IndexEntry> entries;
  for (const json::value& item : json::get_array(&*document)) {
    auto entry = import_docker(item);
    if (!entry) return fail(entry.error());
    merge_entry(entries, *entry);
  }
  if (entries.empty()) return fail(Status::bad_request("the archive's manifest.json names no image"));
  return entries;
}

// Layers have no digests there; they get those of what they are.
Result<IndexEntry> Loader::import_docker(const json::value& item) {
  const Stored* config_file = find(std::string(json::get_string(item, {"Config"})));
  if (config_file == nullptr)
    return fail(Status::bad_request("the archive lacks the image config that manifest.json names"));
  auto config_text = content(*config_file);
  if (!config_text) return fail(config_text.error());
  auto config = parse_config(*config_text);
  if (!config) return fail(config.error());
  json::array layers;
  const json::array& names = json::get_array(json::find(&item, "Layers"));
  for (size_t i = 0; i < names.size(); ++i) {
    std::string name(json::get_string(&names[i]));
    const Stored* layer = find(name);
    if (layer == nullptr) return fail(Status::bad_request("the archive lacks the layer " + name));
    if (layer->compression == Compression::none && i < config->diff_ids.size() && layer->digest != config->diff_ids[i])
      return fail(Status::bad_request("the archive is damaged: the layer " + name + " has the digest " + layer->digest +
                                      ", but the image config says " + config->diff_ids[i]));
    if (auto r = adopt(layer->digest); !r) return fail(r.error());
    std::string type(kOciLayer);
    if (layer->compression == Compression::gzip) type += "+gzip";
    if (layer->compression == Compression::zstd) type += "+zstd";
    layers.push_back({{"mediaType", json::key(type)}, {"digest", json::key(layer->digest)}, {"size", layer->size}});
  }
  if (auto r = adopt(config_file->digest); !r) return fail(r.error());
  json::object manifest;
  manifest["schemaVersion"] = 2;
  manifest["mediaType"] = json::key(kOciManifest);
  manifest["config"] = {
      {"mediaType", json::key(kOciConfig)}, {"digest", json::key(config_file->digest)}, {"size", config_text->size()}};
  manifest["layers"] = std::move(layers);
  std::string text = json::serialize(manifest);
  auto digest = blobs_.write(text);
  if (!digest) return fail(digest.error());
  auto tags = docker_tags(item);
  if (!tags) return fail(tags.error());
  return IndexEntry{.manifest = {.media_type = std::string(kOciManifest), .digest = *digest, .size = text.size()},
                    .tags = std::move(*tags)};
}

}  // namespace

Result<std::vector<IndexEntry>> load_archive(std::unique_ptr<ByteSource> archive, const Blobs& blobs) {
  auto plain = decompressed(std::move(archive));
  if (!plain) return fail(plain.error());
  return Loader(blobs).run(**plain);
}

}  // namespace kcube::runtime::images
