// Values encrypted at rest: the envelopes of kube-apiserver's local providers, so that either can read what the other wrote.
//
// A stored value is "k8s:enc:PROVIDER:v1:KEY:" and then, by provider: aescbc: IV, then CBC with PKCS#7; aesgcm: nonce, then
// the text and its tag, with the storage path as additional data; secretbox: nonce, then NaCl's tag and text (XSalsa20 and
// Poly1305). identity adds nothing. Pure and thread-safe. Source: the Kubernetes docs on encrypting data at rest; RFC 5116,
// RFC 8439 (Poly1305), the NaCl papers.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "pkg/base/status.h"

namespace kcube::auth {

class Sealer {
 public:
  virtual ~Sealer() = default;
  // What stands before each value it wrote; empty for identity.
  virtual const std::string& prefix() const = 0;
  // Fails only where keys are somebody else's, who does not answer.
  virtual Result<std::string> seal(std::string_view text, std::string_view path) const = 0;
  // `sealed` without the prefix. Fails when it was not made by this key, or for another path.
  virtual Result<std::string> open(std::string_view sealed, std::string_view path) const = 0;
  // Whether it would be sealed otherwise today.
  virtual bool is_stale(std::string_view) const { return false; }
};

// `provider` is "aescbc", "aesgcm", "secretbox" or "identity"; 400 when the key's length does not fit it.
Result<std::shared_ptr<const Sealer>> make_sealer(const std::string& provider, const std::string& key_name, const std::string& key);

}  // namespace kcube::auth
