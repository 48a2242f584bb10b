#include "pkg/apiserver/diagnostics.h"

#include <sys/utsname.h>

#include <algorithm>
#include <ctime>

#include "pkg/api/errors.h"
#include "pkg/apiserver/admission/control.h"
#include "pkg/apiserver/output.h"
#include "pkg/base/log.h"
#include "pkg/base/strings.h"

namespace kcube::apiserver {
namespace {

constexpr const char* kMetricsType = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores";
constexpr std::string_view kWarning = "Warning: This endpoint is not meant to be machine parseable, has no formatting compatibility guarantees and is for debugging purposes only.\n";
constexpr std::string_view kFlowControl = "/debug/api_priority_and_fairness/";

// "v1.36.0" → {"1", "36"}; missing parts are empty.
std::pair<std::string, std::string> major_minor(std::string_view version) {
  auto parts = split(version.substr(version.starts_with('v') ? 1 : 0), '.');
  return {std::string(parts[0]), parts.size() > 1 ? std::string(parts[1]) : ""};
}

// As statusz writes times: "Sat Nov 21 14:26:18 UTC 2026".
std::string date_text(SystemTime time) {
  time_t seconds = std::chrono::system_clock::to_time_t(time);
  tm parts{};
  ::gmtime_r(&seconds, &parts);
  char text[48];
  return std::string(text, std::strftime(text, sizeof text, "%a %b %e %H:%M:%S UTC %Y", &parts));
}

std::string uptime_text(int64_t seconds) {
  char text[64];
  return std::string(text, static_cast<size_t>(std::snprintf(text, sizeof text, "%d hr %02d min %02d sec", static_cast<int>(seconds / 3600), static_cast<int>(seconds / 60 % 60), static_cast<int>(seconds % 60))));
}

// klog's verbosity: from 4 on details are logged.
void set_verbosity(const http::Request& request, http::Responder& responder) {
  auto level = parse_int<int>(trim(request.body));
  http::Headers headers;
  headers.add("Content-Type", "text/plain");
  headers.add("X-Content-Type-Options", "nosniff");
  if (request.method != "PUT") return responder.respond(406, std::move(headers), "unsupported http method\n");
  if (!level) return responder.respond(400, std::move(headers), "error reading request body\n");
  log::set_level(*level >= 4 ? log::Level::debug : log::Level::info);
  responder.respond(200, std::move(headers), "successfully set klog.logging.verbosity to " + std::to_string(*level));
}

// The z-pages are text, or for those who name the kind an object.
enum class Page { text, object, refused };
Page page_form(std::string_view accept, std::string_view kind) {
  if (trim(accept).empty()) return Page::text;
  for (std::string_view one : split(accept, ',')) {
    auto parts = split(trim(one), ';');
    std::string_view media = trim(parts[0]);
    if (media == "*/*" || media == "text/*" || media == "text/plain") return Page::text;
    auto has = [&](const std::string& wanted) { return std::ranges::any_of(parts, [&](std::string_view p) { return trim(p) == wanted; }); };
    if (media == "application/json" && has("g=config.k8s.io") && has("v=v1beta1") && has("as=" + std::string(kind))) return Page::object;
  }
  return Page::refused;
}

bool respond_object(const http::Request& request, http::Responder& responder, std::string_view kind, json::object content) {
  Page form = page_form(request.headers.get("Accept"), kind);
  if (form == Page::refused) respond_status(responder, api::not_acceptable("application/json, application/yaml, text/plain"));
  if (form != Page::object) return form == Page::refused;
  json::object object{{"kind", json::key(kind)}, {"apiVersion", "config.k8s.io/v1beta1"}, {"metadata", json::object{{"name", "apiserver"}}}};
  for (auto& member : content) object[member.key()] = std::move(member.value());
  http::Headers headers;
  headers.add("Content-Type", "application/json;g=config.k8s.io;v=v1beta1;as=" + std::string(kind));
  responder.respond(200, std::move(headers), json::serialize(json::value(std::move(object))));
  return true;
}

}  // namespace

std::span<const std::string_view> health_checks() {
  static constexpr std::string_view kChecks[] = {"ping", "log", "etcd", "informer-sync", "poststarthook/rbac/bootstrap-roles"};
  return kChecks;
}

void Diagnostics::write_objects(MetricsText& out) const {
  std::vector<std::pair<const ResourceCache*, double>> sizes;
  for (const auto& resource : s_.registry.all()) {
    const ResourceCache* cache = resource->cache;
    if (cache == nullptr || std::ranges::any_of(sizes, [&](auto& one) { return one.first == cache; })) continue;
    sizes.emplace_back(cache, static_cast<double>(cache->size()));
  }
  out.family("apiserver_resource_objects", "gauge", "[ALPHA] Number of stored objects at the time of last check split by kind. In case of a fetching error, the value will be -1.");
  for (const auto& [cache, size] : sizes) out.sample({{"group", cache->group()}, {"resource", cache->resource()}}, size);
  out.family("apiserver_storage_objects", "gauge", "[STABLE] (Deprecated since 1.34.0) [DEPRECATED, consider using apiserver_resource_objects instead] Number of stored objects at the time of last check split by kind. In case of a fetching error, the value will be -1.");
  for (const auto& [cache, size] : sizes) {
    std::string name = cache->resource() + (cache->group().empty() ? "" : "." + cache->group());
    out.sample({{"resource", name}}, size);
  }
  out.family("apiserver_resource_size_estimate_bytes", "gauge", "[ALPHA] Estimated size of stored objects in database. Estimate is based on sum of last observed sizes of serialized objects. In case of a fetching error, the value will be -1.");
  for (const auto& [cache, size] : sizes) out.sample({{"group", cache->group()}, {"resource", cache->resource()}}, static_cast<double>(cache->bytes()));
  out.family("apiserver_watch_cache_resource_version", "gauge", "[ALPHA] Current resource version of watch cache broken by resource type. This is truncated to the 15 least significant digits.");
  const double revision = static_cast<double>(s_.cache.revision());
  for (const auto& [cache, size] : sizes) out.sample({{"group", cache->group()}, {"resource", cache->resource()}}, revision);
  out.family("apiserver_storage_size_bytes", "gauge", "[STABLE] Size of the storage database file physically allocated in bytes.");
  out.sample({{"storage_cluster_id", "etcd-0"}}, static_cast<double>(s_.store.size_bytes()));
}

// 1 for those that do not answer.
void Diagnostics::write_api_services(MetricsText& out) const {
  const ResourceCache* services = s_.cache.find("apiregistration.k8s.io", "apiservices");
  if (services == nullptr) return;
  out.family("aggregator_unavailable_apiservice", "gauge", "[ALPHA] Gauge of APIServices which are marked as unavailable broken down by APIService name.");
  for (SnapshotPtr all = services->snapshot(); const ObjectPtr& service : all->objects) {
    bool available = false;
    for (const json::value& c : json::get_array(json::at(&service->value(), {"status", "conditions"})))
      available |= json::get_string(c, {"type"}) == "Available" && json::get_string(c, {"status"}) == "True";
    out.sample({{"name", service->name()}}, available ? 0 : 1);
  }
}

void Diagnostics::write_version(MetricsText& out) const {
  auto [major, minor] = major_minor(s_.version);
  utsname machine{};
  ::uname(&machine);
  const std::string platform = std::string_view(machine.machine) == "aarch64" ? "linux/arm64" : "linux/amd64", version = s_.version + "+kcube";
  out.family("kubernetes_build_info", "gauge", "[BETA] A metric with a constant '1' value labeled by major, minor, git version, git commit, git tree state, build date, Go version, and compiler from which Kubernetes was built, and platform on which it is running.");
  out.sample({{"build_date", "2026-01-01T00:00:00Z"}, {"compiler", "g++"}, {"git_commit", ""}, {"git_tree_state", "clean"}, {"git_version", version}, {"go_version", ""}, {"major", major}, {"minor", minor}, {"platform", platform}}, 1);
  out.family("kubernetes_feature_enabled", "gauge", "[BETA] This metric records the data about the stage and enablement of a k8s feature.");
  out.sample({{"name", "CBORServingAndStorage"}, {"stage", "ALPHA"}}, s_.gates.cbor ? 1 : 0);
  const std::string binary = s_.version.substr(1), emulated = major + "." + minor;
  out.family("version_info", "gauge", "[ALPHA] Provides the compatibility version info of the component. The component label is the name of the component, usually kube, but is relevant for aggregated-apiservers.");
  out.sample({{"binary", binary}, {"component", "kube"}, {"emulation", emulated}, {"min_compat", emulated}}, 1);
}

std::string Diagnostics::metrics() const {
  MetricsText out;
  write_api_services(out);
  s_.admission.write_metrics(out);
  out.single("apiserver_audit_event_total", "counter", "[ALPHA] Counter of audit events generated and sent to the audit backend.", static_cast<double>(s_.audit_events()));
  if (s_.flow != nullptr) s_.flow->write_metrics(out);
  s_.requests.write(out);
  write_objects(out);
  s_.services.write_metrics(out);
  write_version(out);
  write_process_metrics(out);
  return out.take();
}

void Diagnostics::statusz(const http::Request& request, http::Responder& responder) const {
  static constexpr const char* kPaths[] = {"/flagz", "/healthz", "/livez", "/metrics", "/readyz", "/statusz", "/version"};
  const int64_t seconds = std::chrono::duration_cast<std::chrono::seconds>(s_.clock.now() - started_).count();
  auto [major, minor] = major_minor(s_.version);
  const std::string binary = s_.version.substr(1), emulated = major + "." + minor;
  json::array paths;
  for (const char* path : kPaths) paths.push_back(json::value(path));
  if (respond_object(request, responder, "Statusz", {{"startTime", format_time(started_)}, {"uptimeSeconds", seconds}, {"goVersion", ""}, {"binaryVersion", binary}, {"emulationVersion", emulated}, {"paths", std::move(paths)}})) return;
  // A browser or curl gets columns, who asks for plain text gets colons.
  const std::string_view sign = request.headers.get("Accept").find("text/plain") != std::string_view::npos ? ": " : "  ";
  std::string text = "\napiserver statusz\n" + std::string(kWarning) + "\n";
  auto line = [&](std::string_view name, const std::string& value) { text.append(name).append(sign).append(value).append("\n"); };
  line("Started", date_text(started_));
  line("Up", uptime_text(seconds));
  line("Binary version", binary);
  line("Emulation version", emulated);
  line("Paths", "/flagz /healthz /livez /metrics /readyz /statusz /version");
  respond_text(responder, 200, std::move(text));
}

void Diagnostics::flagz(const http::Request& request, http::Responder& responder) const {
  json::object flags;
  std::string text = "\napiserver flagz\n" + std::string(kWarning);
  auto sorted = s_.gateway.flags;
  std::ranges::sort(sorted);
  for (const auto& [name, value] : sorted) {
    flags[name] = value;
    text.append(name).append(": ").append(value).append("\n");
  }
  if (!respond_object(request, responder, "Flagz", {{"flags", std::move(flags)}})) respond_text(responder, 200, std::move(text));
}

bool Diagnostics::flow_control(const http::Request& request, http::Responder& responder) const {
  std::string_view what = std::string_view(request.path).substr(kFlowControl.size());
  std::string text;
  std::string_view details = request.query.get("includeRequestDetails");
  if (what == "dump_priority_levels") text = s_.flow->dump_priority_levels();
  else if (what == "dump_queues") text = s_.flow->dump_queues();
  else if (what == "dump_requests") text = s_.flow->dump_requests(details == "1" || details == "true");
  else return false;
  respond_text(responder, 200, std::move(text));
  return true;
}

bool Diagnostics::serve(const http::Request& request, http::Responder& responder) const {
  const std::string_view path = request.path;
  if (path == "/metrics" || path == "/metrics/slis") {
    http::Headers headers;
    headers.add("Content-Type", kMetricsType);
    std::string text;
    if (path == "/metrics") {
      text = metrics();
    } else {
      MetricsText out;
      out.family("kubernetes_healthcheck", "gauge", "[STABLE] This metric records the result of a single healthcheck.");
      for (std::string_view type : {"healthz", "livez", "readyz"})
        for (std::string_view check : health_checks()) out.sample({{"name", check}, {"type", type}}, 1);
      text = out.take();
    }
    responder.respond(200, std::move(headers), std::move(text));
    return true;
  }
  if (path == "/statusz") return statusz(request, responder), true;
  if (path == "/flagz") return flagz(request, responder), true;
  if (path.starts_with(kFlowControl) && s_.flow != nullptr) return flow_control(request, responder);
  if (s_.gateway.profiling && (path == "/debug/pprof" || path.starts_with("/debug/pprof/"))) return serve_profile(request, responder);
  if (s_.gateway.profiling && path == "/debug/flags/v") return set_verbosity(request, responder), true;
  if (s_.gateway.logs && (path == "/logs" || path.starts_with("/logs/"))) return serve_logs(request, responder);
  return false;
}

}  // namespace kcube::apiserver
