// ClusterRoles with an aggregationRule: their rules are those of all roles that the rule selects.
#include <algorithm>

#include "pkg/controllers/factories.h"
#include "pkg/controllers/support.h"

namespace kcube::controllers {
namespace {

const client::GroupVersionResource kClusterRoles{"rbac.authorization.k8s.io", "v1", "clusterroles"};

class ClusterRoleAggregationController final : public Controller {
 public:
  explicit ClusterRoleAggregationController(Context context)
      : Controller(context, "clusterrole-aggregation", 1), roles_(context.informers.informer(kClusterRoles)) {
    auto again = [this](const api::ObjectPtr&) {
      for (const auto& role : roles_.list())
        if (has(role->value(), {"aggregationRule"})) enqueue(role->key());
    };
    roles_.add_handlers({.changed = [again](const api::ObjectPtr&, const api::ObjectPtr& now) { again(now); }, .removed = again});
  }

 private:
  Result<void> reconcile(const std::string& key) override {
    api::ObjectPtr role = roles_.get(key);
    if (!role || !has(role->value(), {"aggregationRule"})) return {};
    json::array rules;
    auto all = roles_.list();  // by name, so that the result is the same each time
    for (const json::value& s : json::get_array(json::at(&role->value(), {"aggregationRule", "clusterRoleSelectors"}))) {
      auto selector = api::LabelSelector::from_json(&s);
      if (!selector) return fail(selector.error());
      for (const auto& other : all) {
        if (other->uid() == role->uid() || !selector->matches(other->labels())) continue;
        for (const json::value& rule : json::get_array(json::find(&other->value(), "rules")))
          if (std::ranges::none_of(rules, [&](const json::value& r) { return equivalent(&r, &rule); })) rules.push_back(rule);
      }
    }
    json::value wanted(std::move(rules));
    if (equivalent(json::find(&role->value(), "rules"), &wanted)) return {};
    json::value next(role->value());
    next.as_object()["rules"] = std::move(wanted);
    auto written = client_.update(kClusterRoles, "", key, next);
    if (!written && !written.error().is_not_found()) return fail(written.error());
    return {};
  }

  client::Informer& roles_;
};

}  // namespace

ControllerPtr make_cluster_role_aggregation_controller(Context context) { return std::make_unique<ClusterRoleAggregationController>(context); }

}  // namespace kcube::controllers
