// kcube: flags and which verb they are for. What a verb does is in the file of its name.
#include <CLI/CLI.hpp>

#include <cstdio>
#include <filesystem>

#include "cmd/kcube/completion.h"
#include "cmd/kcube/flag_checks.h"
#include "cmd/kcube/verbs.h"
#include "pkg/apiserver/security_options.h"
#include "runtime/oci/oci.h"

namespace kcube::cli {
namespace {

struct Flags {
  ClusterFlags cluster;
  ServerFlags server;
  UpFlags up;
  DownFlags down;
  StatusFlags status;
  RunFlags run;
  AgentFlags agent;
  TokenFlags token;
  ImageFlags image;
  LogsFlags logs;
  std::vector<std::string> kubectl;
  std::string version_output, shell;
};

// The server runs in another directory, and a later `up` is told in another.
bool names_file(std::string_view flag) { return flag.ends_with("-file") || flag.ends_with("-path") || flag.ends_with("-config"); }

std::string absolute(const std::string& path) { return path.empty() || path == "-" ? path : std::filesystem::absolute(path).lexically_normal().string(); }

CLI::Validator value(std::string (*check)(const std::string&)) { return CLI::Validator([check](std::string& text) { return check(text); }, ""); }

void add_server_flags(CLI::App& app, ServerFlags& f) {
  app.add_option("--https-listen-port", f.port, "port of the API server (6443, or by the cluster's slot)")->check(value(check_port));
  app.add_option("--bind-address", f.address, "address the API server listens on")->capture_default_str()->check(value(check_listen_address));
  app.add_option("--advertise-address", f.advertise_address, "address by which others reach the API server (the node's)")->check(value(check_address));
  app.add_option("--tls-san", f.tls_sans, "another name or address for the API server's certificate; may repeat")->check(value(check_san));
  app.add_option("--cluster-cidr", f.cluster_cidr, "addresses of pods (10.42.0.0/16)")->check(value(check_prefix));
  app.add_option("--service-cidr", f.service_cidr, "addresses of services (10.43.0.0/16)")->check(value(check_prefix));
  app.add_option("--cluster-dns", f.cluster_dns, "address of the cluster's DNS (the tenth of the services')")->check(value(check_address));
  app.add_option("--cluster-domain", f.cluster_domain, "DNS domain of the cluster")->capture_default_str()->check(value(check_domain));
  app.add_option("--node-name", f.node_name, "name of this node (the host's)")->check(value(check_node_name));
  app.add_option("--node-ip", f.node_ip, "address of this node (that of the default route)")->check(value(check_address));
  app.add_option("--kubelet-port", f.kubelet_port, "port of the kubelet (10250, or by the cluster's slot)")->check(value(check_port));
  app.add_option("--node-label", f.labels, "KEY=VALUE; may repeat")->check(value(check_label));
  app.add_option("--node-taint", f.taints, "KEY=VALUE:EFFECT; may repeat")->check(value(check_taint));
  app.add_option("--disable", f.disable, "name of a controller to leave out, or scheduler, or * for all controllers; may repeat")->delimiter(',')->check(value(check_disabled));
  app.add_option("--enable-admission-plugins", f.enable_admission, "admission plugins to switch on beside those that are on, by kube-apiserver's names")->delimiter(',');
  app.add_option("--disable-admission-plugins", f.disable_admission, "admission plugins to switch off")->delimiter(',');
  app.add_option("--admission-control-config-file", f.admission_config, "an AdmissionConfiguration: defaults and exemptions of PodSecurity");
  app.add_flag("--disable-agent", f.no_node, "no node on this machine, the API alone");
  for (const apiserver::ApiFlagInfo& flag : apiserver::api_flags()) {
    CLI::Option* option = app.add_option("--" + std::string(flag.name), f.api[flag.name], flag.help)->group("API server")->allow_extra_args(false);
    if (!flag.repeats) option->expected(1);
    if (names_file(flag.name)) option->transform(CLI::Validator([](std::string& path) { return path = absolute(path), std::string(); }, "PATH"));
  }
  app.add_option("--kube-apiserver-arg", f.api_arguments, "NAME=VALUE of one of these flags; may repeat")->group("API server")->allow_extra_args(false);
}

void add_run_flags(CLI::App& app, RunFlags& f) {
  app.add_option("--log-file", f.log_file, "append the log to this file instead of standard error");
  app.add_flag("--debug", f.debug, "log more");
  app.add_option("--progress-fd", f.progress_fd)->group("");
}

void add_up(CLI::App& app, Flags& f) {
  CLI::App* up = app.add_subcommand("up", "start the cluster, or see that it runs; safe to repeat")->alias("start");
  up->add_option("-n,--nodes", "nodes in all (1); more than one are agents in network namespaces of this machine")->check(CLI::Range(1, 200));
  up->add_flag("--demo", f.up.demo, "deploy a small web application and print its URL");
  up->add_flag("--keep-context", f.up.keep_context, "do not make it kubectl's current context");
  up->add_option("--wait-timeout", f.up.wait_seconds, "seconds to wait for the demo")->capture_default_str();
  up->add_option("-o,--output", f.up.output, "json")->check(CLI::IsMember({"json"}));
  up->add_flag("-q,--quiet", f.up.quiet, "say nothing when all is well");
  add_server_flags(*up, f.server);
}

void add_processes(CLI::App& app, Flags& f) {
  CLI::App* server = app.add_subcommand("server", "run the cluster in the foreground");
  add_server_flags(*server, f.server);
  add_run_flags(*server, f.run);
  CLI::App* agent = app.add_subcommand("agent", "run this machine as a node of a cluster elsewhere");
  agent->add_option("-s,--server", f.agent.server, "URL of its API server")->required()->envname("KCUBE_URL");
  agent->add_option("-t,--token", f.agent.token, "join token: `kcube token create` there")->envname("KCUBE_TOKEN");
  agent->add_option("--token-file", f.agent.token_file, "file with the join token")->envname("KCUBE_TOKEN_FILE");
  agent->add_option("--node-name", f.agent.node_name, "name of this node (the host's)")->check(value(check_node_name));
  agent->add_option("--node-ip", f.agent.node_ip, "address of this node (that of the default route)")->check(value(check_address));
  agent->add_option("--kubelet-port", f.agent.kubelet_port, "port of the kubelet")->capture_default_str()->check(value(check_port));
  agent->add_option("--node-label", f.agent.labels, "KEY=VALUE; may repeat")->check(value(check_label));
  agent->add_option("--node-taint", f.agent.taints, "KEY=VALUE:EFFECT; may repeat")->check(value(check_taint));
  agent->add_option("--node", f.agent.node)->group("");
  add_run_flags(*agent, f.run);
}

void add_token(CLI::App& app, Flags& f) {
  CLI::App* token = app.add_subcommand("token", "credentials by which machines join")->require_subcommand(1);
  CLI::App* create = token->add_subcommand("create", "make one and print the line to paste on the other machine");
  create->add_option("--ttl", f.token.ttl, "how long it is good: 30m, 24h, 7d, 0 for ever")->capture_default_str();
  create->add_option("--description", f.token.description, "what it is for");
  token->add_subcommand("list", "those there are")->alias("ls");
  token->add_subcommand("delete", "take one back")->alias("rm")->add_option("id", f.token.id, "its id")->required();
}

void add_image(CLI::App& app, Flags& f) {
  CLI::App* image = app.add_subcommand("image", "images of this machine's node")->require_subcommand(1);
  CLI::App* ls = image->add_subcommand("ls", "list them");
  ls->add_option("-o,--output", f.image.output, "json")->check(CLI::IsMember({"json"}));
  ls->add_flag("-q,--quiet", f.image.quiet, "ids only");
  image->add_subcommand("load", "take in archives (docker save, OCI)")->add_option("file", f.image.arguments, "archive; - is standard input")->required();
  CLI::App* pull = image->add_subcommand("pull", "fetch from a registry");
  pull->add_option("image", f.image.arguments, "its name")->required();
  pull->add_flag("-q,--quiet", f.image.quiet, "no progress");
  image->add_subcommand("rm", "remove")->add_option("image", f.image.arguments, "name or id")->required();
  image->add_subcommand("tag", "give another name")->add_option("names", f.image.arguments, "OLD NEW")->required()->expected(2);
  CLI::App* save = image->add_subcommand("save", "write an archive");
  save->add_option("image", f.image.arguments, "names")->required();
  save->add_option("-o,--output", f.image.output, "file")->required();
}

void add_rest(CLI::App& app, Flags& f) {
  CLI::App* down = app.add_subcommand("down", "end the cluster and everything it made on this machine; data stays")->alias("stop")->alias("delete");
  down->add_flag("--purge", f.down.purge, "remove the data and the kubectl context too");
  down->add_flag("--all", f.down.all, "every cluster of this machine");
  down->add_option("--grace", f.down.grace_seconds, "seconds pods have to end")->capture_default_str()->check(CLI::NonNegativeNumber);
  down->add_flag("-q,--quiet", f.down.quiet, "say nothing when all is well");
  CLI::App* status = app.add_subcommand("status", "what runs, and what is not well");
  status->add_option("-o,--output", f.status.output, "json")->check(CLI::IsMember({"json"}));
  CLI::App* logs = app.add_subcommand("logs", "the log of the cluster's own process");
  logs->add_flag("-f,--follow", f.logs.follow, "go on as it grows");
  logs->add_option("--tail", f.logs.tail, "only the last lines");
  app.add_subcommand("kubectl", "the kubectl on PATH, for this cluster")->fallthrough(false)->allow_extras()->prefix_command()->set_help_flag();
  app.add_subcommand("runtime", "the OCI runtime command line, for bundles of your own")->fallthrough(false)->allow_extras()->prefix_command()->set_help_flag();
  CLI::App* version = app.add_subcommand("version", "which version this is");
  version->add_option("-o,--output", f.version_output, "json")->check(CLI::IsMember({"json"}));
  app.add_subcommand("completion", "a script that teaches your shell")->add_option("shell", f.shell, "bash, zsh or fish")->required()->check(CLI::IsMember({"bash", "zsh", "fish"}));
}

int oci_runtime(const std::vector<std::string>& arguments) {
  std::vector<char*> argv{const_cast<char*>("kcube runtime")};
  for (const std::string& a : arguments) argv.push_back(const_cast<char*>(a.c_str()));
  int argc = static_cast<int>(argv.size());
  argv.push_back(nullptr);
  return runtime::oci::oci_main(argc, argv.data());
}

int print_completion(const CLI::App& app, const std::string& shell) {
  std::vector<std::string> verbs, flags;
  for (const CLI::App* sub : app.get_subcommands([](const CLI::App*) { return true; })) {
    verbs.push_back(sub->get_name());
    for (const CLI::Option* option : sub->get_options())
      for (const std::string& name : option->get_lnames()) flags.push_back("--" + name);
  }
  std::ranges::sort(flags);
  flags.erase(std::ranges::unique(flags).begin(), flags.end());
  std::fputs(completion_script(shell, verbs, flags).c_str(), stdout);
  return 0;
}

// Says what was wrong with the command line, or prints the help that was asked for.
int refuse(const CLI::App& app, const CLI::ParseError& error) {
  if (error.get_exit_code() == 0) return app.exit(error);
  const CLI::App* at = &app;
  std::string verbs;
  while (!at->get_subcommands().empty()) {
    at = at->get_subcommands().front();
    verbs += " " + at->get_name();
  }
  std::string problem = error.what();
  bool wants_verb = dynamic_cast<const CLI::RequiredError*>(&error) != nullptr && !at->get_subcommands([](const CLI::App*) { return true; }).empty();
  std::vector<std::string> rest = app.remaining(true);
  auto word = std::ranges::find_if(rest, [](const std::string& r) { return !r.starts_with('-'); });
  if (wants_verb) problem = word == rest.end() ? "say what to do" : "unknown verb \"" + *word + "\"";
  std::fprintf(stderr, "kcube: %s\nSee `kcube%s --help`.\n", problem.c_str(), verbs.c_str());
  return 2;
}

int run(int argc, char** argv) {
  Flags f;
  CLI::App app("kcube: Kubernetes in one binary");
  app.require_subcommand(1);
  app.fallthrough();
  app.add_option("--name,-p,--profile", f.cluster.name, "name of the cluster")->capture_default_str();
  app.add_option("--data-dir,-d", f.cluster.data_dir, "where the cluster keeps its data (/var/lib/kcube)");
  add_up(app, f);
  add_processes(app, f);
  add_token(app, f);
  add_image(app, f);
  add_rest(app, f);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return refuse(app, error);
  }
  CLI::App* verb = app.get_subcommands().front();
  const std::string name = verb->get_name();
  if (name == "up") {
    // What the server needs to know goes to it in the same words.
    const std::vector<std::string> own{"--demo", "--keep-context", "--wait-timeout", "--output", "--quiet", "--help"};
    for (const CLI::Option* option : verb->get_options()) {
      if (option->count() == 0 || option->get_lnames().empty()) continue;
      std::string flag = "--" + option->get_lnames().front();
      if (std::ranges::find(own, flag) != own.end()) continue;
      f.up.kept[flag] = option->get_expected_max() == 0 ? std::vector<std::string>{} : option->results();
    }
    return up(f.cluster, f.up);
  }
  if (name == "down") return down(f.cluster, f.down);
  if (name == "status") return status(f.cluster, f.status);
  if (name == "server") return server(f.cluster, f.server, f.run);
  if (name == "agent") return agent(f.cluster, f.agent, f.run);
  if (name == "logs") return logs(f.cluster, f.logs);
  if (name == "version") return version(f.version_output);
  if (name == "kubectl") return kubectl(f.cluster, verb->remaining());
  if (name == "runtime") return oci_runtime(verb->remaining());
  if (name == "completion") return print_completion(app, f.shell);
  std::string action = verb->get_subcommands().front()->get_name();
  if (name == "token") {
    f.token.action = action;
    return token(f.cluster, f.token);
  }
  f.image.action = action;
  return image(f.cluster, f.image);
}

}  // namespace
}  // namespace kcube::cli

int main(int argc, char** argv) { return kcube::cli::run(argc, argv); }
