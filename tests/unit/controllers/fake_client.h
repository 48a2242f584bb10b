// A client::Client over objects in memory, with the parts of an API server that controllers rely on: revisions,
// conflicts, generated names, uids, generations, finalizers, subresources, watches. And World: controllers on it under a
// simulated clock, stepped on the test's thread until nothing moves.
#pragma once

#include <gtest/gtest.h>

#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "pkg/api/errors.h"
#include "pkg/api/selector.h"
#include "pkg/base/clock.h"
#include "pkg/base/executor.h"
#include "pkg/base/strings.h"
#include "pkg/client/client.h"
#include "pkg/client/informer.h"
#include "pkg/controllers/controller.h"
#include "pkg/controllers/support.h"

namespace kcube::controllers {

class FakeClient final : public client::Client {
 public:
  explicit FakeClient(Clock& clock) : clock_(clock) {}

  // Pods being deleted stay until finish_deletion(), as if their node stopped them.
  bool hold_pods = false;
  // Called before each create; an error is returned to the caller.
  std::function<Result<void>(const api::GroupVersionResource&, const json::value&)> on_create;
  int creates = 0, updates = 0, removes = 0;

  Result<api::ObjectPtr> get(const api::GroupVersionResource& resource, std::string_view ns, std::string_view name) override {
    std::lock_guard lock(mutex_);
    return find(resource, api::object_key(ns, name));
  }

  Result<client::ObjectList> list(const api::GroupVersionResource& resource, std::string_view ns, const client::ListOptions& options) override {
    std::lock_guard lock(mutex_);
    client::ObjectList out;
    out.revision = revision_;
    auto labels = api::LabelSelector::parse(options.label_selector);
    auto fields = api::FieldSelector::parse(options.field_selector);
    for (const auto& [key, object] : objects_[resource.group_resource()])
      if ((ns.empty() || object->namespace_() == ns) && labels->matches(object->labels()) && fields->matches(object->value())) out.items.push_back(object);
    return out;
  }

  Result<api::ObjectPtr> create(const api::GroupVersionResource& resource, std::string_view ns, const json::value& object, std::string_view subresource,
                                std::string_view name) override {
    if (on_create)
      if (auto r = on_create(resource, object); !r) return fail(r.error());
    std::lock_guard lock(mutex_);
    ++creates;
    if (subresource == "eviction") {
      erase(resource, api::object_key(ns, name));
      return api::ObjectPtr();
    }
    json::value made(object);
    json::object& metadata = json::ensure_path(made, {"metadata"});
    if (!metadata.contains("name"))
      metadata["name"] = json::key(std::string(json::get_string(metadata.if_contains("generateName"))) + random_suffix());
    if (!ns.empty()) metadata["namespace"] = json::key(ns);
    std::string key = api::object_key(ns, json::get_string(metadata.if_contains("name")));
    if (objects_[resource.group_resource()].contains(key)) return fail(api::already_exists(resource.group, resource.resource, std::string(json::get_string(metadata.if_contains("name")))));
    metadata["uid"] = json::key(new_uuid());
    if (!metadata.contains("creationTimestamp")) metadata["creationTimestamp"] = json::key(format_time(clock_.now()));
    metadata["generation"] = 1;
    return store(resource, key, std::move(made), client::WatchEvent::Type::added);
  }

  Result<api::ObjectPtr> update(const api::GroupVersionResource& resource, std::string_view ns, std::string_view name, const json::value& object,
                                std::string_view subresource) override {
    std::lock_guard lock(mutex_);
    ++updates;
    return write(resource, api::object_key(ns, name), object, subresource);
  }

  Result<api::ObjectPtr> patch(const api::GroupVersionResource& resource, std::string_view ns, std::string_view name, client::PatchType,
                               const json::value& patch, std::string_view subresource) override {
    std::lock_guard lock(mutex_);
    ++updates;
    auto current = find(resource, api::object_key(ns, name));
    if (!current) return current;
    if (std::string uid = string_at(patch, {"metadata", "uid"}); !uid.empty() && uid != (*current)->uid())
      return fail(api::conflict(resource.group, resource.resource, name, "uid differs"));
    json::value next((*current)->value());
    merge(next, patch);
    return write(resource, api::object_key(ns, name), next, subresource);
  }

