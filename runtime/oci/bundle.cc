#include "runtime/oci/bundle.h"

#include <limits.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <boost/json.hpp>
#include <map>

#include "pkg/base/file.h"
#include "runtime/capabilities.h"
#include "runtime/container_spec.h"
#include "runtime/seccomp.h"

namespace kcube::runtime::oci {
namespace {

namespace json = boost::json;

// Fields of a JSON object that may be missing or of another type: then the default.
const json::value* find(const json::object& o, std::string_view key) { return o.if_contains(key); }
const json::object& object(const json::object& o, std::string_view key) {
  static const json::object empty;
  auto* v = find(o, key);
  return v && v->is_object() ? v->get_object() : empty;
}
const json::array& array(const json::object& o, std::string_view key) {
  static const json::array empty;
  auto* v = find(o, key);
  return v && v->is_array() ? v->get_array() : empty;
}
std::string text(const json::object& o, std::string_view key) {
  auto* v = find(o, key);
  return v && v->is_string() ? std::string(v->get_string()) : std::string();
}
int64_t number(const json::object& o, std::string_view key, int64_t otherwise = 0) {
  auto* v = find(o, key);
  if (v == nullptr) return otherwise;
  if (v->is_int64()) return v->get_int64();
  if (v->is_uint64()) return static_cast<int64_t>(v->get_uint64());
  return otherwise;
}
bool flag(const json::object& o, std::string_view key) {
  auto* v = find(o, key);
  return v && v->is_bool() && v->get_bool();
}
std::vector<std::string> strings(const json::object& o, std::string_view key) {
  std::vector<std::string> out;
  for (const auto& v : array(o, key))
    if (v.is_string()) out.emplace_back(v.get_string());
  return out;
}
Status bad(const std::string& what) { return Status::bad_request("config.json: " + what); }

Result<uint64_t> capability_set(const json::object& o, std::string_view key) {
  uint64_t out = 0;
  for (const auto& name : strings(o, key)) {
    auto c = capability(name);
    if (!c) return fail(bad("process.capabilities." + std::string(key) + ": " + c.error().message()));
    out |= *c;
  }
  return out & own_capabilities();
}

Result<void> add_capabilities(const json::object& o, protocol::Process& out) {
  struct Field {
    const char* name;
    uint64_t* set;
  } fields[] = {{"bounding", &out.bounding},
                {"permitted", &out.permitted},
                {"effective", &out.effective},
                {"inheritable", &out.inheritable},
                {"ambient", &out.ambient}};
  for (const auto& field : fields) {
    auto set = capability_set(o, field.name);
    if (!set) return fail(set.error());
    *field.set = *set;
  }
  return {};
}

Result<void> add_rlimits(const json::object& process, protocol::Process& out) {
  static const std::map<std::string, int> names = {{"RLIMIT_AS", RLIMIT_AS},
                                                   {"RLIMIT_CORE", RLIMIT_CORE},
                                                   {"RLIMIT_CPU", RLIMIT_CPU},
                                                   {"RLIMIT_DATA", RLIMIT_DATA},
                                                   {"RLIMIT_FSIZE", RLIMIT_FSIZE},
                                                   {"RLIMIT_LOCKS", RLIMIT_LOCKS},
                                                   {"RLIMIT_MEMLOCK", RLIMIT_MEMLOCK},
                                                   {"RLIMIT_MSGQUEUE", RLIMIT_MSGQUEUE},
                                                   {"RLIMIT_NICE", RLIMIT_NICE},
                                                   {"RLIMIT_NOFILE", RLIMIT_NOFILE},
                                                   {"RLIMIT_NPROC", RLIMIT_NPROC},
                                                   {"RLIMIT_RSS", RLIMIT_RSS},
                                                   {"RLIMIT_RTPRIO", RLIMIT_RTPRIO},
                                                   {"RLIMIT_RTTIME", RLIMIT_RTTIME},
                                                   {"RLIMIT_SIGPENDING", RLIMIT_SIGPENDING},
                                                   {"RLIMIT_STACK", RLIMIT_STACK}};
  for (const auto& v : array(process, "rlimits")) {
    if (!v.is_object()) continue;
    auto it = names.find(text(v.get_object(), "type"));
    if (it == names.end()) return fail(bad("process.rlimits: unknown type \"" + text(v.get_object(), "type") + "\""));
    out.rlimits.push_back({it->second, static_cast<uint64_t>(number(v.get_object(), "soft")),
                           static_cast<uint64_t>(number(v.get_object(), "hard"))});
  }
  return {};
}

Result<protocol::Process> process_of(const json::object& o) {
  protocol::Process out;
  out.argv = strings(o, "args");
  if (out.argv.empty()) return fail(bad("process.args must name a command"));
  out.env = strings(o, "env");
  out.cwd = text(o, "cwd");
  if (out.cwd.empty() || out.cwd[0] != '/') return fail(bad("process.cwd must be an absolute path"));
  const json::object& user = object(o, "user");
  out.uid = static_cast<uint32_t>(number(user, "uid"));
  out.gid = static_cast<uint32_t>(number(user, "gid"));
  out.umask = static_cast<uint32_t>(number(user, "umask", 0022));
  for (const auto& g : array(user, "additionalGids"))
    if (g.is_number()) out.groups.push_back(g.to_number<uint32_t>());
  if (auto r = add_capabilities(object(o, "capabilities"), out); !r) return fail(r.error());
  if (auto r = add_rlimits(o, out); !r) return fail(r.error());
  out.no_new_privileges = flag(o, "noNewPrivileges");
  out.tty = flag(o, "terminal");
  out.stdin = true;
  out.width = static_cast<uint16_t>(number(object(o, "consoleSize"), "width"));
  out.height = static_cast<uint16_t>(number(object(o, "consoleSize"), "height"));
  if (find(o, "oomScoreAdj") != nullptr) {
    out.has_oom_score_adj = true;
    out.oom_score_adj = static_cast<int32_t>(number(o, "oomScoreAdj"));
  }
  return out;
}

Result<void> add_mounts(const json::object& config, Bundle& out) {
  for (const auto& v : array(config, "mounts")) {
    if (!v.is_object()) continue;
    const json::object& m = v.get_object();
    protocol::MountStep step;
    step.target = text(m, "destination");
    if (step.target.empty() || step.target[0] != '/')
      return fail(bad("mounts: destination \"" + step.target + "\" must be absolute"));
    std::string type = text(m, "type"), source = text(m, "source");
    step.source = type;
    if (auto r = mount_options(strings(m, "options"), step); !r) return r;
    if (step.kind == protocol::MountStep::Kind::bind)
      step.source = source.starts_with('/') ? source : out.directory + "/" + source;
    if (type == "cgroup" || type == "cgroup2") out.cgroup_mount = static_cast<int>(out.record.spec.mounts.size());
    out.record.spec.mounts.push_back(std::move(step));
  }
  return {};
}

Result<void> add_namespaces(const json::object& linux, Bundle& out) {
  auto& spec = out.record.spec;
  spec.clone_flags = CLONE_NEWNS;
  for (const auto& v : array(linux, "namespaces")) {
    if (!v.is_object()) continue;
    std::string type = text(v.get_object(), "type"), path = text(v.get_object(), "path");
    static const std::map<std::string, uint64_t> inherited = {
        {"network", CLONE_NEWNET}, {"uts", CLONE_NEWUTS}, {"ipc", CLONE_NEWIPC}};
    if (auto it = inherited.find(type); it != inherited.end()) {
      if (path.empty())
        out.new_namespaces |= it->second;
      else
        out.join_paths.push_back(path);
    } else if (!path.empty() || type == "user" || type == "time") {
      return fail(bad("linux.namespaces: " + type + (path.empty() ? "" : " at " + path) +
                      " is not possible with this runtime"));
    } else if (type == "pid") {
      spec.clone_flags |= CLONE_NEWPID;
    } else if (type == "cgroup") {
      spec.cgroup_namespace = true;
    } else if (type != "mount") {
      return fail(bad("linux.namespaces: unknown type \"" + type + "\""));
    }
  }
  out.record.exec_join_flags =
      CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID | CLONE_NEWCGROUP;
  return {};
}

void add_resources(const json::object& resources, Bundle& out) {
  const json::object &memory = object(resources, "memory"), &cpu = object(resources, "cpu");
  out.limits.memory_limit_bytes = number(memory, "limit");
  out.limits.cpu_shares = static_cast<uint64_t>(number(cpu, "shares"));
  out.limits.cpu_quota_us = number(cpu, "quota");
  out.limits.cpu_period_us = static_cast<uint64_t>(number(cpu, "period", 100000));
  out.limits.cpuset_cpus = text(cpu, "cpus");
  out.limits.cpuset_mems = text(cpu, "mems");
  out.limits.pids_limit = number(object(resources, "pids"), "limit");
  for (const auto& [key, value] : object(resources, "unified"))
    if (value.is_string()) out.limits.unified[std::string(key)] = std::string(value.get_string());
  // The list is one of allowances on top of what every container has; a general denial is where it starts anyway.
  for (const auto& v : array(resources, "devices")) {
    if (!v.is_object() || !flag(v.get_object(), "allow")) continue;
    const json::object& d = v.get_object();
    std::string type = text(d, "type");
    out.devices.push_back(
        {type.empty() ? 'a' : type[0], number(d, "major", -1), number(d, "minor", -1), text(d, "access")});
  }
}

Result<void> add_devices(const json::object& linux, Bundle& out) {
  auto standard = device_rules({});
  if (!standard) return fail(standard.error());
  out.devices = std::move(*standard);
  auto& spec = out.record.spec;
  for (const auto& v : array(linux, "devices")) {
    if (!v.is_object()) continue;
    const json::object& d = v.get_object();
    std::string type = text(d, "type");
    if (type != "c" && type != "u" && type != "b")
      return fail(bad("linux.devices: type \"" + type + "\" must be c, u or b"));
    auto major_number = static_cast<unsigned>(number(d, "major")),
         minor_number = static_cast<unsigned>(number(d, "minor"));
    mode_t mode = static_cast<mode_t>(number(d, "fileMode", 0666)) & 07777;
    spec.devices.push_back({text(d, "path"), "", mode | (type == "b" ? S_IFBLK : S_IFCHR),
                            makedev(major_number, minor_number), static_cast<uint32_t>(number(d, "uid")),
                            static_cast<uint32_t>(number(d, "gid"))});
    out.devices.push_back({type == "b" ? 'b' : 'c', major_number, minor_number, "rwm"});
  }
  return runtime::add_devices({}, spec);
}

std::vector<Hook> hooks(const json::object& config, std::string_view kind) {
  std::vector<Hook> out;
  for (const auto& v : array(object(config, "hooks"), kind)) {
    if (!v.is_object()) continue;
    const json::object& h = v.get_object();
    out.push_back({text(h, "path"), strings(h, "args"), strings(h, "env"), static_cast<int>(number(h, "timeout"))});
  }
  return out;
}

Result<void> add_linux(const json::object& config, Bundle& out) {
  const json::object& linux = object(config, "linux");
  if (auto r = add_namespaces(linux, out); !r) return r;
  if (auto r = add_devices(linux, out); !r) return r;
  add_resources(object(linux, "resources"), out);
  auto& spec = out.record.spec;
  spec.masked_paths = strings(linux, "maskedPaths");
  spec.readonly_paths = strings(linux, "readonlyPaths");
  out.cgroup_parent = text(linux, "cgroupsPath");
  for (const auto& [name, value] : object(linux, "sysctl"))
    if (value.is_string()) out.sysctls.emplace_back(std::string(name), std::string(value.get_string()));
  if (auto* seccomp = find(linux, "seccomp"); seccomp && seccomp->is_object()) {
    auto filter = seccomp_filter_from(json::serialize(*seccomp), spec.process.bounding);
    if (!filter) return fail(filter.error());
    spec.process.seccomp = std::move(*filter);
  }
  return {};
}

Result<json::value> parse(const std::string& path) {
  auto bytes = file::read(path, 16 << 20);
  if (!bytes) return fail(bytes.error());
  boost::system::error_code error;
  json::value value = json::parse(*bytes, error);
  if (error || !value.is_object()) return fail(Status::bad_request(path + " is not a JSON object"));
  return value;
}

}  // namespace

Result<protocol::Process> read_process(const std::string& path) {
  auto value = parse(path);
  if (!value) return fail(value.error());
  return process_of(value->get_object());
}

Result<Bundle> read_bundle(const std::string& directory) {
  Bundle out;
  char resolved[PATH_MAX];
  if (::realpath(directory.c_str(), resolved) == nullptr) return fail(Status::from_errno("bundle " + directory));
  out.directory = resolved;
  auto value = parse(out.directory + "/config.json");
  if (!value) return fail(value.error());
  const json::object& config = value->get_object();
  if (!text(config, "ociVersion").starts_with("1."))
    return fail(bad("ociVersion \"" + text(config, "ociVersion") + "\" is not 1.x"));
  auto process = process_of(object(config, "process"));
  if (!process) return fail(process.error());
  auto& spec = out.record.spec;
  spec.process = std::move(*process);
  const json::object& root = object(config, "root");
  std::string path = text(root, "path");
  if (path.empty()) return fail(bad("root.path is required"));
  out.record.root_directory = path[0] == '/' ? path : out.directory + "/" + path;
  spec.readonly_root = flag(root, "readonly");
  out.hostname = text(config, "hostname");
  for (const auto& [key, annotation] : object(config, "annotations"))
    if (annotation.is_string())
      out.record.annotations.push_back({std::string(key), std::string(annotation.get_string())});
  if (auto r = add_mounts(config, out); !r) return fail(r.error());
  if (auto r = add_linux(config, out); !r) return fail(r.error());
  for (const char* kind : {"prestart", "createRuntime"})
    for (auto& hook : hooks(config, kind)) out.create_hooks.push_back(std::move(hook));
  for (const char* kind : {"createContainer", "startContainer"})
    if (!hooks(config, kind).empty())
      return fail(bad("hooks." + std::string(kind) + " is not possible with this runtime"));
  out.poststart_hooks = hooks(config, "poststart");
  out.poststop_hooks = hooks(config, "poststop");
  return out;
}

}  // namespace kcube::runtime::oci
