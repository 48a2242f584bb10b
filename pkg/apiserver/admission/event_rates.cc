#include "pkg/apiserver/admission/event_rates.h"

#include <algorithm>

#include "pkg/api/errors.h"
#include "pkg/apiserver/admission/control.h"

namespace kcube::apiserver {
namespace {

constexpr size_t kDefaultSize = 4096;

// Who reports what about which object.
std::string source_and_object(const json::value& event) {
  std::string out;
  auto add = [&](std::initializer_list<std::string_view> path) { out += json::get_string(event, path); };
  add({"source", "component"});
  add({"source", "host"});
  for (const char* member : {"kind", "namespace", "name", "uid", "apiVersion"}) add({"involvedObject", member});
  return out;
}

Result<void> limit_events(Admission& a) {
  EventRates* rates = a.core.admission.event_rates();
  if (rates == nullptr || a.call.dry_run || a.call.resource->stored->resource != "events" || (a.operation != Operation::create && a.operation != Operation::update)) return {};
  return rates->take([&](const std::string& type) -> std::string {
    if (type == "Namespace") return a.call.ns;
    if (type == "User") return a.call.user.name;
    return type == "SourceAndObject" && a.object != nullptr ? source_and_object(*a.object) : "";
  });
}

}  // namespace

Result<std::unique_ptr<EventRates>> EventRates::create(const json::value& configuration, Clock& clock) {
  std::unique_ptr<EventRates> out(new EventRates(clock));
  size_t i = 0;
  for (const json::value& l : json::get_array(json::find(&configuration, "limits"))) {
    std::string at = "limits[" + std::to_string(i++) + "].";
    Limit limit;
    limit.type = json::get_string(l, {"type"});
    constexpr std::string_view kTypes[] = {"Server", "Namespace", "User", "SourceAndObject"};
    if (std::ranges::find(kTypes, limit.type) == std::end(kTypes)) return fail(Status::bad_request(at + "type: Unsupported value: \"" + limit.type + "\""));
    limit.per_second = static_cast<double>(json::get_int(l, {"qps"}));
    limit.burst = static_cast<double>(json::get_int(l, {"burst"}));
    if (limit.per_second <= 0) return fail(Status::bad_request(at + "qps: Invalid value: must be positive"));
    if (limit.burst <= 0) return fail(Status::bad_request(at + "burst: Invalid value: must be positive"));
    int64_t size = json::get_int(l, {"cacheSize"});
    if (size < 0) return fail(Status::bad_request(at + "cacheSize: Invalid value: must not be negative"));
    limit.size = size == 0 ? kDefaultSize : static_cast<size_t>(size);
    out->limits_.push_back(std::move(limit));
  }
  if (out->limits_.empty()) return fail(Status::bad_request("limits: Invalid value: no limits configured"));
  return out;
}

Result<void> EventRates::take(const KeyOf& key_of) {
  std::string text;
  size_t used_up = 0;
  std::lock_guard lock(mutex_);
  for (Limit& limit : limits_) {
    std::string key = key_of(limit.type);
    if (take_one(limit, key)) continue;
    ++used_up;
    text += (text.empty() ? "" : ", ") + ("limit reached on type " + limit.type + " for key " + key);
  }
  if (used_up == 0) return {};
  return fail(Status(429, "TooManyRequests", used_up == 1 ? text : "[" + text + "]"));
}

bool EventRates::take_one(Limit& limit, const std::string& key) {
  SteadyTime now = clock_.steady_now();
  if (!limit.buckets.contains(key) && limit.buckets.size() >= limit.size)
    // Whoever was quiet the longest has the fullest bucket: forgetting it changes least.
    limit.buckets.erase(std::ranges::min_element(limit.buckets, {}, [](const auto& b) { return b.second.at; }));
  auto [it, is_new] = limit.buckets.try_emplace(key, Bucket{limit.burst, now});
  Bucket& bucket = it->second;
  double passed = std::chrono::duration<double>(now - bucket.at).count();
  bucket.tokens = std::min(limit.burst, bucket.tokens + passed * limit.per_second);
  bucket.at = now;
  if (bucket.tokens < 1) return false;
  bucket.tokens -= 1;
  return true;
}

const AdmissionPlugin kEventRateLimit{"EventRateLimit", nullptr, limit_events};

}  // namespace kcube::apiserver