  Result<void> remove(const api::GroupVersionResource& resource, std::string_view ns, std::string_view name, const client::DeleteOptions& options) override {
    std::lock_guard lock(mutex_);
    ++removes;
    std::string key = api::object_key(ns, name);
    auto current = find(resource, key);
    if (!current) return fail(current.error());
    if (!options.uid.empty() && options.uid != (*current)->uid()) return fail(api::conflict(resource.group, resource.resource, name, "uid differs"));
    if (!options.resource_version.empty() && options.resource_version != std::to_string((*current)->revision()))
      return fail(api::modified(resource.group, resource.resource, name));
    json::value next((*current)->value());
    json::object& metadata = json::ensure_path(next, {"metadata"});
    json::array& finalizers = json::ensure_array(metadata, "finalizers");
    if (options.propagation == "Foreground") finalizers.emplace_back("foregroundDeletion");
    if (options.propagation == "Orphan") finalizers.emplace_back("orphan");
    bool held = resource.resource == "pods" && hold_pods && options.grace_period_seconds != 0;
    bool namespace_waits = resource.resource == "namespaces" && !json::get_array(json::at(&next, {"spec", "finalizers"})).empty();
    if (finalizers.empty() && !held && !namespace_waits) {
      erase(resource, key);
      return {};
    }
    if (finalizers.empty()) metadata.erase("finalizers");
    if (!(*current)->deleting()) metadata["deletionTimestamp"] = json::key(format_time(clock_.now()));
    store(resource, key, std::move(next), client::WatchEvent::Type::modified);
    return {};
  }

  Result<std::unique_ptr<client::Watch>> watch(const api::GroupVersionResource& resource, std::string_view ns, const client::ListOptions& options,
                                               std::function<void(const client::WatchEvent&)> sink) override {
    std::lock_guard lock(mutex_);
    auto fields = api::FieldSelector::parse(options.field_selector);
    Sink entry{resource.group_resource(), std::string(ns), *fields, std::move(sink)};
    uint64_t since = parse_int<uint64_t>(options.resource_version).value_or(0);
    for (const auto& [name, event] : log_)
      if (event.revision > since) entry.deliver(name, event);
    sinks_[++next_sink_] = std::move(entry);
    struct Handle final : client::Watch {
      FakeClient* owner;
      int id;
      ~Handle() override {
        std::lock_guard inner(owner->mutex_);
        owner->sinks_.erase(id);
      }
    };
    auto handle = std::make_unique<Handle>();
    handle->owner = this;
    handle->id = next_sink_;
    return handle;
  }

  // --- For tests ---
  void finish_deletion(const api::GroupVersionResource& resource, std::string_view ns, std::string_view name) {
    std::lock_guard lock(mutex_);
    erase(resource, api::object_key(ns, name));
  }
  void set_status(const api::GroupVersionResource& resource, std::string_view ns, std::string_view name, json::value status) {
    std::lock_guard lock(mutex_);
    auto current = find(resource, api::object_key(ns, name));
    ASSERT_TRUE(current);
    json::value next((*current)->value());
    next.as_object()["status"] = std::move(status);
    store(resource, api::object_key(ns, name), std::move(next), client::WatchEvent::Type::modified);
  }

 private:
  struct Sink {
    std::string resource, ns;
    api::FieldSelector fields;
    std::function<void(const client::WatchEvent&)> sink;
    void deliver(const std::string& name, const client::WatchEvent& event) const {
      if (name == resource && (ns.empty() || event.object->namespace_() == ns) && fields.matches(event.object->value())) sink(event);
    }
  };

  static void merge(json::value& target, const json::value& patch) {
    if (!patch.is_object()) {
      target = patch;
      return;
    }
    if (!target.is_object()) target = json::object();
    for (const auto& m : patch.get_object()) {
      if (m.value().is_null()) target.get_object().erase(m.key());
      else merge(target.get_object()[m.key()], m.value());
    }
  }

