#include "runtime/images/unpack.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <set>

#include "pkg/base/file.h"
#include "pkg/base/strings.h"
#include "runtime/images/tar_reader.h"

namespace kcube::runtime::images {
namespace {

constexpr std::string_view kWhiteout = ".wh.", kWhiteoutMeta = ".wh..wh.", kOpaque = ".wh..wh..opq";
constexpr const char* kOpaqueXattr = "trusted.overlay.opaque";
constexpr size_t kMaxDepth = 256;

// Like file::open_beneath, but links that leave the root fail (EXDEV) instead of being clamped to it.
Fd open_strictly_beneath(const Fd& root, const std::string& path, int flags) {
  open_how how{};
  how.flags = static_cast<uint64_t>(flags) | O_CLOEXEC;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
  return Fd(static_cast<int>(::syscall(SYS_openat2, root.get(), path.empty() ? "." : path.c_str(), &how, sizeof how)));
}

// "./a//b/" as "a/b"; "" is the root. nullopt when it climbs or cannot be a name.
std::optional<std::string> cleaned(std::string_view path) {
  std::string result;
  size_t depth = 0;
  for (std::string_view part : split(path, '/')) {
    if (part.empty() || part == ".") continue;
    if (part == ".." || part.size() > 255 || ++depth > kMaxDepth) return std::nullopt;
    if (!result.empty()) result += '/';
    result += part;
  }
  return result;
}

std::pair<std::string, std::string> parent_and_name(const std::string& path) {
  size_t slash = path.rfind('/');
  if (slash == std::string::npos) return {"", path};
  return {path.substr(0, slash), path.substr(slash + 1)};
}

// The name in `parent` as a path for the calls on xattrs, which take no directory descriptor.
std::string path_in(const Fd& parent, const std::string& name) {
  return "/proc/self/fd/" + std::to_string(parent.get()) + "/" + name;
}

Result<void> set_opaque(const Fd& parent, const std::string& name) {
  if (::lsetxattr(path_in(parent, name).c_str(), kOpaqueXattr, "y", 1, 0) == 0) return {};
  return fail(Status::from_errno("set the opaque attribute"));
}

timespec time_of(const TarEntry& entry) { return {entry.mtime, static_cast<long>(entry.mtime_nanoseconds)}; }

class Unpacker {
 public:
  Unpacker(ByteSource& tar, const Fd& root) : source_(tar), reader_(tar), root_(root), buffer_(256 * 1024) {}
  Result<Unpacked> run();

 private:
  Result<void> unpack(const TarEntry& entry);
  Result<Fd> open_parent(const std::string& path);
  Result<void> make_parents(const std::string& path);
  Result<void> whiteout(const Fd& parent, const std::string& name);
  // Removes what is there; says whether it was a whiteout.
  Result<bool> make_room(const Fd& parent, const std::string& name, bool keep_directory);
  Result<void> create(const TarEntry& entry, const Fd& parent, const std::string& name);
  Result<void> write_file(const Fd& parent, const std::string& name);
  Result<void> hard_link(const TarEntry& entry, const Fd& parent, const std::string& name);
  Result<void> set_metadata(const TarEntry& entry, const Fd& parent, const std::string& name);
  Result<void> set_directory_times();

