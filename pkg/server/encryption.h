// What is encrypted in the database, by the file of --encryption-provider-config; read again when it changes, if asked to.
#pragma once

#include <memory>
#include <string>
#include <thread>

#include "pkg/base/fd.h"
#include "pkg/server/kms_provider.h"
#include "pkg/store/encrypted_store.h"

namespace kcube::server {

struct Encryption {
  store::EncryptionRules rules;
  KmsProviders kms;                    // those among the rules' sealers, in their order
};

// EncryptionConfiguration (apiserver.config.k8s.io/v1), YAML or JSON. 400 with what is wrong. Resources are "secrets",
// "deployments.apps", "*." (the core group), "*.apps" and "*.*"; the first that fits holds.
Result<Encryption> parse_encryption(std::string_view text, Clock& clock);

// Follows the file: a thread that sleeps in inotify(7). A file that cannot be used is logged and what was there stays.
class EncryptionWatcher {
 public:
  // A configuration whose KMS plugins do not answer cannot be used either.
  static Result<std::unique_ptr<EncryptionWatcher>> start(const std::string& path, store::EncryptedStore& store, KmsHealth& health, Clock& clock);
  ~EncryptionWatcher();

 private:
  EncryptionWatcher(std::string path, store::EncryptedStore& store, KmsHealth& health, Clock& clock, Fd notify, Fd wake);
  void run();
  Result<void> use(std::string_view text);
  const std::string path_;
  store::EncryptedStore& store_;
  KmsHealth& health_;
  Clock& clock_;
  Fd notify_, wake_;
  std::string seen_;
  std::thread thread_;
};

}  // namespace kcube::server