  Result<api::ObjectPtr> find(const api::GroupVersionResource& resource, const std::string& key) {
    auto& map = objects_[resource.group_resource()];
    auto it = map.find(key);
    if (it == map.end()) return fail(api::not_found(resource.group, resource.resource, api::split_key(key).second));
    return it->second;
  }

  Result<api::ObjectPtr> write(const api::GroupVersionResource& resource, const std::string& key, const json::value& object, std::string_view subresource) {
    auto current = find(resource, key);
    if (!current) return current;
    std::string version = string_at(object, {"metadata", "resourceVersion"});
    if (!version.empty() && version != std::to_string((*current)->revision()))
      return fail(api::modified(resource.group, resource.resource, api::split_key(key).second));
    json::value next((*current)->value());
    const json::object& from = object.get_object();
    if (subresource.empty()) {
      bool changed = !equivalent(json::find(&next, "spec"), json::find(&object, "spec"));
      json::value status = json::find(&next, "status") ? *json::find(&next, "status") : json::value();
      int64_t generation = json::get_int(next, {"metadata", "generation"});
      next = object;
      if (!status.is_null()) next.get_object()["status"] = status;
      json::ensure_path(next, {"metadata"})["generation"] = generation + (changed ? 1 : 0);
    } else if (subresource == "finalize") {
      next.get_object()["spec"] = from.at("spec");
    } else {
      if (from.contains("status")) next.get_object()["status"] = from.at("status");
      // As the real strategies have it, annotations go along.
      if (const json::value* annotations = json::at(&object, {"metadata", "annotations"})) json::ensure_path(next, {"metadata"})["annotations"] = *annotations;
      if (resource.resource == "certificatesigningrequests" && subresource == "approval") next.get_object()["status"] = from.at("status");
    }
    if (equivalent(&next, &(*current)->value())) return *current;
    bool finalizers = !json::get_array(json::at(&next, {"metadata", "finalizers"})).empty() ||
                      (resource.resource == "namespaces" && !json::get_array(json::at(&next, {"spec", "finalizers"})).empty()) ||
                      (resource.resource == "pods" && hold_pods);
    if ((*current)->deleting() && !finalizers) {
      erase(resource, key);
      return *current;
    }
    return store(resource, key, std::move(next), client::WatchEvent::Type::modified);
  }

  api::ObjectPtr store(const api::GroupVersionResource& resource, const std::string& key, json::value value, client::WatchEvent::Type type) {
    json::ensure_path(value, {"metadata"})["resourceVersion"] = json::key(std::to_string(++revision_));
    api::ObjectPtr object = *api::Object::from_value(std::move(value));
    objects_[resource.group_resource()][key] = object;
    tell(resource, {type, object, revision_});
    return object;
  }

  void erase(const api::GroupVersionResource& resource, const std::string& key) {
    auto current = find(resource, key);
    if (!current) return;
    objects_[resource.group_resource()].erase(key);
    json::value last((*current)->value());
    json::ensure_path(last, {"metadata"})["resourceVersion"] = json::key(std::to_string(++revision_));
    tell(resource, {client::WatchEvent::Type::deleted, *api::Object::from_value(std::move(last)), revision_});
  }

  void tell(const api::GroupVersionResource& resource, client::WatchEvent event) {
    log_.emplace_back(resource.group_resource(), event);
    for (const auto& [id, sink] : sinks_) sink.deliver(log_.back().first, event);
  }

  Clock& clock_;
  std::mutex mutex_;
  uint64_t revision_ = 1;
  std::map<std::string, std::map<std::string, api::ObjectPtr>> objects_;
  std::vector<std::pair<std::string, client::WatchEvent>> log_;
  std::map<int, Sink> sinks_;
  int next_sink_ = 0;
};

class World {
 public:
  World() {
    informers.informer(kBarrier).add_handlers({.changed = [this](const api::ObjectPtr&, const api::ObjectPtr& now) {
      std::lock_guard lock(mutex_);
      seen_ = now->revision();
      moved_.notify_all();
    }});
  }
  ~World() {
    informers.stop();
    for (auto& c : controllers) c->stop();
    executor.stop();
  }

