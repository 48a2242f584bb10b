#include "pkg/kubelet/object_cache.h"

namespace kcube::kubelet {
namespace {

// The kubelet's own words: `secret "name" not found`.
Status missing(const client::GroupVersionResource& resource, std::string_view name) {
  std::string kind = resource.resource.substr(0, resource.resource.size() - 1);
  return Status::not_found((kind == "configmap" || kind == "secret" ? kind : resource.resource) + " \"" + std::string(name) + "\" not found");
}

}  // namespace

ObjectCache::~ObjectCache() = default;

Result<api::ObjectPtr> ObjectCache::get(const client::GroupVersionResource& resource, std::string_view ns, std::string_view name,
                                        const std::string& pod_uid) {
  EntryPtr entry;
  {
    std::lock_guard lock(mutex_);
    EntryPtr& slot = entries_[resource.resource + "/" + std::string(ns) + "/" + std::string(name)];
    if (!slot) slot = std::make_shared<Entry>();
    entry = slot;
  }
  {
    std::lock_guard lock(entry->mutex);
    entry->users.insert(pod_uid);
    if (entry->watching) {
      if (entry->object) return entry->object;
      return fail(missing(resource, name));
    }
  }
  if (auto r = follow(resource, ns, name, entry); !r) return fail(r.error());
  std::lock_guard lock(entry->mutex);
  if (entry->object) return entry->object;
  return fail(missing(resource, name));
}

Result<void> ObjectCache::follow(const client::GroupVersionResource& resource, std::string_view ns, std::string_view name, const EntryPtr& entry) {
  client::ListOptions options{.field_selector = "metadata.name=" + std::string(name)};
  auto list = client_.list(resource, ns, options);
  if (!list) return fail(list.error());
  {
    std::lock_guard lock(entry->mutex);
    entry->object = list->items.empty() ? nullptr : list->items.front();
    entry->watching = true;
  }
  options.resource_version = std::to_string(list->revision);
  auto watch = client_.watch(resource, ns, options, [this, weak = std::weak_ptr(entry)](const client::WatchEvent& event) {
    auto e = weak.lock();
    if (!e || event.type == client::WatchEvent::Type::bookmark) return;
    std::set<std::string> users;
    {
      std::lock_guard lock(e->mutex);
      // After a break the next get() lists anew.
      if (event.type == client::WatchEvent::Type::error) e->watching = false;
      else e->object = event.type == client::WatchEvent::Type::deleted ? nullptr : event.object;
      users = e->users;
    }
    if (on_change_)
      for (const std::string& uid : users) on_change_(uid);
  });
  std::unique_ptr<client::Watch> old;  // ends outside of the lock that its sink takes
  std::lock_guard lock(entry->mutex);
  if (!watch) {
    entry->watching = false;
    return {};
  }
  old = std::exchange(entry->watch, std::move(*watch));
  return {};
}

void ObjectCache::forget(const std::string& pod_uid) {
  std::vector<EntryPtr> unused;
  {
    std::lock_guard lock(mutex_);
    for (auto it = entries_.begin(); it != entries_.end();) {
      bool empty;
      {
        std::lock_guard inner(it->second->mutex);
        it->second->users.erase(pod_uid);
        empty = it->second->users.empty();
      }
      if (empty) {
        unused.push_back(std::move(it->second));
        it = entries_.erase(it);
      } else {
        ++it;
      }
    }
  }
}

}  // namespace kcube::kubelet
