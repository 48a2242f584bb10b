#include "cmd/kcube/cluster.h"

#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <set>

#include "cmd/kcube/signals.h"
#include "net/address.h"
#include "net/network.h"
#include "pkg/api/json.h"
#include "pkg/api/yaml.h"
#include "pkg/auth/auth.h"
#include "pkg/base/file.h"
#include "pkg/base/process.h"
#include "pkg/base/strings.h"

namespace kcube::cli {
namespace {

constexpr const char* kRoot = "/var/lib/kcube";

std::string settings_path(const std::string& data_dir) { return data_dir + "/cluster.json"; }

std::optional<json::value> read_settings(const std::string& data_dir) {
  auto text = file::read(settings_path(data_dir));
  if (!text) return std::nullopt;
  auto settings = json::parse(*text);
  if (!settings || !settings->is_object()) return std::nullopt;
  return std::move(*settings);
}

Result<void> write_settings(const std::string& data_dir, const json::value& settings) {
  return file::write_atomic(settings_path(data_dir), json::serialize(settings) + "\n", 0644);
}

std::optional<int> read_slot(const std::string& data_dir) {
  auto settings = read_settings(data_dir);
  if (!settings) return std::nullopt;
  return static_cast<int>(json::get_int(*settings, {"slot"}));
}

int free_slot() {
  std::set<int> taken{0};
  for (const Cluster& c : all_clusters()) taken.insert(c.slot);
  int slot = 1;
  while (taken.contains(slot)) ++slot;
  return slot;
}

// Runtime state; unlike data it must have a short path, because sockets are in it.
std::string run_dir_of(const ClusterFlags& flags, const std::string& data_dir) {
  if (flags.data_dir.empty()) return "/run/kcube/" + flags.name;
  char hash[9];
  std::snprintf(hash, sizeof hash, "%08x", static_cast<unsigned>(stable_hash(data_dir)));
  return "/run/kcube/" + flags.name + "-" + hash;
}

// Each range was checked by itself (flag_checks.h).
Result<void> check_ranges(const agent::NetworkOptions& n) {
  auto pods = net::parse_prefix(n.cluster_cidr), services = net::parse_prefix(n.service_cidr);
  auto dns = net::parse_ipv4(n.dns_vip);
  if (!pods || !services || !dns) return fail(Status::bad_request("--cluster-cidr, --service-cidr or --cluster-dns is malformed"));
  if (pods->length > 24) return fail(Status::bad_request("--cluster-cidr " + n.cluster_cidr + " is too small: each node takes a /24 of it"));
  if (pods->overlaps(*services))
    return fail(Status::bad_request("--cluster-cidr " + n.cluster_cidr + " and --service-cidr " + n.service_cidr + " overlap"));
  if (!services->contains(*dns))
    return fail(Status::bad_request("--cluster-dns " + n.dns_vip + " is not in --service-cidr " + n.service_cidr));
  return {};
}

}  // namespace

std::string host_name() {
  char buffer[256] = {};
  ::gethostname(buffer, sizeof buffer - 1);
  return to_lower(buffer);
}

std::string place_hash(const std::string& data_dir) {
  char hash[5];
  std::snprintf(hash, sizeof hash, "%04x", static_cast<unsigned>(stable_hash(data_dir)) & 0xffff);
  return hash;
}

pid_t Cluster::running() const { return process_of(pid_file()); }

std::vector<std::string> Cluster::flags() const {
  std::vector<std::string> out{"--name", name};
  if (custom_place) out.insert(out.end(), {"--data-dir", data_dir});
  return out;
}

std::vector<Cluster> all_clusters() {
  std::vector<Cluster> out;
  if (auto slot = read_slot(kRoot)) out.push_back({"kcube", kRoot, "/run/kcube/kcube", *slot});
  auto names = file::list(std::string(kRoot) + "/clusters");
  if (!names) return out;
  for (const std::string& name : *names) {
    std::string data = std::string(kRoot) + "/clusters/" + name;
    if (auto slot = read_slot(data)) out.push_back({name, data, "/run/kcube/" + name, *slot});
  }
  return out;
}

Result<Cluster> find_cluster(const ClusterFlags& flags, bool create) {
  if (flags.name.empty() || flags.name.size() > 20 || flags.name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-") != std::string::npos)
    return fail(Status::bad_request("--name " + flags.name + ": use up to 20 lower-case letters, digits and '-'"));
  Cluster c;
  c.name = flags.name;
  c.data_dir = !flags.data_dir.empty() ? flags.data_dir : flags.name == "kcube" ? kRoot : std::string(kRoot) + "/clusters/" + flags.name;
  if (!c.data_dir.starts_with('/')) {
    char here[4096];
    if (::getcwd(here, sizeof here) != nullptr) c.data_dir = std::string(here) + "/" + c.data_dir;
  }
  c.custom_place = !flags.data_dir.empty();
  c.run_dir = run_dir_of(flags, c.data_dir);
  if (auto slot = read_slot(c.data_dir)) {
    c.slot = *slot;
    return c;
  }
  c.slot = flags.name == "kcube" ? 0 : free_slot();
  if (!create) return c;
  if (auto made = file::make_dirs(c.data_dir, 0711); !made) return fail(made.error());
  json::object settings{{"name", c.name}, {"slot", c.slot}};
  if (auto written = write_settings(c.data_dir, std::move(settings)); !written) return fail(written.error());
  return c;
}

FlagValues with_remembered(const Cluster& cluster, const FlagValues& given) {
  FlagValues all = given;
  auto settings = read_settings(cluster.data_dir);
  if (!settings) return all;
  for (const auto& [flag, values] : json::get_object(json::find(&*settings, "flags"))) {
    auto [entry, fresh] = all.try_emplace(std::string(flag));
    if (!fresh) continue;
    for (const json::value& value : json::get_array(&values)) entry->second.emplace_back(json::get_string(&value));
  }
  return all;
}

Result<void> remember_flags(const Cluster& cluster, const FlagValues& all) {
  json::value settings = read_settings(cluster.data_dir).value_or(json::object{{"name", cluster.name}, {"slot", cluster.slot}});
  json::object& kept = settings.get_object()["flags"].emplace_object();
  for (const auto& [flag, values] : all) {
    json::array& list = kept[flag].emplace_array();
    for (const std::string& value : values) list.emplace_back(value);
  }
  return write_settings(cluster.data_dir, settings);
}

agent::Options node_options(const Cluster& c, int node) {
  agent::Options n;
  std::string number = node == 1 ? "" : "-" + std::to_string(node);
  n.data_dir = node == 1 ? c.data_dir + "/agent" : c.data_dir + "/nodes/" + std::to_string(node) + "/agent";
  n.run_dir = c.run_dir + "/node" + number;
  // Clusters of the same name in other data directories (labs) must not share groups.
  n.cgroup_root = c.data_dir == kRoot ? "/kcube" + number : "/kcube-" + c.name + "-" + place_hash(c.data_dir) + number;
  n.static_pod_dir = c.data_dir + "/static-pods";
  n.network.prefix = c.slot == 0 ? "kcube" : "kcube" + std::to_string(c.slot);
  n.network.cluster_cidr = "10." + std::to_string(42 + 2 * c.slot) + ".0.0/16";
  n.network.service_cidr = "10." + std::to_string(43 + 2 * c.slot) + ".0.0/16";
  n.network.vxlan_id = 42 + static_cast<uint32_t>(c.slot);
  n.network.vxlan_port = static_cast<uint16_t>(8472 + c.slot);
  n.kubelet_port = static_cast<uint16_t>(10250 + 10 * c.slot);
  return n;
}

Result<server::Options> server_options(const Cluster& c, const ServerFlags& f) {
  server::Options s;
  s.name = c.name;
  s.data_dir = c.data_dir;
  s.address = f.address;
  s.port = f.port != 0 ? f.port : static_cast<uint16_t>(6443 + 10 * c.slot);
  s.tls_sans = f.tls_sans;
  s.run_node = !f.no_node;
  s.disabled_controllers = f.disable;
  s.admission = {f.enable_admission, f.disable_admission, ""};
  if (!f.admission_config.empty()) {
    auto text = file::read(f.admission_config);
    if (!text) return fail(text.error().with_context("--admission-control-config-file"));
    s.admission.configuration = std::move(*text);
  }
  s.node = node_options(c, 1);
  agent::NetworkOptions& n = s.node.network;
  if (!f.cluster_cidr.empty()) n.cluster_cidr = f.cluster_cidr;
  if (!f.service_cidr.empty()) n.service_cidr = f.service_cidr;
  n.cluster_domain = f.cluster_domain;
  // The tenth address, as everybody's fingers know it.
  std::string base = n.service_cidr.substr(0, n.service_cidr.find('/'));
  n.dns_vip = !f.cluster_dns.empty() ? f.cluster_dns : base.substr(0, base.rfind('.')) + ".10";
  if (auto fits = check_ranges(n); !fits) return fail(fits.error());
  if (f.kubelet_port != 0) s.node.kubelet_port = f.kubelet_port;
  s.node.node_name = f.node_name.empty() ? host_name() : f.node_name;
  auto address = net::default_address();
  s.node.node_ip = !f.node_ip.empty() ? f.node_ip : address.value_or("127.0.0.1");
  s.advertise_address = f.advertise_address.empty() ? s.node.node_ip : f.advertise_address;
  for (const std::string& label : f.labels) s.node.labels.insert(split_pair(label));
  s.node.taints = f.taints;
  for (const auto& [name, values] : f.api)
    if (!values.empty()) s.api_flags[name] = values;
  for (const std::string& argument : f.api_arguments) {
    auto [name, value] = split_pair(argument);
    while (name.starts_with('-')) name.erase(0, 1);
    if (argument.find('=') == std::string::npos) return fail(Status::bad_request("--kube-apiserver-arg: expected NAME=VALUE, not " + argument));
    s.api_flags[name].push_back(value);
  }
  return s;
}

Result<client::RemoteOptions> read_admin(const Cluster& c) {
  auto text = file::read(c.kubeconfig());
  if (!text) return fail(Status::not_found("there is no cluster " + c.name + " (" + c.data_dir + "): make one with `kcube up" + (c.name == "kcube" ? "" : " --name " + c.name) + "`"));
  auto config = api::parse_yaml(*text);
  if (!config) return fail(config.error());
  const json::array& clusters = json::get_array(json::find(&*config, "clusters"));
  const json::array& users = json::get_array(json::find(&*config, "users"));
  if (clusters.empty() || users.empty()) return fail(Status::internal(c.kubeconfig() + " is broken: remove it and start the cluster again"));
  auto decoded = [](const json::value& v, std::string_view outer, std::string_view name) { return base64_decode(json::get_string(json::at(&v, {outer, name}))).value_or(""); };
  client::RemoteOptions options;
  options.server = json::get_string(clusters[0], {"cluster", "server"});
  options.ca_pem = decoded(clusters[0], "cluster", "certificate-authority-data");
  options.certificate_pem = decoded(users[0], "user", "client-certificate-data");
  options.key_pem = decoded(users[0], "user", "client-key-data");
  return options;
}

Result<std::unique_ptr<client::RemoteClient>> admin_client(const Cluster& c) {
  auto options = read_admin(c);
  if (!options) return fail(options.error());
  return client::remote_client(*options);
}

std::pair<std::string, std::string> split_pair(const std::string& text) {
  size_t equal = text.find('=');
  return {text.substr(0, equal), equal == std::string::npos ? "" : text.substr(equal + 1)};
}

RunDirectory::~RunDirectory() { (void)::rmdir(path_.c_str()); }

int report(const Status& status) {
  std::string id = status.reason().starts_with("KC_") ? status.reason() + ": " : "";
  std::fprintf(stderr, "kcube: %s%s\n", id.c_str(), status.message().c_str());
  return 1;
}

}  // namespace kcube::cli
