#include "pkg/controllers/controller.h"

#include "pkg/base/log.h"

namespace kcube::controllers {
namespace {
constexpr BackOff kBackOff{std::chrono::milliseconds(5), std::chrono::minutes(5)};
}

Controller::Controller(Context context, std::string name, size_t concurrency)
    : client_(context.client), informers_(context.informers), clock_(context.clock), executor_(context.executor), name_(std::move(name)),
      concurrency_(concurrency), queue_(context.clock, kBackOff) {
  queue_.on_ready([this] {
    // Under the queue's lock: only hands over. pump() itself finds out whether there is room.
    executor_.submit([this] { pump(); });
  });
}

Controller::~Controller() { stop(); }

void Controller::start() {
  {
    std::lock_guard lock(mutex_);
    started_ = true;
  }
  on_start();
  for (size_t i = 0; i < concurrency_; ++i) executor_.submit([this] { pump(); });
}

void Controller::stop() {
  queue_.shut_down();
  std::unique_lock lock(mutex_);
  stopping_ = true;
  idle_.wait(lock, [&] { return running_ == 0; });
}

void Controller::pump() {
  {
    std::lock_guard lock(mutex_);
    if (!started_ || stopping_ || running_ >= concurrency_) return;
    ++running_;
  }
  while (true) {
    while (auto key = queue_.try_take()) reconcile_one(*key);
    std::lock_guard lock(mutex_);
    // A key that came while every place was taken found no pump: look once more before leaving.
    if (!stopping_ && queue_.size() > 0) continue;
    --running_;
    idle_.notify_all();
    return;
  }
}

bool Controller::step() {
  auto key = queue_.try_take();
  if (!key) return false;
  reconcile_one(*key);
  return true;
}

void Controller::reconcile_one(const std::string& key) {
  auto result = reconcile(key);
  if (result) {
    queue_.forget(key);
  } else {
    if (!result.error().is_conflict()) log::info(name_, "will try again", {{"key", key}, {"error", result.error()}});
    queue_.add_rate_limited(key);
  }
  queue_.done(key);
}

client::Informer& Controller::follow(const client::GroupVersionResource& resource, std::function<std::vector<std::string>(const api::Object&)> keys) {
  client::Informer& informer = informers_.informer(resource);
  informer.add_handlers({.changed =
                             [this, keys](const api::ObjectPtr& before, const api::ObjectPtr& now) {
                               if (before)
                                 for (const std::string& key : keys(*before)) enqueue(key);
                               for (const std::string& key : keys(*now)) enqueue(key);
                             },
                         .removed =
                             [this, keys](const api::ObjectPtr& last) {
                               for (const std::string& key : keys(*last)) enqueue(key);
                             }});
  return informer;
}

client::Informer& Controller::follow_own(const client::GroupVersionResource& resource) {
  return follow(resource, [](const api::Object& object) { return std::vector<std::string>{object.key()}; });
}

client::Informer& Controller::follow_owned(const client::GroupVersionResource& resource, std::string_view owner_kind) {
  return follow(resource, [kind = std::string(owner_kind)](const api::Object& object) -> std::vector<std::string> {
    api::OwnerReference owner = api::controller_of(object.value());
    if (owner.kind != kind) return {};
    return {api::object_key(object.namespace_(), owner.name)};
  });
}

}  // namespace kcube::controllers
