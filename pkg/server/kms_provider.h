// The provider `kms` of API v2: values are sealed with keys made of a seed that lies in memory; beside each value stands the
// seed as the plugin sealed it. A new seed is made when the plugin's key changes. Source: KEP-3299; the Kubernetes docs on
// KMS providers; times and messages of kube-apiserver.
#pragma once

#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "pkg/base/clock.h"
#include "pkg/server/kms_plugin.h"

namespace kcube::server {

// Thread-safe. Reads ask the plugin only for seeds that this process has not seen; writes never ask it.
class KmsProvider final : public auth::Sealer {
 public:
  KmsProvider(const std::string& name, std::string socket, std::chrono::milliseconds timeout, Clock& clock);
  const std::string& prefix() const override { return prefix_; }
  // Fails when the plugin has not been well for three minutes.
  Result<std::string> seal(std::string_view text, std::string_view path) const override;
  Result<std::string> open(std::string_view sealed, std::string_view path) const override;
  // Written under another key than the plugin has now.
  bool is_stale(std::string_view sealed) const override;
  // Asks the plugin how it is, unless that was a moment ago, and changes the seed when its key has changed.
  Result<void> check();

 private:
  struct State {
    std::shared_ptr<const auth::Sealer> sealer;
    auth::KmsSealed beside;                          // without data
    SystemTime expires;
  };
  Result<void> judge(const auth::KmsStatus& status);
  Result<void> rotate(const std::string& key_id);
  std::shared_ptr<const auth::Sealer> find(const std::string& key) const;
  void remember(const std::string& key, std::shared_ptr<const auth::Sealer> sealer) const;

  const std::string name_, prefix_;
  const KmsPlugin plugin_;
  Clock& clock_;
  mutable std::mutex mutex_;                         // of what follows
  std::shared_ptr<const State> state_;               // null until the plugin first was well
  mutable std::map<std::string, std::shared_ptr<const auth::Sealer>> sealers_;   // by hash of what stands beside values
  std::mutex checking_;                              // of what follows; held while the plugin is asked
  Result<void> last_;
  SystemTime checked_{};
  Duration valid_{0};
  std::string version_;
};
using KmsProviders = std::vector<std::shared_ptr<KmsProvider>>;

// Keeps the seeds of providers current, on a thread that there is only when there are providers.
class KmsHealth {
 public:
  KmsHealth() = default;
  ~KmsHealth();
  void set(KmsProviders providers);
  // Of all.
  Result<void> check() const;
  size_t size() const { return current().size(); }

 private:
  KmsProviders current() const;
  void run();
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  KmsProviders providers_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace kcube::server
