// The ServiceAccount "default" of every namespace.
#include "pkg/controllers/factories.h"
#include "pkg/controllers/support.h"

namespace kcube::controllers {
namespace {

using namespace client::resources;

class ServiceAccountController final : public Controller {
 public:
  explicit ServiceAccountController(Context context)
      : Controller(context, "serviceaccount"), namespaces_(follow_own(kNamespaces)), accounts_(context.informers.informer(kServiceAccounts)) {
    accounts_.add_handlers({.removed = [this](const api::ObjectPtr& last) {
      if (last->name() == "default") enqueue(std::string(last->namespace_()));
    }});
  }

 private:
  Result<void> reconcile(const std::string& key) override {
    api::ObjectPtr ns = namespaces_.get(key);
    if (!ns || ns->deleting() || accounts_.get(key, "default")) return {};
    json::object account{{"apiVersion", "v1"}, {"kind", "ServiceAccount"}, {"metadata", json::object{{"name", "default"}, {"namespace", text(key)}}}};
    auto made = client_.create(kServiceAccounts, key, account);
    if (made || made.error().reason() == "AlreadyExists") return {};
    // The namespace went in between.
    if (auto live = client_.get(kNamespaces, "", key); !live || (*live)->deleting()) return {};
    return fail(made.error());
  }

  client::Informer& namespaces_;
  client::Informer& accounts_;
};

}  // namespace

ControllerPtr make_service_account_controller(Context context) { return std::make_unique<ServiceAccountController>(context); }

}  // namespace kcube::controllers
