#include "pkg/apiserver/metrics/request_metrics.h"

#include <algorithm>
#include <ctime>
#include <vector>

#include "pkg/base/strings.h"

namespace kcube::apiserver {
namespace {

constexpr double kSecondsBounds[] = {0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1, 1.25, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 45, 60};
constexpr double kSizeBounds[] = {1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9};

std::string verb_name(const RequestInfo& info, bool apply) {
  static constexpr std::pair<std::string_view, std::string_view> kNames[] = {
      {"get", "GET"}, {"list", "LIST"}, {"watch", "WATCH"}, {"create", "POST"}, {"update", "PUT"}, {"patch", "PATCH"}, {"delete", "DELETE"},
      {"deletecollection", "DELETECOLLECTION"}, {"post", "POST"}, {"put", "PUT"}, {"head", "HEAD"}, {"options", "OPTIONS"}};
  static constexpr std::string_view kConnect[] = {"exec", "attach", "portforward", "proxy", "log"};
  if (apply) return "APPLY";
  if (info.is_resource && info.subresource != "log" && std::ranges::find(kConnect, info.subresource) != std::end(kConnect)) return "CONNECT";
  for (const auto& [verb, name] : kNames)
    if (info.verb == verb) return std::string(name);
  return "other";
}

std::string scope_of(const RequestInfo& info) {
  if (!info.is_resource) return "";
  if (!info.name.empty() || info.verb == "create") return "resource";
  return info.ns.empty() ? "cluster" : "namespace";
}

// Of paths that are no resources: those that there are.
std::string_view document_of(std::string_view path) {
  static constexpr std::pair<std::string_view, std::string_view> kDocuments[] = {
      {"/healthz", "/healthz"}, {"/livez", "/livez"}, {"/readyz", "/readyz"}, {"/metrics", "/metrics"}, {"/version", "/version"},
      {"/openapi/v2", "openapi/v2"}, {"/openapi/v3", "openapi/v3"}, {"/apis", "/apis"}, {"/api", "/api"}};
  for (const auto& [prefix, name] : kDocuments)
    if (path == prefix || (path.starts_with(prefix) && path[prefix.size()] == '/')) return name;
  return "";
}

int64_t this_second() { return static_cast<int64_t>(::time(nullptr)); }

}  // namespace

RequestSeries::RequestSeries() : duration(kSecondsBounds), sizes(kSizeBounds) {}

void RequestSeries::answered(int code, double seconds, uint64_t bytes) {
  duration.observe(seconds);
  if (verb != "WATCH" && verb != "CONNECT") sizes.observe(static_cast<double>(bytes));
  for (Code& one : codes_) {
    int there = one.code.load(std::memory_order_relaxed);
    if (there == 0 && one.code.compare_exchange_strong(there, code)) there = code;
    if (there != code && &one != &codes_.back()) continue;
    return count(one.requests);
  }
}

int64_t Peak::enter() {
  int64_t now = now_.fetch_add(1, std::memory_order_relaxed) + 1;
  int64_t second = this_second(), seen = second_.load(std::memory_order_relaxed);
  if (seen != second && second_.compare_exchange_strong(seen, second)) {
    before_ = seen == second - 1 ? highest_.load() : now;
    highest_ = now;
  } else if (now > highest_.load(std::memory_order_relaxed)) {
    highest_ = now;   // a lost update shows a peak of one less
  }
  return now;
}

int64_t Peak::of_last_second() const {
  int64_t age = this_second() - second_;
  if (age > 1) return now_;
  return std::max(now_.load(), age == 1 ? highest_.load() : before_.load());
}

RequestSeries& RequestMetrics::series(const RequestInfo& info, std::string_view path, bool known, bool apply) {
  // Of the server that the thread belongs to; a process has more than one in tests.
  thread_local uint64_t owner = 0;
  thread_local std::unordered_map<std::string, RequestSeries*> seen;
  thread_local std::string key;
  if (std::exchange(owner, id_) != id_) seen.clear();
  key.clear();
  auto add = [&](std::string_view part) { key.append(part).push_back('\n'); };
  const bool resource = info.is_resource && known;
  key.push_back(apply ? 'a' : '-');
  key.push_back(!resource ? 'p' : !info.name.empty() ? 'n' : info.ns.empty() ? 'c' : 's');
  add(info.verb.size() < 20 ? std::string_view(info.verb) : "other");
  if (resource) add(info.group), add(info.version), add(info.resource), add(info.subresource);
  else add(info.is_resource ? std::string_view() : document_of(path));
  auto it = seen.find(key);
  if (it == seen.end()) it = seen.emplace(key, &find(key, info, path, known, apply)).first;
  return *it->second;
}

RequestSeries& RequestMetrics::find(const std::string& key, const RequestInfo& info, std::string_view path, bool known, bool apply) {
  auto made = std::make_unique<RequestSeries>();
  made->verb = verb_name(info, apply);
  if (info.is_resource && known) {
    made->group = info.group;
    made->version = info.version;
    made->resource = info.resource;
    made->subresource = info.subresource;
    made->scope = scope_of(info);
    made->component = "apiserver";
  } else if (!info.is_resource) {
    made->subresource = document_of(path);
  }
  static constexpr std::string_view kReads[] = {"GET", "LIST", "WATCH", "HEAD", "OPTIONS"};
  made->mutating = std::ranges::find(kReads, made->verb) == std::end(kReads);
  // What made-up methods come to is one series.
  std::string label = made->verb == "other" ? "other\n" + std::string(made->resource) + made->scope + made->subresource : key;
  std::lock_guard lock(mutex_);
  return *all_.try_emplace(std::move(label), std::move(made)).first->second;
}

void RequestMetrics::write(MetricsText& out) const {
  std::shared_lock lock(mutex_);
  out.family("apiserver_current_inflight_requests", "gauge", "[STABLE] Maximal number of currently used inflight request limit of this apiserver per request kind in last second.");
  out.sample({{"request_kind", "mutating"}}, static_cast<double>(inflight_[1].of_last_second()));
  out.sample({{"request_kind", "readOnly"}}, static_cast<double>(inflight_[0].of_last_second()));
  auto where = [](const RequestSeries& s) {
    return Labels{{"component", s.component}, {"group", s.group}, {"resource", s.resource}, {"scope", s.scope}, {"subresource", s.subresource}, {"verb", s.verb}, {"version", s.version}};
  };
  auto with_dry_run = [&](const RequestSeries& s) {
    Labels labels = where(s);
    labels.insert(labels.begin() + 1, {"dry_run", ""});
    return labels;
  };
  out.family("apiserver_longrunning_requests", "gauge", "[STABLE] Gauge of all active long-running apiserver requests broken out by verb, group, version, resource, scope and component. Not all requests are tracked this way.");
  for (const auto& [key, s] : all_)
    if (s->verb == "WATCH" || s->verb == "CONNECT" || s->subresource == "log") out.sample(where(*s), static_cast<double>(s->long_running.load()));
  auto done = [](const RequestSeries& s) { return s.codes_[0].requests > 0; };
  out.family("apiserver_request_duration_seconds", "histogram", "[STABLE] Response latency distribution in seconds for each verb, dry run value, group, version, resource, subresource, scope and component.");
  for (const auto& [key, s] : all_)
    if (done(*s) && s->verb != "WATCH") out.histogram(with_dry_run(*s), s->duration);
  out.family("apiserver_request_sli_duration_seconds", "histogram", "[ALPHA] Response latency distribution (not counting webhook duration and priority & fairness queue wait times) in seconds for each verb, group, version, resource, subresource, scope and component.");
  for (const auto& [key, s] : all_)
    if (done(*s) && s->verb != "WATCH") out.histogram(where(*s), s->duration);
  out.family("apiserver_request_total", "counter", "[STABLE] Counter of apiserver requests broken out for each verb, dry run value, group, version, resource, scope, component, and HTTP response code.");
  for (const auto& [key, s] : all_)
    for (const auto& code : s->codes_)
      if (code.requests > 0) {
        Labels labels = with_dry_run(*s);
        std::string number = std::to_string(code.code.load());
        labels.insert(labels.begin(), {"code", number});
        out.sample(labels, static_cast<double>(code.requests.load()));
      }
  out.family("apiserver_response_sizes", "histogram", "[STABLE] Response size distribution in bytes for each group, version, verb, resource, subresource, scope and component.");
  for (const auto& [key, s] : all_)
    if (done(*s) && s->verb != "WATCH" && s->verb != "CONNECT") out.histogram(where(*s), s->sizes);
  out.family("apiserver_watch_events_total", "counter", "[ALPHA] Number of events sent in watch clients");
  for (const auto& [key, s] : all_)
    if (s->watch_events > 0) out.sample({{"group", s->group}, {"resource", s->resource}, {"scope", s->scope}, {"version", s->version}}, static_cast<double>(s->watch_events.load()));
  out.family("authentication_attempts", "counter", "[ALPHA] Counter of authenticated attempts.");
  out.sample({{"result", "success"}}, static_cast<double>(authenticated.load()));
  out.sample({{"result", "failure"}}, static_cast<double>(not_authenticated.load()));
  out.family("authorization_attempts_total", "counter", "[ALPHA] Counter of authorization attempts broken down by result. It can be either 'allowed', 'denied', 'no-opinion' or 'error'.");
  out.sample({{"result", "allowed"}}, static_cast<double>(allowed.load()));
  out.sample({{"result", "denied"}}, static_cast<double>(denied.load()));
}

}  // namespace kcube::apiserver
