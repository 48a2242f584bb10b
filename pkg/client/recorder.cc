#include "pkg/client/recorder.h"

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <list>
#include <mutex>
#include <unordered_map>

#include "pkg/base/executor.h"
#include "pkg/base/log.h"
#include "pkg/base/strings.h"
#include "pkg/client/event_correlator.h"
#include "pkg/client/informer.h"

namespace kcube::client {
namespace {
constexpr size_t kRemembered = 4096;
constexpr size_t kQueueBound = 10000;

// Names of events end in the time, so that lists have them in the order in which they happened; never one twice.
int64_t name_number(Clock& clock) {
  static std::atomic<int64_t> last = 0;
  int64_t now = std::chrono::duration_cast<std::chrono::nanoseconds>(clock.now().time_since_epoch()).count();
  int64_t before = last.load();
  while (!last.compare_exchange_weak(before, std::max(before + 1, now))) {
  }
  return std::max(before + 1, now);
}
}  // namespace

struct EventRecorder::Impl {
  Client& client;
  Clock& clock;
  std::string component, host;
  // What was said lately, for counting repeats; the oldest is forgotten first. Worker thread only.
  struct Said {
    std::string key, ns, name;
    int64_t count;
  };
  std::list<Said> said;
  std::unordered_map<std::string, std::list<Said>::iterator> by_key;
  EventCorrelator correlator;
  Executor executor{{.name = "events", .max_threads = 1, .queue_bound = kQueueBound}};

  Impl(Client& c, Clock& k, std::string comp, std::string h) : client(c), clock(k), component(std::move(comp)), host(std::move(h)) {}

  void write(json::object event, const std::string& object_key, const std::string& about) {
    auto verdict = correlator.judge(object_key, about, json::get_string(&event["message"]), clock.steady_now());
    if (verdict.dropped) return;
    const std::string& key = verdict.key;
    event["message"] = json::key(verdict.message);
    if (auto it = by_key.find(key); it != by_key.end()) {
      Said& before = *it->second;
      json::object patch;
      patch["count"] = ++before.count;
      patch["lastTimestamp"] = event["lastTimestamp"];
      patch["message"] = event["message"];
      auto r = client.patch(resources::kEvents, before.ns, before.name, PatchType::merge, patch);
      if (r) return;
      said.erase(it->second);
      by_key.erase(it);
    }
    std::string ns(json::get_string(event["metadata"], {"namespace"}));
    auto made = client.create(resources::kEvents, ns, event);
    if (!made) {
      // A namespace that is going away takes no events.
      log::debug("events", "cannot write", {{"error", made.error()}});
      return;
    }
    said.push_front({key, ns, std::string((*made)->name()), 1});
    by_key[key] = said.begin();
    if (said.size() > kRemembered) {
      by_key.erase(said.back().key);
      said.pop_back();
    }
  }
};

EventRecorder::EventRecorder(Client& client, Clock& clock, std::string component, std::string host)
    : impl_(std::make_shared<Impl>(client, clock, std::move(component), std::move(host))) {}
EventRecorder::~EventRecorder() { impl_->executor.stop(); }

void EventRecorder::event(const json::value& object, std::string_view type, std::string_view reason, std::string_view message,
                          std::string_view field_path) {
  auto text = [&](std::initializer_list<std::string_view> path) { return std::string(json::get_string(json::at(&object, path))); };
  std::string name = text({"metadata", "name"}), ns = text({"metadata", "namespace"});
  std::string now = format_time(impl_->clock.now());
  char suffix[32];
  std::snprintf(suffix, sizeof suffix, ".%llx", static_cast<unsigned long long>(name_number(impl_->clock)));
  json::object involved{{"kind", json::key(text({"kind"}))}, {"name", json::key(name)}, {"uid", json::key(text({"metadata", "uid"}))},
                        {"apiVersion", json::key(text({"apiVersion"}))}, {"resourceVersion", json::key(text({"metadata", "resourceVersion"}))}};
  if (!ns.empty()) involved["namespace"] = json::key(ns);
  if (!field_path.empty()) involved["fieldPath"] = json::key(field_path);
  json::object source{{"component", json::key(impl_->component)}};
  if (!impl_->host.empty()) source["host"] = json::key(impl_->host);
  json::object event{
      {"apiVersion", "v1"}, {"kind", "Event"},
      {"metadata", json::object{{"name", json::key(name + suffix)}, {"namespace", json::key(ns.empty() ? "default" : ns)}}},
      {"involvedObject", std::move(involved)}, {"reason", json::key(reason)}, {"message", json::key(message.substr(0, 1024))},
      {"source", std::move(source)}, {"firstTimestamp", json::key(now)}, {"lastTimestamp", json::key(now)}, {"count", 1},
      {"type", json::key(type)}, {"reportingComponent", json::key(impl_->component)}, {"reportingInstance", json::key(impl_->host)}};
  std::string object_key = text({"metadata", "uid"}) + "|" + name, about = object_key;
  about.append("|").append(type).append("|").append(reason).append("|").append(field_path);
  impl_->executor.submit([impl = impl_.get(), event = std::move(event), object_key = std::move(object_key), about = std::move(about)]() mutable {
    impl->write(std::move(event), object_key, about);
  });
}

}  // namespace kcube::client
