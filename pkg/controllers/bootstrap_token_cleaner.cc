// Deletes bootstrap tokens (Secrets in kube-system) at the moment they expire.
#include "pkg/base/strings.h"
#include "pkg/controllers/factories.h"
#include "pkg/controllers/support.h"

namespace kcube::controllers {
namespace {

using client::resources::kSecrets;

class BootstrapTokenCleaner final : public Controller {
 public:
  explicit BootstrapTokenCleaner(Context context)
      : Controller(context, "token-cleaner", 1), secrets_(context.informers.informer(kSecrets, "type=bootstrap.kubernetes.io/token", "kube-system")) {
    secrets_.add_handlers({.changed = [this](const api::ObjectPtr&, const api::ObjectPtr& now) { enqueue(now->key()); }});
  }

 private:
  Result<void> reconcile(const std::string& key) override {
    api::ObjectPtr secret = secrets_.get(key);
    if (!secret) return {};
    std::string expiration = base64_decode(string_at(secret->value(), {"data", "expiration"})).value_or("");
    if (expiration.empty()) return {};
    SystemTime due;
    // A date that makes no sense must not keep a token alive.
    bool readable = parse_time(expiration, due);
    if (readable && clock_.now() < due) {
      enqueue_after(key, due - clock_.now());
      return {};
    }
    auto r = client_.remove(kSecrets, secret->namespace_(), secret->name(), {.uid = std::string(secret->uid())});
    return r || r.error().is_not_found() ? Result<void>() : r;
  }

  client::Informer& secrets_;
};

}  // namespace

ControllerPtr make_bootstrap_token_cleaner(Context context) { return std::make_unique<BootstrapTokenCleaner>(context); }

}  // namespace kcube::controllers
