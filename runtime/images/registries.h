// registries.yaml, in k3s' format: mirrors with rewrites, credentials and TLS of registries. Thread-safe; the file is
// read again when it changes. Source: docs.k3s.io, "Private Registry Configuration".
#pragma once

#include <sys/stat.h>

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "runtime/image_store.h"

namespace kcube::runtime::images {

struct RegistryTls {
  std::string ca_file, certificate_file, key_file;
  bool insecure_skip_verify = false;
};

// Where an image may come from: requests go to `url` + "/" + repository + "/manifests/…".
struct Endpoint {
  std::string url;           // "https://mirror.example:5000/v2"
  std::string repository;    // after rewriting
  std::string mirror_of;     // the registry in the image's name, when this is a mirror of it
  bool same_server = false;  // as the one before, spoken to otherwise: of no use if that one answered
  RegistryTls tls;
  std::vector<RegistryAuth> auths;  // of registries.yaml
};

class Registries {
 public:
  explicit Registries(std::string file) : file_(std::move(file)) {}
  // Mirrors first, in the file's order, and the registry itself last. 400 when the file is malformed.
  Result<std::vector<Endpoint>> endpoints(const ImageReference& reference);

 private:
  struct Mirror {
    std::vector<std::string> endpoints;
    std::vector<std::pair<std::string, std::string>> rewrites;  // regular expression and replacement
  };
  struct RegistryConfig {
    std::vector<RegistryAuth> auths;
    RegistryTls tls;
    bool has_tls = false;
  };
  struct File {
    std::map<std::string, Mirror> mirrors;
    std::map<std::string, RegistryConfig> configs;
  };
  Result<std::shared_ptr<const File>> current();
  static Result<File> parse(const std::string& text);
  static const RegistryConfig* config_of(const File& file, const std::string& host);

  std::string file_;
  std::mutex mutex_;  // guards the two below
  std::shared_ptr<const File> parsed_;
  struct stat seen_ {};
};

}  // namespace kcube::runtime::images
