// A container's first process: what it runs, as whom, and what it may do.
#include <fcntl.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <string.h>

#include <algorithm>

#include "pkg/base/file.h"
#include "pkg/base/strings.h"
#include "runtime/capabilities.h"
#include "runtime/container_spec.h"
#include "runtime/seccomp.h"
#include "runtime/users.h"

namespace kcube::runtime {
namespace {

constexpr std::string_view kDefaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

Result<std::vector<std::string>> command_line(const ContainerConfig& config, const ImageConfig& image) {
  // As in the Kubernetes documentation of command and args: a command replaces the image's arguments too.
  std::vector<std::string> out = config.command.empty() ? image.entrypoint : config.command;
  const auto& args = config.command.empty() && config.args.empty() ? image.cmd : config.args;
  out.insert(out.end(), args.begin(), args.end());
  if (out.empty())
    return fail(Status::bad_request("no command specified: neither the container nor its image names one"));
  return out;
}

// Later entries replace earlier ones of the same name, at the earlier place.
void set_variable(std::vector<std::string>& env, const std::string& entry) {
  std::string_view name = std::string_view(entry).substr(0, entry.find('='));
  for (auto& other : env)
    if (std::string_view(other).substr(0, other.find('=')) == name) {
      other = entry;
      return;
    }
  env.push_back(entry);
}

bool has_variable(const std::vector<std::string>& env, std::string_view name) {
  return std::ranges::any_of(env, [&](const std::string& e) {
    return e.starts_with(name) && e.size() > name.size() && e[name.size()] == '=';
  });
}

std::vector<std::string> environment(const SpecInputs& in, const std::string& home) {
  std::vector<std::string> env;
  for (const auto& entry : in.image.env) set_variable(env, entry);
  if (!in.sandbox.hostname.empty()) set_variable(env, "HOSTNAME=" + in.sandbox.hostname);
  if (in.config.tty) set_variable(env, "TERM=xterm");
  for (const auto& entry : in.config.env) set_variable(env, entry);
  if (!has_variable(env, "PATH")) env.emplace_back(kDefaultPath);
  if (!has_variable(env, "HOME")) env.push_back("HOME=" + home);
  return env;
}

Result<std::string> seccomp_of(const SpecInputs& in, CapabilitySet capabilities) {
  const SecurityConfig& security = in.config.security;
  if (security.privileged || security.seccomp == SeccompProfile::unconfined) return "";
  if (security.seccomp == SeccompProfile::runtime_default) return default_seccomp_filter(capabilities);
  auto root = file::open(in.options.seccomp_dir, O_PATH | O_DIRECTORY);
  if (!root) return fail(root.error().with_context("the directory of seccomp profiles"));
  auto profile = file::open_beneath(*root, security.seccomp_path, O_RDONLY);
  if (!profile) return fail(profile.error().with_context("the seccomp profile " + security.seccomp_path));
  auto text = file::read("/proc/self/fd/" + std::to_string(profile->get()));
  if (!text) return fail(text.error());
  return seccomp_filter_from(*text, capabilities);
}

// The kernel would only say EINVAL.
Result<void> check_ids(const User& user) {
  auto outside = [](const char* kind, uint32_t id) {
    return fail(Status::bad_request(std::string(kind) + " " + std::to_string(id) + " is not in the pod's user namespace " +
                                    "(hostUsers: false), which has 0 to " + std::to_string(kUserNamespaceIds - 1)));
  };
  if (user.uid >= kUserNamespaceIds) return outside("user", user.uid);
  if (user.gid >= kUserNamespaceIds) return outside("group", user.gid);
  for (uint32_t group : user.groups)
    if (group >= kUserNamespaceIds) return outside("group", group);
  return {};
}

}  // namespace

int parse_signal(std::string_view text) {
  if (auto number = parse_int<int>(text)) return *number > 0 && *number < NSIG ? *number : 0;
  if (text.starts_with("SIG")) text.remove_prefix(3);
  if (text.starts_with("RTMIN")) {
    auto offset = text.size() == 5 ? std::optional(0) : text[5] == '+' ? parse_int<int>(text.substr(6)) : std::nullopt;
    return offset && *offset >= 0 && 34 + *offset <= 64 ? 34 + *offset : 0;
  }
  for (int number = 1; number < 32; ++number)
    if (const char* name = ::sigabbrev_np(number); name != nullptr && text == name) return number;
  return 0;
}

Result<protocol::Process> make_process(const SpecInputs& in) {
  const ContainerConfig& config = in.config;
  protocol::Process out;
  auto argv = command_line(config, in.image);
  if (!argv) return fail(argv.error());
  out.argv = std::move(*argv);
  auto user = find_user(in.root, in.image.user, config.security);
  if (!user) return fail(user.error());
  if (in.sandbox.user_namespace_start != 0)
    if (auto r = check_ids(*user); !r) return fail(r.error());
  out.uid = user->uid;
  out.gid = user->gid;
  out.groups = user->groups;
  out.env = environment(in, user->home);
  out.cwd = !config.working_dir.empty()     ? config.working_dir
            : !in.image.working_dir.empty() ? in.image.working_dir
                                            : "/";
  if (out.cwd[0] != '/') out.cwd = "/" + out.cwd;
  auto capabilities = container_capabilities(config.security);
  if (!capabilities) return fail(capabilities.error());
  // Nothing inheritable, nothing ambient: who is not root gets none at exec, whatever the set.
  out.bounding = out.permitted = out.effective = *capabilities;
  auto filter = seccomp_of(in, *capabilities);
  if (!filter) return fail(filter.error());
  out.seccomp = std::move(*filter);
  // Without it, a filter switches a mitigation on that costs more than the filter (spec_store_bypass).
  out.seccomp_flags = out.seccomp.empty() ? 0 : SECCOMP_FILTER_FLAG_SPEC_ALLOW;
  out.no_new_privileges = config.security.no_new_privileges;
  out.tty = config.tty;
  out.stdin = config.stdin;
  if (config.resources.oom_score_adj) {
    out.has_oom_score_adj = true;
    out.oom_score_adj = *config.resources.oom_score_adj;
  }
  return out;
}

}  // namespace kcube::runtime
