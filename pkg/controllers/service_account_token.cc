// Secrets of the type kubernetes.io/service-account-token: gets each a token of the account its annotation names, which is
// good as long as the Secret is there, and removes those whose account is gone.
#include "pkg/base/strings.h"
#include "pkg/controllers/factories.h"
#include "pkg/controllers/support.h"

namespace kcube::controllers {
namespace {

using namespace client::resources;

constexpr std::string_view kType = "kubernetes.io/service-account-token";
constexpr std::string_view kName = "kubernetes.io/service-account.name", kUid = "kubernetes.io/service-account.uid";

std::string_view annotation(const api::Object& secret, std::string_view name) {
  return json::get_string(json::find(json::at(&secret.value(), {"metadata", "annotations"}), name));
}

class ServiceAccountTokenController final : public Controller {
 public:
  ServiceAccountTokenController(Context context, const Options& options)
      : Controller(context, "serviceaccount-token"), sign_(options.sign_token), ca_pem_(options.ca_pem), secrets_(context.informers.informer(kSecrets, "type=" + std::string(kType))),
        accounts_(context.informers.informer(kServiceAccounts)) {
    secrets_.add_handlers({.changed = [this](const api::ObjectPtr&, const api::ObjectPtr& now) { enqueue(now->key()); }});
    accounts_.add_handlers({.changed = [this](const api::ObjectPtr& before, const api::ObjectPtr& now) { if (!before) wake(*now); }, .removed = [this](const api::ObjectPtr& last) { wake(*last); }});
  }

 private:
  void wake(const api::Object& account) {
    for (const api::ObjectPtr& secret : secrets_.list(std::string(account.namespace_())))
      if (annotation(*secret, kName) == account.name()) enqueue(secret->key());
  }

  Result<void> reconcile(const std::string& key) override {
    auto [ns, name] = api::split_key(key);
    api::ObjectPtr secret = secrets_.get(ns, name);
    if (!secret || secret->deleting() || !sign_) return {};
    std::string account_name(annotation(*secret, kName)), uid(annotation(*secret, kUid));
    if (account_name.empty()) return {};
    // The informer may be behind: what decides about removal is live.
    auto account = client_.get(kServiceAccounts, ns, account_name);
    if (!account && !account.error().is_not_found()) return fail(account.error());
    if (!account || (!uid.empty() && uid != (*account)->uid())) {
      auto removed = client_.remove(kSecrets, ns, name, {.uid = std::string(secret->uid())});
      return removed || removed.error().is_not_found() || removed.error().is_conflict() ? Result<void>() : fail(removed.error());
    }
    json::value next(secret->value());
    json::object& data = json::ensure_object(next.as_object(), "data");
    data["ca.crt"] = base64_encode(ca_pem_);
    data["namespace"] = base64_encode(ns);
    json::ensure_path(next, {"metadata", "annotations"})[json::key(kUid)] = text((*account)->uid());
    if (json::get_string(data.if_contains("token")).empty()) {
      std::string prefix = "kubernetes.io/serviceaccount/";
      json::object claims{{"iss", "kubernetes/serviceaccount"}, {prefix + "namespace", ns}, {prefix + "secret.name", name}, {prefix + "service-account.name", account_name},
                          {prefix + "service-account.uid", text((*account)->uid())}, {"sub", "system:serviceaccount:" + ns + ":" + account_name}};
      auto token = sign_(json::serialize(json::value(std::move(claims))));
      if (!token) return fail(token.error());
      data["token"] = base64_encode(*token);
    }
    if (next == secret->value()) return {};
    auto written = client_.update(kSecrets, ns, name, next);
    return written || written.error().is_not_found() ? Result<void>() : fail(written.error());
  }

  const std::function<Result<std::string>(const std::string&)> sign_;
  const std::string ca_pem_;
  client::Informer& secrets_;
  client::Informer& accounts_;
};

}  // namespace

ControllerPtr make_service_account_token_controller(Context context, const Options& options) { return std::make_unique<ServiceAccountTokenController>(context, options); }

}  // namespace kcube::controllers
