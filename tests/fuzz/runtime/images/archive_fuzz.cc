// Archives of strangers: loaded whole, and as a layer unpacked. A canary beside the store must survive. The checksums
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

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static World world;
  std::string bytes(reinterpret_cast<const char*>(data), size);
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
