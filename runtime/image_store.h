// The image store: an OCI image layout on disk, layers unpacked once into directories that overlayfs stacks.
//
// Content-addressed and shared by every cluster of the machine that has the same data directory. Thread-safe; several
// processes may share it (flock around changes). Source: OCI image-spec v1.1, docker image spec v1.2 (docker save).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "pkg/base/status.h"

namespace kcube::runtime {

// What containers need of the image's config.
struct ImageConfig {
  std::vector<std::string> entrypoint, cmd, env;
  std::string working_dir, user;
  std::string stop_signal;              // "SIGQUIT" or "3"; empty: SIGTERM
  std::vector<std::string> volumes;
};

struct Image {
  std::string id;                        // "sha256:<config digest>"
  std::vector<std::string> tags;         // normalised: "docker.io/library/nginx:1.25"
  std::vector<std::string> digests;      // "docker.io/library/nginx@sha256:…"
  uint64_t size_bytes = 0;
  bool pinned = false;                   // never collected nor looked for at a registry: it was loaded by hand
  ImageConfig config;
};

// A parsed and normalised reference. "nginx" is docker.io/library/nginx:latest.
struct ImageReference {
  std::string registry, repository, tag, digest;
  std::string name() const;              // registry/repository
  std::string to_string() const;         // name plus ":tag" or "@digest"
  static Result<ImageReference> parse(const std::string& text);   // 400 "InvalidImageName"
};

struct RegistryAuth {
  std::string username, password, identity_token;
};

struct PullOptions {
  std::vector<RegistryAuth> auths;       // tried in order, then anonymous (and registries.yaml's own first)
  std::function<void(uint64_t done, uint64_t total)> progress;
};

class ImageStore {
 public:
  virtual ~ImageStore() = default;

  // By tag, digest or id (with or without "sha256:", abbreviations of 12 or more hex digits too). 404 when absent.
  virtual Result<Image> resolve(const std::string& reference) = 0;
  virtual Result<std::vector<Image>> list() = 0;
  // An OCI or docker archive, plain, gzip or zstd, from a file (`-` is standard input) or from memory.
  virtual Result<std::vector<Image>> load(const std::string& path, bool pin) = 0;
  virtual Result<std::vector<Image>> load_bytes(std::string_view archive, bool pin) = 0;
  // Writes a docker-compatible OCI archive.
  virtual Result<void> save(const std::vector<std::string>& references, const std::string& path) = 0;
  // Token auth, mirrors and TLS of registries.yaml, digests checked, interrupted layers resumed, concurrent layers.
  // 401/403 "ErrImagePull" with the registry's words; 404 when the registry has no such image.
  virtual Result<Image> pull(const std::string& reference, const PullOptions& options) = 0;
  virtual Result<void> tag(const std::string& reference, const std::string& new_tag) = 0;
  // Removes the tag or, by id, the image with all its tags; layers nothing uses are deleted. 409 when a container uses it.
  virtual Result<void> remove(const std::string& reference) = 0;

  // For the runtime: directories of the unpacked layers, lowest first. They stay until unlease() of the same `lease`.
  virtual Result<std::vector<std::string>> lease_layers(const std::string& image_id, const std::string& lease) = 0;
  virtual void unlease(const std::string& lease) = 0;
};

struct ImageStoreOptions {
  std::string directory;                 // e.g. /var/lib/kcube/agent/images
  std::string registries_file;           // e.g. /etc/kcube/registries.yaml; may be missing; read again when it changes
};

Result<std::unique_ptr<ImageStore>> open_image_store(const ImageStoreOptions& options);

}  // namespace kcube::runtime
