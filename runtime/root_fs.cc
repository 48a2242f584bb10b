#include "runtime/root_fs.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "pkg/base/file.h"
#include "pkg/base/log.h"

namespace kcube::runtime {
namespace {

int call_fsconfig(int fd, unsigned command, const char* key, const char* value) {
  return static_cast<int>(::syscall(SYS_fsconfig, fd, command, key, value, 0));
}

// The kernel's own words wait in the context: "e overlay: upper fs does not support ...".
std::string kernel_message(int context) {
  char text[512];
  ssize_t n = ::read(context, text, sizeof text);
  return n > 0 ? ": " + std::string(text, static_cast<size_t>(n)) : "";
}

Result<Fd> make_mount(Fd context, const std::string& what, unsigned attributes) {
  if (call_fsconfig(context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr) != 0) {
    int error = errno;
    return fail(Status::from_errno("mount " + what + kernel_message(context.get()), error));
  }
  Fd mount(static_cast<int>(::syscall(SYS_fsmount, context.get(), FSMOUNT_CLOEXEC, attributes)));
  if (!mount.valid()) return fail(Status::from_errno("mount " + what));
  return mount;
}

// fsconfig takes no more than 255 bytes: a longer path goes by a descriptor, which stays in `held`.
std::string short_name(const std::string& path, std::vector<Fd>& held) {
  if (path.size() < 250) return path;
  held.emplace_back(::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  return held.back().valid() ? "/proc/self/fd/" + std::to_string(held.back().get()) : path;
}

Result<Fd> overlay_by_fsopen(const std::vector<std::string>& layers, const std::string& upper,
                             const std::string& work) {
  Fd context(static_cast<int>(::syscall(SYS_fsopen, "overlay", FSOPEN_CLOEXEC)));
  if (!context.valid()) return fail(Status::from_errno("overlayfs"));
  std::vector<Fd> held;
  call_fsconfig(context.get(), FSCONFIG_SET_STRING, "source", "overlay");
  for (size_t i = layers.size(); i-- > 0;)
    if (call_fsconfig(context.get(), FSCONFIG_SET_STRING, "lowerdir+", short_name(layers[i], held).c_str()) != 0)
      return fail(Status::from_errno("use the layer " + layers[i]));
  if (!upper.empty()) {
    if (call_fsconfig(context.get(), FSCONFIG_SET_STRING, "upperdir", short_name(upper, held).c_str()) != 0 ||
        call_fsconfig(context.get(), FSCONFIG_SET_STRING, "workdir", short_name(work, held).c_str()) != 0)
      return fail(Status::from_errno("overlay directories"));
    // A container's root does not outlive the container: without this, each unmount would sync the whole disk.
    call_fsconfig(context.get(), FSCONFIG_SET_FLAG, "volatile", nullptr);
  }
  return make_mount(std::move(context), "the root file system", 0);
}

// Nothing of a cluster is ever below it, so where only one thread sees its mounts it may be hidden.
constexpr const char* kScratch = "/sys";

// Gives the calling thread mounts of its own, which end with it, however it ends.
Result<void> own_mounts() {
  if (::unshare(CLONE_NEWNS) != 0 || ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0)
    return fail(Status::from_errno("make a mount namespace"));
  return {};
}

Result<Fd> mount_and_take(const std::vector<std::string>& layers, const std::string& upper, const std::string& work) {
  if (auto r = own_mounts(); !r) return fail(r.error());
  std::vector<Fd> held;
  std::string options = "lowerdir=";
  auto name_of = [&](const std::string& path) {
    held.emplace_back(::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    return "/proc/self/fd/" + std::to_string(held.back().get());
  };
  for (size_t i = layers.size(); i-- > 0;) options += (options.back() == '=' ? "" : ":") + name_of(layers[i]);
  // The kernel stacks lower directories only when there are two, or one below an upper one.
  if (layers.size() == 1 && upper.empty()) options += ":" + name_of(layers[0]);
  if (!upper.empty()) options += ",upperdir=" + name_of(upper) + ",workdir=" + name_of(work);
  const bool mounted = (!upper.empty() && ::mount("overlay", kScratch, "overlay", 0, (options + ",volatile").c_str()) == 0) ||
                       ::mount("overlay", kScratch, "overlay", 0, options.c_str()) == 0;
  if (!mounted) return fail(Status::from_errno("mount the root file system"));
  Fd tree(static_cast<int>(::syscall(SYS_open_tree, AT_FDCWD, kScratch, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC)));
  if (!tree.valid()) return fail(Status::from_errno("take the root file system"));
  return tree;
}

// Before Linux 6.8 the layers go in as one option, which only mount(2) takes at a useful length (a page): mounted
// somewhere, and taken from there. Layers go by descriptors, so that colons in paths mean nothing.
Result<Fd> overlay_by_mount(const std::vector<std::string>& layers, const std::string& upper, const std::string& work) {
  Result<Fd> tree = Fd();
  std::thread([&] { tree = mount_and_take(layers, upper, work); }).join();
  return tree;
}

Result<Fd> overlay(const std::vector<std::string>& layers, const std::string& upper, const std::string& work) {
  static std::atomic<bool> old_kernel = false;
  if (!old_kernel) {
    auto mount = overlay_by_fsopen(layers, upper, work);
    if (mount || mount.error().os_error() != EINVAL) return mount;
  }
  auto mount = overlay_by_mount(layers, upper, work);
  if (mount) old_kernel = true;
  return mount;
}

// The parts of a container's writable layer, which overlayfs wants apart.
constexpr const char *kUpper = "/upper", *kWork = "/workdir";

// `root` of the user namespace owns the container's /.
Result<void> make_upper(const std::string& directory, uint32_t root) {
  for (const char* name : {kUpper, kWork}) {
    std::string path = directory + name;
    if (::mkdir(path.c_str(), 0755) != 0 && errno != EEXIST) return fail(Status::from_errno("make " + path));
    if (root != 0 && ::chown(path.c_str(), root, root) != 0) return fail(Status::from_errno("chown " + path));
  }
  // overlayfs keeps a folder "work" of its own there, with this mark in it when a volatile overlay was not unmounted: it would
  // refuse to be mounted again.
  return file::remove_tree(directory + kWork + std::string("/work") + "/incompat");
}

Result<void> mount_tmpfs(const std::string& directory) {
  Fd context(static_cast<int>(::syscall(SYS_fsopen, "tmpfs", FSOPEN_CLOEXEC)));
  if (!context.valid()) return fail(Status::from_errno("tmpfs"));
  call_fsconfig(context.get(), FSCONFIG_SET_STRING, "mode", "700");
  auto mount = make_mount(std::move(context), "tmpfs", 0);
  if (!mount) return fail(mount.error());
  if (::syscall(SYS_move_mount, mount->get(), "", AT_FDCWD, directory.c_str(), MOVE_MOUNT_F_EMPTY_PATH) != 0)
    return fail(Status::from_errno("mount a tmpfs at " + directory));
  return {};
}

Result<Fd> id_mapped(const std::string& directory, const Fd& user_namespace) {
  Fd tree(static_cast<int>(
      ::syscall(SYS_open_tree, AT_FDCWD, directory.c_str(), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC)));
  if (!tree.valid()) return fail(Status::from_errno("mount " + directory));
  mount_attr attributes{};
  attributes.attr_set = MOUNT_ATTR_IDMAP;
  attributes.userns_fd = static_cast<uint64_t>(user_namespace.get());
  if (::syscall(SYS_mount_setattr, tree.get(), "", AT_EMPTY_PATH, &attributes, sizeof attributes) == 0) return tree;
  // Not EINVAL, which would be taken for a matter of the writable layer.
  return fail(Status::internal("map the ids of " + directory + " to the pod's user namespace: " + std::strerror(errno) +
                               " (its file system or this kernel cannot: Linux 5.12 maps ext4, 6.3 tmpfs)"));
}

// Attaches mapped copies of the layers where only the calling thread sees them, which from here on lives in a mount
// namespace of its own, and lists them.
Result<std::vector<std::string>> attach_mapped(const std::vector<std::string>& layers, const IdMap& ids) {
  if (auto r = own_mounts(); !r) return fail(r.error());
  if (::mount("tmpfs", kScratch, "tmpfs", 0, "mode=700") != 0) return fail(Status::from_errno("make a place for layers"));
  std::vector<std::string> out;
  for (const auto& layer : layers) {
    auto tree = id_mapped(layer, ids.user_namespace);
    if (!tree) return fail(tree.error());
    out.push_back(kScratch + ("/" + std::to_string(out.size())));
    if (::mkdir(out.back().c_str(), 0700) != 0 ||
        ::syscall(SYS_move_mount, tree->get(), "", AT_FDCWD, out.back().c_str(), MOVE_MOUNT_F_EMPTY_PATH) != 0)
      return fail(Status::from_errno("attach the layer " + layer));
  }
  return out;
}

// An overlay itself cannot be mapped, its layers can (Linux 5.19). Before 6.15 they have to be attached somewhere: a
// thread of its own does it where nobody else sees them, and nothing is left when it ends, however it ends.
Result<Fd> mapped_overlay(const std::vector<std::string>& layers, const std::string& upper, const std::string& work,
                          const IdMap& ids) {
  if (!ids.user_namespace.valid()) return overlay(layers, upper, work);
  Result<Fd> mount = Fd();
  std::thread([&] {
    auto mapped = attach_mapped(layers, ids);
    if (mapped)
      mount = overlay(*mapped, upper, work);
    else
      mount = fail(mapped.error());
  }).join();
  return mount;
}

}  // namespace

Result<Fd> mount_root(const std::vector<std::string>& layers, const std::string& directory, const IdMap& ids) {
  if (auto r = file::make_dirs(directory, 0700); !r) return fail(r.error());
  if (auto r = make_upper(directory, ids.root); !r) return fail(r.error());
  const std::string upper = directory + kUpper, work = directory + kWork;
  auto mount = mapped_overlay(layers, upper, work, ids);
  if (mount || mount.error().os_error() != EINVAL) return mount;
  log::warn("runtime", "this file system cannot hold a container's writable layer: it goes to memory",
            {{"directory", directory}, {"error", mount.error()}});
  if (auto r = mount_tmpfs(directory); !r) return fail(r.error());
  if (auto r = make_upper(directory, ids.root); !r) return fail(r.error());
  return mapped_overlay(layers, upper, work, ids);
}

Result<Fd> mount_directory(const std::string& directory) {
  Fd tree(static_cast<int>(
      ::syscall(SYS_open_tree, AT_FDCWD, directory.c_str(), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE)));
  if (!tree.valid()) return fail(Status::from_errno("mount " + directory));
  return tree;
}

Result<Fd> mount_image(const std::vector<std::string>& layers, const std::string& sub_path, const IdMap& ids) {
  if (layers.empty()) return fail(Status::bad_request("the image has no layers"));
  constexpr unsigned kClone = OPEN_TREE_CLONE | AT_EMPTY_PATH | OPEN_TREE_CLOEXEC;
  Fd root;
  if (layers.size() == 1) {
    auto directory = ids.user_namespace.valid() ? id_mapped(layers[0], ids.user_namespace)
                                                : file::open(layers[0], O_PATH | O_DIRECTORY);
    if (!directory) return fail(directory.error());
    if (ids.user_namespace.valid() && sub_path.empty()) return directory;
    root = std::move(*directory);
  } else {
    auto mount = mapped_overlay(layers, "", "", ids);
    if (!mount || sub_path.empty()) return mount;
    root = std::move(*mount);
  }
  if (!sub_path.empty()) {
    auto part = file::open_beneath(root, sub_path, O_PATH);
    if (!part) return fail(part.error().with_context("the image has no " + sub_path));
    root = std::move(*part);
  }
  Fd tree(static_cast<int>(::syscall(SYS_open_tree, root.get(), "", kClone)));
  if (!tree.valid()) return fail(Status::from_errno("mount the image"));
  return tree;
}

Result<void> remove_root(const std::string& directory) {
  if (::umount2(directory.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) != 0 && errno != EINVAL && errno != ENOENT)
    return fail(Status::from_errno("unmount " + directory));
  return file::remove_tree(directory);
}

}  // namespace kcube::runtime
