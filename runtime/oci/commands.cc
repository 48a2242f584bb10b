#include <stdio.h>
#include <unistd.h>

#include <functional>
#include <map>

#include "pkg/base/file.h"
#include "pkg/base/strings.h"
#include "runtime/container_spec.h"
#include "runtime/oci/container.h"
#include "runtime/oci/foreground.h"
#include "runtime/oci/oci.h"

namespace kcube::runtime::oci {
namespace {

constexpr const char* kUsage =
    "Runs containers from OCI bundles.\n\n"
    "  create ID [--bundle DIR] [--pid-file FILE]   prepares the container of DIR/config.json (default: .)\n"
    "  start ID                                     runs what was created\n"
    "  run ID [--bundle DIR] [--detach]             both; in the foreground unless detached, and deleted at its end\n"
    "  exec ID [--tty] [--user UID[:GID]] [--cwd DIR] [--env K=V] [--process FILE] [--] COMMAND...\n"
    "  state ID                                     prints the state as JSON\n"
    "  list                                         prints ID, PID, STATUS and BUNDLE of all\n"
    "  kill ID [SIGNAL]                             default TERM\n"
    "  delete ID [--force]                          removes a stopped container, with --force any\n\n"
    "  --root DIR                                   where containers are remembered (default: /run/kcube-oci)\n";

struct Arguments {
  std::string root = "/run/kcube-oci", verb;
  std::vector<std::string> positional;
  std::multimap<std::string, std::string> options;
  bool has(const std::string& name) const { return options.contains(name); }
  std::string get(const std::string& name, const std::string& otherwise = {}) const {
    auto it = options.find(name);
    return it == options.end() ? otherwise : it->second;
  }
};

const std::map<std::string, std::string>& short_names() {
  static const std::map<std::string, std::string> names = {{"-b", "--bundle"},  {"-d", "--detach"}, {"-f", "--force"},
                                                           {"-t", "--tty"},     {"-u", "--user"},   {"-e", "--env"},
                                                           {"-p", "--process"}, {"-h", "--help"}};
  return names;
}

Result<Arguments> parse(int argc, char** argv) {
  static const std::map<std::string, bool> takes_value = {{"--root", true},    {"--bundle", true}, {"--pid-file", true},
                                                          {"--detach", false}, {"--force", false}, {"--tty", false},
                                                          {"--user", true},    {"--cwd", true},    {"--env", true},
                                                          {"--process", true}, {"--help", false},  {"--all", false}};
  Arguments out;
  bool only_positional = false;
  for (int i = 1; i < argc; ++i) {
    std::string word = argv[i];
    // Behind exec's container everything that follows the first plain word is the command's own.
    if (only_positional || word.size() < 2 || word[0] != '-') {
      if (out.verb.empty())
        out.verb = word;
      else
        out.positional.push_back(word);
      only_positional |= out.verb == "exec" && out.positional.size() > 1;
      continue;
    }
    if (word == "--") {
      only_positional = true;
      continue;
    }
    if (auto full = short_names().find(word); full != short_names().end()) word = full->second;
    size_t equals = word.find('=');
    std::string name = word.substr(0, equals);
    auto known = takes_value.find(name);
    if (known == takes_value.end()) return fail(Status::bad_request("unknown option " + name + "; see --help"));
    std::string value = equals == std::string::npos ? "" : word.substr(equals + 1);
    if (known->second && equals == std::string::npos) {
      if (++i >= argc) return fail(Status::bad_request(name + " needs a value"));
      value = argv[i];
    }
    if (name == "--root")
      out.root = value;
    else
      out.options.emplace(name, value);
  }
  return out;
}

Result<std::string> id_of(const Arguments& a) {
  if (a.positional.empty()) return fail(Status::bad_request(a.verb + " needs a container's id"));
  return a.positional[0];
}

Result<OciContainer> open(const Arguments& a) {
  auto id = id_of(a);
  if (!id) return fail(id.error());
  return OciContainer::open(a.root, *id);
}

Result<OciContainer> make(const Arguments& a) {
  auto id = id_of(a);
  if (!id) return fail(id.error());
  auto bundle = read_bundle(a.get("--bundle", "."));
  if (!bundle) return fail(bundle.error());
  auto container = OciContainer::create(a.root, *id, *bundle);
  if (!container) return container;
  if (a.has("--pid-file"))
    if (auto state = container->state())
      if (auto r = file::write_atomic(a.get("--pid-file"), std::to_string(state->pid)); !r) return fail(r.error());
  return container;
}

Result<int> create(const Arguments& a) {
  auto container = make(a);
  return container ? Result<int>(0) : Result<int>(fail(container.error()));
}

Result<int> start(const Arguments& a) {
  auto container = open(a);
  if (!container) return fail(container.error());
  auto r = container->start();
  return r ? Result<int>(0) : Result<int>(fail(r.error()));
}

Result<int> run(const Arguments& a) {
  block_signals();
  auto container = make(a);
  if (!container) return fail(container.error());
  auto started = container->start();
  if (!started || !a.has("--detach")) {
    Result<int> code = 1;
    if (started) {
      auto process = container->runtime().container_process(container->container_id());
      if (process && process->tty)
        if (auto session = container->runtime().attach(container->container_id(), {.stdin = true, .tty = true}))
          (void)follow_console(std::move(*session));
      code = follow_container(*container);
    }
    auto removed = container->remove();
    if (!started) return fail(started.error());
    if (!removed) return fail(removed.error());
    return code;
  }
  return 0;
}

Result<int> exec(const Arguments& a) {
  block_signals();
  auto container = open(a);
  if (!container) return fail(container.error());
  auto process = a.has("--process") ? read_process(a.get("--process"))
                                    : container->runtime().container_process(container->container_id());
  if (!process) return fail(process.error());
  if (a.positional.size() > 1)
    process->argv.assign(a.positional.begin() + 1, a.positional.end());
  else if (!a.has("--process"))
    return fail(Status::bad_request("exec needs a command"));
  if (!a.has("--process")) process->tty = a.has("--tty");
  if (a.has("--cwd")) process->cwd = a.get("--cwd");
  for (auto [it, end] = a.options.equal_range("--env"); it != end; ++it) process->env.push_back(it->second);
  if (a.has("--user")) {
    auto parts = split(a.get("--user"), ':');
    auto uid = parse_int<uint32_t>(parts[0]),
         gid = parts.size() > 1 ? parse_int<uint32_t>(parts[1]) : std::optional<uint32_t>(process->gid);
    if (!uid || !gid) return fail(Status::bad_request("--user takes UID or UID:GID"));
    process->uid = *uid;
    process->gid = *gid;
  }
  bool tty = process->tty;
  auto session = container->runtime().exec_process(container->container_id(), std::move(*process));
  if (!session) return fail(session.error());
  return tty ? Result<int>(follow_console(std::move(*session))) : session->wait();
}

Result<int> state(const Arguments& a) {
  auto container = open(a);
  if (!container) return fail(container.error());
  auto now = container->state();
  if (!now) return fail(now.error());
  ::printf("%s\n", to_json(*now).c_str());
  return 0;
}

Result<int> list(const Arguments& a) {
  ::printf("%-24s %-8s %-8s %s\n", "ID", "PID", "STATUS", "BUNDLE");
  auto names = file::list(a.root);
  if (!names) return 0;
  for (const auto& name : *names) {
    auto container = OciContainer::open(a.root, name);
    if (!container) continue;
    if (auto now = container->state())
      ::printf("%-24s %-8d %-8s %s\n", now->id.c_str(), now->pid, now->status.c_str(), now->bundle.c_str());
  }
  return 0;
}

Result<int> kill(const Arguments& a) {
  auto container = open(a);
  if (!container) return fail(container.error());
  std::string name = a.positional.size() > 1 ? a.positional[1] : "TERM";
  int number = parse_signal(name);
  if (number == 0) return fail(Status::bad_request("unknown signal \"" + name + "\""));
  auto r = container->kill(number);
  return r ? Result<int>(0) : Result<int>(fail(r.error()));
}

Result<int> remove(const Arguments& a) {
  auto container = open(a);
  if (!container) {
    if (a.has("--force") && container.error().is_not_found()) return 0;
    return fail(container.error());
  }
  auto now = container->state();
  if (!now) return fail(now.error());
  if (now->status != "stopped" && !a.has("--force"))
    return fail(Status(
        409, "Conflict",
        "container " + now->id + " is " + now->status + "; stop it first: kill " + now->id + " KILL, or use --force"));
  auto r = container->remove();
  return r ? Result<int>(0) : Result<int>(fail(r.error()));
}

}  // namespace

int oci_main(int argc, char** argv) {
  static const std::map<std::string, std::function<Result<int>(const Arguments&)>> verbs = {
      {"create", create}, {"start", start}, {"run", run},   {"exec", exec},
      {"state", state},   {"list", list},   {"kill", kill}, {"delete", remove}};
  auto arguments = parse(argc, argv);
  if (!arguments) return ::fprintf(stderr, "error: %s\n", arguments.error().message().c_str()), 2;
  auto verb = verbs.find(arguments->verb);
  if (arguments->has("--help") || verb == verbs.end()) {
    bool asked = arguments->has("--help");
    ::fprintf(asked ? stdout : stderr, "Usage: %s COMMAND [OPTIONS]\n\n%s", argc > 0 ? argv[0] : "kcube runtime",
              kUsage);
    return asked ? 0 : 2;
  }
  auto code = verb->second(*arguments);
  if (code) return *code;
  ::fprintf(stderr, "error: %s\n", code.error().message().c_str());
  return 1;
}

}  // namespace kcube::runtime::oci
