#include "pkg/apiserver/metrics/request_metrics.h"

#include <algorithm>
#include <ctime>
#include <vector>

#include "pkg/base/strings.h"

namespace kcube::apiserver {
namespace {

constexpr double kSecondsBounds[] = {0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1, 1.25, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 45, 60};
constexpr double kIndicatorBounds[] = {0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1, 1.25, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 45, 60};
constexpr double kWatchSizeBounds[] = {1024, 2048, 4096, 8192, 16384, 32768, 65536, 131072};
constexpr double kBodyBounds[] = {5e4, 1.5e5, 2.5e5, 3.5e5, 4.5e5, 5.5e5, 6.5e5, 7.5e5, 8.5e5, 9.5e5, 1.05e6, 1.15e6, 1.25e6, 1.35e6, 1.45e6, 1.55e6,
                                  1.65e6, 1.75e6, 1.85e6, 1.95e6, 2.05e6, 2.15e6, 2.25e6, 2.35e6, 2.45e6, 2.55e6, 2.65e6, 2.75e6, 2.85e6, 2.95e6, 3.05e6};
constexpr double kIdentityBounds[] = {0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024, 2.048, 4.096, 8.192, 16.384};
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

RequestSeries::RequestSeries() : duration(kSecondsBounds), indicators(kIndicatorBounds), sizes(kSizeBounds), bodies(kBodyBounds), watch_sizes(kWatchSizeBounds) {}

void RequestSeries::answered(int code, double seconds, double indicated_seconds, uint64_t bytes) {
  duration.observe(seconds);
  indicators.observe(std::max(0.0, indicated_seconds));
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

RequestMetrics::RequestMetrics()
    : authentication_seconds_{Histogram(kIdentityBounds), Histogram(kIdentityBounds)},
      authorization_seconds_{Histogram(kIdentityBounds), Histogram(kIdentityBounds)},
      users_("authenticated_user_requests", "[ALPHA] Counter of authenticated requests broken out by username.", {"username"}) {}

void RequestMetrics::authenticated(const std::string* user, double seconds) {
  const bool known = user != nullptr;
  count(authentications_[known]);
  authentication_seconds_[known].observe(seconds);
  if (!known) return;
  // Found once by each thread.
  static constexpr std::string_view kKept[] = {"admin", "client", "kube_proxy", "kubelet", "system:serviceaccount:kube-system:default"};
  thread_local uint64_t owner = 0;
  thread_local Counter *other = nullptr, *email = nullptr;
  if (std::exchange(owner, id_) != id_) other = &users_.at({"other"}), email = nullptr;
  if (std::ranges::find(kKept, *user) != std::end(kKept)) return count(users_.at({*user}));
  if (user->find('@') == std::string::npos) return count(*other);
  if (email == nullptr) email = &users_.at({"email_id"});
  count(*email);
}

void RequestMetrics::authorized(bool allowed, double seconds) {
  count(authorizations_[allowed]);
  authorization_seconds_[allowed].observe(seconds);
}

RequestSeries& RequestMetrics::series(const RequestInfo& info, std::string_view path, bool known, bool apply, bool dry_run) {
  // Of the server that the thread belongs to; a process has more than one in tests.
  thread_local uint64_t owner = 0;
  thread_local std::unordered_map<std::string, RequestSeries*> seen;
  thread_local std::string key;
  if (std::exchange(owner, id_) != id_) seen.clear();
  key.clear();
  auto add = [&](std::string_view part) { key.append(part).push_back('\n'); };
  const bool resource = info.is_resource && known;
  key.push_back(apply ? 'a' : '-');
  key.push_back(dry_run ? 'd' : '-');
  key.push_back(!resource ? 'p' : !info.name.empty() ? 'n' : info.ns.empty() ? 'c' : 's');
  add(info.verb.size() < 20 ? std::string_view(info.verb) : "other");
  if (resource) add(info.group), add(info.version), add(info.resource), add(info.subresource);
  else add(info.is_resource ? std::string_view() : document_of(path));
  auto it = seen.find(key);
  if (it == seen.end()) it = seen.emplace(key, &find(key, info, path, known, apply, dry_run)).first;
  return *it->second;
}

RequestSeries& RequestMetrics::find(const std::string& key, const RequestInfo& info, std::string_view path, bool known, bool apply, bool dry_run) {
  auto made = std::make_unique<RequestSeries>();
  made->verb = verb_name(info, apply);
  if (dry_run) made->dry_run = "All";
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
  write_requests(out);
  write_watches(out);
  write_identities(out);
}

namespace {

Labels labels_of(const RequestSeries& s) {
  return {{"component", s.component}, {"group", s.group}, {"resource", s.resource}, {"scope", s.scope}, {"subresource", s.subresource}, {"verb", s.verb}, {"version", s.version}};
}

Labels labels_with_dry_run(const RequestSeries& s) {
  Labels labels = labels_of(s);
  labels.insert(labels.begin() + 1, {"dry_run", s.dry_run});
  return labels;
}

Labels watch_labels(const RequestSeries& s) { return {{"group", s.group}, {"resource", s.resource}, {"version", s.version}}; }

// As this one family writes verbs.
Labels body_labels(const RequestSeries& s) {
  static constexpr std::pair<std::string_view, std::string_view> kVerbs[] = {{"POST", "create"}, {"PUT", "update"}, {"PATCH", "patch"}, {"APPLY", "patch"}, {"DELETE", "delete"}};
  std::string_view verb = "delete_collection";
  for (const auto& [name, said] : kVerbs)
    if (s.verb == name) verb = said;
  return {{"group", s.group}, {"resource", s.resource}, {"verb", verb}};
}

bool is_stream(const RequestSeries& s) { return s.verb == "WATCH" || s.verb == "CONNECT"; }

}  // namespace

// A family whose labels tell fewer series apart than there are.
void RequestMetrics::write_merged(MetricsText& out, Labels (*labels)(const RequestSeries&), Histogram RequestSeries::* member, bool (*wanted)(const RequestSeries&)) const {
  std::map<Labels, std::unique_ptr<Histogram>> merged;
  for (const auto& [key, s] : all_) {
    if (!wanted(*s)) continue;
    auto& sum = merged[labels(*s)];
    if (!sum) sum = std::make_unique<Histogram>(((*s).*member).bounds());
    sum->add((*s).*member);
  }
  for (const auto& [where, histogram] : merged) out.histogram(where, *histogram);
}

void RequestMetrics::write_requests(MetricsText& out) const {
  out.family("apiserver_current_inflight_requests", "gauge", "[STABLE] Maximal number of currently used inflight request limit of this apiserver per request kind in last second.");
  out.sample({{"request_kind", "mutating"}}, static_cast<double>(inflight_[1].of_last_second()));
  out.sample({{"request_kind", "readOnly"}}, static_cast<double>(inflight_[0].of_last_second()));
  out.family("apiserver_request_body_size_bytes", "histogram", "[ALPHA] Apiserver request body size in bytes broken out by resource and verb.");
  write_merged(out, body_labels, &RequestSeries::bodies, [](const RequestSeries& s) { return s.mutating && s.done() && !s.resource.empty() && s.verb != "CONNECT"; });
  out.family("apiserver_request_duration_seconds", "histogram", "[STABLE] Response latency distribution in seconds for each verb, dry run value, group, version, resource, subresource, scope and component.");
  for (const auto& [key, s] : all_)
    if (s->done() && s->verb != "WATCH") out.histogram(labels_with_dry_run(*s), s->duration);
  out.family("apiserver_request_sli_duration_seconds", "histogram", "[BETA] Response latency distribution (not counting webhook duration and priority & fairness queue wait times) in seconds for each verb, group, version, resource, subresource, scope and component.");
  write_merged(out, labels_of, &RequestSeries::indicators, [](const RequestSeries& s) { return s.done() && !is_stream(s); });
  std::map<Labels, uint64_t> dropped;
  for (const auto& [key, s] : all_)
    if (s->dropped > 0) dropped[labels_of(*s)] += s->dropped;
  if (!dropped.empty()) out.family("apiserver_request_terminations_total", "counter", "[ALPHA] Number of requests which apiserver terminated in self-defense.");
  for (const auto& [where, n] : dropped) {
    Labels labels = where;
    labels.insert(labels.begin(), {"code", "429"});
    out.sample(labels, static_cast<double>(n));
  }
  out.family("apiserver_request_total", "counter", "[STABLE] Counter of apiserver requests broken out for each verb, dry run value, group, version, resource, scope, component, and HTTP response code.");
  for (const auto& [key, s] : all_)
    for (const auto& code : s->codes_)
      if (code.requests > 0) {
        Labels labels = labels_with_dry_run(*s);
        std::string number = std::to_string(code.code.load());
        labels.insert(labels.begin(), {"code", number});
        out.sample(labels, static_cast<double>(code.requests.load()));
      }
  out.family("apiserver_response_sizes", "histogram", "[STABLE] Response size distribution in bytes for each group, version, verb, resource, subresource, scope and component.");
  write_merged(out, labels_of, &RequestSeries::sizes, [](const RequestSeries& s) { return s.done() && !is_stream(s); });
}

void RequestMetrics::write_watches(MetricsText& out) const {
  std::map<Labels, int64_t> running, events;
  for (const auto& [key, s] : all_) {
    if (is_stream(*s) || s->subresource == "log") running[labels_of(*s)] += s->long_running;
    if (s->verb != "WATCH" || s->resource.empty()) continue;
    int64_t& sent = events[watch_labels(*s)];
    for (size_t i = 0; i <= s->watch_sizes.bounds().size(); ++i) sent += static_cast<int64_t>(s->watch_sizes.bucket(i));
  }
  out.family("apiserver_longrunning_requests", "gauge", "[STABLE] Gauge of all active long-running apiserver requests broken out by verb, group, version, resource, scope and component. Not all requests are tracked this way.");
  for (const auto& [labels, n] : running) out.sample(labels, static_cast<double>(n));
  out.family("apiserver_watch_events_sizes", "histogram", "[ALPHA] Watch event size distribution in bytes");
  write_merged(out, watch_labels, &RequestSeries::watch_sizes, [](const RequestSeries& s) { return s.verb == "WATCH" && !s.resource.empty(); });
  out.family("apiserver_watch_events_total", "counter", "[ALPHA] Number of events sent in watch clients");
  for (const auto& [labels, n] : events) out.sample(labels, static_cast<double>(n));
}

void RequestMetrics::write_identities(MetricsText& out) const {
  static constexpr const char* kResults[] = {"failure", "success"};
  out.family("authentication_attempts", "counter", "[BETA] Counter of authenticated attempts.");
  for (size_t i : {0, 1}) out.sample({{"result", kResults[i]}}, static_cast<double>(authentications_[i].load()));
  out.family("authentication_duration_seconds", "histogram", "[BETA] Authentication duration in seconds broken out by result.");
  for (size_t i : {0, 1}) out.histogram({{"result", kResults[i]}}, authentication_seconds_[i]);
  users_.write(out);
  static constexpr const char* kDecisions[] = {"denied", "allowed"};
  out.family("authorization_attempts_total", "counter", "[ALPHA] Counter of authorization attempts broken down by result. It can be either 'allowed', 'denied', 'no-opinion' or 'error'.");
  for (size_t i : {0, 1}) out.sample({{"result", kDecisions[i]}}, static_cast<double>(authorizations_[i].load()));
  out.family("authorization_duration_seconds", "histogram", "[BETA] Authorization duration in seconds broken out by result.");
  for (size_t i : {0, 1}) out.histogram({{"result", kDecisions[i]}}, authorization_seconds_[i]);
}

}  // namespace kcube::apiserver
