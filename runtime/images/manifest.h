// OCI and Docker manifests, indexes and image configs, read. Pure. Source: OCI image-spec v1.1.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/image_store.h"

namespace kcube::runtime::images {

inline constexpr std::string_view kOciIndex = "application/vnd.oci.image.index.v1+json";
inline constexpr std::string_view kOciManifest = "application/vnd.oci.image.manifest.v1+json";
inline constexpr std::string_view kOciConfig = "application/vnd.oci.image.config.v1+json";
inline constexpr std::string_view kOciLayer = "application/vnd.oci.image.layer.v1.tar";
inline constexpr std::string_view kDockerList = "application/vnd.docker.distribution.manifest.list.v2+json";
inline constexpr std::string_view kDockerManifest = "application/vnd.docker.distribution.manifest.v2+json";

struct Descriptor {
  std::string media_type, digest;
  uint64_t size = 0;
  std::string os, architecture, variant;  // of an index's member; empty when not said
  std::vector<std::pair<std::string, std::string>> annotations;
  std::string_view annotation(std::string_view name) const;
};

struct Manifest {
  Descriptor config;
  std::vector<Descriptor> layers;
};

struct Config {
  ImageConfig image;
  std::string os, architecture;
  std::vector<std::string> diff_ids;
};

// Each fails with 400 that says what is wrong; all digests in the result are valid.
Result<std::vector<Descriptor>> parse_index(std::string_view text);
Result<Manifest> parse_manifest(std::string_view text);
Result<Config> parse_config(std::string_view text);
// Whether the document is an index (a list of manifests), by its media type or else its members.
bool is_index(std::string_view text, std::string_view media_type);

// "amd64" or "arm64": what this program was built for, in Go's words.
std::string_view host_architecture();
// The member for linux on this machine, members that do not say their platform included when nothing fits better.
// 404 with the platforms there are.
Result<Descriptor> choose_platform(const std::vector<Descriptor>& members);

}  // namespace kcube::runtime::images
