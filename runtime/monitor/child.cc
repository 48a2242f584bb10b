#include "runtime/monitor/child.h"

#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace kcube::monitor {

namespace protocol = runtime::protocol;

void Channel::send(Report what, const std::string& text, int descriptor) const {
  char kind = static_cast<char>(what);
  iovec parts[2] = {{&kind, 1}, {const_cast<char*>(text.data()), text.size()}};
  msghdr message{};
  message.msg_iov = parts;
  message.msg_iovlen = 2;
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  if (descriptor >= 0) {
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    cmsghdr* c = CMSG_FIRSTHDR(&message);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(c), &descriptor, sizeof descriptor);
  }
  ::sendmsg(fd, &message, MSG_NOSIGNAL);
}

void Channel::fail(const std::string& text, int os_error) const {
  send(Report::setup, os_error == 0 ? text : text + ": " + ::strerror(os_error));
  ::_exit(1);
}

void Channel::fail_program(const std::string& text) const {
  send(Report::program, text);
  ::_exit(128);
}

namespace {

// A clean slate: the monitor blocks and ignores signals, and holds descriptors that are none of the child's business.
void leave_monitor(const Channel& channel) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  struct sigaction action {};
  action.sa_handler = SIG_DFL;
  for (int s = 1; s < NSIG; ++s) ::sigaction(s, &action, nullptr);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  if (::setsid() < 0) channel.fail("setsid", errno);
}

void loopback_up(const Channel& channel) {
  int s = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  ifreq request{};
  std::strcpy(request.ifr_name, "lo");
  request.ifr_flags = IFF_UP | IFF_RUNNING;
  if (s < 0 || ::ioctl(s, SIOCSIFFLAGS, &request) != 0) channel.fail("bring up the loopback interface", errno);
  ::close(s);
}

void write_sysctls(const protocol::StartPause& spec, const Channel& channel) {
  for (const auto& sysctl : spec.sysctls) {
    std::string path = "/proc/sys/" + sysctl.path;
    int fd = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
    if (fd < 0 || ::write(fd, sysctl.value.data(), sysctl.value.size()) < 0)
      channel.fail("set sysctl " + sysctl.path, errno);
    ::close(fd);
  }
}

// In a shared PID namespace /proc/1/root is pause's: an empty file system, with the pod's /dev/shm in it.
void pause_root(const protocol::StartPause& spec, const Channel& channel, const std::string& directory, int target) {
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) channel.fail("make mounts private", errno);
  int root = new_filesystem(channel, "tmpfs", "size=16k,mode=755", MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
  attach_at(channel, root, target, directory);
  if (spec.shm_bytes > 0) {
    if (::mkdirat(root, "shm", 0755) != 0) channel.fail("mkdir shm", errno);
    int shm = new_filesystem(channel, "tmpfs", "mode=1777,size=" + std::to_string(spec.shm_bytes),
                             MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
    int at = ::openat(root, "shm", O_PATH | O_DIRECTORY | O_CLOEXEC);
    attach_at(channel, shm, at, "shm");
  }
  pivot_into(channel, root);
}

}  // namespace

void enter_cgroups(const protocol::CgroupEntry& cgroup, const ChildContext& context) {
  for (int32_t index : cgroup.procs)
    if (::write(context.fd(index), "0", 1) != 1) context.channel.fail("enter the cgroup", errno);
}

void set_oom_score(const protocol::Process& process, const Channel& channel) {
  if (!process.has_oom_score_adj) return;
  std::string value = std::to_string(process.oom_score_adj);
  int fd = ::open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
  if (fd < 0 || ::write(fd, value.data(), value.size()) < 0) {
    if (errno != EPERM && errno != EACCES) channel.fail("set oom_score_adj to " + value, errno);
    channel.send(Report::warning, "oom_score_adj " + value + " refused: " + ::strerror(errno));
  }
  if (fd >= 0) ::close(fd);
}

