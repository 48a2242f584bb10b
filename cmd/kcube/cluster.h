// One cluster on this machine as the verbs see it: where it keeps things, which ports and ranges are its own.
//
// Each has a slot: 0 is the one named "kcube", others take the next free number, and ports and address ranges follow from
// it, so that clusters stand side by side. Settings are kept in DATA/cluster.json from the first `up` on.
#pragma once

#include <sys/types.h>

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "pkg/agent/agent.h"
#include "pkg/client/client.h"
#include "pkg/server/server.h"

namespace kcube::cli {

// Flags that every verb knows.
struct ClusterFlags {
  std::string name = "kcube";
  std::string data_dir;              // empty: /var/lib/kcube, or /var/lib/kcube/clusters/NAME
};

// Flags of `up` and `server`.
struct ServerFlags {
  uint16_t port = 0;                 // 0: by slot
  uint16_t kubelet_port = 0;
  std::string address = "0.0.0.0", advertise_address, node_name, node_ip;
  std::string cluster_cidr, service_cidr, cluster_dns, cluster_domain = "cluster.local";
  std::vector<std::string> tls_sans, labels, taints, disable, enable_admission, disable_admission;
  std::string admission_config;
  bool no_node = false;
  std::map<std::string, std::vector<std::string>> api;   // flags of kube-apiserver by their names
  std::vector<std::string> api_arguments;                // "name=value", as k3s takes them
};

struct Cluster {
  std::string name, data_dir, run_dir;
  int slot = 0;
  bool custom_place = false;         // --data-dir was given

  std::string context() const { return name == "kcube" ? "kcube" : "kcube-" + name; }
  std::string pid_file() const { return run_dir + "/server.pid"; }
  std::string log_file() const { return data_dir + "/kcube.log"; }
  std::string kubeconfig() const { return data_dir + "/server/kubeconfig.yaml"; }
  // The process that runs it; 0 when none does.
  pid_t running() const;
  // The flags by which another kcube process finds this cluster.
  std::vector<std::string> flags() const;
};

// Where the cluster of these flags is, whether or not it exists. Reserves a slot in its settings when `create`.
Result<Cluster> find_cluster(const ClusterFlags& flags, bool create);
// Every cluster of the default root that has settings, and its name.
std::vector<Cluster> all_clusters();

// Flags as typed: "--node-label" -> {"a=b", "c=d"}; those without a value have none.
using FlagValues = std::map<std::string, std::vector<std::string>>;
// What the server of this cluster is started with: what `given` says now, else what it was given before.
FlagValues with_remembered(const Cluster& cluster, const FlagValues& given);
// Keeps them for next time in its settings.
Result<void> remember_flags(const Cluster& cluster, const FlagValues& all);

Result<server::Options> server_options(const Cluster& cluster, const ServerFlags& flags);
// What an agent of that cluster is called on this machine: prefixes, cgroups, directories. `node` 1 is the server's own.
agent::Options node_options(const Cluster& cluster, int node);

// Where the API server is, and the administrator's certificate: what the cluster's own kubeconfig says.
Result<client::RemoteOptions> read_admin(const Cluster& cluster);
// A client with them.
Result<std::unique_ptr<client::RemoteClient>> admin_client(const Cluster& cluster);

// Four characters by which clusters of one name in different places are told apart.
std::string place_hash(const std::string& data_dir);
// This machine's, in lower case: the default name of a node.
std::string host_name();

// Splits "key=value".
std::pair<std::string, std::string> split_pair(const std::string& text);

// A process's claim on its cluster's run directory: at the end it goes, unless something of ours or of another is in it.
// A server or agent that never came up leaves nothing behind.
class RunDirectory {
 public:
  explicit RunDirectory(std::string path) : path_(std::move(path)) {}
  RunDirectory(const RunDirectory&) = delete;
  RunDirectory& operator=(const RunDirectory&) = delete;
  ~RunDirectory();

 private:
  const std::string path_;
};

// The one-line error and its exit code: what went wrong and what to type.
int report(const Status& status);

}  // namespace kcube::cli
