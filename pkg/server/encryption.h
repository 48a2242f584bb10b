// What is encrypted in the database, by the file of --encryption-provider-config; read again when it changes, if asked to.
#pragma once

#include <memory>
#include <string>
#include <thread>

#include "pkg/base/fd.h"
#include "pkg/store/encrypted_store.h"

namespace kcube::server {

// EncryptionConfiguration (apiserver.config.k8s.io/v1), YAML or JSON. 400 with what is wrong. Resources are "secrets",
// "deployments.apps", "*." (the core group), "*.apps" and "*.*"; the first that fits holds.
Result<store::EncryptionRules> parse_encryption(std::string_view text);

// Follows the file: a thread that sleeps in inotify(7). A file that cannot be used is logged and what was there stays.
class EncryptionWatcher {
 public:
  static Result<std::unique_ptr<EncryptionWatcher>> start(const std::string& path, store::EncryptedStore& store);
  ~EncryptionWatcher();

 private:
  EncryptionWatcher(std::string path, store::EncryptedStore& store, Fd notify, Fd wake);
  void run();
  const std::string path_;
  store::EncryptedStore& store_;
  Fd notify_, wake_;
  std::string seen_;
  std::thread thread_;
};

}  // namespace kcube::server
