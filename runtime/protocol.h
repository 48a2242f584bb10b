// What kcube and a pod's monitor say to each other over the monitor's Unix stream socket.
//
// A frame is a Header and `length` bytes of payload; the descriptors it carries (SCM_RIGHTS) ride on its first byte.
// Payloads are the structs below, field after field: integers little-endian, strings and lists with a 32-bit count
// before them. A request gets one `reply` with its id; events have id 0. Both sides run on one machine, so host byte
// order is used. The monitor of an older kcube may outlive it: change kProtocolVersion when a struct changes.
//
// Included by the monitor too: nothing here throws, logs or needs more than strings and vectors.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <type_traits>
#include <vector>

namespace kcube::runtime::protocol {

inline constexpr uint32_t kProtocolVersion = 2;
inline constexpr uint32_t kMaxFrame = 16u << 20;
inline constexpr uint32_t kMaxFds = 200;  // below the kernel's SCM_MAX_FD (253)

enum class Type : uint16_t {
  hello = 1,        // -> HelloReply; subscribes the connection to events
  start_pause,      // StartPause, fds: pause program, cgroup files -> Started
  start_container,  // StartContainer -> Started
  start_exec,       // StartExec -> Started
  attach,           // Attach, fds: in, out, err as flagged -> Reply
  signal,           // Signal -> Reply
  resize,           // Resize -> Reply
  forget,           // Target: drops an exited container
  shutdown,         // kills everything and ends the monitor once all is reaped -> no reply, the connection closes
  reply = 64,
  exited,  // Exited: a container, an exec or (empty id) pause
};

struct Header {
  uint32_t length = 0;
  uint16_t type = 0;
  uint16_t fds = 0;
  uint32_t id = 0;
};
static_assert(sizeof(Header) == 12);

// Writes fields in order. Every struct lists its fields once, in fields(), for both directions.
class Encoder {
 public:
  template <typename... T>
  void operator()(T&... values) {
    (put(values), ...);
  }
  std::string take() { return std::move(bytes_); }

 private:
  template <typename T>
  void put(T& value) {
    if constexpr (std::is_arithmetic_v<T> || std::is_enum_v<T>) {
      bytes_.append(reinterpret_cast<const char*>(&value), sizeof value);
    } else if constexpr (std::is_same_v<T, std::string>) {
      put_size(value.size());
      bytes_.append(value);
    } else if constexpr (requires { value.fields(*this); }) {
      value.fields(*this);
    } else {
      put_size(value.size());
      for (auto& element : value) put(element);
    }
  }
  void put_size(size_t size) {
    auto count = static_cast<uint32_t>(size);
    bytes_.append(reinterpret_cast<const char*>(&count), sizeof count);
  }
  std::string bytes_;
};

// Reads fields in order; after a truncated or oversized one every further read leaves its target alone.
class Decoder {
 public:
  Decoder(const char* data, size_t size) : at_(data), end_(data + size) {}
  template <typename... T>
  void operator()(T&... values) {
    (get(values), ...);
  }
  // True when everything was there and nothing is left.
  bool complete() const { return ok_ && at_ == end_; }

