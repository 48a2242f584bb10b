// Approves the certificates of kubelets: the first one of a machine that joins with a bootstrap token, renewals of a
// node's own, and serving certificates for a node's own names and addresses. Everything else waits for a person.
#include <algorithm>
#include <set>

#include "pkg/controllers/csr.h"
#include "pkg/controllers/factories.h"
#include "pkg/controllers/support.h"

namespace kcube::controllers {
namespace {

using namespace client::resources;

class CsrApprover final : public Controller {
 public:
  explicit CsrApprover(Context context)
      : Controller(context, "csrapproving", 2), requests_(follow_own(kCertificateSigningRequests)), nodes_(context.informers.informer(kNodes)) {
    // A node's addresses may come after its request.
    nodes_.add_handlers({.changed = [this](const api::ObjectPtr& before, const api::ObjectPtr& now) {
      if (before && equivalent(json::at(&before->value(), {"status", "addresses"}), json::at(&now->value(), {"status", "addresses"}))) return;
      for (const auto& request : requests_.list())
        if (string_at(request->value(), {"spec", "signerName"}) == kSignerKubeletServing) enqueue(request->key());
    }});
  }

 private:
  Result<void> reconcile(const std::string& key) override {
    api::ObjectPtr object = requests_.get(key);
    if (!object) return {};
    CsrView csr = read_csr(object->value());
    if (csr.approved || csr.denied || csr.failed || csr.issued) return {};
    auto parsed = auth::parse_csr(csr.request_pem);
    if (!parsed) return {};
    std::string message = reason_to_approve(csr, *parsed);
    if (message.empty()) return {};
    json::value next(object->value());
    json::array& conditions = json::ensure_array(json::ensure_path(next, {"status"}), "conditions");
    std::string now = format_time(clock_.now());
    conditions.push_back(json::object{{"type", "Approved"}, {"status", "True"}, {"reason", "AutoApproved"}, {"message", text(message)},
                                      {"lastUpdateTime", text(now)}, {"lastTransitionTime", text(now)}});
    auto written = client_.update(kCertificateSigningRequests, "", key, next, "approval");
    if (!written && !written.error().is_not_found()) return fail(written.error());
    return {};
  }

  std::string reason_to_approve(const CsrView& csr, const auth::ParsedCsr& request) const {
    if (csr.signer == kSignerKubeletClient && check_kubelet_client(request, csr.usages).empty()) {
      if (csr.in_group("system:nodes") && csr.username == request.common_name)
        return "Auto approving self kubelet client certificate after SubjectAccessReview.";
      bool bootstrapper = std::ranges::any_of(csr.groups, [](const auto& g) { return g == "system:bootstrappers" || g.starts_with("system:bootstrappers:"); });
      if (bootstrapper) return "Auto approving kubelet client certificate after SubjectAccessReview.";
    }
    if (csr.signer == kSignerKubeletServing && check_kubelet_serving(request, csr.usages).empty() && csr.in_group("system:nodes") &&
        csr.username == request.common_name && names_itself(request))
      return "Auto approving kubelet serving certificate for the node's own names and addresses.";
    return "";
  }

  // Every name and address asked for is the node's (or says "this machine" on all of them). A machine that joins asks
  // before it has registered: it then gets the addresses that no other node has.
  bool names_itself(const auth::ParsedCsr& request) const {
    std::string name = request.common_name.substr(std::string_view("system:node:").size());
    std::set<std::string> own{name, "localhost", "127.0.0.1", "::1"}, others;
    for (const auto& node : nodes_.list())
      for (const json::value& a : json::get_array(json::at(&node->value(), {"status", "addresses"}))) (node->name() == name ? own : others).insert(string_at(a, {"address"}));
    bool registered = nodes_.get(name) != nullptr;
    auto is_own = [&](const std::string& n) { return own.contains(n); };
    auto may_have = [&](const std::string& address) { return own.contains(address) || (!registered && !others.contains(address)); };
    return std::ranges::all_of(request.dns_names, is_own) && std::ranges::all_of(request.ip_addresses, may_have);
  }

  client::Informer& requests_;
  client::Informer& nodes_;
};

}  // namespace

ControllerPtr make_csr_approver(Context context) { return std::make_unique<CsrApprover>(context); }

}  // namespace kcube::controllers
