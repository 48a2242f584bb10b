// kubeconfig files: one for a cluster, and merging it into the user's own. Source: the Kubernetes docs on kubeconfig files.
#pragma once

#include <string>

#include "pkg/auth/auth.h"
#include "pkg/base/status.h"

namespace kcube::server {

struct KubeconfigEntry {
  std::string context;                    // also the name of its cluster and user: "kcube", "kcube-dev"
  std::string server;                     // "https://127.0.0.1:6443"
  std::string ca_pem;
  auth::KeyPair client;
};

// A file with this one entry, as YAML.
std::string kubeconfig_text(const KubeconfigEntry& entry);

// Puts `entry` (a file made by kubeconfig_text) into the kubeconfig at `path`, other entries stay as they are, and makes it
// the current context when `switch_context`. The file is made when missing, 0600, owned by `uid` and `gid`.
// 400 when the file is no kubeconfig: it is then left alone.
Result<void> merge_kubeconfig(const std::string& path, const std::string& entry, bool switch_context, uid_t uid, gid_t gid);

// Takes the context and what belongs to it out again. A missing file or context is fine.
Result<void> remove_from_kubeconfig(const std::string& path, const std::string& context);

}  // namespace kcube::server