 private:
  template <typename T>
  void get(T& value) {
    if constexpr (std::is_same_v<T, bool>) {
      if (!need(1)) return;
      value = *at_++ != 0;  // any other byte than 0 and 1 would not be a bool
    } else if constexpr (std::is_arithmetic_v<T> || std::is_enum_v<T>) {
      if (!need(sizeof value)) return;
      std::memcpy(&value, at_, sizeof value);
      at_ += sizeof value;
    } else if constexpr (std::is_same_v<T, std::string>) {
      uint32_t size = get_size();
      if (!ok_) return;
      value.assign(at_, size);
      at_ += size;
    } else if constexpr (requires { value.fields(*this); }) {
      value.fields(*this);
    } else {
      uint32_t count = get_size();
      value.clear();
      for (uint32_t i = 0; i < count && ok_; ++i) {
        value.emplace_back();
        get(value.back());
      }
    }
  }
  uint32_t get_size() {
    uint32_t size = 0;
    if (!need(sizeof size)) return 0;
    std::memcpy(&size, at_, sizeof size);
    at_ += sizeof size;
    // Every element takes at least a byte, so a count beyond the rest is a lie.
    return need(size) ? size : 0;
  }
  bool need(size_t size) {
    if (static_cast<size_t>(end_ - at_) < size) ok_ = false;
    return ok_;
  }
  const char* at_;
  const char* end_;
  bool ok_ = true;
};

template <typename T>
std::string encode(T message) {
  Encoder encoder;
  message.fields(encoder);
  return encoder.take();
}

template <typename T>
bool decode(const std::string& payload, T& message) {
  Decoder decoder(payload.data(), payload.size());
  message.fields(decoder);
  return decoder.complete();
}

// --- What runs
// --------------------------------------------------------------------------------------------------------

struct Rlimit {
  int32_t resource = 0;
  uint64_t soft = 0, hard = 0;
  template <typename A>
  void fields(A& a) {
    a(resource, soft, hard);
  }
};

// One process inside a container, resolved to what the kernel takes: names are looked up by kcube.
struct Process {
  std::vector<std::string> argv, env;
  std::string cwd;
  uint32_t uid = 0, gid = 0, umask = 0022;
  std::vector<uint32_t> groups;
  uint64_t bounding = 0, permitted = 0, effective = 0, inheritable = 0, ambient = 0;
  bool no_new_privileges = false, tty = false, stdin = false, has_oom_score_adj = false;
  int32_t oom_score_adj = 0;
  uint16_t width = 0, height = 0;
  std::vector<Rlimit> rlimits;
  std::string seccomp;  // struct sock_filter[]; empty: no filter
  uint32_t seccomp_flags = 0;
  template <typename A>
  void fields(A& a) {
    a(argv, env, cwd, uid, gid, umask, groups, bounding, permitted, effective, inheritable, ambient, no_new_privileges,
      tty, stdin, has_oom_score_adj, oom_score_adj, width, height, rlimits, seccomp, seccomp_flags);
  }
};

// One mount of a container, done in order beneath its root. mount_setattr(2) attributes.
struct MountStep {
  enum class Kind : uint8_t { bind, filesystem, descriptor, pod_shm };
  enum class IdMapped : uint8_t { no, if_possible, required };  // to the pod's user namespace (MOUNT_ATTR_IDMAP)
  Kind kind = Kind::bind;
  std::string source;        // bind: path on the host; filesystem: its type
  std::string target;        // inside the container; made when missing, as a file when the source is one
  std::string options;       // filesystem: "size=64k,mode=755"
  uint64_t attributes = 0;   // MOUNT_ATTR_*
  uint64_t propagation = 0;  // MS_PRIVATE, MS_SLAVE, MS_SHARED
  bool recursive_attributes = false, optional = false;
  IdMapped idmapped = IdMapped::no;
  int32_t fd = -1;  // descriptor: index into the frame's descriptors
  template <typename A>
  void fields(A& a) {
    a(kind, source, target, options, attributes, propagation, recursive_attributes, optional, idmapped, fd);
  }
};

struct DeviceNode {
  std::string path, host_path;
  uint32_t mode = 0;  // with S_IFCHR or S_IFBLK
  uint64_t rdev = 0;
  uint32_t uid = 0, gid = 0;
  template <typename A>
  void fields(A& a) {
    a(path, host_path, mode, rdev, uid, gid);
  }
};

struct Link {
  std::string path, target;
  template <typename A>
  void fields(A& a) {
    a(path, target);
  }
};

// How a new process enters its cgroups; indexes into the frame's descriptors, -1 where there is none.
struct CgroupEntry {
  int32_t directory = -1;      // cgroup2: clone3's CLONE_INTO_CGROUP
  std::vector<int32_t> procs;  // cgroup v1: cgroup.procs of each hierarchy
  int32_t kill = -1;           // cgroup.kill, written when the container's first process has ended
  int32_t oom = -1;            // memory.events or memory.oom_control: has "oom_kill N"
  template <typename A>
  void fields(A& a) {
    a(directory, procs, kill, oom);
  }
};

struct Setting {
  std::string path, value;
  template <typename A>
  void fields(A& a) {
    a(path, value);
  }
};

// The ids of a pod's own user namespace: inside they begin at 0, outside at `first`. `count` 0: the host's.
struct IdRange {
  uint32_t first = 0, count = 0;
  template <typename A>
  void fields(A& a) {
    a(first, count);
  }
};

struct StartPause {
  uint64_t clone_flags = 0;  // CLONE_NEW* of the pod
  IdRange ids;               // with CLONE_NEWUSER
  std::string hostname;
  std::vector<Setting> sysctls;  // path below /proc/sys
  uint64_t shm_bytes = 0;
  int32_t program = -1;  // index of the pause program's descriptor
  CgroupEntry cgroup;
  template <typename A>
  void fields(A& a) {
    a(clone_flags, ids, hostname, sysctls, shm_bytes, program, cgroup);
  }
};

struct StartContainer {
  std::string id;
  std::string state_dir;     // the exit is recorded here
  uint64_t clone_flags = 0;  // CLONE_NEWNS, CLONE_NEWPID
  uint64_t join_flags = 0;   // CLONE_NEW* taken over from pause
  IdRange ids;               // of pause's user namespace, which is then joined
  std::string join_pid_of;   // container whose PID namespace is joined; empty: by join_flags, from pause
  bool cgroup_namespace = false;
  int32_t root = -1;            // index of the root file system's mount
  std::string root_mountpoint;  // an empty directory on the host
  bool readonly_root = false;
  std::vector<MountStep> mounts;
  std::vector<DeviceNode> devices;
  std::vector<Link> links;
  std::vector<std::string> masked_paths, readonly_paths;
  std::string log_path;  // empty: output is discarded unless attached
  uint64_t log_max_bytes = 0;
  uint32_t log_max_files = 0;
  bool stdin_once = false;
  bool monitors_stdio = false;  // stdin, stdout and stderr are the monitor's own, which it then gives up
  CgroupEntry cgroup;
  Process process;
  template <typename A>
  void fields(A& a) {
    a(id, state_dir, clone_flags, join_flags, ids, join_pid_of, cgroup_namespace, root, root_mountpoint, readonly_root,
      mounts, devices, links, masked_paths, readonly_paths, log_path, log_max_bytes, log_max_files, stdin_once,
      monitors_stdio, cgroup, process);
  }
};

struct StartExec {
  std::string id, container_id;
  uint64_t join_flags = 0;  // CLONE_NEW* of the container
  IdRange ids;              // with CLONE_NEWUSER
  CgroupEntry cgroup;
  Process process;
  int32_t in = -1, out = -1, err = -1;
  template <typename A>
  void fields(A& a) {
    a(id, container_id, join_flags, ids, cgroup, process, in, out, err);
  }
};

struct Attach {
  std::string container_id;
  int32_t in = -1, out = -1, err = -1;
  template <typename A>
  void fields(A& a) {
    a(container_id, in, out, err);
  }
};

struct Signal {
  std::string id;
  int32_t signal = 0;
  template <typename A>
  void fields(A& a) {
    a(id, signal);
  }
};

struct Resize {
  std::string id;
  uint16_t width = 0, height = 0;
  template <typename A>
  void fields(A& a) {
    a(id, width, height);
  }
};

struct Target {
  std::string id;
  template <typename A>
  void fields(A& a) {
    a(id);
  }
};

// --- Answers
// ----------------------------------------------------------------------------------------------------------

struct Reply {
  std::string error;  // empty: done
  template <typename A>
  void fields(A& a) {
    a(error);
  }
};

struct Started {
  std::string error;
  std::string warning;           // what was refused but is not fatal
  bool program_missing = false;  // the error is about the program itself, not the preparation
  int32_t pid = 0;
  int64_t started_at_ns = 0;
  template <typename A>
  void fields(A& a) {
    a(error, warning, program_missing, pid, started_at_ns);
  }
};

struct Exited {
  std::string id;
  int32_t code = 0;  // 128 + signal when killed
  int32_t signal = 0;
  bool oom_killed = false;
  int64_t finished_at_ns = 0;
  template <typename A>
  void fields(A& a) {
    a(id, code, signal, oom_killed, finished_at_ns);
  }
};

struct ContainerEntry {
  std::string id;
  int32_t pid = 0;
  bool running = false;
  int64_t started_at_ns = 0;
  Exited exit;
  template <typename A>
  void fields(A& a) {
    a(id, pid, running, started_at_ns, exit);
  }
};

struct HelloReply {
  uint32_t version = kProtocolVersion;
  int32_t monitor_pid = 0, pause_pid = 0;  // pause_pid 0: not running
  std::vector<ContainerEntry> containers;
  template <typename A>
  void fields(A& a) {
    a(version, monitor_pid, pause_pid, containers);
  }
};

}  // namespace kcube::runtime::protocol
