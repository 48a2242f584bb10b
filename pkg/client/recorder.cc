#include "pkg/client/recorder.h"

#include <cstdio>
#include <list>
#include <mutex>
#include <unordered_map>

#include "pkg/base/executor.h"
#include "pkg/base/log.h"
#include "pkg/base/strings.h"
#include "pkg/client/informer.h"

namespace kcube::client {
namespace {
constexpr size_t kRemembered = 4096;
constexpr size_t kQueueBound = 10000;
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
  Executor executor{{.name = "events", .max_threads = 1, .queue_bound = kQueueBound}};

  Impl(Client& c, Clock& k, std::string comp, std::string h) : client(c), clock(k), component(std::move(comp)), host(std::move(h)) {}

  void write(json::object event, const std::string& key) {
    if (auto it = by_key.find(key); it != by_key.end()) {
      Said& before = *it->second;
      json::object patch;
      patch["count"] = ++before.count;
      patch["lastTimestamp"] = event["lastTimestamp"];
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
  std::snprintf(suffix, sizeof suffix, ".%016llx", static_cast<unsigned long long>(random_u64()));
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
  std::string key = text({"metadata", "uid"});
  key.append("|").append(type).append("|").append(reason).append("|").append(message).append("|").append(field_path);
  impl_->executor.submit([impl = impl_.get(), event = std::move(event), key = std::move(key)]() mutable { impl->write(std::move(event), key); });
}

}  // namespace kcube::client
