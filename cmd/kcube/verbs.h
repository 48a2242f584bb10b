// The verbs of the command line, one file each. Each returns the exit code of the process.
#pragma once

#include <string>
#include <vector>

#include "cmd/kcube/cluster.h"

namespace kcube::cli {

struct UpFlags {
  bool keep_context = false, quiet = false, demo = false;
  int wait_seconds = 60;
  std::string output;                 // "json" or ""
  FlagValues kept;                    // --nodes and those of the server: remembered for the next time
};
int up(const ClusterFlags& cluster, const UpFlags& flags);

struct DownFlags {
  bool purge = false, all = false, quiet = false;
  int grace_seconds = 5;
};
int down(const ClusterFlags& cluster, const DownFlags& flags);

struct StatusFlags {
  std::string output;
};
int status(const ClusterFlags& cluster, const StatusFlags& flags);

struct RunFlags {
  int progress_fd = -1;               // lines for `up` to show
  std::string log_file;
  bool debug = false;
};
int server(const ClusterFlags& cluster, const ServerFlags& flags, const RunFlags& run);

struct AgentFlags {
  std::string server, token, token_file, node_name, node_ip;
  uint16_t kubelet_port = 10250;
  std::vector<std::string> labels, taints;
  int node = 1;                       // number of a node of `up --nodes`
};
int agent(const ClusterFlags& cluster, const AgentFlags& flags, const RunFlags& run);

struct TokenFlags {
  std::string action = "create", ttl = "24h", id, description;
};
int token(const ClusterFlags& cluster, const TokenFlags& flags);

struct ImageFlags {
  std::string action, output;
  std::vector<std::string> arguments;
  bool quiet = false;
};
int image(const ClusterFlags& cluster, const ImageFlags& flags);

int kubectl(const ClusterFlags& cluster, const std::vector<std::string>& arguments);

struct LogsFlags {
  bool follow = false;
  int tail = -1;
};
int logs(const ClusterFlags& cluster, const LogsFlags& flags);

int version(const std::string& output);

// The user's kubeconfig: the first of $KUBECONFIG that exists, or ~/.kube/config of whoever called sudo.
struct UserFile {
  std::string path;
  uid_t uid;
  gid_t gid;
};
UserFile user_kubeconfig();

inline constexpr const char* kVersion = "v0.1.0";
inline constexpr const char* kKubernetesVersion = "v1.36.0";

}  // namespace kcube::cli
