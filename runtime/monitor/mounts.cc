// A container's mounts through the file-descriptor API of Linux 5.2 and later (fsopen, open_tree, move_mount,
// mount_setattr): every target is resolved once, beneath the root, and never again by name.
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <string_view>

#include "runtime/monitor/child.h"

namespace kcube::monitor {

namespace protocol = runtime::protocol;
using Step = protocol::MountStep;

namespace {

int open_tree(int at, const char* path, unsigned flags) {
  return static_cast<int>(::syscall(SYS_open_tree, at, path, flags | OPEN_TREE_CLONE | O_CLOEXEC));
}

void set_attributes(const Channel& channel, int tree, const Step& step) {
  mount_attr attributes{};
  attributes.attr_set = step.attributes;
  // The access time mode is a field, not a bit: it is cleared before it is set.
  if (step.attributes & MOUNT_ATTR__ATIME) attributes.attr_clr = MOUNT_ATTR__ATIME;
  unsigned flags = AT_EMPTY_PATH | (step.recursive_attributes ? unsigned{AT_RECURSIVE} : 0u);
  if (step.attributes != 0 && ::syscall(SYS_mount_setattr, tree, "", flags, &attributes, sizeof attributes) != 0)
    channel.fail("set the flags of the mount at " + step.target, errno);
  mount_attr propagation{};
  propagation.propagation = step.propagation;
  if (step.propagation != 0 &&
      ::syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH | AT_RECURSIVE, &propagation, sizeof propagation) != 0)
    channel.fail("set the propagation of the mount at " + step.target, errno);
}

// Ids on the file system become those of the pod's user namespace: uid 0 of a file is the pod's root.
void map_ids(const ChildContext& context, int tree, const Step& step) {
  mount_attr attributes{};
  attributes.attr_set = MOUNT_ATTR_IDMAP;
  attributes.userns_fd = static_cast<uint64_t>(context.user_namespace);
  // With what is mounted below it, or, where one of those cannot be mapped, alone.
  if (::syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH | AT_RECURSIVE, &attributes, sizeof attributes) == 0 ||
      ::syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH, &attributes, sizeof attributes) == 0)
    return;
  int error = errno;
  if (step.idmapped == Step::IdMapped::required)
    context.channel.fail("mount " + step.source + " at " + step.target +
                             " for a pod with a user namespace: its file system cannot map ids on this kernel",
                         error);
}

int pod_shm(const ChildContext& context) {
  int own = ::open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
  if (own < 0 || ::setns(context.pause, CLONE_NEWNS) != 0)
    context.channel.fail("enter the pod's mount namespace", errno);
  int tree = open_tree(AT_FDCWD, "/shm", 0);
  int error = errno;
  if (::setns(own, CLONE_NEWNS) != 0) context.channel.fail("leave the pod's mount namespace", errno);
  ::close(own);
  if (tree < 0) context.channel.fail("clone the pod's /dev/shm", error);
  return tree;
}

bool is_directory(int fd) {
  struct stat info;
  return ::fstat(fd, &info) == 0 && S_ISDIR(info.st_mode);
}

}  // namespace

std::vector<int> open_bind_sources(const protocol::StartContainer& spec, const ChildContext& context) {
  std::vector<int> trees;
  for (const auto& step : spec.mounts) {
    int tree = -1;
    if (step.kind == Step::Kind::bind) {
      tree = open_tree(AT_FDCWD, step.source.c_str(), AT_RECURSIVE);
      if (tree < 0 && !step.optional) context.channel.fail("mount " + step.source + " at " + step.target, errno);
    } else if (step.kind == Step::Kind::pod_shm) {
      tree = pod_shm(context);
    } else if (step.kind == Step::Kind::descriptor) {
      tree = context.fd(step.fd);
    }
    if (tree >= 0) set_attributes(context.channel, tree, step);
    if (tree >= 0 && step.idmapped != Step::IdMapped::no) map_ids(context, tree, step);
    trees.push_back(tree);
  }
  return trees;
}

int new_filesystem(const Channel& channel, const std::string& type, const std::string& options, uint64_t attributes) {
  int context = static_cast<int>(::syscall(SYS_fsopen, type.c_str(), FSOPEN_CLOEXEC));
  if (context < 0) channel.fail("file system " + type, errno);
  ::syscall(SYS_fsconfig, context, FSCONFIG_SET_STRING, "source", type.c_str(), 0);
  std::string_view rest = options;
  while (!rest.empty()) {
    std::string option(rest.substr(0, rest.find(',')));
    rest.remove_prefix(rest.size() > option.size() ? option.size() + 1 : option.size());
    size_t equals = option.find('=');
    std::string key = option.substr(0, equals);
    bool flag = equals == std::string::npos;
    if (::syscall(SYS_fsconfig, context, flag ? FSCONFIG_SET_FLAG : FSCONFIG_SET_STRING, key.c_str(),
                  flag ? nullptr : option.c_str() + equals + 1, 0) != 0)
      channel.fail("mount option " + option + " of " + type, errno);
  }
  if (::syscall(SYS_fsconfig, context, FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) != 0)
    channel.fail("mount " + type, errno);
  int tree = static_cast<int>(::syscall(SYS_fsmount, context, FSMOUNT_CLOEXEC, attributes));
  if (tree < 0) channel.fail("mount " + type, errno);
  ::close(context);
  return tree;
}

