// Takes away requests that nobody needs: an hour after they were issued, denied or failed, a day when nobody answered.
#include "pkg/controllers/csr.h"
#include "pkg/controllers/factories.h"
#include "pkg/controllers/support.h"

namespace kcube::controllers {
namespace {

using client::resources::kCertificateSigningRequests;

class CsrCleaner final : public Controller {
 public:
  explicit CsrCleaner(Context context) : Controller(context, "csrcleaner", 1), requests_(follow_own(kCertificateSigningRequests)) {}

 private:
  Result<void> reconcile(const std::string& key) override {
    api::ObjectPtr object = requests_.get(key);
    if (!object) return {};
    CsrView csr = read_csr(object->value());
    bool answered = csr.issued || csr.denied || csr.failed;
    SystemTime since = creation_time(object->value());
    for (const json::value& c : json::get_array(json::at(&object->value(), {"status", "conditions"})))
      if (answered) since = std::max(since, time_at(c, {"lastUpdateTime"}));
    SystemTime due = since + (answered ? std::chrono::hours(1) : std::chrono::hours(24));
    if (clock_.now() < due) {
      enqueue_after(key, due - clock_.now());
      return {};
    }
    auto r = client_.remove(kCertificateSigningRequests, "", key, {.uid = std::string(object->uid())});
    return r || r.error().is_not_found() ? Result<void>() : r;
  }

  client::Informer& requests_;
};

}  // namespace

ControllerPtr make_csr_cleaner(Context context) { return std::make_unique<CsrCleaner>(context); }

}  // namespace kcube::controllers
