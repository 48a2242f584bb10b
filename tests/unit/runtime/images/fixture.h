// A store in a directory of its own, and images made in memory.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <filesystem>
#include <memory>
#include <string>

#include "pkg/base/file.h"
#include "runtime/image_store.h"
#include "runtime/images/builder.h"

namespace kcube::runtime::images {

class TempDir {
 public:
  TempDir() {
    char name[] = "/tmp/kcube-images-XXXXXX";
    path = ::mkdtemp(name);
  }
  ~TempDir() { (void)file::remove_tree(path); }
  std::string path;
};

inline LayerEntry file_entry(const std::string& path, const std::string& bytes, uint32_t mode = 0644) {
  return {.entry = {.path = path, .mode = mode, .mtime = 1'600'000'000}, .bytes = bytes};
}
inline LayerEntry directory_entry(const std::string& path, uint32_t mode = 0755) {
  return {.entry = {.type = TarType::directory, .path = path, .mode = mode, .mtime = 1'600'000'000}};
}
inline LayerEntry link_entry(TarType type, const std::string& path, const std::string& target) {
  return {.entry = {.type = type, .path = path, .link = target, .mode = 0777}};
}

inline std::string layer_of(const std::vector<LayerEntry>& entries) { return build_layer(entries).value(); }

inline std::string archive_of(const std::string& name, const std::vector<std::string>& layers,
                              BuildOptions options = {}) {
  if (options.entrypoint.empty()) options.entrypoint = {"/app"};
  return build_archive_of_layers(name, layers, options).value();
}

inline std::string simple_archive(const std::string& name, const std::string& content = "content") {
  return archive_of(name, {layer_of({file_entry("app", content, 0755)})});
}

class StoreTest : public ::testing::Test {
 protected:
  StoreTest() { store = open(); }
  std::unique_ptr<ImageStore> open() { return open_image_store({.directory = dir.path + "/images"}).value(); }
  std::string path(const std::string& name) const { return dir.path + "/images/" + name; }
  size_t count(const std::string& name) const { return file::list(path(name)).value().size(); }

  TempDir dir;
  std::unique_ptr<ImageStore> store;
};

template <typename T>
std::string message(const Result<T>& result) {
  return result ? "it succeeded" : result.error().message();
}
#define EXPECT_OK(expression)                                           \
  do {                                                                  \
    auto result_ = (expression);                                        \
    EXPECT_TRUE(result_) << ::kcube::runtime::images::message(result_); \
  } while (false)

}  // namespace kcube::runtime::images
