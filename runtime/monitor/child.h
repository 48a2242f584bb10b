// What runs between clone and exec: a child of the monitor makes itself a container, an exec or pause. Whatever fails
// is told to the monitor over the child's channel, and the child ends. Single-threaded copies of a small process, so
// memory may be allocated freely.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "pkg/base/fd.h"
#include "runtime/protocol.h"

namespace kcube::monitor {

// First byte of a message on the channel (SOCK_SEQPACKET); the rest is text.
enum class Report : char {
  ready = 'R',    // nearly done: when the channel ends without a failure after this, the program runs
  console = 'C',  // the console's master end rides along
  warning = 'W',  // refused, but not fatal
  setup = 'E',    // preparation failed
  program = 'P',  // the program could not be executed
  moved = 'M',    // another child of the monitor carries on: its pidfd rides along, the text is its id
};

struct Channel {
  int fd = -1;
  void send(Report what, const std::string& text, int descriptor = -1) const;
  // Reports the failure and ends the process. `os_error` 0 leaves the strerror text out.
  [[noreturn]] void fail(const std::string& text, int os_error) const;
  [[noreturn]] void fail_program(const std::string& text) const;
};

// The frame's descriptors and what else a child needs of the monitor.
struct ChildContext {
  Channel channel;
  const std::vector<Fd>& fds;
  int pause = -1;                   // pidfd of pause
  int pid_namespace = -1;           // pidfd whose PID namespace is joined, where the monitor has not done it
  int user_namespace = -1;          // of the pod, when it has its own
  int container = -1;               // pidfd of the container an exec joins
  int in = -1, out = -1, err = -1;  // stdio without a console
  int fd(int32_t index) const {
    return index >= 0 && static_cast<size_t>(index) < fds.size() ? fds[static_cast<size_t>(index)].get() : -1;
  }
};

[[noreturn]] void run_pause(const runtime::protocol::StartPause& spec, const ChildContext& context,
                            const std::string& directory);
[[noreturn]] void run_container(const runtime::protocol::StartContainer& spec, const ChildContext& context);
[[noreturn]] void run_exec(const runtime::protocol::StartExec& spec, const ChildContext& context);

// --- Steps, each in a file of its own
// ---------------------------------------------------------------------------------

// child.cc
void enter_cgroups(const runtime::protocol::CgroupEntry& cgroup, const ChildContext& context);
void set_oom_score(const runtime::protocol::Process& process, const Channel& channel);

// mounts.cc: the mounts of `spec` as detached trees, in order; -1 for optional ones that are not there. Made while
// the host's tree is still in view.
std::vector<int> open_bind_sources(const runtime::protocol::StartContainer& spec, const ChildContext& context);
void attach_mounts(const runtime::protocol::StartContainer& spec, const ChildContext& context, int root,
                   const std::vector<int>& sources);
void make_devices(const runtime::protocol::StartContainer& spec, const ChildContext& context, int root);
void mask_paths(const runtime::protocol::StartContainer& spec, const ChildContext& context, int root);
// A mounted file system that is attached nowhere yet.
int new_filesystem(const Channel& channel, const std::string& type, const std::string& options, uint64_t attributes);
void attach_at(const Channel& channel, int tree, int target, const std::string& path);
// Makes the calling process's root `directory`, a mount, and lets the old one go.
void pivot_into(const Channel& channel, int directory);

// paths.cc: resolution beneath a root that a stranger filled (openat2 RESOLVE_IN_ROOT).
int open_in_root(int root, const std::string& path, int flags);
// The same, making what is missing: directories, and at the end a directory or an empty file. -1 with errno.
int make_in_root(int root, const std::string& path, bool directory);

// user_namespace.cc: a pod's own user namespace.
// The monitor's part, once a child was cloned with CLONE_NEWUSER: empty, or what failed.
std::string write_id_maps(pid_t pid, const runtime::protocol::IdRange& ids);
// The child's part of a handshake: goes on when the monitor has done its part.
void await_monitor(const Channel& channel);
// Joins pause's user namespace. Returns in another process, a child of the monitor too, whose mount and PID namespaces
// belong to that user namespace.
void carry_on_inside(const runtime::protocol::StartContainer& spec, const ChildContext& context);
// User and group 0 of the user namespace; until then a process is one of the host's, with capabilities inside only.
void become_root_inside(const Channel& channel);
// Gives pipes to the container's user, which nobody inside may do.
void own_pipes(const ChildContext& context, const runtime::protocol::IdRange& ids, uint32_t uid);

// console.cc: opens a new pseudo terminal of the container's /dev/pts, makes it stdio and the controlling terminal
// and sends its master end. `as_device` mounts it on /dev/console too.
void open_console(const runtime::protocol::Process& process, const Channel& channel, bool as_device);

// process.cc: limits, identity, capabilities, seccomp, and the program.
void use_stdio(int in, int out, int err, uint32_t uid, const Channel& channel);
[[noreturn]] void become(const runtime::protocol::Process& process, const Channel& channel);

}  // namespace kcube::monitor
