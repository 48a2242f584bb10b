#include "tests/unit/proxy/fake_cluster.h"

namespace kcube::test {
namespace {

const std::map<std::string, std::string, std::less<>> kResources{{"Service", "services"},
                                                                 {"EndpointSlice", "endpointslices"},
                                                                 {"Node", "nodes"},
                                                                 {"Pod", "pods"},
                                                                 {"Namespace", "namespaces"}};

Status read_only() { return Status::bad_request("the fake cluster is read only"); }

}  // namespace

struct FakeCluster::Watcher {
  std::string resource;
  std::function<void(const client::WatchEvent&)> sink;
};

// Ends its watcher. Events are told under the cluster's lock, so none comes after.
struct FakeCluster::Registration final : client::Watch {
  FakeCluster& cluster;
  std::shared_ptr<Watcher> watcher;
  Registration(FakeCluster& c, std::shared_ptr<Watcher> w) : cluster(c), watcher(std::move(w)) {}
  ~Registration() override {
    std::lock_guard lock(cluster.mutex_);
    cluster.watchers_.remove(watcher);
  }
};

void FakeCluster::tell(const std::string& resource, client::WatchEvent event) {
  log_[resource].push_back(event);
  for (const auto& watcher : watchers_)
    if (watcher->resource == resource) watcher->sink(event);
}

void FakeCluster::put(const std::string& text) {
  auto value = json::parse(text);
  KCUBE_CHECK(value.has_value());
  std::lock_guard lock(mutex_);
  api::ObjectPtr object = api::Object::make(api::encode(*value), ++revision_);
  const std::string& resource = kResources.find(json::get_string(*value, {"kind"}))->second;
  api::ObjectPtr& slot = objects_[resource][object->key()];
  auto type = slot ? client::WatchEvent::Type::modified : client::WatchEvent::Type::added;
  slot = object;
  tell(resource, {type, object, revision_, Status(0, "", "")});
}

void FakeCluster::remove(const std::string& resource, const std::string& key) {
  std::lock_guard lock(mutex_);
  auto node = objects_[resource].extract(key);
  KCUBE_CHECK(!node.empty());
  api::ObjectPtr last = api::Object::make(api::encode(node.mapped()->value()), ++revision_);
  tell(resource, {client::WatchEvent::Type::deleted, last, revision_, Status(0, "", "")});
}

Result<api::ObjectPtr> FakeCluster::get(const api::GroupVersionResource& resource, std::string_view ns,
                                        std::string_view name) {
  std::lock_guard lock(mutex_);
  auto& all = objects_[resource.resource];
  auto it = all.find(api::object_key(ns, name));
  if (it == all.end()) return fail(Status::not_found(std::string(name)));
  return it->second;
}

Result<client::ObjectList> FakeCluster::list(const api::GroupVersionResource& resource, std::string_view,
                                             const client::ListOptions&) {
  std::lock_guard lock(mutex_);
  client::ObjectList out;
  for (const auto& [key, object] : objects_[resource.resource]) out.items.push_back(object);
  out.revision = revision_;
  return out;
}

Result<std::unique_ptr<client::Watch>> FakeCluster::watch(const api::GroupVersionResource& resource, std::string_view,
                                                          const client::ListOptions& options,
                                                          std::function<void(const client::WatchEvent&)> sink) {
  std::lock_guard lock(mutex_);
  uint64_t after = options.resource_version.empty() ? 0 : std::stoull(options.resource_version);
  auto watcher = std::make_shared<Watcher>(Watcher{resource.resource, std::move(sink)});
  for (const client::WatchEvent& event : log_[resource.resource])
    if (event.revision > after) watcher->sink(event);
  watchers_.push_back(watcher);
  return std::make_unique<Registration>(*this, watcher);
}

Result<api::ObjectPtr> FakeCluster::create(const api::GroupVersionResource&, std::string_view, const json::value&,
                                           std::string_view, std::string_view) {
  return fail(read_only());
}
Result<api::ObjectPtr> FakeCluster::update(const api::GroupVersionResource&, std::string_view, std::string_view,
                                           const json::value&, std::string_view) {
  return fail(read_only());
}
Result<api::ObjectPtr> FakeCluster::patch(const api::GroupVersionResource&, std::string_view, std::string_view,
                                          client::PatchType, const json::value&, std::string_view) {
  return fail(read_only());
}
Result<void> FakeCluster::remove(const api::GroupVersionResource&, std::string_view, std::string_view,
                                 const client::DeleteOptions&) {
  return fail(read_only());
}

}  // namespace kcube::test
