#include "pkg/apiserver/extension/definitions.h"

#include "pkg/api/errors.h"
#include "pkg/apiserver/extension/names.h"
#include "pkg/base/executor.h"
#include "pkg/base/log.h"

namespace kcube::apiserver::extension {
namespace {

constexpr std::string_view kGroup = "apiextensions.k8s.io", kPlural = "customresourcedefinitions";
constexpr std::string_view kFinalizer = "customresourcecleanup.apiextensions.k8s.io";
constexpr std::string_view kApproval = "api-approved.kubernetes.io";

bool has_finalizer(const json::value& definition) {
  for (const json::value& f : json::get_array(json::at(&definition, {"metadata", "finalizers"})))
    if (json::get_string(&f) == kFinalizer) return true;
  return false;
}

bool is_protected(std::string_view group) {
  return group == "k8s.io" || group.ends_with(".k8s.io") || group == "kubernetes.io" || group.ends_with(".kubernetes.io");
}

// Groups of the Kubernetes project need its leave. Source: KEP-1111 (API approval).
void settle_approval(json::object& definition, SystemTime now) {
  json::value view(definition);
  if (!is_protected(json::get_string(view, {"spec", "group"}))) return;
  std::string_view approval = json::get_string(json::find(json::at(&view, {"metadata", "annotations"}), kApproval));
  if (approval.starts_with("unapproved"))
    set_condition(definition, "KubernetesAPIApprovalPolicyConformant", false, "UnapprovedAnnotation", "not approved: \"" + std::string(approval) + "\"", now);
  else if (approval.empty())
    set_condition(definition, "KubernetesAPIApprovalPolicyConformant", false, "MissingAnnotation",
                  "protected groups must have approval annotation \"api-approved.kubernetes.io\", see https://github.com/kubernetes/enhancements/pull/1111", now);
  else
    set_condition(definition, "KubernetesAPIApprovalPolicyConformant", true, "ApprovedAnnotation", "approved in " + std::string(approval), now);
}

bool is_terminating(const json::value& definition) { return json::at(&definition, {"metadata", "deletionTimestamp"}) != nullptr; }

}  // namespace

Definitions::Definitions(Engine& engine, Cache& cache, WebhookClient& webhooks, Hooks hooks)
    : engine_(engine), cache_(cache), webhooks_(webhooks), hooks_(std::move(hooks)) {}

Definitions::~Definitions() { stop(); }

void Definitions::start() {
  definitions_ = cache_.find(kGroup, kPlural);
  for (SnapshotPtr all = definitions_->snapshot(); const ObjectPtr& object : all->objects) {
    if (condition_is(object->value(), "Established", true)) serve(std::string(object->name()), object->value());
    enqueue(std::string(object->name()));
  }
  if (!served_.empty()) publish();
  thread_ = std::thread([this] { run(); });
}

void Definitions::stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  arrived_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void Definitions::observe(const Event& event) {
  if (event.cache == definitions_) return enqueue(std::string(event.object->name()));
  if (event.type != Event::Type::deleted || terminations_.load(std::memory_order_relaxed) == 0) return;
  std::string name;
  {
    std::lock_guard lock(mutex_);
    auto it = terminating_.find(event.cache);
    if (it == terminating_.end()) return;
    name = it->second;
  }
  enqueue(std::move(name));
}

void Definitions::enqueue(std::string name) {
  {
    std::lock_guard lock(mutex_);
    if (!queued_.insert(name).second) return;
    queue_.push_back(std::move(name));
  }
  arrived_.notify_one();
}

void Definitions::run() {
  set_thread_name("definitions");
  std::unique_lock lock(mutex_);
  for (;;) {
    arrived_.wait(lock, [&] { return stopping_ || !queue_.empty(); });
    if (stopping_) return;
    std::string name = std::move(queue_.front());
    queue_.pop_front();
    queued_.erase(name);
    lock.unlock();
    reconcile(name);
    lock.lock();
  }
}

void Definitions::reconcile(const std::string& name) {
  ObjectPtr object = definitions_->get("", name);
  if (!object) return withdraw(name);
  std::string_view group = json::get_string(object->value(), {"spec", "group"});
  std::vector<ObjectPtr> others;
  for (SnapshotPtr all = definitions_->snapshot(); const ObjectPtr& other : all->objects)
    if (other->name() != name && json::get_string(other->value(), {"spec", "group"}) == group) others.push_back(other);
  auto settle = [&](json::object& definition) {
    SystemTime now = engine_.core().clock.now();
    settle_names(definition, others, now);
    settle_approval(definition, now);
  };
  json::value settled = object->value();
  settle(settled.get_object());
  if (condition_is(settled, "Established", true)) serve(name, settled);
  bool names_changed = json::at(&settled, {"status", "acceptedNames"}) == nullptr || *json::at(&settled, {"status"}) != *json::at(&object->value(), {"status"});
  if (names_changed && !write_status(name, settle)) return;
  if (is_terminating(object->value()) && has_finalizer(object->value())) terminate(*object);
}

void Definitions::serve(const std::string& name, const json::value& definition) {
  auto known = served_.find(name);
  if (known != served_.end() && known->second->is_of(definition)) return;
  ResourceCache* cache = nullptr;
  bool again = known != served_.end() && known->second->uid() == json::get_string(definition, {"metadata", "uid"});
  if (again) {
    cache = known->second->cache();
  } else {
    auto opened = cache_.open(json::get_string(definition, {"spec", "group"}), json::get_string(definition, {"spec", "names", "plural"}));
    if (!opened) {
      log::error("apiserver", "cannot serve custom resources", {{"definition", name}, {"error", opened.error().message()}});
      return;
    }
    cache = *opened;
  }
  const bool as_before = again && known->second->serves(definition);
  served_[name] = CustomResource::create(definition, cache, cache_.revision(), webhooks_);
  if (!thread_.joinable()) return;   // at the start all are published at once
  publish();
  // Watches of what is going see it go.
  if (!as_before) hooks_.end_watches(*cache);
}

void Definitions::withdraw(const std::string& name) {
  auto known = served_.find(name);
  if (known == served_.end()) return;
  std::shared_ptr<const CustomResource> gone = known->second;
  served_.erase(known);
  publish();
  hooks_.end_watches(*gone->cache());
  cache_.close(*gone->cache());
  {
    std::lock_guard lock(mutex_);
    terminations_ -= terminating_.erase(gone->cache());
  }
  // Its names are free for others.
  for (SnapshotPtr all = definitions_->snapshot(); const ObjectPtr& other : all->objects)
    if (json::get_string(other->value(), {"spec", "group"}) == gone->group()) enqueue(std::string(other->name()));
}

void Definitions::publish() {
  CustomResources all;
  for (const auto& [name, resource] : served_) all.push_back(resource);
  hooks_.serve(all);
}

void Definitions::terminate(const api::Object& definition) {
  std::string name(definition.name());
  auto known = served_.find(name);
  if (known != served_.end()) {
    ResourceCache* cache = known->second->cache();
    {
      std::lock_guard lock(mutex_);
      if (terminating_.emplace(cache, name).second) ++terminations_;
    }
    auto progress = [&](json::object& object) {
      set_condition(object, "Terminating", true, "InstanceDeletionInProgress", "CustomResource deletion is in progress", engine_.core().clock.now());
    };
    if (cache->size() > 0 && !write_status(name, progress)) return;
    Call all = call("", "");
    all.resource = ResourcePtr(known->second, &known->second->storage().main);
    (void)engine_.remove_collection(all, {}, {});
    // Those with finalizers go later: each removal comes back here.
    if (cache->size() > 0) return;
  }
  auto done = [&](json::object& object) {
    set_condition(object, "Terminating", false, "InstanceDeletionCompleted", "removed all instances", engine_.core().clock.now());
  };
  if (!write_status(name, done)) return;
  Call finish = call("", name);
  auto written = engine_.modify(finish, [](json::value& object) -> Result<void> {
    json::array kept;
    for (const json::value& f : json::get_array(json::at(&object, {"metadata", "finalizers"})))
      if (json::get_string(&f) != kFinalizer) kept.push_back(f);
    json::ensure_path(object, {"metadata"})["finalizers"] = std::move(kept);
    return {};
  });
  if (!written && !written.error().is_not_found()) log::error("apiserver", "cannot remove the finalizer of a definition", {{"definition", name}, {"error", written.error().message()}});
}

Call Definitions::call(std::string_view subresource, const std::string& name) const {
  Call c;
  c.user = {"system:apiserver", "", {"system:masters"}, {}};
  c.resource = engine_.core().registry.find(kGroup, "v1", kPlural, subresource);
  c.name = name;
  c.trusted = true;
  c.field_manager = "kube-apiserver";
  return c;
}

bool Definitions::write_status(const std::string& name, const std::function<void(json::object&)>& change) {
  Call c = call("status", name);
  auto written = engine_.modify(c, [&](json::value& object) -> Result<void> {
    change(object.get_object());
    return {};
  });
  if (written || written.error().is_not_found()) return written.has_value();
  log::error("apiserver", "cannot write the status of a definition", {{"definition", name}, {"error", written.error().message()}});
  return false;
}

}  // namespace kcube::apiserver::extension
