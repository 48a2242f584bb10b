#include "pkg/apiserver/cache.h"

#include "pkg/base/log.h"

namespace kcube::apiserver {
namespace {

constexpr size_t kLoadPage = 1000;   // objects read at a time
constexpr size_t kWindow = 1024;
constexpr std::string_view kRoot = "/registry/";
constexpr std::string_view kVersionMember = "\"metadata\":{\"resourceVersion\":\"";

}  // namespace

std::string template_of(const api::Object& object) {
  const std::string& bytes = object.bytes();
  size_t at = bytes.find(kVersionMember);
  KCUBE_CHECK(at != std::string::npos);
  at += kVersionMember.size();
  size_t end = bytes.find('"', at);
  std::string text;
  text.reserve(bytes.size());
  return text.append(bytes, 0, at).append(bytes, end, std::string::npos);
}

ObjectPtr at_revision(const api::Object& object, uint64_t revision) { return api::Object::make(template_of(object), revision); }

ObjectPtr ResourceCache::get(std::string_view ns, std::string_view name) const {
  std::string key = api::object_key(ns, name);
  std::shared_lock lock(mutex_);
  auto it = objects_.find(key);
  return it == objects_.end() ? nullptr : it->second;
}

bool ResourceCache::is_at(const api::Object& object) const {
  ObjectPtr now = get(object.namespace_(), object.name());
  return now && now->revision() == object.revision();
}

size_t ResourceCache::size() const {
  std::shared_lock lock(mutex_);
  return objects_.size();
}

std::vector<ObjectPtr> ResourceCache::in_namespace(std::string_view ns) const {
  std::vector<ObjectPtr> out;
  std::string prefix = std::string(ns) + "/";
  std::shared_lock lock(mutex_);
  for (auto it = objects_.lower_bound(prefix); it != objects_.end() && it->first.starts_with(prefix); ++it) out.push_back(it->second);
  return out;
}

SnapshotPtr ResourceCache::snapshot() const {
  std::lock_guard building(snapshot_mutex_);
  if (snapshot_ && snapshot_->changed == changed()) return snapshot_;
  auto made = std::make_shared<Snapshot>();
  {
    std::shared_lock lock(mutex_);
    made->changed = changed();
    made->objects.reserve(objects_.size());
    for (const auto& [key, object] : objects_) {
      made->objects.push_back(object);
      made->bytes += object->bytes().size();
    }
  }
  snapshot_ = made;
  return made;
}

bool ResourceCache::events_after(uint64_t revision, std::vector<EventPtr>& out) const {
  std::shared_lock lock(mutex_);
  if (revision < window_start_) return false;
  auto first = std::ranges::lower_bound(window_, revision + 1, {}, [](const EventPtr& e) { return e->revision; });
  out.insert(out.end(), first, window_.end());
  return true;
}

void ResourceCache::load(std::string_view key, ObjectPtr object) {
  bytes_ += object->bytes().size();
  objects_.emplace(key, std::move(object));
  count_.store(objects_.size(), std::memory_order_release);
}

void ResourceCache::clear(uint64_t revision) {
  std::unique_lock lock(mutex_);
  objects_.clear();
  bytes_ = 0;
  window_.clear();
  window_start_ = revision;
  changed_.store(revision, std::memory_order_release);
}

EventPtr ResourceCache::apply(const store::Change& change, std::string_view key) {
  auto event = std::make_shared<Event>();
  event->cache = this;
  event->revision = change.revision;
  // Parsing happens outside the lock.
  event->object = api::Object::make(*change.value, change.revision);
  std::unique_lock lock(mutex_);
  auto it = objects_.find(key);
  if (it != objects_.end()) event->before = it->second;
  const uint64_t before = event->before ? event->before->bytes().size() : 0, now = change.removed ? 0 : event->object->bytes().size();
  bytes_.fetch_add(now - before, std::memory_order_relaxed);
  if (change.removed) {
    event->type = Event::Type::deleted;
    if (it != objects_.end()) objects_.erase(it);
  } else if (it != objects_.end()) {
    event->type = Event::Type::modified;
    it->second = event->object;
  } else {
    objects_.emplace(key, event->object);
  }
  count_.store(objects_.size(), std::memory_order_release);
  window_.push_back(event);
  if (window_.size() > kWindow) {
    window_start_ = window_.front()->revision;
    window_.pop_front();
  }
  changed_.store(change.revision, std::memory_order_release);
  return event;
}

ResourceCache* Cache::add(std::string_view group, std::string_view resource) {
  if (ResourceCache* known = find(group, resource)) return known;
  std::string prefix = group.empty() ? std::string(resource) : std::string(group) + "/" + std::string(resource);
  resources_.push_back(std::make_unique<ResourceCache>(std::string(group), std::string(resource), std::string(kRoot) + prefix + "/"));
  by_prefix_[prefix] = resources_.back().get();
  return resources_.back().get();
}

ResourceCache* Cache::find(std::string_view group, std::string_view resource) const {
  std::string prefix = group.empty() ? std::string(resource) : std::string(group) + "/" + std::string(resource);
  return at_prefix(prefix);
}

ResourceCache* Cache::at_prefix(std::string_view prefix) const {
  if (auto it = by_prefix_.find(prefix); it != by_prefix_.end()) return it->second;
  auto opened = opened_by_prefix_.load();
  if (!opened) return nullptr;
  auto it = opened->find(prefix);
  return it == opened->end() ? nullptr : it->second;
}

Result<ResourceCache*> Cache::open(std::string_view group, std::string_view resource) {
  std::lock_guard lock(opening_);
  ResourceCache* cache = find(group, resource);
  if (cache == nullptr) {
    std::string prefix = std::string(group) + "/" + std::string(resource);
    cache = opened_.emplace_back(std::make_unique<ResourceCache>(std::string(group), std::string(resource), std::string(kRoot) + prefix + "/")).get();
    auto known = opened_by_prefix_.load();
    auto prefixes = known ? std::make_shared<Prefixes>(*known) : std::make_shared<Prefixes>();
    (*prefixes)[prefix] = cache;
    opened_by_prefix_.store(std::move(prefixes));
  }
  auto all = store_->range(cache->prefix_, {}, 0, 0);
  if (!all) return fail(all.error());
  cache->clear(all->revision);
  std::unique_lock objects(cache->mutex_);
  for (const store::KeyValue& item : all->items) cache->load(std::string_view(item.key).substr(cache->prefix_.size()), api::Object::make(*item.value, item.mod_revision));
  return cache;
}

void Cache::close(ResourceCache& cache) { cache.clear(revision()); }

std::pair<ResourceCache*, std::string_view> Cache::locate(std::string_view store_key) const {
  if (!store_key.starts_with(kRoot)) return {nullptr, {}};
  std::string_view rest = store_key.substr(kRoot.size());
  size_t slash = rest.find('/');
  for (int segments = 0; segments < 2 && slash != std::string_view::npos; ++segments) {
    auto it = by_prefix_.find(rest.substr(0, slash));
    if (it != by_prefix_.end()) return {it->second, rest.substr(slash + 1)};
    // Those opened at run time are GROUP/RESOURCE.
    ResourceCache* opened = segments == 1 ? at_prefix(rest.substr(0, slash)) : nullptr;
    if (opened != nullptr) return {opened, rest.substr(slash + 1)};
    slash = rest.find('/', slash + 1);
  }
  return {nullptr, {}};
}

Result<void> Cache::load(store::Store& store, std::function<void(std::vector<EventPtr>)> on_events) {
  on_events_ = std::move(on_events);
  store_ = &store;
  // By pages: the store's copies of everything at once would be as much memory again.
  uint64_t revision = 0;
  for (std::string start;;) {
    auto page = store.range(kRoot, start, kLoadPage, 0);
    if (!page) return fail(page.error());
    if (revision == 0) revision = page->revision;   // what is written meanwhile is followed
    for (const store::KeyValue& item : page->items) {
      auto [cache, key] = locate(item.key);
      if (cache == nullptr) continue;
      if (item.value->starts_with("k8s:enc:"))
        return fail(Status::internal(item.key + " is encrypted: give --encryption-provider-config with the key it was written with"));
      cache->load(key, api::Object::make(*item.value, item.mod_revision));
    }
    if (!page->more) break;
    start = page->items.back().key + '\x01';
  }
  // A snapshot's age is told by `changed`: removals before the start must count as well.
  for (auto& cache : resources_) {
    cache->changed_ = revision;
    cache->window_start_ = revision;
  }
  revision_ = revision;
  return store.follow(revision, [this](const std::vector<store::Change>& changes) { apply(changes); });
}

EventPtr Cache::to_event(const store::Change& change) const {
  auto [cache, key] = locate(change.key);
  if (cache == nullptr || !change.value) return nullptr;
  auto event = std::make_shared<Event>();
  event->cache = cache;
  event->revision = change.revision;
  event->type = change.removed ? Event::Type::deleted : change.previous_revision ? Event::Type::modified : Event::Type::added;
  event->object = api::Object::make(*change.value, change.revision);
  if (change.previous_value) event->before = api::Object::make(*change.previous_value, change.previous_revision);
  return event;
}

void Cache::apply(const std::vector<store::Change>& changes) {
  std::vector<EventPtr> events;
  events.reserve(changes.size());
  for (const store::Change& change : changes) {
    auto [cache, key] = locate(change.key);
    if (cache != nullptr) events.push_back(cache->apply(change, key));
  }
  revision_.store(changes.back().revision, std::memory_order_release);
  if (on_events_) on_events_(std::move(events));
}

}  // namespace kcube::apiserver
