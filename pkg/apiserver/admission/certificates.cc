// CertificateApproval, CertificateSigning, CertificateSubjectRestriction and ClusterTrustBundleAttest: who may approve,
// sign and attest for a signer, and that nobody asks for system:masters.
#include <algorithm>

#include "pkg/apiserver/admission/admission.h"
#include "pkg/apiserver/authorizer.h"
#include "pkg/base/strings.h"

namespace kcube::apiserver {
namespace {

bool may(const Admission& a, std::string_view verb, std::string_view signer) {
  if (a.call.trusted) return true;
  auth::Attributes attributes;
  attributes.user = a.call.user;
  attributes.verb = verb;
  attributes.api_group = "certificates.k8s.io";
  attributes.api_version = "v1";
  attributes.resource = "signers";
  attributes.name = signer;
  if (a.core.authorizer.decide(attributes).allowed) return true;
  // "example.com/*" stands for every signer of a domain.
  attributes.name = std::string(signer.substr(0, signer.find('/'))) + "/*";
  return a.core.authorizer.decide(attributes).allowed;
}

bool is_request(const Admission& a) { return a.call.resource->is("certificates.k8s.io", "certificatesigningrequests") && a.object != nullptr; }
std::string signer_of(const json::value* request) { return std::string(json::get_string(json::at(request, {"spec", "signerName"}))); }

bool same(const json::value* a, const json::value* b) { return a == nullptr || b == nullptr ? a == b : *a == *b; }

Result<void> check_approval(Admission& a) {
  if (!is_request(a) || a.operation != Operation::update || a.call.resource->subresource() != "approval") return {};
  // As it is stored: the signer never changes.
  std::string signer = signer_of(a.old);
  if (may(a, "approve", signer)) return {};
  return a.forbid("user not permitted to approve requests with signerName \"" + signer + "\"");
}

Result<void> check_signing(Admission& a) {
  if (!is_request(a) || a.operation != Operation::update || a.call.resource->subresource() != "status") return {};
  auto unchanged = [&](const char* member) { return same(json::at(a.object, {"status", member}), json::at(a.old, {"status", member})); };
  std::string signer = signer_of(a.old);
  if ((unchanged("certificate") && unchanged("conditions")) || may(a, "sign", signer)) return {};
  return a.forbid("user not permitted to sign requests with signerName \"" + signer + "\"");
}

Result<void> check_subject(Admission& a) {
  if (!is_request(a) || a.operation != Operation::create || signer_of(a.object) != "kubernetes.io/kube-apiserver-client") return {};
  auto pem = base64_decode(json::get_string(*a.object, {"spec", "request"}));
  auto csr = auth::parse_csr(pem.value_or(""));
  if (csr && std::ranges::find(csr->organizations, "system:masters") != csr->organizations.end())
    return a.forbid("use of kubernetes.io/kube-apiserver-client signer with system:masters group is not allowed");
  return {};
}

Result<void> check_attest(Admission& a) {
  if (!a.is("certificates.k8s.io", "clustertrustbundles") || a.object == nullptr) return {};
  std::string signer = signer_of(a.object);
  if (signer.empty()) return {};
  if (a.old != nullptr && same(json::find(a.object, "spec"), json::find(a.old, "spec"))) return {};
  if (may(a, "attest", signer)) return {};
  return a.forbid("user not permitted to attest for signerName \"" + signer + "\"");
}

}  // namespace

const AdmissionPlugin kCertificateApproval{"CertificateApproval", nullptr, check_approval};
const AdmissionPlugin kCertificateSigning{"CertificateSigning", nullptr, check_signing};
const AdmissionPlugin kCertificateSubjectRestriction{"CertificateSubjectRestriction", nullptr, check_subject};
const AdmissionPlugin kClusterTrustBundleAttest{"ClusterTrustBundleAttest", nullptr, check_attest};

}  // namespace kcube::apiserver
