#include "pkg/client/wait.h"

#include <condition_variable>
#include <mutex>

namespace kcube::client {

Result<ObjectPtr> wait_for(Client& client, const GroupVersionResource& resource, std::string_view ns, std::string_view name,
                           const std::function<bool(const json::value&)>& done, std::chrono::milliseconds deadline, std::string_view what) {
  std::mutex mutex;
  std::condition_variable changed;
  ObjectPtr found;
  bool broken = false;
  auto end = std::chrono::steady_clock::now() + deadline;
  ListOptions options;
  options.field_selector = "metadata.name=" + std::string(name);
  do {
    options.resource_version.clear();
    auto list = client.list(resource, ns, options);
    if (!list) return fail(list.error());
    for (const ObjectPtr& object : list->items)
      if (done(object->value())) return object;
    options.resource_version = std::to_string(list->revision);
    broken = false;
    auto watch = client.watch(resource, ns, options, [&](const WatchEvent& event) {
      bool good = event.object && event.type != WatchEvent::Type::deleted && done(event.object->value());
      std::lock_guard lock(mutex);
      if (good) found = event.object;
      broken |= event.type == WatchEvent::Type::error;
      if (good || broken) changed.notify_all();
    });
    if (!watch) return fail(watch.error());
    std::unique_lock lock(mutex);
    changed.wait_until(lock, end, [&] { return found || broken; });
    // The watch is destroyed with the lock released: its sink may be waiting for it.
    lock.unlock();
    watch->reset();
    if (found) return found;
  } while (broken && std::chrono::steady_clock::now() < end);
  return fail(Status::timeout(std::string(what)));
}

}  // namespace kcube::client