  ByteSource& source_;
  TarReader reader_;
  const Fd& root_;
  std::vector<char> buffer_;
  std::set<std::string> implied_;
  std::vector<std::pair<std::string, timespec>> directory_times_;
};

Result<Unpacked> Unpacker::run() {
  TarEntry entry;
  while (true) {
    auto more = reader_.next(entry);
    if (!more) return fail(more.error());
    if (!*more) break;
    if (auto r = unpack(entry); !r) return fail(r.error().with_context("entry \"" + entry.path.substr(0, 300) + "\""));
  }
  if (auto r = drain(source_); !r) return fail(r.error());
  if (auto r = set_directory_times(); !r) return fail(r.error());
  return Unpacked{{implied_.begin(), implied_.end()}};
}

Result<Fd> Unpacker::open_parent(const std::string& path) {
  Fd fd = open_strictly_beneath(root_, path, O_RDONLY | O_DIRECTORY);
  if (fd) return fd;
  if (errno == EXDEV || errno == ELOOP)
    return fail(Status::bad_request("\"" + path + "\" leads out of the layer through a symbolic link"));
  if (errno == ENOTDIR) return fail(Status::bad_request("\"" + path + "\" is no directory"));
  if (errno != ENOENT) return fail(Status::from_errno("open " + path));
  if (auto r = make_parents(path); !r) return fail(r.error());
  fd = open_strictly_beneath(root_, path, O_RDONLY | O_DIRECTORY);
  if (!fd) return fail(Status::from_errno("open " + path));
  return fd;
}

Result<void> Unpacker::make_parents(const std::string& path) {
  for (size_t end = 0; end != std::string::npos;) {
    end = path.find('/', end == 0 ? 0 : end + 1);
    std::string part = path.substr(0, end);
    if (open_strictly_beneath(root_, part, O_PATH | O_DIRECTORY)) continue;
    if (errno == EXDEV || errno == ELOOP)
      return fail(Status::bad_request("\"" + part + "\" leads out of the layer through a symbolic link"));
    auto [above, name] = parent_and_name(part);
    Fd parent = open_strictly_beneath(root_, above, O_PATH | O_DIRECTORY);
    if (!parent) return fail(Status::from_errno("open " + above));
    auto was_whiteout = make_room(parent, name, true);
    if (!was_whiteout) return fail(was_whiteout.error());
    if (::mkdirat(parent.get(), name.c_str(), 0755) != 0) return fail(Status::from_errno("mkdir " + part));
    if (::fchmodat(parent.get(), name.c_str(), 0755, 0) != 0) return fail(Status::from_errno("chmod " + part));
    implied_.insert(part);
    if (!*was_whiteout) continue;
    if (auto r = set_opaque(parent, name); !r) return r;
  }
  return {};
}

Result<void> Unpacker::unpack(const TarEntry& entry) {
  auto path = cleaned(entry.path);
  if (!path) return fail(Status::bad_request("the name climbs out of the layer, or is too long"));
  if (path->empty()) {  // the root directory itself
    if (entry.type != TarType::directory) return fail(Status::bad_request("the root of a layer must be a directory"));
    directory_times_.emplace_back("", time_of(entry));
    Fd self = open_strictly_beneath(root_, "", O_RDONLY | O_DIRECTORY);
    return set_metadata(entry, self, ".");
  }
  auto [above, name] = parent_and_name(*path);
  auto parent = open_parent(above);
  if (!parent) return fail(parent.error());
  if (name.starts_with(kWhiteout)) return whiteout(*parent, name);
  auto was_whiteout = make_room(*parent, name, entry.type == TarType::directory);
  if (!was_whiteout) return fail(was_whiteout.error());
  if (auto r = create(entry, *parent, name); !r) return r;
  // The layer hid what lies below before it made this directory: it must not show through.
  if (*was_whiteout && entry.type == TarType::directory) {
    if (auto r = set_opaque(*parent, name); !r) return r;
  }
  if (entry.type == TarType::hard_link) return {};  // shares the target's metadata
  if (entry.type == TarType::directory) {
    implied_.erase(*path);
    directory_times_.emplace_back(*path, time_of(entry));
  }
  return set_metadata(entry, *parent, name);
}

Result<void> Unpacker::whiteout(const Fd& parent, const std::string& name) {
  if (name == kOpaque) return set_opaque(parent, ".");
  if (name.starts_with(kWhiteoutMeta)) return {};  // AUFS' own files
  std::string hidden = name.substr(kWhiteout.size());
  if (hidden.empty() || hidden == "." || hidden == "..") return fail(Status::bad_request("the whiteout hides no name"));
  // A whiteout hides what layers below have, not what this one has: that stays, but nothing shows through it.
  struct stat st {};
  if (::fstatat(parent.get(), hidden.c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0) {
    if (!S_ISDIR(st.st_mode)) return {};
    return set_opaque(parent, hidden);
  }
  if (::mknodat(parent.get(), hidden.c_str(), S_IFCHR, makedev(0, 0)) != 0)
    return fail(Status::from_errno("make a whiteout"));
  return {};
}

Result<bool> Unpacker::make_room(const Fd& parent, const std::string& name, bool keep_directory) {
  struct stat st {};
  if (::fstatat(parent.get(), name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) {
    if (errno == ENOENT) return false;
    return fail(Status::from_errno("stat"));
  }
  if (S_ISDIR(st.st_mode)) {
    if (keep_directory) return false;
    if (auto r = file::remove_tree(path_in(parent, name)); !r) return fail(r.error());
    return false;
  }
  if (::unlinkat(parent.get(), name.c_str(), 0) != 0) return fail(Status::from_errno("unlink"));
  return S_ISCHR(st.st_mode) && st.st_rdev == makedev(0, 0);
}

Result<void> Unpacker::create(const TarEntry& entry, const Fd& parent, const std::string& name) {
  auto made = [&](int code, const char* what) -> Result<void> {
    if (code != 0) return fail(Status::from_errno(what));
    return {};
  };
  auto node = [&](mode_t type) {
    return made(::mknodat(parent.get(), name.c_str(), type | 0600, makedev(entry.major, entry.minor)), "mknod");
  };
  switch (entry.type) {
    case TarType::file: return write_file(parent, name);
    case TarType::hard_link: return hard_link(entry, parent, name);
    case TarType::symlink:
      if (entry.link.empty()) return fail(Status::bad_request("the symbolic link points to nothing"));
      return made(::symlinkat(entry.link.c_str(), parent.get(), name.c_str()), "symlink");
    case TarType::char_device: return node(S_IFCHR);
    case TarType::block_device: return node(S_IFBLK);
    case TarType::fifo: return made(::mkfifoat(parent.get(), name.c_str(), 0600), "mkfifo");
    case TarType::directory: {
      int code = ::mkdirat(parent.get(), name.c_str(), 0700);
      return made(code != 0 && errno == EEXIST ? 0 : code, "mkdir");
    }
  }
  return {};
}

Result<void> Unpacker::write_file(const Fd& parent, const std::string& name) {
  Fd fd(::openat(parent.get(), name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!fd) return fail(Status::from_errno("create"));
  while (true) {
    auto n = reader_.read(buffer_.data(), buffer_.size());
    if (!n) return fail(n.error());
    if (*n == 0) return {};
    for (size_t done = 0; done < *n;) {
      ssize_t written = ::write(fd.get(), buffer_.data() + done, *n - done);
      if (written < 0 && errno != EINTR) return fail(Status::from_errno("write"));
      if (written > 0) done += static_cast<size_t>(written);
    }
  }
}

Result<void> Unpacker::hard_link(const TarEntry& entry, const Fd& parent, const std::string& name) {
  auto target = cleaned(entry.link);
  if (!target || target->empty()) return fail(Status::bad_request("the hard link's target climbs out of the layer"));
  auto [above, target_name] = parent_and_name(*target);
  Fd directory = open_strictly_beneath(root_, above, O_PATH | O_DIRECTORY);
  if (!directory && errno == EXDEV)
    return fail(Status::bad_request("the hard link's target leads out of the layer through a symbolic link"));
  // Without AT_SYMLINK_FOLLOW: a link to a symbolic link is a second name of the symbolic link.
  if (!directory || ::linkat(directory.get(), target_name.c_str(), parent.get(), name.c_str(), 0) != 0)
    return fail(errno == ENOENT || errno == EPERM || errno == ENOTDIR
                    ? Status::bad_request("the hard link's target \"" + entry.link + "\" is no file of this layer")
                    : Status::from_errno("link to " + entry.link));
  return {};
}

// The order matters: a change of owner drops set-user-id bits and security.capability.
Result<void> Unpacker::set_metadata(const TarEntry& entry, const Fd& parent, const std::string& name) {
  if (::fchownat(parent.get(), name.c_str(), entry.uid, entry.gid, AT_SYMLINK_NOFOLLOW) != 0)
    return fail(Status::from_errno("chown"));
  std::string link = path_in(parent, name);
  for (const auto& [key, value] : entry.xattrs) {
    // Those of overlayfs itself are ours to set: a layer must not redirect or hide by them.
    if (key.starts_with("trusted.") || key.starts_with("user.overlay.")) continue;
    if (::lsetxattr(link.c_str(), key.c_str(), value.data(), value.size(), 0) != 0 && errno != ENOTSUP &&
        errno != EPERM)
      return fail(Status::from_errno("set the attribute " + key));
  }
  if (entry.type == TarType::symlink) {
    timespec times[2] = {time_of(entry), time_of(entry)};
    ::utimensat(parent.get(), name.c_str(), times, AT_SYMLINK_NOFOLLOW);
    return {};
  }
  if (::fchmodat(parent.get(), name.c_str(), entry.mode, 0) != 0) return fail(Status::from_errno("chmod"));
  timespec times[2] = {time_of(entry), time_of(entry)};
  if (::utimensat(parent.get(), name.c_str(), times, AT_SYMLINK_NOFOLLOW) != 0)
    return fail(Status::from_errno("set the time"));
  return {};
}

// Last, because each entry made in a directory changes its time.
Result<void> Unpacker::set_directory_times() {
  for (const auto& [path, time] : directory_times_) {
    Fd fd = open_strictly_beneath(root_, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    if (!fd) continue;  // replaced by a later entry
    timespec times[2] = {time, time};
    if (::futimens(fd.get(), times) != 0) return fail(Status::from_errno("set the time of " + path));
  }
  return {};
}

}  // namespace

Result<Unpacked> unpack_layer(ByteSource& tar, const Fd& root) { return Unpacker(tar, root).run(); }

Result<void> copy_directory_metadata(const std::vector<std::string>& implied, const Fd& root,
                                     const std::vector<std::string>& lower) {
  std::vector<Fd> layers;
  for (auto it = lower.rbegin(); it != lower.rend(); ++it) {
    auto fd = file::open(*it, O_PATH | O_DIRECTORY);
    if (!fd) return fail(fd.error());
    layers.push_back(std::move(*fd));
  }
  for (const std::string& path : implied) {
    for (const Fd& layer : layers) {
      Fd below = open_strictly_beneath(layer, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
      struct stat st {};
      if (!below || ::fstat(below.get(), &st) != 0) continue;
      Fd own = open_strictly_beneath(root, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
      if (!own) break;
      timespec times[2] = {st.st_atim, st.st_mtim};
      if (::fchown(own.get(), st.st_uid, st.st_gid) != 0 || ::fchmod(own.get(), st.st_mode & 07777) != 0 ||
          ::futimens(own.get(), times) != 0)
        return fail(Status::from_errno("copy the metadata of " + path));
      break;
    }
  }
  return {};
}

}  // namespace kcube::runtime::images
