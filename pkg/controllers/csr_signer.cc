// Signs approved requests with the cluster's CA, for the signers of Kubernetes itself.
#include "pkg/base/strings.h"
#include "pkg/controllers/csr.h"
#include "pkg/controllers/factories.h"
#include "pkg/controllers/support.h"

namespace kcube::controllers {
namespace {

using client::resources::kCertificateSigningRequests;

constexpr std::chrono::seconds kLongest = std::chrono::hours(24 * 365), kShortest = std::chrono::minutes(10);

class CsrSigner final : public Controller {
 public:
  CsrSigner(Context context, auth::KeyPair ca)
      : Controller(context, "csrsigning", 2), ca_(std::move(ca)), requests_(follow_own(kCertificateSigningRequests)) {}

 private:
  Result<void> reconcile(const std::string& key) override {
    api::ObjectPtr object = requests_.get(key);
    if (!object || ca_.key_pem.empty()) return {};
    CsrView csr = read_csr(object->value());
    if (!csr.approved || csr.denied || csr.failed || csr.issued) return {};
    if (csr.signer != kSignerClient && csr.signer != kSignerKubeletClient && csr.signer != kSignerKubeletServing && csr.signer != kSignerLegacy) return {};
    json::value next(object->value());
    json::object& status = json::ensure_path(next, {"status"});
    auto parsed = auth::parse_csr(csr.request_pem);
    std::string why = parsed ? check(csr, *parsed) : parsed.error().message();
    if (!why.empty()) {
      std::string now = format_time(clock_.now());
      json::ensure_array(status, "conditions")
          .push_back(json::object{{"type", "Failed"}, {"status", "True"}, {"reason", "SignerValidationFailure"}, {"message", text(why)},
                                  {"lastUpdateTime", text(now)}, {"lastTransitionTime", text(now)}});
    } else {
      auto lifetime = csr.expiration_seconds > 0 ? std::clamp(std::chrono::seconds(csr.expiration_seconds), kShortest, kLongest) : kLongest;
      auto certificate = auth::sign_csr(ca_, csr.request_pem, {csr.usages.begin(), csr.usages.end()}, lifetime);
      if (!certificate) return fail(certificate.error());
      status["certificate"] = text(base64_encode(*certificate));
    }
    auto written = client_.update(kCertificateSigningRequests, "", key, next, "status");
    if (!written && !written.error().is_not_found()) return fail(written.error());
    return {};
  }

  static std::string check(const CsrView& csr, const auth::ParsedCsr& request) {
    if (csr.signer == kSignerKubeletClient) return check_kubelet_client(request, csr.usages);
    if (csr.signer == kSignerKubeletServing) return check_kubelet_serving(request, csr.usages);
    if (csr.signer == kSignerClient) return check_client(csr.usages);
    return "";
  }

  const auth::KeyPair ca_;
  client::Informer& requests_;
};

}  // namespace

ControllerPtr make_csr_signer(Context context, const Options& options) {
  return std::make_unique<CsrSigner>(context, auth::KeyPair{options.ca_pem, options.ca_key_pem});
}

}  // namespace kcube::controllers
