#include "pkg/base/fd.h"

#include <unistd.h>

namespace kcube {

void Fd::reset(int fd) {
  if (fd_ >= 0) ::close(fd_);
  fd_ = fd;
}

}  // namespace kcube