  Context context() { return {client, informers, clock, executor}; }
  template <typename... Args>
  void run(Args&&... made) {
    (controllers.push_back(std::forward<Args>(made)), ...);
    informers.start();
    informers.wait_synced();
    for (auto& c : controllers) c->start_stepping();
    settle();
  }
  // Until every event has been delivered and no controller has anything to do.
  void settle() {
    for (int round = 0; round < 1000; ++round) {
      deliver();
      bool any = false;
      for (auto& c : controllers)
        while (c->step()) any = true;
      if (!any) return;
    }
    FAIL() << "the controllers never come to rest";
  }
  void advance(Duration by) {
    clock.advance(by);
    settle();
  }

  api::ObjectPtr make(const api::GroupVersionResource& resource, std::string_view text) {
    auto value = json::parse(text);
    EXPECT_TRUE(value) << text;
    auto made = client.create(resource, string_at(*value, {"metadata", "namespace"}), *value, {}, {});
    EXPECT_TRUE(made) << made.error().message();
    return *made;
  }
  void patch(const api::GroupVersionResource& resource, std::string_view ns, std::string_view name, std::string_view text) {
    auto r = client.patch(resource, ns, name, client::PatchType::merge, *json::parse(text), {});
    EXPECT_TRUE(r) << r.error().message();
  }
  void status(const api::GroupVersionResource& resource, std::string_view ns, std::string_view name, std::string_view text) {
    client.set_status(resource, ns, name, *json::parse(text));
  }
  api::ObjectPtr get(const api::GroupVersionResource& resource, std::string_view ns, std::string_view name) {
    auto r = client.get(resource, ns, name);
    return r ? *r : nullptr;
  }
  std::vector<api::ObjectPtr> list(const api::GroupVersionResource& resource, std::string_view ns = {}) { return client.list(resource, ns, {})->items; }

  // Every pod without a status gets an address, a node and Ready.
  void run_pods(std::string_view node = "node1", bool ready = true) {
    for (const auto& pod : list(client::resources::kPods)) {
      if (json::get_string(pod->value(), {"status", "phase"}) == "Running" || pod->deleting()) continue;
      if (json::get_string(pod->value(), {"spec", "nodeName"}).empty())
        patch(client::resources::kPods, pod->namespace_(), pod->name(), "{\"spec\":{\"nodeName\":\"" + std::string(node) + "\"}}");
      std::string ip = "10.42.0." + std::to_string(++last_ip_);
      json::object status{{"phase", "Running"}, {"podIP", json::key(ip)}, {"podIPs", json::array{json::object{{"ip", json::key(ip)}}}},
                          {"conditions", json::array{json::object{{"type", "Ready"}, {"status", ready ? "True" : "False"},
                                                                  {"lastTransitionTime", json::key(format_time(clock.now()))}}}}};
      client.set_status(client::resources::kPods, pod->namespace_(), pod->name(), status);
    }
    settle();
  }

  SimulatedClock clock;
  FakeClient client{clock};
  Executor executor{{.name = "test", .max_threads = 2}};
  client::InformerFactory informers{client, clock};
  std::vector<std::unique_ptr<Controller>> controllers;

 private:
  static inline const api::GroupVersionResource kBarrier{"test", "v1", "barriers"};

  // One thread delivers every informer's events in order: when the barrier's came, all before it have come too.
  void deliver() {
    json::object barrier{{"metadata", json::object{{"name", json::key("b" + std::to_string(++barriers_))}}}};
    uint64_t revision = (*client.create(kBarrier, "", barrier, {}, {}))->revision();
    std::unique_lock lock(mutex_);
    ASSERT_TRUE(moved_.wait_for(lock, std::chrono::seconds(60), [&] { return seen_ >= revision; }));
  }

  std::mutex mutex_;
  std::condition_variable moved_;
  uint64_t seen_ = 0;
  int barriers_ = 0, last_ip_ = 0;
};

}  // namespace kcube::controllers
