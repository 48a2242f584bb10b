#include "runtime/images/builder.h"

#include <set>

#include "pkg/api/json.h"
#include "runtime/images/manifest.h"
#include "runtime/images/tar_writer.h"

namespace kcube::runtime::images {
namespace {

TarWriter::Sink append_to(std::string& out) {
  return [&out](std::string_view bytes) -> Result<void> {
    out += bytes;
    return {};
  };
}

json::array texts(const std::vector<std::string>& items) {
  json::array result;
  for (const std::string& item : items) result.emplace_back(json::key(item));
  return result;
}

json::value descriptor(std::string_view media_type, std::string_view bytes) {
  return {{"mediaType", json::key(media_type)}, {"digest", json::key(digest_of(bytes))}, {"size", bytes.size()}};
}

std::string config_text(const std::vector<std::string>& diff_ids, const BuildOptions& options) {
  json::object config;
  if (!options.entrypoint.empty()) config["Entrypoint"] = texts(options.entrypoint);
  if (!options.cmd.empty()) config["Cmd"] = texts(options.cmd);
  std::vector<std::string> env = options.env;
  bool has_path = false;
  for (const std::string& variable : env) has_path = has_path || variable.starts_with("PATH=");
  if (!has_path) env.insert(env.begin(), "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
  config["Env"] = texts(env);
  if (!options.user.empty()) config["User"] = json::key(options.user);
  if (!options.working_dir.empty()) config["WorkingDir"] = json::key(options.working_dir);
  json::object ports, labels;
  for (const std::string& port : options.exposed)
    ports[json::key(port.find('/') == std::string::npos ? port + "/tcp" : port)] = json::object();
  if (!ports.empty()) config["ExposedPorts"] = std::move(ports);
  for (const auto& [key, value] : options.labels) labels[json::key(key)] = json::key(value);
  if (!labels.empty()) config["Labels"] = std::move(labels);
  json::object document;
  document["architecture"] = json::key(options.architecture.empty() ? host_architecture() : options.architecture);
  document["os"] = "linux";
  document["created"] = "1970-01-01T00:00:00Z";
  document["config"] = std::move(config);
  document["rootfs"] = {{"type", "layers"}, {"diff_ids", texts(diff_ids)}};
  return json::serialize(document);
}

Result<std::string> diff_id_of(std::string_view layer) {
  auto plain = decompressed(from_memory(layer));
  if (!plain) return fail(plain.error());
  Sha256 hash;
  auto tar = hashed(std::move(*plain), &hash);
  if (auto r = drain(*tar); !r) return fail(r.error());
  return hash.finish();
}

std::string layer_type(std::string_view layer) {
  switch (sniff(layer)) {
    case Compression::gzip: return std::string(kOciLayer) + "+gzip";
    case Compression::zstd: return std::string(kOciLayer) + "+zstd";
    case Compression::none: return std::string(kOciLayer);
  }
  return {};
}

Result<std::string> pack(const ImageReference& name, const std::string& manifest, const std::string& config,
                         const std::vector<std::string>& layers) {
  std::map<std::string, std::string_view> blobs{{digest_of(manifest), manifest}, {digest_of(config), config}};
  json::array layer_names;
  for (const std::string& layer : layers) {
    blobs.emplace(digest_of(layer), layer);
    layer_names.emplace_back(json::key("blobs/sha256/" + hex_of(digest_of(layer))));
  }
  json::value member = descriptor(kOciManifest, manifest);
  member.as_object()["annotations"] = {{"io.containerd.image.name", json::key(name.to_string())},
                                       {"org.opencontainers.image.ref.name", json::key(name.tag)}};
  json::object index;
  index["schemaVersion"] = 2;
  index["mediaType"] = json::key(kOciIndex);
  index["manifests"] = json::array({member});
  json::object docker;
  docker["Config"] = json::key("blobs/sha256/" + hex_of(digest_of(config)));
  docker["RepoTags"] = texts({name.to_string()});
  docker["Layers"] = std::move(layer_names);
  std::string archive;
  TarWriter tar(append_to(archive));
  std::vector<std::pair<std::string, std::string>> files{
      {"oci-layout", R"({"imageLayoutVersion":"1.0.0"})"},
      {"index.json", json::serialize(index)},
      {"manifest.json", json::serialize(json::array({json::value(std::move(docker))}))}};
  for (const auto& [path, text] : files)
    if (auto r = tar.add_file(path, text); !r) return fail(r.error());
  for (const auto& [digest, bytes] : blobs)
    if (auto r = tar.add_file("blobs/sha256/" + hex_of(digest), bytes); !r) return fail(r.error());
  if (auto r = tar.finish(); !r) return fail(r.error());
  return archive;
}

}  // namespace

Result<std::string> build_layer(const std::vector<LayerEntry>& entries) {
  std::string layer;
  TarWriter tar(append_to(layer));
  for (const LayerEntry& item : entries) {
    TarEntry entry = item.entry;
    entry.size = entry.type == TarType::file ? item.bytes.size() : 0;
    if (auto r = tar.add(entry); !r) return fail(r.error());
    if (entry.size == 0) continue;
    if (auto r = tar.data(item.bytes); !r) return fail(r.error());
  }
  if (auto r = tar.finish(); !r) return fail(r.error());
  return layer;
}

Result<std::string> build_archive_of_layers(const std::string& name, const std::vector<std::string>& layers,
                                            const BuildOptions& options) {
  auto reference = ImageReference::parse(name);
  if (!reference) return fail(reference.error());
  if (!reference->digest.empty())
    return fail(Status::bad_request("\"" + name + "\" is a digest; give a name with a tag"));
  std::vector<std::string> diff_ids;
  json::array descriptors;
  for (const std::string& layer : layers) {
    auto diff_id = diff_id_of(layer);
    if (!diff_id) return fail(diff_id.error());
    diff_ids.push_back(std::move(*diff_id));
    descriptors.push_back(descriptor(layer_type(layer), layer));
  }
  std::string config = config_text(diff_ids, options);
  json::object manifest;
  manifest["schemaVersion"] = 2;
  manifest["mediaType"] = json::key(kOciManifest);
  manifest["config"] = descriptor(kOciConfig, config);
  manifest["layers"] = std::move(descriptors);
  return pack(*reference, json::serialize(manifest), config, layers);
}

Result<std::string> build_archive(const std::string& name, const std::map<std::string, ImageFile>& files,
                                  const BuildOptions& options) {
  std::vector<LayerEntry> entries;
  std::set<std::string> made;
  for (const auto& [path, file] : files) {
    std::string_view relative = path;
    while (relative.starts_with('/')) relative.remove_prefix(1);
    if (relative.empty()) return fail(Status::bad_request("\"" + path + "\" is no name of a file"));
    for (size_t slash = relative.find('/'); slash != std::string_view::npos; slash = relative.find('/', slash + 1))
      if (std::string directory(relative.substr(0, slash + 1)); made.insert(directory).second)
        entries.push_back({.entry = {.type = TarType::directory, .path = directory, .mode = 0755}});
    entries.push_back({.entry = {.path = std::string(relative), .mode = file.mode}, .bytes = file.bytes});
  }
  auto layer = build_layer(entries);
  if (!layer) return fail(layer.error());
  return build_archive_of_layers(name, {*layer}, options);
}

}  // namespace kcube::runtime::images
