// Deletes Jobs spec.ttlSecondsAfterFinished after their end.
#include "pkg/controllers/factories.h"
#include "pkg/controllers/support.h"

namespace kcube::controllers {
namespace {

using client::resources::kJobs;

class TtlAfterFinishedController final : public Controller {
 public:
  explicit TtlAfterFinishedController(Context context) : Controller(context, "ttl-after-finished", 1), jobs_(follow_own(kJobs)) {}

 private:
  // When it ended; the epoch while it runs.
  static SystemTime end_of(const json::value& job) {
    for (const char* type : {"Complete", "Failed"})
      if (condition_is(job, type)) return time_at(*find_condition(job, type), {"lastTransitionTime"});
    return {};
  }

  Result<void> reconcile(const std::string& key) override {
    api::ObjectPtr cached = jobs_.get(key);
    if (!cached || cached->deleting() || !has(cached->value(), {"spec", "ttlSecondsAfterFinished"})) return {};
    SystemTime end = end_of(cached->value());
    if (end == SystemTime{}) return {};
    SystemTime due = end + std::chrono::seconds(json::get_int(cached->value(), {"spec", "ttlSecondsAfterFinished"}));
    if (clock_.now() < due) {
      enqueue_after(key, due - clock_.now());
      return {};
    }
    // The time may have been raised a moment ago: the revision must be the one that was looked at.
    auto r = client_.remove(kJobs, cached->namespace_(), cached->name(),
                            {.uid = std::string(cached->uid()), .resource_version = std::to_string(cached->revision()), .propagation = "Foreground"});
    return r || r.error().is_not_found() ? Result<void>() : r;
  }

  client::Informer& jobs_;
};

}  // namespace

ControllerPtr make_ttl_after_finished_controller(Context context) { return std::make_unique<TtlAfterFinishedController>(context); }

}  // namespace kcube::controllers
