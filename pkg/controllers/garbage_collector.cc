// The garbage collector: deletes what has lost its owners, and carries out foreground deletion and orphaning.
#include <algorithm>
#include <list>
#include <mutex>
#include <set>
#include <unordered_set>

#include "pkg/base/log.h"
#include "pkg/controllers/factories.h"
#include "pkg/controllers/owner_graph.h"
#include "pkg/controllers/support.h"

namespace kcube::controllers {
namespace {

constexpr std::string_view kForeground = "foregroundDeletion", kOrphan = "orphan";
constexpr size_t kAbsentRemembered = 500;

json::array without(const json::value& object, std::string_view finalizer) {
  json::array rest;
  for (const json::value& f : json::get_array(json::at(&object, {"metadata", "finalizers"})))
    if (json::get_string(&f) != finalizer) rest.push_back(f);
  return rest;
}

bool has_finalizer(const json::value& object, std::string_view finalizer) {
  const json::array& all = json::get_array(json::at(&object, {"metadata", "finalizers"}));
  return std::ranges::any_of(all, [&](const json::value& f) { return json::get_string(&f) == finalizer; });
}

Result<void> ignore_gone(const Result<api::ObjectPtr>& r) { return r || r.error().is_not_found() ? Result<void>() : fail(r.error()); }

// Keys are uids.
class GarbageCollector final : public Controller {
 public:
  explicit GarbageCollector(Context context)
      : Controller(context, "garbage-collector", 8), recorder_(context.client, context.clock, "garbage-collector-controller") {
    for (const KnownResource& known : builtin_resources()) {
      graph_.add_kind(known);
      if (known.resource != client::resources::kEvents) watch(known);
    }
    context.informers.informer(kCustomResourceDefinitions).add_handlers({.changed = [this](const api::ObjectPtr&, const api::ObjectPtr& now) {
      for (const KnownResource& known : custom_resource(*now)) {
        {
          std::lock_guard lock(mutex_);
          graph_.add_kind(known);
          if (!custom_.insert(known.resource).second) continue;
        }
        watch(known);
      }
    }});
  }

 private:
  void watch(const KnownResource& known) {
    informers_.informer(known.resource).add_handlers({.changed =
                                                          [this, known](const api::ObjectPtr&, const api::ObjectPtr& now) {
                                                            std::unique_lock lock(mutex_);
                                                            auto look = graph_.observe(known, *now);
                                                            for (const auto& o : owners_of(*now))
                                                              if (absent_.contains(o)) look.emplace_back(now->uid());
                                                            lock.unlock();
                                                            enqueue_all(look);
                                                          },
                                                      .removed =
                                                          [this](const api::ObjectPtr& last) {
                                                            std::unique_lock lock(mutex_);
                                                            remember_absent(std::string(last->uid()));
                                                            auto look = graph_.remove(std::string(last->uid()));
                                                            lock.unlock();
                                                            enqueue_all(look);
                                                          }});
  }

  std::vector<std::string> owners_of(const api::Object& object) const {
    std::vector<std::string> out;
    if (const OwnerNode* node = graph_.find(std::string(object.uid())))
      for (const auto& o : node->owners) out.push_back(o.uid);
    return out;
  }

  void enqueue_all(const std::vector<std::string>& uids) {
    for (const auto& uid : uids) enqueue(uid);
  }

  Result<void> reconcile(const std::string& uid) override {
    OwnerNode node;
    {
      std::lock_guard lock(mutex_);
      const OwnerNode* found = graph_.find(uid);
      if (found == nullptr) return {};
      node = *found;
    }
    if (node.is_virtual) return look_for(node);
    if (node.orphaning) return orphan(node);
    if (node.deleting && !node.foreground) return {};
    auto live = client_.get(node.resource, node.namespace_, node.name);
    if (!live) return live.error().is_not_found() ? Result<void>() : fail(live.error());
    // Another object of the same name; the end of ours is under way to us.
    if ((*live)->uid() != uid) return {};
    if ((*live)->deleting() && has_finalizer((*live)->value(), kForeground)) return finish_foreground(node, **live);
    if ((*live)->deleting()) return {};
    return collect(node, **live);
  }

  // A child named this owner and we have never seen it.
  Result<void> look_for(const OwnerNode& node) {
    // Of a kind that we do not know: nobody can say that it is gone.
    if (node.resource.resource.empty()) return {};
    auto live = client_.get(node.resource, node.namespace_, node.name);
    if (!live && !live.error().is_not_found()) return fail(live.error());
    if (live && (*live)->uid() == node.uid) return {};
    std::unique_lock lock(mutex_);
    remember_absent(node.uid);
    auto look = graph_.remove(node.uid);
    lock.unlock();
    enqueue_all(look);
    return {};
  }

  enum class Owner { solid, dangling, waiting };

  Result<Owner> classify(const OwnerNode& child, const api::OwnerReference& reference) {
    KnownResource known;
    {
      std::lock_guard lock(mutex_);
      if (absent_.contains(reference.uid)) return Owner::dangling;
      const KnownResource* found = graph_.kind(reference.api_version, reference.kind);
      if (found == nullptr) return Owner::solid;
      known = *found;
    }
    if (known.namespaced && !child.namespaced) {
      log::warn("garbage-collector", "a cluster-scoped object names a namespaced owner", {{"object", child.name}, {"owner", reference.name}});
      return Owner::solid;
    }
    auto live = client_.get(known.resource, known.namespaced ? child.namespace_ : "", reference.name);
    if (!live && !live.error().is_not_found()) return fail(live.error());
    if (!live || (*live)->uid() != reference.uid) {
      std::lock_guard lock(mutex_);
      remember_absent(reference.uid);
      return Owner::dangling;
    }
    return (*live)->deleting() && has_finalizer((*live)->value(), kForeground) ? Owner::waiting : Owner::solid;
  }

