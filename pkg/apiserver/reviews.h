// Kinds that are asked and answered but never stored: reviews of tokens and of access, token requests, bindings,
// evictions. Source: the API reference of authentication.k8s.io, authorization.k8s.io, policy/v1 and core/v1 Binding.
#pragma once

#include "pkg/apiserver/authenticator.h"
#include "pkg/apiserver/engine.h"

namespace kcube::apiserver {

class Reviews {
 public:
  Reviews(Engine& engine, const Authenticator& authenticator) : engine_(engine), authenticator_(authenticator) {}
  // True when a create on `resource` is answered here.
  static bool handles(const Resource& resource);
  // `body` as sent; the answer is what POST returns (201).
  Result<json::value> create(Call& call, json::value body);

 private:
  Result<json::value> token_review(Call& call, json::value review);
  Result<json::value> self_subject_review(Call& call, json::value review);
  Result<json::value> access_review(Call& call, json::value review);
  Result<json::value> rules_review(Call& call, json::value review);
  Result<json::value> token_request(Call& call, json::value request);
  Result<json::value> bind(Call& call, json::value binding);
  Result<json::value> evict(Call& call, json::value eviction);
  Result<void> mark_disrupted(const Call& eviction);

  Engine& engine_;
  const Authenticator& authenticator_;
};

}  // namespace kcube::apiserver
