#include "pkg/apiserver/router.h"

#include <algorithm>

#include "pkg/api/errors.h"
#include "pkg/apiserver/extension/custom_resource.h"
#include "pkg/apiserver/request_body.h"
#include "pkg/apiserver/strategy.h"
#include "pkg/apiserver/watches.h"
#include "pkg/base/go_quoted.h"
#include "pkg/base/log.h"
#include "pkg/base/strings.h"

namespace kcube::apiserver {
namespace {

json::value success_status(const Call& call, std::string_view uid) {
  json::object details{{"name", call.name}};
  if (!call.resource->group().empty()) details["group"] = json::key(call.resource->group());
  details["kind"] = json::key(call.resource->resource());
  if (!uid.empty()) details["uid"] = json::key(uid);
  return json::object{{"kind", "Status"}, {"apiVersion", "v1"}, {"metadata", json::object()}, {"status", "Success"}, {"details", std::move(details)}};
}

std::string denial(const auth::User& user, const auth::Attributes& a) {
  std::string text = "User \"" + user.name + "\" cannot " + a.verb + " resource \"" + a.resource + (a.subresource.empty() ? "" : "/" + a.subresource) +
                     "\" in API group \"" + a.api_group + "\" ";
  return text + (a.namespace_.empty() ? "at the cluster scope" : "in the namespace \"" + a.namespace_ + "\"");
}

// As kube-apiserver prints what was asked for without a name: a Go value.
std::string nameless_text(const std::string& uid, const std::vector<std::string_view>& groups, const http::Request& request) {
  auto quoted = [](std::string_view text) {
    std::string out;
    json::append_quoted(out, text);
    return out;
  };
  auto list = [&](const std::vector<std::string_view>& values) {
    std::string out;
    for (std::string_view v : values) out += (out.empty() ? "" : ", ") + quoted(v);
    return "[]string{" + out + "}";
  };
  std::map<std::string, std::vector<std::string_view>> extra;
  for (const auto& [header, value] : request.headers.items()) {
    constexpr std::string_view kExtra = "impersonate-extra-";
    std::string lower = to_lower(header);
    if (lower.starts_with(kExtra)) extra[percent_decode(std::string_view(lower).substr(kExtra.size()), false)].push_back(value);
  }
  std::string extras;
  for (const auto& [key, values] : extra) extras += (extras.empty() ? "" : ", ") + quoted(key) + ":" + list(values);
  return "&user.DefaultInfo{Name:\"\", UID:" + quoted(uid) + ", Groups:" + (groups.empty() ? "[]string(nil)" : list(groups)) + ", Extra:map[string][]string" +
         (extra.empty() ? "(nil)" : "{" + extras + "}") + "}";
}

// Requests that are not over when they are answered, and for which there is no seat to be given back.
bool runs_long(const RequestInfo& info) {
  static constexpr std::string_view kSubresources[] = {"attach", "exec", "proxy", "log", "portforward"};
  if (!info.is_resource) return false;
  return info.verb == "watch" || info.verb == "proxy" || std::ranges::find(kSubresources, info.subresource) != std::end(kSubresources);
}

// A quarter of the time that the client gives the request ("30s"); 0: what is usual.
std::chrono::milliseconds longest_wait(std::string_view timeout) {
  auto seconds = parse_int<int64_t>(timeout.substr(0, timeout.find('s')));
  return std::chrono::milliseconds(seconds && *seconds > 0 ? std::min<int64_t>(*seconds, 60) * 250 : 0);
}

// As Go reads durations: "1h15m30.5s". What is wrong with the one of the request, which says how long it may take; empty: nothing.
std::string timeout_problem(const http::Request& request) {
  std::string_view text = request.query.get("timeout");
  if (text.empty() || request.query.flag("watch")) return {};
  auto bad = [&](const char* what) { return "invalid timeout specified in the request URL - time: " + std::string(what) + " duration " + go_quoted(text); };
  std::string_view rest = text;
  if (rest.starts_with('-') || rest.starts_with('+')) rest.remove_prefix(1);
  if (rest == "0") return {};
  if (rest.empty()) return bad("invalid");
  while (!rest.empty()) {
    const size_t number = std::min(rest.find_first_not_of("0123456789."), rest.size());
    if (number == 0 || rest.substr(0, number) == "." || std::ranges::count(rest.substr(0, number), '.') > 1) return bad("invalid");
    rest.remove_prefix(number);
    const size_t unit = std::min(rest.find_first_of("0123456789."), rest.size());
    if (unit == 0) return bad("missing unit in");
    static constexpr std::string_view kUnits[] = {"ns", "us", "\xc2\xb5s", "\xce\xbcs", "ms", "s", "m", "h"};
    if (std::ranges::find(kUnits, rest.substr(0, unit)) == std::end(kUnits))
      return "invalid timeout specified in the request URL - time: unknown unit " + go_quoted(rest.substr(0, unit)) + " in duration " + go_quoted(text);
    rest.remove_prefix(unit);
  }
  return {};
}

void respond_too_many(http::Responder& responder, int retry_after_seconds) {
  http::Headers headers;
  headers.add("Content-Type", "text/plain; charset=utf-8");
  headers.add("Retry-After", std::to_string(retry_after_seconds));
  headers.add("X-Content-Type-Options", "nosniff");
  responder.respond(429, std::move(headers), "Too many requests, please try again later.\n");
}

double seconds_since(std::chrono::steady_clock::time_point then) { return std::chrono::duration<double>(std::chrono::steady_clock::now() - then).count(); }

// Groups of definitions come and go, and leave nothing behind that would answer.
bool is_builtin(std::string_view group) {
  return std::ranges::any_of(api::Schema::builtin().resources(), [&](const api::ResourceInfo& r) { return r.group == group; });
}

// What admission had to say goes along with the answer that comes now.
void tell_audit(const Call& call) {
  if (call.audit)
    for (const auto& [key, value] : call.audit_annotations) call.audit->annotate(key, value);
}

}  // namespace

auth::Attributes Router::attributes_of(const auth::User& user, const RequestInfo& info, const http::Request& request) {
  auth::Attributes a;
  a.user = user;
  a.verb = info.verb;
  a.resource_request = info.is_resource;
  if (!info.is_resource) {
    a.path = request.path;
    return a;
  }
  a.namespace_ = info.ns;
  a.api_group = info.group;
  a.api_version = info.version;
  a.resource = info.resource;
  a.subresource = info.subresource;
  a.name = info.name;
  if (a.verb != "list" && a.verb != "watch" && a.verb != "deletecollection") return a;
  a.field_selector = request.query.get("fieldSelector");
  a.label_selector = request.query.get("labelSelector");
  // A list of one name is about that object.
  if (a.name.empty() && a.verb != "deletecollection" && !a.field_selector.empty()) {
    auto fields = api::FieldSelector::parse(a.field_selector);
    if (fields)
      if (const std::string* name = fields->required_value("metadata.name")) a.name = *name;
  }
  return a;
}

Result<void> Router::authorize(const auth::Attributes& a, audit::Record* record) const {
  if (!a.resource_request && Documents::is_public(a.path) && record == nullptr) return {};
  auto decision = s_.authorizer.decide(a);
  if (!a.resource_request && Documents::is_public(a.path)) decision.allowed = true;
  if (record != nullptr) {
    record->annotate("authorization.k8s.io/decision", decision.allowed ? "allow" : "forbid");
    record->annotate("authorization.k8s.io/reason", decision.reason);
  }
  if (decision.allowed) return {};
  if (!a.resource_request) return fail(Status(403, "Forbidden", "forbidden: User \"" + a.user.name + "\" cannot " + a.verb + " path \"" + a.path + "\""));
  std::string text = denial(a.user, a);
  if (!decision.reason.empty()) text += ": " + decision.reason;
  return fail(api::forbidden(a.api_group, a.resource, a.name, text));
}

// `kubectl --as`: who the caller wants to be, when he may.
Result<auth::User> Router::impersonated(const auth::User& user, const http::Request& request) const {
  std::string name(request.headers.get("Impersonate-User"));
  auto groups = request.headers.all("Impersonate-Group");
  std::string uid(request.headers.get("Impersonate-Uid"));
  if (name.empty()) {
    bool extra = std::ranges::any_of(request.headers.items(), [](const auto& h) { return to_lower(h.first).starts_with("impersonate-extra-"); });
    if (!groups.empty() || !uid.empty() || extra) return fail(Status::bad_request("requested " + nameless_text(uid, groups, request) + " without impersonating a user name"));
    return user;
  }
  auto may = [&](std::string_view resource, std::string_view ns, std::string_view what) -> Result<void> {
    auth::Attributes a;
    a.user = user;
    a.verb = "impersonate";
    a.resource = resource;
    a.namespace_ = ns;
    a.name = what;
    if (resource == "uids" || resource == "userextras") a.api_group = "authentication.k8s.io";
    if (s_.authorizer.decide(a).allowed) return {};
    return fail(api::forbidden(a.api_group, a.resource, what, denial(user, a)));
  };
  auth::User other{name, uid, {}, {}};
  constexpr std::string_view kServiceAccount = "system:serviceaccount:";
  if (name.starts_with(kServiceAccount)) {
    auto parts = split(std::string_view(name).substr(kServiceAccount.size()), ':');
    if (parts.size() != 2) return fail(Status::bad_request("invalid service account name: " + name));
    if (auto done = may("serviceaccounts", parts[0], parts[1]); !done) return fail(done.error());
    if (groups.empty()) other.groups = {"system:serviceaccounts", "system:serviceaccounts:" + std::string(parts[0])};
  } else if (auto done = may("users", "", name); !done) {
    return fail(done.error());
  }
  for (std::string_view group : groups) {
    if (auto done = may("groups", "", group); !done) return fail(done.error());
    other.groups.emplace_back(group);
  }
  if (!uid.empty())
    if (auto done = may("uids", "", uid); !done) return fail(done.error());
  for (const auto& [header, value] : request.headers.items()) {
    constexpr std::string_view kExtra = "impersonate-extra-";
    std::string lower = to_lower(header);
    if (!lower.starts_with(kExtra)) continue;
    std::string key = percent_decode(std::string_view(lower).substr(kExtra.size()), false);
    auth::Attributes a;
    a.user = user;
    a.verb = "impersonate";
    a.api_group = "authentication.k8s.io";
    a.resource = "userextras";
    a.subresource = key;
    a.name = value;
    if (!s_.authorizer.decide(a).allowed) return fail(api::forbidden(a.api_group, "userextras", value, denial(user, a)));
    other.extra[key].push_back(value);
  }
  bool anonymous = name == "system:anonymous";
  if (!other.in_group("system:authenticated") && !other.in_group("system:unauthenticated")) other.groups.push_back(anonymous ? "system:unauthenticated" : "system:authenticated");
  return other;
}

void Router::handle(http::Request& request, std::unique_ptr<http::Responder> responder) {
  if (request.query.has("timeout"))
    if (std::string problem = timeout_problem(request); !problem.empty()) return respond_status(*in_accepted_encoding(request, std::move(responder), s_.gates), Status::bad_request(problem));
  const auto began = std::chrono::steady_clock::now();
  auto user = s_.authenticator.authenticate(request);
  s_.metrics.authenticated(user ? &user->name : nullptr, seconds_since(began));
  Pending pending{&request, parse_request(request.method, request.path, request.query.flag("watch")), {}, nullptr, nullptr, nullptr};
  const RequestInfo& info = pending.info;
  if (info.is_resource) pending.resource = s_.core.registry.find(info.group, info.version, info.resource, info.subresource);
  if (s_.auditor != nullptr) pending.record = s_.auditor->begin(attributes_of(user ? *user : auth::User(), info, request), request, responder);
  const bool apply = info.verb == "patch" && request.headers.get("Content-Type").starts_with("application/apply-patch");
  RequestSeries& series = s_.metrics.series(info, request.path, pending.resource != nullptr, apply, request.query.get("dryRun") == "All");
  if (series.mutating) series.bodies.observe(static_cast<double>(request.body.size()));
  pending.responder = std::make_unique<ObservedResponder>(std::move(responder), series, runs_long(info) ? nullptr : &s_.metrics.inflight(series.mutating));
  auto refuse = [&](const Status& status) { respond_status(*in_accepted_encoding(request, std::move(pending.responder), s_.gates), status); };
  if (!user) return refuse(user.error());
  user = impersonated(*user, request);
  if (!user) return refuse(user.error());
  if (pending.record && request.headers.has("Impersonate-User")) pending.record->impersonate(*user);
  pending.user = std::move(*user);
  admit(std::move(pending));
}

// Whether there is a seat for the request, now or later.
void Router::admit(Pending pending) {
  auth::Attributes attributes = attributes_of(pending.user, pending.info, *pending.request);
  if (runs_long(pending.info) && (s_.flow == nullptr || pending.info.verb != "watch")) return proceed(attributes, std::move(pending));
  if (s_.flow == nullptr) {
    const bool mutating = pending.responder->series().mutating;
    const int limit = mutating ? s_.gateway.max_mutating_requests : s_.gateway.max_requests;
    if (limit > 0 && s_.metrics.inflight(mutating).now() > limit && !pending.user.in_group("system:masters")) {
      pending.responder->drop();
      return respond_too_many(*pending.responder, 1);
    }
    return proceed(attributes, std::move(pending));
  }
  static constexpr std::string_view kWrites[] = {"create", "update", "patch", "delete"};
  std::function<flowcontrol::Work(int)> estimate;
  if (pending.info.verb == "list" || pending.info.verb == "watch") estimate = [&](int widest) { return list_work(pending, widest); };
  else if (std::ranges::find(kWrites, pending.info.verb) != std::end(kWrites)) estimate = [&](int widest) { return write_work(pending, widest); };
  flowcontrol::Ticket ticket = s_.flow->begin(std::move(attributes), estimate);
  if (ticket.state() == flowcontrol::Execution::State::waiting) return park(std::move(ticket), std::move(pending));
  take_seat(std::move(ticket), std::move(pending));
}

// Puts the request aside until it has a seat; the thread goes on with others.
void Router::park(flowcontrol::Ticket ticket, Pending pending) {
  struct Parked {
    http::Request request;
    Pending pending;
  };
  auto parked = std::make_shared<Parked>(Parked{std::move(*pending.request), std::move(pending)});
  parked->pending.request = &parked->request;
  // Known before it is parked: from then on it may be answered at any time.
  parked->pending.responder->on_abandoned([flow = s_.flow, id = ticket.id()] { flow->cancel(id); });
  const auto wait = longest_wait(parked->request.query.get("timeout"));
  s_.flow->park(std::move(ticket), wait, [this, parked = std::move(parked)](flowcontrol::Ticket seat) { take_seat(std::move(seat), std::move(parked->pending)); });
}

// Carries on with a seat, or says that there was none.
void Router::take_seat(flowcontrol::Ticket ticket, Pending pending) {
  const bool seated = ticket.state() == flowcontrol::Execution::State::running;
  const auth::Attributes& asked = ticket.execution().attributes;
  const int retry_after = seated ? 0 : ticket.retry_after();
  pending.responder->hold(std::move(ticket));
  if (seated) return proceed(asked, std::move(pending));
  pending.responder->drop();
  respond_too_many(*pending.responder, retry_after);
}

// Seats by the bytes that a list answers with, as far as they are in memory for it at once; a watch begins with a list when
// it wants what there is.
flowcontrol::Work Router::list_work(const Pending& pending, int widest) const {
  constexpr uint64_t kBytesPerSeat = 100'000, kMostBytes = 1'000'000;
  const http::Query& query = pending.request->query;
  if (!pending.resource || pending.resource->cache == nullptr || !pending.info.name.empty()) return {};
  std::string_view version = query.get("resourceVersion");
  if (pending.info.verb == "watch" && !query.flag("sendInitialEvents") && version != "0" && !version.empty()) return {};
  const uint64_t objects = pending.resource->cache->size();
  uint64_t bytes = pending.resource->cache->bytes();
  if (auto limit = parse_int<uint64_t>(query.get("limit")); limit && *limit > 0 && *limit < objects) bytes = bytes / objects * *limit;
  return {.seats = std::clamp(static_cast<int>((std::min(bytes, kMostBytes) + kBytesPerSeat - 1) / kBytesPerSeat), 1, widest)};
}

// A write is told to all who watch its object: for ten of them a seat is taken for a moment after it. What would be wider
// than allowed is narrower and longer.
flowcontrol::Work Router::write_work(const Pending& pending, int widest) const {
  constexpr size_t kWatchersPerSeat = 10;
  constexpr double kSeconds = 0.005;
  const RequestInfo& info = pending.info;
  flowcontrol::Work work;
  if (!pending.resource || pending.resource->cache == nullptr || info.subresource == "token") return work;
  const ResourceCache& cache = *pending.resource->cache;
  work.watchers = s_.hub.interested(cache, info.ns, info.name, kWatchersPerSeat) + s_.converting.interested(cache, info.ns, info.name, kWatchersPerSeat);
  if (*work.watchers < kWatchersPerSeat) return work;
  const size_t seats = (*work.watchers + kWatchersPerSeat - 1) / kWatchersPerSeat;
  work.final_seats = static_cast<int>(std::min(seats, static_cast<size_t>(widest)));
  work.additional_seconds = static_cast<double>(seats) * kSeconds / work.final_seats;
  return work;
}

void Router::proceed(const auth::Attributes& attributes, Pending pending) {
  const RequestInfo& info = pending.info;
  http::Request& request = *pending.request;
  ObservedResponder& observed = *pending.responder;
  const auto began = std::chrono::steady_clock::now();
  auto authorized = authorize(attributes, pending.record.get());
  s_.metrics.authorized(authorized.has_value(), seconds_since(began));
  if (!authorized) return respond_status(*in_accepted_encoding(request, std::move(pending.responder), s_.gates), authorized.error());
  std::unique_ptr<http::Responder> answer = std::move(pending.responder);
  if (s_.aggregator.serve(pending.user, request, answer)) return;
  if (!info.is_resource) {
    // The words that introduced resources once, without one.
    if (info.verb == "unknown") return respond_text(*answer, 500, "Internal Server Error: " + go_quoted(request.path) + ": failed to create RequestInfo: unable to determine kind and namespace from url, " + request.path + "\n");
    if (s_.documents.knows_group(request.path)) answer = in_accepted_encoding(request, std::move(answer), s_.gates);
    if (!s_.documents.serve(request, *answer) && !s_.diagnostics.serve(request, *answer)) not_served(request, *in_accepted_encoding(request, std::move(answer), s_.gates));
    return;
  }
  Call call;
  call.user = std::move(pending.user);
  call.resource = std::move(pending.resource);
  if (call.resource == nullptr) return not_served(request, *in_accepted_encoding(request, std::move(answer), s_.gates));
  bool in_namespace = !info.ns.empty() && info.resource != "namespaces";
  if (call.resource->namespaced()) call.ns = info.ns;
  else if (in_namespace) return respond_status(*in_accepted_encoding(request, std::move(answer), s_.gates), api::generic_not_found());
  call.name = info.name;
  if (call.resource->is("", "endpoints")) call.warn("v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice");
  if (call.resource->is("", "componentstatuses")) call.warn("v1 ComponentStatus is deprecated in v1.19+");
  call.observed = &observed;
  call.audit = std::move(pending.record);
  resource(std::move(call), info, request, std::move(answer));
}

// A path of a group that is served is told of as an object, any other as text.
void Router::not_served(const http::Request& request, http::Responder& responder) const {
  auto parts = split(std::string_view(request.path).substr(request.path.empty() ? 0 : 1), '/');
  const bool core = parts[0] == "api", group = parts[0] == "apis" && parts.size() > 1;
  const bool document = request.path.starts_with("/.well-known/openid-configuration/") || request.path.starts_with("/openid/v1/jwks/");
  const bool known = document || core ? document || parts.size() > 1 : group && is_builtin(parts[1]);
  if (known) respond_status(responder, api::generic_not_found());
  else respond_text(responder, 404, "404 page not found\n");
}

void Router::resource(Call call, const RequestInfo& info, http::Request& request, std::unique_ptr<http::Responder> responder) {
  const Resource& r = *call.resource;
  if (r.custom != nullptr && r.custom->owner->terminating() && info.verb == "create")
    return respond_status(*responder, Status(405, "MethodNotAllowed", "create not allowed while custom resource definition is terminating"), call.warnings);
  if (r.custom != nullptr && !r.custom->warning.empty()) call.warn(r.custom->warning);
  const bool reviewed = info.verb == "create" && Reviews::handles(r);
  auto refuse = [&] { respond_status(*responder, Status(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")); };
  // What is connected to answers in its own form. A proxy carries every method, also those that are no verb of the API.
  const bool nowhere = r.namespaced() && call.ns.empty();
  if (Connector::handles(r) && !nowhere && (r.info->has_verb(info.verb) || r.subresource() == "proxy")) return s_.connector.serve(call, info, request, std::move(responder));
  responder = in_accepted_encoding(request, std::move(responder), s_.gates);
  // Across namespaces there is a list at most.
  if (r.namespaced() && call.ns.empty() && r.custom == nullptr && (!call.name.empty() || !r.info->has_verb("list"))) return respond_status(*responder, api::generic_not_found());
  if (info.verb == "watch" && r.info->has_verb("list") && !r.info->has_verb("watch")) return respond_status(*responder, api::method_not_supported(r.group(), r.resource(), "watch"), call.warnings);
  if (!r.info->has_verb(info.verb) && !reviewed) return refuse();
  bool needs_namespace = r.namespaced() && call.ns.empty();
  if (needs_namespace && (!call.name.empty() || info.verb == "create" || info.verb == "deletecollection")) return refuse();
  if (info.verb == "create" && r.subresource().empty() && !call.name.empty()) return refuse();
  if ((info.verb == "update" || info.verb == "patch") && call.name.empty()) return refuse();
  if (request.method == "HEAD") return refuse();
  if (info.verb == "get" || info.verb == "list" || info.verb == "watch") return read(call, info, request, std::move(responder));
  if (info.verb == "delete" || info.verb == "deletecollection") return remove(call, info, request, *responder);
  write(call, info, request, *responder);
}

void Router::read(const Call& call, const RequestInfo& info, http::Request& request, std::unique_ptr<http::Responder> responder) {
  auto accepted = negotiate(request, *call.resource, s_.gates, call.name.empty(), info.verb == "watch");
  if (!accepted) return respond_status(*responder, accepted.error(), call.warnings);
  const bool watch = info.verb == "watch";   // with a name in the path ?watch says nothing
  auto query = info.verb == "get" && !watch ? ListOptions() : read_list_query(request.query, !watch);
  if (!query) return respond_status(*responder, query.error(), call.warnings);
  if (watch && call.resource->cache != nullptr) {
    auto spec = read_watch(call, request.query, s_.core.cache.revision());
    if (!spec) return respond_status(*responder, spec.error(), call.warnings);
    const auto* custom = call.resource->custom;
    Hub& hub = custom != nullptr && custom->owner->converts_by_webhook() ? s_.converting : s_.hub;
    return serve_watch(hub, std::move(*spec), call.resource, *accepted, call.warnings, s_.core.clock, request, std::move(responder));
  }
  auto now = s_.core.clock.now();
  if (info.verb == "list") {
    auto page = s_.engine.list(call, *query);
    if (!page) return respond_status(*responder, page.error(), call.warnings);
    if (auto done = check_form(*accepted, *call.resource, true); !done) return respond_status(*responder, done.error(), call.warnings);
    return respond_as(*responder, 200, encode_list(*call.resource, *page, *accepted, now), *accepted, call.warnings);
  }
  auto object = s_.engine.get(call);
  if (!object) return respond_status(*responder, object.error(), call.warnings);
  if (auto done = check_form(*accepted, *call.resource, false); !done) return respond_status(*responder, done.error(), call.warnings);
  respond_as(*responder, 200, encode_object(*call.resource, *object, *accepted, now), *accepted, call.warnings);
}

void Router::write(Call& call, const RequestInfo& info, http::Request& request, http::Responder& responder) {
  auto accepted = negotiate(request, *call.resource, s_.gates);
  if (!accepted) return respond_status(responder, accepted.error(), call.warnings);
  // Reviews and the like are answers, not objects: there is no table of them.
  if (accepted->form == Form::table && Reviews::handles(*call.resource))
    return respond_status(responder, api::not_acceptable(media_types(s_.gates)), call.warnings);
  bool patch = info.verb == "patch";
  std::string_view kind = patch ? "PatchOptions" : info.verb == "create" ? "CreateOptions" : "UpdateOptions";
  if (auto done = read_options(call, request, kind); !done) return respond_status(responder, done.error(), call.warnings);
  Result<client::PatchType> type = client::PatchType::merge;
  Result<json::value> body = nullptr;
  bool force = request.query.flag("force");
  if (patch) {
    type = patch_type(media_of(request), s_.gates);
    if (call.resource->custom != nullptr && (!type || *type == client::PatchType::strategic))
      type = fail(api::unsupported_media_type(std::string("application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml") +
                                              (s_.gates.cbor ? ", application/apply-patch+cbor" : "")));
    if (!type) return respond_status(responder, type.error(), call.warnings);
    bool apply = *type == client::PatchType::apply;
    auto refuse = [&](Cause cause) { respond_status(responder, api::invalid("meta.k8s.io", "PatchOptions", "", {std::move(cause)}), call.warnings); };
    if (apply && request.query.get("fieldManager").empty()) return refuse(api::field_required("fieldManager", "is required for apply patch"));
    if (!apply && request.query.has("force")) return refuse(api::field_forbidden("force", "may not be specified for non-apply patch"));
    body = read_patch(call, request, *type);
  } else {
    body = read_body(call, request, s_.gates);
  }
  if (!body) return respond_status(responder, body.error(), call.warnings);
  if (info.verb == "create" && Reviews::handles(*call.resource)) {
    auto answer = s_.reviews.create(call, std::move(*body));
    tell_audit(call);
    if (!answer) return respond_status(responder, answer.error(), call.warnings);
    return respond_json(responder, 201, json::serialize(*answer), call.warnings);
  }
  auto written = patch ? s_.engine.patch(call, *type, *body, force)
                 : info.verb == "create" ? s_.engine.create(call, std::move(*body)) : s_.engine.update(call, std::move(*body));
  tell_audit(call);
  if (!written) return respond_status(responder, written.error(), call.warnings);
  if (auto done = check_form(*accepted, *call.resource, false); !done) return respond_status(responder, done.error(), call.warnings);
  respond_as(responder, written->created ? 201 : 200, encode_object(*call.resource, written->object, *accepted, s_.core.clock.now()), *accepted, call.warnings);
}

void Router::remove(Call& call, const RequestInfo& info, http::Request& request, http::Responder& responder) {
  auto accepted = negotiate(request, *call.resource, s_.gates);
  if (!accepted) return respond_status(responder, accepted.error(), call.warnings);
  bool dependents_go = false;
  auto deletion = read_deletion(call, request, s_.gates, dependents_go);
  if (!deletion) return respond_status(responder, deletion.error(), call.warnings);
  if (call.resource->strategy->warns_of_orphans && deletion->propagation.empty())
    call.warn("child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them or set propagationPolicy=Orphan to suppress this warning");
  auto now = s_.core.clock.now();
  if (info.verb == "deletecollection") {
    auto query = read_list_query(request.query, true);
    if (!query) return respond_status(responder, query.error(), call.warnings);
    auto removed = s_.engine.remove_collection(call, *deletion, *query);
    tell_audit(call);
    if (!removed) return respond_status(responder, removed.error(), call.warnings);
    if (auto done = check_form(*accepted, *call.resource, true); !done) return respond_status(responder, done.error(), call.warnings);
    return respond_as(responder, 200, encode_list(*call.resource, *removed, *accepted, now), *accepted, call.warnings);
  }
  auto removed = s_.engine.remove(call, *deletion);
  tell_audit(call);
  if (!removed) return respond_status(responder, removed.error(), call.warnings);
  if (removed->removed && !call.resource->strategy->returns_deleted)
    return respond_json(responder, 200, json::serialize(success_status(call, removed->object->uid())), call.warnings);
  if (auto done = check_form(*accepted, *call.resource, false); !done) return respond_status(responder, done.error(), call.warnings);
  // Not gone yet, and to be waited for by who wants its dependents gone.
  const int code = dependents_go && !removed->removed ? 202 : 200;
  respond_as(responder, code, encode_object(*call.resource, removed->object, *accepted, now), *accepted, call.warnings);
}

}  // namespace kcube::apiserver
