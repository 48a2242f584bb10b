// CertificateSigningRequests as the approver, the signer and the cleaner read them. Internal to the room.
#pragma once

#include <set>
#include <string>

#include "pkg/api/object.h"
#include "pkg/auth/auth.h"

namespace kcube::controllers {

inline constexpr std::string_view kSignerClient = "kubernetes.io/kube-apiserver-client", kSignerKubeletClient = "kubernetes.io/kube-apiserver-client-kubelet",
                                  kSignerKubeletServing = "kubernetes.io/kubelet-serving", kSignerLegacy = "kubernetes.io/legacy-unknown";

struct CsrView {
  std::string signer, username, request_pem;
  std::set<std::string> groups, usages;
  int64_t expiration_seconds = 0;
  bool approved = false, denied = false, failed = false, issued = false;
  bool in_group(std::string_view group) const { return groups.contains(std::string(group)); }
};
CsrView read_csr(const json::value& csr);

// Empty when the request may be signed by that signer; else why not. Source: the Kubernetes docs on CSRs, "signers".
std::string check_kubelet_client(const auth::ParsedCsr& request, const std::set<std::string>& usages);
std::string check_kubelet_serving(const auth::ParsedCsr& request, const std::set<std::string>& usages);
std::string check_client(const std::set<std::string>& usages);

}  // namespace kcube::controllers
