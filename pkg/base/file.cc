#include "pkg/base/file.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>

namespace kcube::file {
namespace {

Result<void> write_all(const Fd& fd, std::string_view content, const std::string& path) {
  while (!content.empty()) {
    ssize_t n = ::write(fd.get(), content.data(), content.size());
    if (n < 0) {
      if (errno == EINTR) continue;
      return fail(Status::from_errno("write " + path));
    }
    content.remove_prefix(static_cast<size_t>(n));
  }
  return {};
}

Result<void> write_with(const std::string& path, std::string_view content, int flags, mode_t mode) {
  auto fd = open(path, flags | O_WRONLY | O_CREAT, mode);
  if (!fd) return fail(fd.error());
  return write_all(*fd, content, path);
}

Result<void> remove_entries(int directory_fd, dev_t device, const std::string& path) {
  Fd dir_fd(::dup(directory_fd));
  DIR* dir = ::fdopendir(dir_fd.get());
  if (dir == nullptr) return fail(Status::from_errno("open " + path));
  dir_fd.release();
  struct Closer {
    DIR* dir;
    ~Closer() { ::closedir(dir); }
  } closer{dir};
  while (dirent* entry = ::readdir(dir)) {
    std::string name = entry->d_name;
    if (name == "." || name == "..") continue;
    struct stat st{};
    if (::fstatat(directory_fd, name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) {
      if (errno == ENOENT) continue;
      return fail(Status::from_errno("stat " + path + "/" + name));
    }
    if (!S_ISDIR(st.st_mode)) {
      if (::unlinkat(directory_fd, name.c_str(), 0) != 0 && errno != ENOENT)
        return fail(Status::from_errno("unlink " + path + "/" + name));
      continue;
    }
    // A mount inside the tree belongs to somebody else: leave it and say so.
    if (st.st_dev != device) return fail(Status::internal("remove " + path + "/" + name + ": is a mount point"));
    Fd child(::openat(directory_fd, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!child) return fail(Status::from_errno("open " + path + "/" + name));
    if (auto r = remove_entries(child.get(), device, path + "/" + name); !r) return r;
    if (::unlinkat(directory_fd, name.c_str(), AT_REMOVEDIR) != 0 && errno != ENOENT)
      return fail(Status::from_errno("rmdir " + path + "/" + name));
  }
  return {};
}

}  // namespace

Result<Fd> open(const std::string& path, int flags, mode_t mode) {
  Fd fd(::open(path.c_str(), flags | O_CLOEXEC, mode));
  if (!fd) return fail(Status::from_errno("open " + path));
  return fd;
}

Result<Fd> open_beneath(const Fd& root, const std::string& path, int flags, mode_t mode) {
  open_how how{};
  how.flags = static_cast<uint64_t>(flags) | O_CLOEXEC;
  how.mode = mode;
  how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
  Fd fd(static_cast<int>(::syscall(SYS_openat2, root.get(), path.c_str(), &how, sizeof how)));
  if (!fd) return fail(Status::from_errno("open " + path));
  return fd;
}

Result<std::string> read(const std::string& path, uint64_t max_bytes) {
  auto fd = open(path, O_RDONLY);
  if (!fd) return fail(fd.error());
  std::string content;
  char buffer[64 * 1024];
  while (true) {
    ssize_t n = ::read(fd->get(), buffer, sizeof buffer);
    if (n < 0) {
      if (errno == EINTR) continue;
      return fail(Status::from_errno("read " + path));
    }
    if (n == 0) return content;
    if (content.size() + static_cast<size_t>(n) > max_bytes)
      return fail(Status(413, "RequestEntityTooLarge", path + " is larger than " + std::to_string(max_bytes) + " bytes"));
    content.append(buffer, static_cast<size_t>(n));
  }
}

Result<void> write(const std::string& path, std::string_view content, mode_t mode) {
  return write_with(path, content, O_TRUNC, mode);
}

Result<void> append(const std::string& path, std::string_view content, mode_t mode) {
  return write_with(path, content, O_APPEND, mode);
}

Result<void> write_atomic(const std::string& path, std::string_view content, mode_t mode) {
  static std::atomic<uint64_t> counter{0};
  std::string temporary = path + ".tmp." + std::to_string(::getpid()) + "." + std::to_string(++counter);
  auto done = [&]() -> Result<void> {
    auto fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL, mode);
    if (!fd) return fail(fd.error());
    if (auto r = write_all(*fd, content, temporary); !r) return r;
    if (::fchmod(fd->get(), mode) != 0) return fail(Status::from_errno("chmod " + temporary));
    if (::fdatasync(fd->get()) != 0) return fail(Status::from_errno("sync " + temporary));
    return rename(temporary, path);
  }();
  if (!done) ::unlink(temporary.c_str());
  return done;
}

bool exists(const std::string& path) { return ::access(path.c_str(), F_OK) == 0; }

bool is_directory(const std::string& path) {
  struct stat st{};
  return ::stat(path.c_str(), &st) == 0 && S_ISDIR(st.st_mode);
}

Result<void> make_dirs(const std::string& path, mode_t mode) {
  for (size_t at = 1; at != std::string::npos && at <= path.size();) {
    at = path.find('/', at);
    std::string part = path.substr(0, at);
    if (at != std::string::npos) ++at;
    if (part.empty()) continue;
    if (::mkdir(part.c_str(), mode) != 0 && errno != EEXIST) return fail(Status::from_errno("mkdir " + part));
  }
  if (!is_directory(path)) return fail(Status::from_errno("mkdir " + path, ENOTDIR));
  return {};
}

Result<void> remove_tree(const std::string& path) {
  struct stat st{};
  if (::lstat(path.c_str(), &st) != 0) {
    if (errno == ENOENT) return {};
    return fail(Status::from_errno("stat " + path));
  }
  if (!S_ISDIR(st.st_mode)) return remove(path);
  {
    auto fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    if (!fd) return fail(fd.error());
    if (auto r = remove_entries(fd->get(), st.st_dev, path); !r) return r;
  }
  if (::rmdir(path.c_str()) != 0 && errno != ENOENT) return fail(Status::from_errno("rmdir " + path));
  return {};
}

Result<void> remove(const std::string& path) {
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) return fail(Status::from_errno("unlink " + path));
  return {};
}

Result<void> rename(const std::string& from, const std::string& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) return fail(Status::from_errno("rename " + from + " to " + to));
  return {};
}

Result<std::vector<std::string>> list(const std::string& directory) {
  DIR* dir = ::opendir(directory.c_str());
  if (dir == nullptr) return fail(Status::from_errno("open " + directory));
  std::vector<std::string> names;
  while (dirent* entry = ::readdir(dir)) {
    std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  ::closedir(dir);
  std::ranges::sort(names);
  return names;
}

Result<Fd> lock(const std::string& path) {
  auto fd = open(path, O_RDWR | O_CREAT, 0600);
  if (!fd) return fail(fd.error());
  if (::flock(fd->get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK) return fail(Status(409, "Conflict", path + " is held by another process"));
    return fail(Status::from_errno("lock " + path));
  }
  return fd;
}

}  // namespace kcube::file
