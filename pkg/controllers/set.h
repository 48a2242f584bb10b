// The set of controllers that a server runs.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "pkg/base/clock.h"
#include "pkg/client/client.h"

namespace kcube::controllers {

struct Options {
  std::string ca_pem, ca_key_pem;                // signs approved CSRs; ca_pem is published to every namespace
  // Signs the claims (JSON) of tokens kept in Secrets; without it those get none.
  std::function<Result<std::string>(const std::string& claims)> sign_token;
  std::string cluster_cidr = "10.42.0.0/16";     // node i gets the i-th /24
  int node_cidr_mask = 24;
  std::chrono::seconds node_monitor_grace{40};   // without a Lease renewal: NotReady
  // Volumes of the StorageClass "local-path" are directories below this, on the node of their first pod.
  std::string local_path_root = "/var/lib/kcube/storage";
  // Removes such a directory when its claim is gone. Without it directories stay (which is logged).
  std::function<Result<void>(const std::string& node, const std::string& path)> remove_local_path;
  std::vector<std::string> disabled;             // names as in kube-controller-manager: "deployment", "cronjob", …; "*": all
};

// Whether there is a controller of this name, and all names for an error message.
bool is_controller(std::string_view name);
std::string controller_names();

class ControllerSet {
 public:
  static std::unique_ptr<ControllerSet> create(client::Client& client, Clock& clock, Options options);
  virtual ~ControllerSet() = default;
  // Starts the informers, waits until they are in sync, then every controller.
  virtual void start() = 0;
  virtual void stop() = 0;
};

}  // namespace kcube::controllers