  Result<void> collect(const OwnerNode& node, const api::Object& live) {
    std::vector<api::OwnerReference> owners = api::owner_references(live.value());
    if (owners.empty()) return {};
    std::set<std::string> solid, gone;
    bool waiting = false;
    for (const auto& reference : owners) {
      auto state = classify(node, reference);
      if (!state) return fail(state.error());
      (*state == Owner::solid ? solid : gone).insert(reference.uid);
      waiting |= *state == Owner::waiting;
    }
    if (!solid.empty()) return gone.empty() ? Result<void>() : drop_owners(node, live, gone);
    if (waiting && has_dependents(node)) {
      // A circle of foreground deletions would wait for itself.
      if (in_circle(node)) {
        if (auto r = unblock(node, live); !r) return r;
      }
      return remove(node, live, "Foreground", in_circle(node));
    }
    std::string policy = has_finalizer(live.value(), kOrphan) ? "Orphan" : has_finalizer(live.value(), kForeground) ? "Foreground" : "Background";
    return remove(node, live, policy, false);
  }

  Result<void> remove(const OwnerNode& node, const api::Object& live, const std::string& policy, bool changed) {
    client::DeleteOptions options{.uid = node.uid, .propagation = policy};
    // Somebody may adopt it at this very moment.
    if (!changed) options.resource_version = std::to_string(live.revision());
    auto r = client_.remove(node.resource, node.namespace_, node.name, options);
    return r || r.error().is_not_found() ? Result<void>() : r;
  }

  bool has_dependents(const OwnerNode& node) {
    std::lock_guard lock(mutex_);
    const OwnerNode* found = graph_.find(node.uid);
    return found != nullptr && !found->dependents.empty();
  }

  bool in_circle(const OwnerNode& node) {
    std::lock_guard lock(mutex_);
    const OwnerNode* found = graph_.find(node.uid);
    return found != nullptr && std::ranges::any_of(found->dependents, [&](const auto& d) {
      const OwnerNode* child = graph_.find(d);
      return child != nullptr && child->foreground;
    });
  }

  Result<void> patch(const OwnerNode& node, const api::Object& live, json::object metadata) {
    metadata["uid"] = text(node.uid);
    metadata["resourceVersion"] = text(std::to_string(live.revision()));
    return ignore_gone(client_.patch(node.resource, node.namespace_, node.name, client::PatchType::merge, json::object{{"metadata", std::move(metadata)}}));
  }

  Result<void> drop_owners(const OwnerNode& node, const api::Object& live, const std::set<std::string>& gone) {
    json::array rest;
    for (const json::value& r : json::get_array(json::at(&live.value(), {"metadata", "ownerReferences"})))
      if (!gone.contains(string_at(r, {"uid"}))) rest.push_back(r);
    return patch(node, live, {{"ownerReferences", std::move(rest)}});
  }

  Result<void> unblock(const OwnerNode& node, const api::Object& live) {
    json::array owners = json::get_array(json::at(&live.value(), {"metadata", "ownerReferences"}));
    for (json::value& r : owners) r.as_object()["blockOwnerDeletion"] = false;
    return patch(node, live, {{"ownerReferences", std::move(owners)}});
  }

  // Asks the dependents to go; when none holds us up any more, lets the owner go.
  Result<void> finish_foreground(const OwnerNode& node, const api::Object& live) {
    std::vector<std::string> blocking;
    {
      std::lock_guard lock(mutex_);
      blocking = graph_.blocking(node.uid);
    }
    if (blocking.empty()) return patch(node, live, {{"finalizers", without(live.value(), kForeground)}});
    for (const auto& uid : blocking) {
      std::unique_lock lock(mutex_);
      const OwnerNode* child = graph_.find(uid);
      bool ask = child != nullptr && !child->deleting;
      lock.unlock();
      if (ask) enqueue(uid);
    }
    return {};
  }

  Result<void> orphan(const OwnerNode& node) {
    for (const auto& uid : node.dependents) {
      OwnerNode child;
      {
        std::lock_guard lock(mutex_);
        const OwnerNode* found = graph_.find(uid);
        if (found == nullptr) continue;
        child = *found;
      }
      auto live = client_.get(child.resource, child.namespace_, child.name);
      if (!live && live.error().is_not_found()) continue;
      if (!live) return fail(live.error());
      if ((*live)->uid() != uid) continue;
      if (auto r = drop_owners(child, **live, {node.uid}); !r) return r;
    }
    auto live = client_.get(node.resource, node.namespace_, node.name);
    if (!live || (*live)->uid() != node.uid) return ignore_gone(live);
    return patch(node, **live, {{"finalizers", without((*live)->value(), kOrphan)}});
  }

  // Caller holds mutex_.
  void remember_absent(const std::string& uid) {
    if (!absent_.insert(uid).second) return;
    absent_order_.push_back(uid);
    if (absent_order_.size() <= kAbsentRemembered) return;
    absent_.erase(absent_order_.front());
    absent_order_.pop_front();
  }

  client::EventRecorder recorder_;
  std::mutex mutex_;
  OwnerGraph graph_;
  std::set<client::GroupVersionResource> custom_;
  std::unordered_set<std::string> absent_;
  std::list<std::string> absent_order_;
};

}  // namespace

ControllerPtr make_garbage_collector(Context context) { return std::make_unique<GarbageCollector>(context); }

}  // namespace kcube::controllers
