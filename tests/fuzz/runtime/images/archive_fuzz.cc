// Archives of strangers, and image references. An archive is loaded whole, and as a layer unpacked. A canary beside the store must survive. The checksums
// of tar headers are set right first, else hardly an input would get past them; a layer is unpacked from the same
// bytes.
#include <fcntl.h>
#include <stdlib.h>

#include <cstdio>
#include <cstring>

#include "pkg/base/file.h"
#include "pkg/base/log.h"
#include "runtime/image_store.h"
#include "runtime/images/unpack.h"
#include "tests/fuzz/driver/fuzz.h"

namespace {

using namespace kcube;
using namespace kcube::runtime;

struct World {
  World() {
    log::set_level(log::Level::off);
    char name[] = "/dev/shm/kcube-fuzz-XXXXXX";
    directory = ::mkdtemp(name);
    (void)file::write(canary(), "alive");
    store = std::move(*open_image_store({.directory = directory + "/store"}));
  }
  ~World() { (void)file::remove_tree(directory); }
  std::string canary() const { return directory + "/canary"; }
  std::string directory;
  std::unique_ptr<ImageStore> store;
};

void mend_checksum(char* block) {
  std::memset(block + 148, ' ', 8);
  unsigned sum = 0;
  for (size_t i = 0; i < 512; ++i) sum += static_cast<unsigned char>(block[i]);
  char text[8];
  std::snprintf(text, sizeof text, "%06o", sum);
  std::memcpy(block + 148, text, 7);
}

// What parses must parse again, to the same.
void reference(const std::string& text) {
  auto reference = ImageReference::parse(text);
  if (!reference) return fuzz::require(reference.error().code() == 400);
  auto again = ImageReference::parse(reference->to_string());
  KCUBE_CHECK(again && again->to_string() == reference->to_string() && again->name() == reference->name());
}

// A header of the ustar format and its content, padded.
std::string entry(const std::string& name, char type, const std::string& content, const std::string& link = {}) {
  std::string block(512, '\0');
  std::snprintf(block.data(), 100, "%s", name.c_str());
  std::snprintf(block.data() + 100, 8, "%07o", 0755);
  std::snprintf(block.data() + 108, 8, "%07o", 0);
  std::snprintf(block.data() + 116, 8, "%07o", 0);
  std::snprintf(block.data() + 124, 12, "%011zo", content.size());
  std::snprintf(block.data() + 136, 12, "%011o", 0);
  block[156] = type;
  std::snprintf(block.data() + 157, 100, "%s", link.c_str());
  std::memcpy(block.data() + 257, "ustar\00000", 8);
  return block + content + std::string((512 - content.size() % 512) % 512, '\0');
}

}  // namespace

std::vector<std::string> kcube::fuzz::seeds() {
  const std::string end(1024, '\0');
  return {"docker.io/library/busybox:1.36", "registry.example:5000/a/b@sha256:" + std::string(64, 'a'), "localhost/x",
          entry("d/", '5', "") + entry("d/f", '0', "text") + entry("d/l", '2', "", "../../../canary") + entry("d/h", '1', "", "d/f") + entry("d/.wh.f", '0', "") + entry("d/.wh..wh..opq", '0', "") + end,
          entry("../../canary", '0', "x") + entry("/etc/passwd", '0', "root") + entry("fifo", '6', "") + end,
          entry("manifest.json", '0', R"([{"Config":"c.json","RepoTags":["a:b"],"Layers":["l.tar"]}])") + entry("c.json", '0', R"({"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":["sha256:0"]}})") + entry("l.tar", '0', "") + end,
          entry("oci-layout", '0', R"({"imageLayoutVersion":"1.0.0"})") + entry("index.json", '0', R"({"schemaVersion":2,"manifests":[]})") + end};
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static World world;
  std::string bytes(reinterpret_cast<const char*>(data), size);
  if (size < 300) reference(bytes);
  for (size_t at = 0; at + 512 <= bytes.size(); at += 512)
    if (std::memcmp(bytes.data() + at + 257, "ustar", 5) == 0) mend_checksum(bytes.data() + at);
  if (auto loaded = world.store->load_bytes(bytes, false))
    for (const Image& image : *loaded) (void)world.store->remove(image.id);
  std::string root = world.directory + "/root";
  KCUBE_CHECK(file::make_dirs(root).has_value());
  {
    auto fd = file::open(root, O_RDONLY | O_DIRECTORY);
    auto source = images::decompressed(images::from_memory(bytes));
    KCUBE_CHECK(fd.has_value());
    if (source) (void)images::unpack_layer(**source, *fd);
  }
  KCUBE_CHECK(file::remove_tree(root).has_value());
  auto canary = file::read(world.canary());
  KCUBE_CHECK(canary && *canary == "alive" && file::list(world.directory)->size() == 2);
  return 0;
}
