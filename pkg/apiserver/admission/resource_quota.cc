// ResourceQuota: what comes into a namespace is charged to its quotas before it is written, and refused when they are used
// up. Charges are compare-and-swap writes of status.used, so that two creations cannot both take the last place; a write
// that fails afterwards gives back what it took. Source: the Kubernetes docs on resource quotas; messages of kube-apiserver.
#include <set>

#include "pkg/api/quota.h"
#include "pkg/api/errors.h"
#include "pkg/apiserver/admission/control.h"

namespace kcube::apiserver {
namespace {

namespace quota = api::quota;
using quota::Usage;

constexpr int kAttempts = 256;   // against others who charge the same quota

// What the object counts for; empty when no quota can count it.
Usage usage_of(const Resource& r, const json::value& object) {
  if (r.is("", "pods")) return quota::pod_usage(object);
  if (r.is("", "services")) return quota::service_usage(object);
  if (r.is("", "persistentvolumeclaims")) return quota::claim_usage(object);
  return quota::object_usage(r.stored->group, r.stored->resource);
}

bool counts(const Admission& a) {
  const Resource& r = *a.call.resource;
  if (a.verbatim || a.object == nullptr || a.call.ns.empty() || r.stored->resource == "events") return false;
  if (r.is("", "pods") && r.subresource() == "resize") return a.operation == Operation::update;
  if (!r.subresource().empty()) return false;
  if (a.operation == Operation::create) return true;
  return a.operation == Operation::update && (r.is("", "services") || r.is("", "persistentvolumeclaims"));
}

// What the write adds; nothing for what it gives back, which the controller sees.
Usage added(const Admission& a) {
  Usage delta = usage_of(*a.call.resource, *a.object);
  if (a.old != nullptr) {
    Usage before = usage_of(*a.call.resource, *a.old);
    for (auto& [name, amount] : delta)
      if (auto it = before.find(name); it != before.end()) amount -= it->second;
  }
  std::erase_if(delta, [](const auto& m) { return m.second <= api::Quantity(); });
  return delta;
}

bool applies(const json::value& q, const Admission& a) {
  if (a.call.resource->is("", "pods")) return quota::pod_in_scope(q, *a.object);
  if (a.call.resource->is("", "persistentvolumeclaims")) return quota::claim_in_scope(q, *a.object);
  return !quota::has_scopes(q);
}

std::string list(const Usage& amounts) {
  std::string text;
  for (const auto& [name, amount] : amounts) text += (text.empty() ? "" : ",") + name + "=" + amount.to_string();
  return text;
}

struct Charge {
  ObjectPtr quota;
  Usage amounts;
};

// What `delta` means for one quota; nothing when it does not concern it.
Result<Usage> reckon(const Admission& a, const api::Object& q, const Usage& delta) {
  const json::value& value = q.value();
  const json::value* hard = json::at(&value, {"status", "hard"});
  const json::value* used = json::at(&value, {"status", "used"});
  if (hard == nullptr || !applies(value, a)) return Usage{};
  std::string name(q.name());
  if (a.call.resource->is("", "pods"))
    if (std::string missing = quota::missing_of(*hard, *a.object); !missing.empty()) return a.forbid("failed quota: " + name + ": " + missing);
  Usage asked, over, over_used, over_hard;
  std::string unknown;
  for (const auto& [resource, amount] : delta) {
    const json::value* limit = json::find(hard, resource);
    if (limit == nullptr) continue;
    const json::value* now = json::find(used, resource);
    if (now == nullptr) unknown += (unknown.empty() ? "" : ",") + resource;
    asked[resource] = amount;
    api::Quantity bound = api::Quantity::from_json(limit), current = api::Quantity::from_json(now), sum = current;
    sum += amount;
    if (sum <= bound) continue;
    over[resource] = amount;
    over_used[resource] = current;
    over_hard[resource] = bound;
  }
  if (!unknown.empty()) return a.forbid("status unknown for quota: " + name + ", resources: " + unknown);
  if (!over.empty()) return a.forbid("exceeded quota: " + name + ", requested: " + list(over) + ", used: " + list(over_used) + ", limited: " + list(over_hard));
  return asked;
}

// status.used of `q` with the amounts added, or taken off. False when another write came first.
Result<bool> write_used(Core& core, const api::Object& q, const Usage& amounts, bool take_off) {
  json::value copy = q.value();
  json::object& used = json::ensure_path(copy, {"status", "used"});
  for (const auto& [name, amount] : amounts) {
    api::Quantity sum = api::Quantity::from_json(used.if_contains(name));
    if (take_off) sum -= amount;
    else sum += amount;
    if (sum < api::Quantity()) sum = api::Quantity();
    used[name] = sum.to_string();
  }
  const ResourceCache* cache = core.cache.find("", "resourcequotas");
  auto text = std::make_shared<const std::string>(api::encode(copy));
  auto done = core.store.commit({cache->store_key(q.namespace_(), q.name()), q.revision(), false, std::move(text)});
  if (done) return true;
  if (done.error().is_conflict()) return false;
  return fail(done.error());
}

void give_back(Core& core, const std::vector<Charge>& charges) {
  for (const Charge& c : charges) {
    for (int attempt = 0; attempt < kAttempts; ++attempt) {
      ObjectPtr now = core.get("", "resourcequotas", c.quota->namespace_(), c.quota->name());
      if (!now || now->uid() != c.quota->uid()) break;
      // What fails here the next recount puts right.
      auto done = write_used(core, *now, c.amounts, true);
      if (!done || *done) break;
    }
  }
}

Result<void> charge(Admission& a) {
  const ResourceCache* cache = a.core.cache.find("", "resourcequotas");
  if (cache->empty() || !counts(a)) return {};
  Usage delta = added(a);
  if (delta.empty()) return {};
  std::shared_ptr<void> under_way = a.core.admission.quota_charges().begin(a.call.ns);
  std::vector<Charge> paid;
  std::set<std::string> paid_uids;
  auto settled = [&](Result<void> result) {
    if (!result && !paid.empty()) give_back(a.core, paid);
    return result;
  };
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    std::vector<Charge> due;
    for (const ObjectPtr& q : cache->in_namespace(a.call.ns)) {
      if (paid_uids.contains(std::string(q->uid()))) continue;
      auto amounts = reckon(a, *q, delta);
      if (!amounts) return settled(fail(amounts.error()));
      if (!amounts->empty()) due.push_back({q, std::move(*amounts)});
    }
    if (a.call.dry_run) return {};
    bool raced = false;
    for (Charge& c : due) {
      auto done = write_used(a.core, *c.quota, c.amounts, false);
      if (!done) return settled(fail(done.error()));
      if ((raced |= !*done)) break;
      paid_uids.emplace(c.quota->uid());
      paid.push_back(std::move(c));
    }
    if (raced) continue;
    if (!paid.empty()) a.call.take_back = [&core = a.core, paid = std::move(paid), under_way] { give_back(core, paid); };
    return {};
  }
  return settled(fail(Status::internal("Internal error occurred: resource quota evaluation timed out")));
}

// A recount that says less than what is charged has perhaps not seen all that was charged for: it is to count again.
Result<void> check_recount(Admission& a) {
  if (a.old == nullptr || a.object == nullptr || a.core.admission.quota_charges().quiet(a.call.ns)) return {};
  const json::value* used = json::at(a.object, {"status", "used"});
  for (const auto& m : json::get_object(json::at(a.old, {"status", "used"})))
    if (api::Quantity::from_json(json::find(used, json::view(m.key()))) < api::Quantity::from_json(&m.value()))
      return fail(api::modified("", "resourcequotas", a.call.name));
  return {};
}

Result<void> check(Admission& a) {
  bool recount = a.call.resource->is("", "resourcequotas") && a.call.resource->subresource() == "status";
  return recount ? check_recount(a) : charge(a);
}

}  // namespace

const AdmissionPlugin kResourceQuota{"ResourceQuota", nullptr, check};

}  // namespace kcube::apiserver
