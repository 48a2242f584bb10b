#include "pkg/apiserver/aggregator.h"

#include <algorithm>

#include "pkg/apiserver/service_endpoints.h"
#include "pkg/apiserver/output.h"
#include "pkg/base/strings.h"
#include "pkg/http/streams.h"

namespace kcube::apiserver {
namespace {

constexpr std::string_view kGroup = "apiregistration.k8s.io";

// Header values are single lines; a key of extra is escaped as the part of a header's name.
std::string header_key(std::string_view key) { return percent_encode(to_lower(key)); }

}  // namespace

Aggregator::Aggregator(Engine& engine, Forwarder& forwarder, auth::KeyPair proxy_client)
    : engine_(engine), core_(engine.core()), forwarder_(forwarder), proxy_client_(std::move(proxy_client)),
      api_services_(core_.cache.find(kGroup, "apiservices")), services_(core_.cache.find("", "services")),
      slices_(core_.cache.find("discovery.k8s.io", "endpointslices")), definitions_(core_.cache.find("apiextensions.k8s.io", "customresourcedefinitions")),
      queue_(core_.clock, {.first = std::chrono::milliseconds(500), .limit = std::chrono::seconds(30)}), workers_({"aggregator", 4, 1024}) {
  queue_.on_ready([this] { workers_.submit([this] { work(); }); });
}

Aggregator::~Aggregator() { stop(); }

void Aggregator::start() {
  started_ = true;
  for (const ExtensionPtr& extension : extensions()) queue_.add(extension->name);
  if (definitions_ == nullptr) return;
  for (SnapshotPtr all = definitions_->snapshot(); const ObjectPtr& definition : all->objects) observe_definition(definition->value());
}

void Aggregator::stop() {
  started_ = false;
  queue_.shut_down();
  workers_.stop();
}

void Aggregator::observe(const Event& event) {
  if (!started_) return;
  if (event.cache == api_services_) {
    // A change of its status alone is our own.
    const json::value* before = event.before ? json::find(&event.before->value(), "spec") : nullptr;
    const json::value* now = json::find(&event.object->value(), "spec");
    if (event.type != Event::Type::modified || before == nullptr || now == nullptr || *before != *now) queue_.add(std::string(event.object->name()));
    return;
  }
  if (event.cache == definitions_) {
    observe_definition(event.object->value());
    if (event.before) observe_definition(event.before->value());
    return;
  }
  if (event.cache != services_ && event.cache != slices_) return;
  std::shared_ptr<const Index> known;
  {
    std::lock_guard lock(mutex_);
    known = index_;
  }
  if (!known || known->by_version.empty()) return;
  std::string_view service = event.cache == services_ ? event.object->name() : event.object->label("kubernetes.io/service-name");
  for (const auto& [key, extension] : known->by_version)
    if (extension->ns == event.object->namespace_() && extension->service == service) queue_.add(extension->name);
}

// --- What there is ----------------------------------------------------------------------------------------------------

std::shared_ptr<const Peer> Aggregator::peer_of(const Extension& e, const json::value& spec) const {
  std::string ca = base64_decode(json::get_string(spec, {"caBundle"})).value_or("");
  bool insecure = json::get_bool(spec, {"insecureSkipTLSVerify"});
  std::string server_name = e.service + "." + e.ns + ".svc", key = server_name + (insecure ? "!" : "") + ca;
  auto& slot = peers_[key];
  if (!slot) slot = std::make_shared<const Peer>(http::ClientTls{ca, proxy_client_.certificate_pem, proxy_client_.key_pem, server_name, !insecure});
  return slot;
}

std::shared_ptr<const Aggregator::Index> Aggregator::index() const {
  uint64_t revision = api_services_->changed();
  std::lock_guard lock(mutex_);
  if (index_ && index_->revision == revision) return index_;
  auto made = std::make_shared<Index>();
  made->revision = revision;
  auto old_peers = std::exchange(peers_, {});
  for (SnapshotPtr all = api_services_->snapshot(); const ObjectPtr& object : all->objects) {
    const json::value& spec = *json::find(&object->value(), "spec");
    std::string group(json::get_string(spec, {"group"}));
    int64_t& priority = made->priorities[group];
    priority = std::max(priority, json::get_int(spec, {"groupPriorityMinimum"}));
    const json::value* service = json::find(&spec, "service");
    if (service == nullptr || !service->is_object()) continue;
    auto e = std::make_shared<Extension>();
    e->name = object->name();
    e->group = group;
    e->version = json::get_string(spec, {"version"});
    e->ns = json::get_string(*service, {"namespace"});
    e->service = json::get_string(*service, {"name"});
    e->port = json::get_int(*service, {"port"}, 443);
    e->group_priority = json::get_int(spec, {"groupPriorityMinimum"});
    e->version_priority = json::get_int(spec, {"versionPriority"});
    for (const json::value& c : json::get_array(json::at(&object->value(), {"status", "conditions"})))
      if (json::get_string(c, {"type"}) == "Available") e->available = json::get_string(c, {"status"}) == "True";
    // Connections that are open stay so when only a condition has changed.
    peers_.insert(old_peers.begin(), old_peers.end());
    e->peer = peer_of(*e, spec);
    made->by_version[e->group + "/" + e->version] = std::move(e);
  }
  std::erase_if(peers_, [&](const auto& slot) { return std::ranges::none_of(made->by_version, [&](const auto& m) { return m.second->peer == slot.second; }); });
  if (made->by_version.empty()) empty_at_.store(revision, std::memory_order_release);
  index_ = std::move(made);
  return index_;
}

std::vector<ExtensionPtr> Aggregator::extensions() const {
  std::vector<ExtensionPtr> all;
  auto current = index();
  for (const auto& [key, extension] : current->by_version) all.push_back(extension);
  std::ranges::stable_sort(all, [](const ExtensionPtr& a, const ExtensionPtr& b) {
    return std::tie(b->group_priority, a->group, b->version_priority, a->version) < std::tie(a->group_priority, b->group, a->version_priority, b->version);
  });
  return all;
}

std::shared_ptr<const ExtensionDocuments> Aggregator::documents(const std::string& name) const {
  std::lock_guard lock(mutex_);
  auto it = documents_.find(name);
  return it == documents_.end() ? std::make_shared<const ExtensionDocuments>() : it->second;
}

uint64_t Aggregator::generation() const { return api_services_->changed() * 1000003 + fetched_; }

std::map<std::string, int64_t, std::less<>> Aggregator::group_priorities() const { return index()->priorities; }

// --- Where it is ------------------------------------------------------------------------------------------------------

// "https://address:port" of the service's port; else why not.
Result<std::string> Aggregator::address(const Extension& e, Condition* why) const {
  std::string what = "service/" + e.service + " in \"" + e.ns + "\"";
  auto refuse = [&](std::string reason, std::string message) {
    if (why != nullptr) *why = {false, std::move(reason), message};
    return fail(Status::unavailable(message));
  };
  ObjectPtr service = services_->get(e.ns, e.service);
  if (!service) return refuse("ServiceNotFound", what + " is not present");
  if (json::get_string(service->value(), {"spec", "type"}) == "ExternalName")
    return "https://" + std::string(json::get_string(service->value(), {"spec", "externalName"})) + ":" + std::to_string(e.port);
  bool listens = false;
  std::string port_name;
  for (const json::value& p : json::get_array(json::at(&service->value(), {"spec", "ports"}))) {
    if (listens || json::get_int(p, {"port"}) != e.port) continue;
    listens = true;
    port_name = json::get_string(p, {"name"});
  }
  if (!listens) return refuse("ServicePortError", what + " is not listening on port " + std::to_string(e.port));
  auto endpoints = service_endpoints(core_, e.ns, e.service, port_name);
  std::string of = "endpointslices for service/" + e.service + " in \"" + e.ns + "\"";
  if (!endpoints.slices) return refuse("EndpointsNotFound", "cannot find " + of);
  if (endpoints.targets.empty()) return refuse("MissingEndpoints", of + " have no addresses with port name \"" + port_name + "\"");
  return "https://" + endpoints.targets[random_u64() % endpoints.targets.size()];
}

std::vector<std::pair<std::string, std::string>> Aggregator::identity(const auth::User& user) const {
  std::vector<std::pair<std::string, std::string>> headers{{"X-Remote-User", user.name}};
  if (!user.uid.empty()) headers.emplace_back("X-Remote-Uid", user.uid);
  for (const std::string& group : user.groups) headers.emplace_back("X-Remote-Group", group);
  for (const auto& [key, values] : user.extra)
    for (const std::string& value : values) headers.emplace_back("X-Remote-Extra-" + header_key(key), value);
  return headers;
}

bool Aggregator::serve(const auth::User& user, http::Request& request, std::unique_ptr<http::Responder>& responder) {
  std::string_view path = request.path;
  constexpr std::string_view kApis = "/apis/", kOpenApi = "/openapi/v3/apis/";
  std::string_view rest = path.starts_with(kApis) ? path.substr(kApis.size()) : path.starts_with(kOpenApi) ? path.substr(kOpenApi.size()) : std::string_view();
  auto parts = split(rest, '/');
  if (rest.empty() || parts.size() < 2 || !active()) return false;
  auto current = index();
  auto found = current->by_version.find(std::string(parts[0]) + "/" + std::string(parts[1]));
  if (found == current->by_version.end()) return false;
  const Extension& e = *found->second;
  auto base = e.available ? address(e, nullptr) : fail(Status::unavailable(""));
  if (!base) {
    http::Headers headers;
    headers.add("Content-Type", "text/plain; charset=utf-8");
    headers.add("X-Content-Type-Options", "nosniff");
    responder->respond(503, std::move(headers), "service unavailable\n");
    return true;
  }
  Target target{*base + request.raw_path + (request.raw_query.empty() ? "" : "?" + request.raw_query), e.peer, identity(user)};
  if (http::wants_upgrade(request)) forwarder_.tunnel(target, request, std::move(responder));
  else forwarder_.pass(target, request, std::move(responder));
  return true;
}

}  // namespace kcube::apiserver
