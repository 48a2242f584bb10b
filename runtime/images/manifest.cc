#include "runtime/images/manifest.h"

#include <limits>

#include "pkg/api/json.h"
#include "runtime/images/digest.h"

namespace kcube::runtime::images {
namespace {

constexpr size_t kMaxLayers = 500;  // overlayfs stacks 500 directories at most

std::vector<std::string> strings(const json::value* v) {
  std::vector<std::string> result;
  for (const json::value& item : json::get_array(v)) result.emplace_back(json::get_string(&item));
  return result;
}

Result<Descriptor> parse_descriptor(const json::value* v, std::string_view what) {
  Descriptor d;
  d.media_type = json::get_string(json::find(v, "mediaType"));
  d.digest = json::get_string(json::find(v, "digest"));
  if (auto r = check_digest(d.digest, what); !r) return fail(r.error());
  int64_t size = json::get_int(json::find(v, "size"), -1);
  if (size < 0) return fail(Status::bad_request(std::string(what) + " has no size"));
  d.size = static_cast<uint64_t>(size);
  const json::value* platform = json::find(v, "platform");
  d.os = json::get_string(json::find(platform, "os"));
  d.architecture = json::get_string(json::find(platform, "architecture"));
  d.variant = json::get_string(json::find(platform, "variant"));
  for (const auto& member : json::get_object(json::find(v, "annotations")))
    d.annotations.emplace_back(json::view(member.key()), json::get_string(&member.value()));
  return d;
}

Result<json::value> parse_object(std::string_view text, std::string_view what) {
  auto document = json::parse(text);
  if (!document) return fail(Status::bad_request(std::string(what) + ": " + document.error().message()));
  if (!document->is_object()) return fail(Status::bad_request(std::string(what) + " is no JSON object"));
  return document;
}

}  // namespace

std::string_view Descriptor::annotation(std::string_view name) const {
  for (const auto& [key, value] : annotations)
    if (key == name) return value;
  return {};
}

bool is_index(std::string_view text, std::string_view media_type) {
  if (media_type == kOciIndex || media_type == kDockerList) return true;
  if (media_type == kOciManifest || media_type == kDockerManifest) return false;
  auto document = json::parse(text);
  return document && json::find(&*document, "manifests") != nullptr;
}

Result<std::vector<Descriptor>> parse_index(std::string_view text) {
  auto document = parse_object(text, "the image index");
  if (!document) return fail(document.error());
  std::vector<Descriptor> members;
  for (const json::value& item : json::get_array(json::find(&*document, "manifests"))) {
    auto member = parse_descriptor(&item, "a manifest of the image index");
    if (!member) return fail(member.error());
    members.push_back(std::move(*member));
  }
  return members;
}

Result<Manifest> parse_manifest(std::string_view text) {
  auto document = parse_object(text, "the image manifest");
  if (!document) return fail(document.error());
  if (json::get_int(json::find(&*document, "schemaVersion")) == 1)
    return fail(
        Status::bad_request("the image manifest is of Docker's schema 1, which nothing writes any more; "
                            "push the image again with a current tool"));
  Manifest manifest;
  auto config = parse_descriptor(json::find(&*document, "config"), "the manifest's config");
  if (!config) return fail(config.error());
  manifest.config = std::move(*config);
  for (const json::value& item : json::get_array(json::find(&*document, "layers"))) {
    auto layer = parse_descriptor(&item, "a layer of the manifest");
    if (!layer) return fail(layer.error());
    manifest.layers.push_back(std::move(*layer));
  }
  if (manifest.layers.size() > kMaxLayers)
    return fail(Status::bad_request("the image has " + std::to_string(manifest.layers.size()) + " layers; " +
                                    std::to_string(kMaxLayers) + " can be stacked"));
  return manifest;
}

Result<Config> parse_config(std::string_view text) {
  auto document = parse_object(text, "the image config");
  if (!document) return fail(document.error());
  const json::value* root = &*document;
  Config config;
  config.os = json::get_string(json::find(root, "os"));
  config.architecture = json::get_string(json::find(root, "architecture"));
  config.diff_ids = strings(json::at(root, {"rootfs", "diff_ids"}));
  for (const std::string& id : config.diff_ids)
    if (auto r = check_digest(id, "a diff_id of the image config"); !r) return fail(r.error());
  const json::value* image = json::find(root, "config");
  config.image.entrypoint = strings(json::find(image, "Entrypoint"));
  config.image.cmd = strings(json::find(image, "Cmd"));
  config.image.env = strings(json::find(image, "Env"));
  config.image.working_dir = json::get_string(json::find(image, "WorkingDir"));
  config.image.user = json::get_string(json::find(image, "User"));
  config.image.stop_signal = json::get_string(json::find(image, "StopSignal"));
  for (const auto& volume : json::get_object(json::find(image, "Volumes")))
    config.image.volumes.emplace_back(json::view(volume.key()));
  return config;
}

}  // namespace kcube::runtime::images
