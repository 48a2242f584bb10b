// Makes image archives from files in memory: for the embedded sample image, for scripts (tools/mkimage) and for tests.
// The same input gives the same bytes. Pure.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "pkg/base/status.h"
#include "runtime/images/tar_reader.h"

namespace kcube::runtime::images {

struct ImageFile {
  std::string bytes;
  uint32_t mode = 0644;
};

struct BuildOptions {
  std::vector<std::string> entrypoint, cmd, env, exposed;  // exposed: "8080/tcp"
  std::string user, working_dir;
  std::string architecture;  // empty: this machine's
  std::map<std::string, std::string> labels;
};

// Paths are absolute or relative to the root; the directories above them are made (0755). One layer.
Result<std::string> build_archive(const std::string& name, const std::map<std::string, ImageFile>& files,
                                  const BuildOptions& options);
// From layers that are tar streams already, lowest first, gzipped ones too.
Result<std::string> build_archive_of_layers(const std::string& name, const std::vector<std::string>& layers,
                                            const BuildOptions& options);

// A tar stream of these entries, files with their bytes.
struct LayerEntry {
  TarEntry entry;
  std::string bytes;
};
Result<std::string> build_layer(const std::vector<LayerEntry>& entries);

}  // namespace kcube::runtime::images
