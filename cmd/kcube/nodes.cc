#include "cmd/kcube/nodes.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <thread>

#include "cmd/kcube/signals.h"
#include "net/address.h"
#include "net/links.h"
#include "pkg/base/file.h"
#include "pkg/base/log.h"
#include "pkg/base/process.h"
#include "pkg/base/strings.h"
#include "pkg/client/wait.h"

namespace kcube::cli {
namespace {

constexpr auto kReadyDeadline = std::chrono::seconds(60);
constexpr int kMtu = 1500;

std::string bridge_name(const Cluster& c) { return node_options(c, 1).network.prefix + "n"; }
// Names of namespaces are the machine's: clusters of one name in different places must not take each other's.
std::string namespace_prefix(const Cluster& c) { return c.context() + (c.custom_place ? "-" + place_hash(c.data_dir) : "") + "-"; }
std::string namespace_name(const Cluster& c, int node) { return namespace_prefix(c) + std::to_string(node); }
std::string namespace_path(const Cluster& c, int node) { return "/run/netns/" + namespace_name(c, node); }
std::string pid_path(const Cluster& c, int node) { return c.run_dir + "/node-" + std::to_string(node) + ".pid"; }
std::string node_name(const Cluster& c, int node) { return c.context() + "-node-" + std::to_string(node); }

// 172.29.SLOT.0/24: the machine is .1, node N is .N.
uint32_t address_of(const Cluster& c, int host) { return (172u << 24) | (29u << 16) | (static_cast<uint32_t>(c.slot & 0xff) << 8) | static_cast<uint32_t>(host); }

// A named namespace as ip-netns(8) knows them: a new one bound to a file.
Result<void> add_namespace(const std::string& path) {
  if (auto made = file::make_dirs("/run/netns", 0755); !made) return made;
  if (auto made = file::write(path, "", 0444); !made) return made;
  Result<void> result;
  std::thread([&] {
    std::string own = "/proc/self/task/" + std::to_string(::gettid()) + "/ns/net";
    if (::unshare(CLONE_NEWNET) != 0) result = fail(Status::from_errno("make a network namespace"));
    else if (::mount(own.c_str(), path.c_str(), nullptr, MS_BIND, nullptr) != 0) result = fail(Status::from_errno("bind " + path));
  }).join();
  if (!result) (void)file::remove(path);
  return result;
}

void remove_namespace(const std::string& path) {
  while (::umount2(path.c_str(), MNT_DETACH) == 0) {
  }
  (void)file::remove(path);
}

Result<Fd> connect_namespace(const Cluster& c, int node) {
  std::string path = namespace_path(c, node);
  if (auto made = add_namespace(path); !made) return fail(made.error());
  auto netns = file::open(path, O_RDONLY | O_CLOEXEC);
  if (!netns) return netns;
  auto links = net::Links::open();
  if (!links) return fail(links.error());
  std::string outer = bridge_name(c) + std::to_string(node);
  (void)links->remove(outer);
  int bridge = links->index_of(bridge_name(c));
  if (auto made = links->add_veth(outer, "eth0", *netns, bridge, kMtu); !made) return fail(made.error());
  if (auto up = links->set_up(links->index_of(outer)); !up) return fail(up.error());
  auto inside = net::in_namespace(*netns, [&]() -> Result<void> {
    auto own = net::Links::open();
    if (!own) return fail(own.error());
    int eth = own->index_of("eth0");
    if (auto up = own->set_up(own->index_of("lo")); !up) return up;
    if (auto set = own->add_address(eth, address_of(c, node), 24); !set) return set;
    if (auto up = own->set_up(eth); !up) return up;
    net::Links::Route out;
    out.to = {0, 0};
    out.index = eth;
    out.via = address_of(c, 1);
    return own->add_route(out);
  });
  if (!inside) return fail(inside.error());
  return netns;
}

Result<void> spawn_agent(const Cluster& c, int node, const Fd& netns) {
  auto admin = read_admin(c);
  if (!admin) return fail(admin.error());
  std::string log = c.data_dir + "/node-" + std::to_string(node) + ".log";
  auto output = file::open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
  if (!output) return fail(output.error());
  process::SpawnOptions spawn;
  spawn.argv = {process::self_path()};
  std::vector<std::string> agent{"agent", "--server", admin->server, "--token-file", c.data_dir + "/server/token", "--node-name", node_name(c, node),
                                 "--node-ip", net::format_ipv4(address_of(c, node)), "--node", std::to_string(node), "--log-file", log};
  for (const auto& more : {c.flags(), agent}) spawn.argv.insert(spawn.argv.end(), more.begin(), more.end());
  spawn.stdout_fd = output->get();
  spawn.stderr_fd = output->get();
  spawn.new_session = true;
  Result<process::Child> child = fail(Status::internal(""));
  std::thread([&] {
    if (::setns(netns.get(), CLONE_NEWNET) == 0) child = process::spawn(spawn);
    else child = fail(Status::from_errno("enter the node's namespace"));
  }).join();
  if (!child) return fail(child.error());
  return write_pid_file(pid_path(c, node), child->pid);
}

pid_t agent_pid(const Cluster& c, int node) { return process_of(pid_path(c, node)); }

bool is_ready(const json::value& node) {
  for (const json::value& c : json::get_array(json::at(&node, {"status", "conditions"})))
    if (json::get_string(c, {"type"}) == "Ready") return json::get_string(c, {"status"}) == "True";
  return false;
}

Result<void> wait_ready(const Cluster& c, int number) {
  auto api = admin_client(c);
  if (!api) return fail(api.error());
  auto node = client::wait_for(**api, {"", "v1", "nodes"}, "", node_name(c, number), is_ready, kReadyDeadline,
                               "node " + node_name(c, number) + " to become Ready: see " + c.data_dir + "/node-" + std::to_string(number) + ".log");
  if (!node) return fail(node.error());
  return {};
}

}  // namespace

Result<void> make_nodes_bridge(const Cluster& c) {
  auto links = net::Links::open();
  if (!links) return fail(links.error());
  std::string name = bridge_name(c);
  if (links->index_of(name) == 0) {
    std::string mac("\x02\x6b\x63\x6e\x00", 5);
    mac += static_cast<char>(c.slot);
    if (auto made = links->add_bridge(name, mac, kMtu); !made) return made;
    if (auto set = links->add_address(links->index_of(name), address_of(c, 1), 24); !set) return set;
  }
  return links->set_up(links->index_of(name));
}

Result<void> start_extra_node(const Cluster& c, int number) {
  if (agent_pid(c, number) == 0) {
    if (auto made = make_nodes_bridge(c); !made) return made;
    remove_namespace(namespace_path(c, number));
    auto netns = connect_namespace(c, number);
    if (!netns) return fail(netns.error().with_context("make node " + std::to_string(number)));
    if (auto spawned = spawn_agent(c, number, *netns); !spawned) return spawned;
  }
  return wait_ready(c, number);
}

void remove_extra_nodes(const Cluster& c, bool graceful) {
  std::vector<int> numbers;
  if (auto names = file::list("/run/netns")) {
    std::string prefix = namespace_prefix(c);
    for (const std::string& name : *names)
      if (name.starts_with(prefix))
        if (auto n = parse_int<int>(std::string_view(name).substr(prefix.size()))) numbers.push_back(*n);
  }
  for (int node : numbers)
    if (pid_t pid = agent_pid(c, node)) ::kill(pid, graceful ? SIGUSR2 : SIGKILL);
  for (int node : numbers) {
    if (pid_t pid = agent_pid(c, node)) {
      if (auto pidfd = process::open_pid(pid)) {
        if (!process::wait_exit(*pidfd, std::chrono::seconds(15))) ::kill(pid, SIGKILL);
        (void)process::wait_exit(*pidfd, std::chrono::seconds(5));
      }
    }
    if (auto cleaned = agent::clean_up(node_options(c, node)); !cleaned) log::warn("down", "node could not be cleaned up", {{"node", node}, {"error", cleaned.error()}});
    remove_namespace(namespace_path(c, node));
    (void)file::remove(pid_path(c, node));
  }
  if (auto links = net::Links::open()) {
    for (int node : numbers) (void)links->remove(bridge_name(c) + std::to_string(node));
    (void)links->remove(bridge_name(c));
  }
}

}  // namespace kcube::cli
