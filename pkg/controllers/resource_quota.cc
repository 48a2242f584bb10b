// status.used of ResourceQuotas. Admission counts what comes in at once; this counts everything anew whenever something
// comes or goes, so that what is deleted is given back.
#include <algorithm>
#include <mutex>
#include <set>

#include "pkg/api/quota.h"
#include "pkg/controllers/factories.h"
#include "pkg/controllers/pods.h"
#include "pkg/controllers/resource_list.h"
#include "pkg/controllers/support.h"

namespace kcube::controllers {
namespace {

using namespace client::resources;
namespace quota = api::quota;
using quota::Usage;

constexpr auto kFullCount = std::chrono::minutes(5);

class ResourceQuotaController final : public Controller {
 public:
  explicit ResourceQuotaController(Context context)
      : Controller(context, "resourcequota"), quotas_(context.informers.informer(kResourceQuotas)), definitions_(context.informers.informer(kCustomResourceDefinitions)) {
    // Not what admission charges: a recount in the moment between that and the write would take the charge back.
    quotas_.add_handlers({.changed = [this](const api::ObjectPtr& before, const api::ObjectPtr& now) {
      if (!before || !equivalent(json::find(&before->value(), "spec"), json::find(&now->value(), "spec"))) enqueue(now->key());
    }, .removed = {}});
    for (const KnownResource& known : builtin_resources()) {
      if (!known.namespaced || known.resource == kEvents || known.resource == kResourceQuotas || known.resource == kLeases) continue;
      follow(known.resource);
    }
    definitions_.add_handlers({.changed = [this](const api::ObjectPtr&, const api::ObjectPtr& now) {
      for (const KnownResource& known : custom_resource(*now)) {
        if (!known.namespaced) continue;
        {
          std::lock_guard lock(mutex_);
          if (!custom_.insert(known.resource).second) continue;
        }
        follow(known.resource);
        enqueue_namespace({});
      }
    }, .removed = [this](const api::ObjectPtr&) { enqueue_namespace({}); }});
  }

 private:
  void follow(const api::GroupVersionResource& resource) {
    bool is_pod = resource == kPods, spec_counts = resource == kServices || resource == kPersistentVolumeClaims || is_pod;
    informers_.informer(resource).add_handlers({.changed =
                                                    [this, is_pod, spec_counts](const api::ObjectPtr& before, const api::ObjectPtr& now) {
                                                      bool matters = !before || (is_pod && pod_finished(*before) != pod_finished(*now)) ||
                                                                     (spec_counts && !equivalent(json::find(&before->value(), "spec"), json::find(&now->value(), "spec")));
                                                      if (matters) enqueue_namespace(now->namespace_());
                                                    },
                                                .removed = [this](const api::ObjectPtr& last) { enqueue_namespace(last->namespace_()); }});
  }

  // All namespaces when empty.
  void enqueue_namespace(std::string_view ns) {
    for (const auto& q : quotas_.list(ns)) enqueue(q->key());
  }

  Result<void> reconcile(const std::string& key) override {
    api::ObjectPtr object = quotas_.get(key);
    if (!object || object->deleting()) return {};
    enqueue_after(key, kFullCount);
    const json::object& hard = json::get_object(json::at(&object->value(), {"spec", "hard"}));
    Usage used = count(*object, hard);
    json::object used_json;
    for (const auto& m : hard) used_json[m.key()] = text(used[std::string(m.key())].to_string());
    json::object status{{"hard", hard}, {"used", std::move(used_json)}};
    return update_status(client_, kResourceQuotas, *object, json::value(std::move(status)));
  }

  Usage count(const api::Object& quota, const json::object& hard) {
    Usage used;
    std::string_view ns = quota.namespace_();
    for (const auto& pod : informers_.informer(kPods).list(ns))
      if (quota::pod_in_scope(quota.value(), pod->value())) quota::add(used, quota::pod_usage(pod->value()));
    for (const auto& claim : informers_.informer(kPersistentVolumeClaims).list(ns))
      if (quota::claim_in_scope(quota.value(), claim->value())) quota::add(used, quota::claim_usage(claim->value()));
    if (quota::has_scopes(quota.value())) return used;
    for (const auto& service : informers_.informer(kServices).list(ns)) quota::add(used, quota::service_usage(service->value()));
    for (const auto& m : hard) {
      std::string name(m.key());
      if (used.contains(name)) continue;
      std::string resource = name.starts_with("count/") ? name.substr(6) : name;
      if (auto n = count_objects(resource, ns)) used[name] = api::Quantity::from_int(*n);
    }
    return used;
  }

  // "secrets" or "deployments.apps".
  std::optional<int64_t> count_objects(const std::string& resource, std::string_view ns) {
    if (resource == "pods" || resource == "services" || resource == "persistentvolumeclaims") return std::nullopt;
    for (const KnownResource& known : builtin_resources())
      if (known.namespaced && known.resource.group_resource() == resource && known.resource != kEvents && known.resource != kLeases)
        return static_cast<int64_t>(informers_.informer(known.resource).list(ns).size());
    for (const auto& definition : definitions_.list())
      for (const KnownResource& known : custom_resource(*definition))
        if (known.resource.group_resource() == resource)
          if (auto list = client_.list(known.resource, ns)) return static_cast<int64_t>(list->items.size());
    return std::nullopt;
  }

  client::Informer& quotas_;
  client::Informer& definitions_;
  std::mutex mutex_;
  std::set<api::GroupVersionResource> custom_;   // that are followed; of mutex_
};

}  // namespace

ControllerPtr make_resource_quota_controller(Context context) { return std::make_unique<ResourceQuotaController>(context); }

}  // namespace kcube::controllers
