#include "pkg/controllers/volumes.h"

#include <algorithm>

#include "pkg/api/quantity.h"
#include "pkg/api/selector.h"
#include "pkg/controllers/node_affinity.h"
#include "pkg/controllers/support.h"

namespace kcube::controllers {
namespace {

api::Quantity requested(const api::Object& claim) { return api::Quantity::from_json(json::at(&claim.value(), {"spec", "resources", "requests", "storage"})); }
api::Quantity capacity(const api::Object& volume) { return api::Quantity::from_json(json::at(&volume.value(), {"spec", "capacity", "storage"})); }

}  // namespace

std::string class_of(const json::value& object, bool* named) {
  std::string beta = string_at(object, {"metadata", "annotations", "volume.beta.kubernetes.io/storage-class"});
  if (named != nullptr) *named = !beta.empty() || has(object, {"spec", "storageClassName"});
  return !beta.empty() ? beta : string_at(object, {"spec", "storageClassName"});
}

bool waits_for_consumer(const json::value& storage_class) { return json::get_string(storage_class, {"volumeBindingMode"}) == "WaitForFirstConsumer"; }

bool has_claim_ref(const json::value& volume) { return has(volume, {"spec", "claimRef"}); }

bool is_bound_to(const json::value& volume, const api::Object& claim) {
  if (string_at(volume, {"spec", "claimRef", "name"}) != claim.name() || string_at(volume, {"spec", "claimRef", "namespace"}) != claim.namespace_()) return false;
  std::string uid = string_at(volume, {"spec", "claimRef", "uid"});
  return uid.empty() || uid == claim.uid();
}

bool fits(const api::Object& volume, const api::Object& claim, const api::Object* node) {
  const json::value &v = volume.value(), &c = claim.value();
  auto mode = [](const json::value& o) { return std::string(json::get_string(json::at(&o, {"spec", "volumeMode"}), "Filesystem")); };
  if (class_of(v) != class_of(c) || mode(v) != mode(c)) return false;
  const json::array& offered = json::get_array(json::at(&v, {"spec", "accessModes"}));
  for (const json::value& wanted : json::get_array(json::at(&c, {"spec", "accessModes"})))
    if (std::ranges::find(offered, wanted) == offered.end()) return false;
  if (has(c, {"spec", "selector"})) {
    auto selector = api::LabelSelector::from_json(json::at(&c, {"spec", "selector"}));
    if (!selector || !selector->matches(volume.labels())) return false;
  }
  const json::value* affinity = json::at(&v, {"spec", "nodeAffinity", "required"});
  return node == nullptr || affinity == nullptr || affinity->is_null() || node_selector_matches(*affinity, *node);
}

api::ObjectPtr find_volume(const std::vector<api::ObjectPtr>& volumes, const api::Object& claim, const api::Object* node) {
  api::ObjectPtr best;
  for (const auto& volume : volumes) {
    if (volume->deleting() || capacity(*volume) < requested(claim)) continue;
    if (has_claim_ref(volume->value())) {
      if (is_bound_to(volume->value(), claim) && class_of(volume->value()) == class_of(claim.value())) return volume;
      continue;
    }
    std::string_view phase = json::get_string(volume->value(), {"status", "phase"});
    if (phase == "Released" || phase == "Failed" || !fits(*volume, claim, node)) continue;
    if (!best || capacity(*volume) < capacity(*best)) best = volume;
  }
  return best;
}

json::object claim_reference(const api::Object& claim) {
  return {{"kind", "PersistentVolumeClaim"}, {"apiVersion", "v1"}, {"namespace", text(claim.namespace_())}, {"name", text(claim.name())},
          {"uid", text(claim.uid())}, {"resourceVersion", text(std::to_string(claim.revision()))}};
}

}  // namespace kcube::controllers
