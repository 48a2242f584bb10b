#include "runtime/images/archive_writer.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <set>

#include "pkg/api/json.h"
#include "pkg/base/file.h"
#include "runtime/images/tar_writer.h"

namespace kcube::runtime::images {
namespace {

struct Chosen {
  RecordPtr record;
  std::vector<std::string> tags;
};

Result<std::vector<Chosen>> choose(const Index& index, const std::vector<std::string>& references) {
  std::vector<Chosen> chosen;
  for (const std::string& text : references) {
    auto record = index.resolve(text);
    if (!record) return fail(record.error());
    auto known = std::ranges::find_if(chosen, [&](const Chosen& c) { return c.record == *record; });
    if (known == chosen.end()) known = chosen.insert(chosen.end(), Chosen{.record = *record});
    auto parsed = ImageReference::parse(text);
    std::string name = parsed ? parsed->to_string() : "";
    const auto& tags = (*record)->image.tags;
    bool by_tag = std::ranges::find(tags, name) != tags.end();
    for (const std::string& tag : by_tag ? std::vector<std::string>{name} : tags)
      if (std::ranges::find(known->tags, tag) == known->tags.end()) known->tags.push_back(tag);
  }
  if (chosen.empty()) return fail(Status::bad_request("no image to save was named"));
  return chosen;
}

json::value index_member(const Descriptor& manifest, const std::string& tag) {
  json::object member;
  member["mediaType"] = json::key(manifest.media_type);
  member["digest"] = json::key(manifest.digest);
  member["size"] = manifest.size;
  if (!tag.empty())
    member["annotations"] = {
        {"io.containerd.image.name", json::key(tag)},
        {"org.opencontainers.image.ref.name", json::key(std::string_view(tag).substr(tag.rfind(':') + 1))}};
  return member;
}

// docker.io/library/nginx:1 as Docker shows it: nginx:1.
std::string familiar(const std::string& tag) {
  for (std::string_view prefix : {"docker.io/library/", "docker.io/"})
    if (tag.starts_with(prefix)) return tag.substr(prefix.size());
  return tag;
}

json::value docker_member(const Chosen& image) {
  json::array tags, layers;
  for (const std::string& tag : image.tags) tags.emplace_back(json::key(familiar(tag)));
  for (const Descriptor& layer : image.record->manifest.layers)
    layers.emplace_back(json::key("blobs/sha256/" + hex_of(layer.digest)));
  json::object member;
  member["Config"] = json::key("blobs/sha256/" + hex_of(image.record->manifest.config.digest));
  member["RepoTags"] = tags.empty() ? json::value(nullptr) : json::value(std::move(tags));
  member["Layers"] = std::move(layers);
  return member;
}

Result<void> write_blob(const Blobs& blobs, const std::string& digest, TarWriter& tar) {
  auto fd = file::open(blobs.blob_path(digest), O_RDONLY);
  if (!fd) return fail(fd.error());
  struct stat st {};
  if (::fstat(fd->get(), &st) != 0) return fail(Status::from_errno("stat " + digest));
  if (auto r =
          tar.add({.path = "blobs/sha256/" + hex_of(digest), .mode = 0644, .size = static_cast<uint64_t>(st.st_size)});
      !r)
    return r;
  auto source = from_fd(std::move(*fd), digest);
  std::vector<char> buffer(256 * 1024);
  while (true) {
    auto n = source->read(buffer.data(), buffer.size());
    if (!n) return fail(n.error());
    if (*n == 0) return {};
    if (auto r = tar.data({buffer.data(), *n}); !r) return r;
  }
}

Result<void> write_archive(const Blobs& blobs, const std::vector<Chosen>& images, TarWriter& tar) {
  std::set<std::string> digests;
  json::array members, docker;
  for (const Chosen& image : images) {
    const Descriptor& manifest = image.record->manifest_descriptor;
    digests.insert(manifest.digest);
    digests.insert(image.record->manifest.config.digest);
    for (const Descriptor& layer : image.record->manifest.layers) digests.insert(layer.digest);
    if (image.tags.empty()) members.push_back(index_member(manifest, ""));
    for (const std::string& tag : image.tags) members.push_back(index_member(manifest, tag));
    docker.push_back(docker_member(image));
  }
  json::object index;
  index["schemaVersion"] = 2;
  index["mediaType"] = json::key(kOciIndex);
  index["manifests"] = std::move(members);
  if (auto r = tar.add_file("oci-layout", R"({"imageLayoutVersion":"1.0.0"})"); !r) return r;
  if (auto r = tar.add_file("index.json", json::serialize(index)); !r) return r;
  if (auto r = tar.add_file("manifest.json", json::serialize(docker)); !r) return r;
  for (const char* directory : {"blobs/", "blobs/sha256/"})
    if (auto r = tar.add({.type = TarType::directory, .path = directory, .mode = 0755}); !r) return r;
  for (const std::string& digest : digests)
    if (auto r = write_blob(blobs, digest, tar); !r) return r;
  return tar.finish();
}

}  // namespace

Result<void> save_archive(const Blobs& blobs, const Index& index, const std::vector<std::string>& references,
                          const std::string& path) {
  auto images = choose(index, references);
  if (!images) return fail(images.error());
  bool standard_output = path == "-";
  std::string temporary = path + ".part";
  auto fd = standard_output ? Result<Fd>(Fd(::fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3)))
                            : file::open(temporary, O_WRONLY | O_CREAT | O_TRUNC, 0644);
  if (!fd) return fail(fd.error());
  TarWriter tar([&](std::string_view bytes) -> Result<void> {
    while (!bytes.empty()) {
      ssize_t n = ::write(fd->get(), bytes.data(), bytes.size());
      if (n < 0 && errno != EINTR) return fail(Status::from_errno("write " + path));
      if (n > 0) bytes.remove_prefix(static_cast<size_t>(n));
    }
    return {};
  });
  auto written = write_archive(blobs, *images, tar);
  if (standard_output) return written;
  if (written) written = file::rename(temporary, path);
  if (!written) ::unlink(temporary.c_str());
  return written;
}

}  // namespace kcube::runtime::images