void run_pause(const protocol::StartPause& spec, const ChildContext& context, const std::string& directory) {
  const Channel& channel = context.channel;
  leave_monitor(channel);
  int target = ::open(directory.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (target < 0) channel.fail("open " + directory, errno);
  if (spec.ids.count > 0) {
    await_monitor(channel);
    become_root_inside(channel);
  }
  if (spec.clone_flags & CLONE_NEWNET) loopback_up(channel);
  if ((spec.clone_flags & CLONE_NEWUTS) && ::sethostname(spec.hostname.data(), spec.hostname.size()) != 0)
    channel.fail("set the host name " + spec.hostname, errno);
  write_sysctls(spec, channel);
  pause_root(spec, channel, directory, target);
  // The first write to a v1 hierarchy waits for an RCU grace period (some ms): the namespaces are usable meanwhile.
  channel.send(Report::ready, "");
  enter_cgroups(spec.cgroup, context);
  char* const argv[] = {const_cast<char*>("/pause"), nullptr};
  char* const env[] = {nullptr};
  ::dup2(context.in, 0);
  ::dup2(context.in, 1);
  ::dup2(context.in, 2);
  ::syscall(SYS_close_range, 3, ~0u, 4 /* CLOSE_RANGE_CLOEXEC */);
  ::syscall(SYS_execveat, context.fd(spec.program), "", argv, env, AT_EMPTY_PATH);
  channel.fail("execute pause", errno);
}

void run_container(const protocol::StartContainer& spec, const ChildContext& context) {
  const Channel& channel = context.channel;
  leave_monitor(channel);
  set_oom_score(spec.process, channel);
  enter_cgroups(spec.cgroup, context);
  std::vector<int> sources = open_bind_sources(spec, context);
  if (spec.ids.count > 0) carry_on_inside(spec, context);
  if (spec.cgroup_namespace && ::unshare(CLONE_NEWCGROUP) != 0) channel.fail("make a cgroup namespace", errno);
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) channel.fail("make mounts private", errno);
  int joined = static_cast<int>(spec.join_flags) & (CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS);
  if (joined != 0 && ::setns(context.pause, joined) != 0) channel.fail("join the pod's namespaces", errno);

  int at = ::open(spec.root_mountpoint.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (at < 0) channel.fail("open " + spec.root_mountpoint, errno);
  int root = context.fd(spec.root);
  attach_at(channel, root, at, spec.root_mountpoint);
  if (spec.ids.count > 0) become_root_inside(channel);
  attach_mounts(spec, context, root, sources);
  make_devices(spec, context, root);
  mask_paths(spec, context, root);
  pivot_into(channel, root);

  if (spec.process.tty)
    open_console(spec.process, channel, true);
  else
    use_stdio(context.in, context.out, context.err, spec.process.uid, channel);
  if (spec.readonly_root) {
    mount_attr attributes{};
    attributes.attr_set = MOUNT_ATTR_RDONLY;
    if (::syscall(SYS_mount_setattr, AT_FDCWD, "/", 0, &attributes, sizeof attributes) != 0)
      channel.fail("make the root file system read-only", errno);
  }
  become(spec.process, channel);
}

void run_exec(const protocol::StartExec& spec, const ChildContext& context) {
  const Channel& channel = context.channel;
  leave_monitor(channel);
  set_oom_score(spec.process, channel);
  enter_cgroups(spec.cgroup, context);
  if (spec.ids.count > 0) own_pipes(context, spec.ids, spec.process.uid);
  if (spec.ids.count > 0) ::prctl(PR_SET_DUMPABLE, 0);  // what it holds of the host's is not for those inside
  if (::setns(context.container, static_cast<int>(spec.join_flags) & ~CLONE_NEWPID) != 0)
    channel.fail("join the container's namespaces", errno);
  if (spec.ids.count > 0) become_root_inside(channel);
  if (spec.process.tty)
    open_console(spec.process, channel, false);
  else
    use_stdio(context.in, context.out, context.err, spec.process.uid, channel);
  become(spec.process, channel);
}

}  // namespace kcube::monitor
