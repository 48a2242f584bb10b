// /etc/passwd and /etc/group belong to the image, hence to a stranger. Input: passwd, a NUL, group, a NUL, the user.
#include <fcntl.h>
#include <stdlib.h>

#include "pkg/base/file.h"
#include "runtime/users.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  using namespace kcube;
  static const std::string root = [] {
    char name[] = "/tmp/kcube-fuzz-XXXXXX";
    std::string made = ::mkdtemp(name);
    (void)file::make_dirs(made + "/etc");
    return made;
  }();
  std::string input(reinterpret_cast<const char*>(bytes), size);
  size_t one = input.find('\0'), two = one == std::string::npos ? one : input.find('\0', one + 1);
  if (two == std::string::npos) return 0;
  (void)file::write(root + "/etc/passwd", input.substr(0, one));
  (void)file::write(root + "/etc/group", input.substr(one + 1, two - one - 1));
  auto fd = file::open(root, O_PATH | O_DIRECTORY);
  (void)runtime::find_user(*fd, input.substr(two + 1), {});
  return 0;
}