void attach_at(const Channel& channel, int tree, int target, const std::string& path) {
  if (::syscall(SYS_move_mount, tree, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) != 0)
    channel.fail("mount at " + path, errno);
  ::close(target);
}

void attach_mounts(const protocol::StartContainer& spec, const ChildContext& context, int root,
                   const std::vector<int>& sources) {
  for (size_t i = 0; i < spec.mounts.size(); ++i) {
    const auto& step = spec.mounts[i];
    int tree = sources[i];
    if (step.kind == Step::Kind::filesystem) {
      tree = new_filesystem(context.channel, step.source, step.options, step.attributes);
    } else if (tree < 0) {
      continue;
    }
    int target = make_in_root(root, step.target, is_directory(tree));
    if (target < 0) context.channel.fail("make the mount point " + step.target, errno);
    if (is_directory(tree) != is_directory(target))
      context.channel.fail("mount at " + step.target + ": one is a directory, the other is not", 0);
    attach_at(context.channel, tree, target, step.target);
    ::close(tree);
  }
}

void make_devices(const protocol::StartContainer& spec, const ChildContext& context, int root) {
  mode_t mask = ::umask(0);
  for (const auto& device : spec.devices) {
    size_t slash = device.path.rfind('/');
    int parent = make_in_root(root, device.path.substr(0, slash), true);
    if (parent < 0) context.channel.fail("make the directory of " + device.path, errno);
    std::string name = device.path.substr(slash + 1);
    if (::mknodat(parent, name.c_str(), device.mode, device.rdev) != 0 && errno != EEXIST)
      context.channel.fail("make the device " + device.path, errno);
    if (::fchownat(parent, name.c_str(), device.uid, device.gid, AT_SYMLINK_NOFOLLOW) != 0)
      context.channel.fail("own the device " + device.path, errno);
    ::close(parent);
  }
  for (const auto& link : spec.links) {
    size_t slash = link.path.rfind('/');
    int parent = make_in_root(root, link.path.substr(0, slash), true);
    if (parent < 0 || (::symlinkat(link.target.c_str(), parent, link.path.c_str() + slash + 1) != 0 && errno != EEXIST))
      context.channel.fail("link " + link.path, errno);
    ::close(parent);
  }
  ::umask(mask);
}

void mask_paths(const protocol::StartContainer& spec, const ChildContext& context, int root) {
  for (const auto& path : spec.readonly_paths) {
    int target = open_in_root(root, path, O_PATH);
    if (target < 0) continue;
    Step step;
    step.target = path;
    step.attributes = MOUNT_ATTR_RDONLY;
    int tree = open_tree(target, "", AT_EMPTY_PATH | AT_RECURSIVE);
    if (tree < 0) context.channel.fail("make " + path + " read-only", errno);
    set_attributes(context.channel, tree, step);
    attach_at(context.channel, tree, target, path);
    ::close(tree);
  }
  for (const auto& path : spec.masked_paths) {
    int target = open_in_root(root, path, O_PATH);
    if (target < 0) continue;
    int tree;
    if (is_directory(target)) {
      tree = new_filesystem(context.channel, "tmpfs", "size=0k,nr_inodes=2", MOUNT_ATTR_RDONLY);
    } else {
      int null = open_in_root(root, "/dev/null", O_PATH);
      struct stat info;
      if (null < 0 || ::fstat(null, &info) != 0 || !S_ISCHR(info.st_mode) || info.st_rdev != makedev(1, 3))
        context.channel.fail("mask " + path + ": /dev/null is not the null device", 0);
      tree = open_tree(null, "", AT_EMPTY_PATH);
      ::close(null);
    }
    if (tree < 0) context.channel.fail("mask " + path, errno);
    attach_at(context.channel, tree, target, path);
    ::close(tree);
  }
}

void pivot_into(const Channel& channel, int directory) {
  // With both arguments "." the old root ends up stacked on the new one, where it is taken off again.
  if (::fchdir(directory) != 0 || ::syscall(SYS_pivot_root, ".", ".") != 0) channel.fail("pivot_root", errno);
  if (::umount2(".", MNT_DETACH) != 0) channel.fail("unmount the old root", errno);
  if (::chdir("/") != 0) channel.fail("chdir /", errno);
  ::close(directory);
}

}  // namespace kcube::monitor
