// CertificateApproval, CertificateSigning and CertificateSubjectRestriction: who may approve and sign for a signer, and
// that nobody asks for system:masters.
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

Result<void> check(Admission& a) {
  if (!a.call.resource->is("certificates.k8s.io", "certificatesigningrequests") || a.object == nullptr) return {};
  std::string signer(json::get_string(*a.object, {"spec", "signerName"}));
  std::string_view sub = a.call.resource->subresource();
  if (sub == "approval" && !may(a, "approve", signer)) return a.forbid("user not permitted to approve requests with signerName \"" + signer + "\"");
  if (sub == "status") {
    const json::value* certificate = json::at(a.object, {"status", "certificate"});
    const json::value* before = json::at(a.old, {"status", "certificate"});
    if (json::get_string(certificate) != json::get_string(before) && !may(a, "sign", signer))
      return a.forbid("user not permitted to sign requests with signerName \"" + signer + "\"");
  }
  if (a.operation != Operation::create || signer != "kubernetes.io/kube-apiserver-client") return {};
  auto pem = base64_decode(json::get_string(*a.object, {"spec", "request"}));
  auto csr = auth::parse_csr(pem.value_or(""));
  if (csr && std::ranges::find(csr->organizations, "system:masters") != csr->organizations.end())
    return a.forbid("use of kubernetes.io/kube-apiserver-client signer with system:masters group is not allowed");
  return {};
}

}  // namespace

const AdmissionPlugin kCertificates{"Certificates", nullptr, check};

}  // namespace kcube::apiserver
