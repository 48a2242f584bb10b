// Paths inside a container: the image decides where its symbolic links point, the kernel keeps them beneath the root.
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "runtime/monitor/child.h"

namespace kcube::monitor {
namespace {

constexpr int kMaxLinks = 40;  // as in the kernel's own walk

int make_step(int root, const std::string& path, bool directory, int depth);

// `path` (whose last component is `name` in `parent`) is a link to nothing: makes what it points to.
int make_link_target(int root, int parent, const std::string& path, const std::string& name, bool directory,
                     int depth) {
  char target[4096];
  ssize_t n = ::readlinkat(parent, name.c_str(), target, sizeof target);
  if (n <= 0 || depth >= kMaxLinks) {
    errno = n > 0 ? ELOOP : EEXIST;
    return -1;
  }
  std::string to(target, static_cast<size_t>(n));
  if (to[0] != '/') to = path.substr(0, path.size() - name.size()) + to;
  return make_step(root, to, directory, depth + 1);
}

int make_step(int root, const std::string& path, bool directory, int depth) {
  int fd = open_in_root(root, path, O_PATH);
  if (fd >= 0 || errno != ENOENT) return fd;
  size_t end = path.find_last_not_of('/');
  if (end == std::string::npos) return -1;
  std::string trimmed = path.substr(0, end + 1);
  size_t slash = trimmed.rfind('/');
  std::string name = slash == std::string::npos ? trimmed : trimmed.substr(slash + 1);
  int parent =
      slash == std::string::npos || slash == 0 ? ::dup(root) : make_step(root, trimmed.substr(0, slash), true, depth);
  if (parent < 0) return -1;
  int made = 0;
  if (directory)
    made = ::mkdirat(parent, name.c_str(), 0755);
  else if ((fd = ::openat(parent, name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644)) >= 0)
    ::close(fd);
  else
    made = -1;
  if (made != 0 && errno == EEXIST) {
    int result = make_link_target(root, parent, trimmed, name, directory, depth);
    ::close(parent);
    return result;
  }
  ::close(parent);
  return made == 0 ? open_in_root(root, trimmed, O_PATH) : -1;
}

}  // namespace

int open_in_root(int root, const std::string& path, int flags) {
  open_how how{};
  how.flags = static_cast<uint64_t>(flags) | O_CLOEXEC;
  how.resolve = RESOLVE_IN_ROOT;
  return static_cast<int>(::syscall(SYS_openat2, root, path.empty() ? "." : path.c_str(), &how, sizeof how));
}

int make_in_root(int root, const std::string& path, bool directory) { return make_step(root, path, directory, 0); }

}  // namespace kcube::monitor
