// Whether extension API servers answer, and what they say they serve. Runs on the aggregator's own threads.
#include "pkg/api/errors.h"
#include "pkg/apiserver/aggregator.h"
#include "pkg/base/log.h"
#include "pkg/base/strings.h"

namespace kcube::apiserver {
namespace {

constexpr auto kTimeout = std::chrono::seconds(6);
constexpr auto kAgain = std::chrono::seconds(30);
constexpr int kAttempts = 3;
constexpr std::string_view kDefinition = "crd/";   // before "version/group" in the queue
constexpr const char* kManaged = "kube-aggregator.kubernetes.io/automanaged";
constexpr int kGroupPriority = 1000, kVersionPriority = 100;

}  // namespace

void Aggregator::work() {
  auto name = queue_.try_take();
  if (!name) return;
  if (name->starts_with(kDefinition)) {
    size_t slash = name->find('/', kDefinition.size());
    register_version(name->substr(slash + 1), name->substr(kDefinition.size(), slash - kDefinition.size()));
  } else {
    check(*name);
  }
  queue_.done(*name);
}

void Aggregator::observe_definition(const json::value& definition) {
  std::string_view group = json::get_string(definition, {"spec", "group"});
  for (const json::value& version : json::get_array(json::at(&definition, {"spec", "versions"})))
    queue_.add(std::string(kDefinition) + std::string(json::get_string(version, {"name"})) + "/" + std::string(group));
}

// There is an APIService for what some custom resource serves, and none for what nothing serves any more.
void Aggregator::register_version(const std::string& group, const std::string& version) {
  bool served = false;
  for (SnapshotPtr all = definitions_->snapshot(); const ObjectPtr& definition : all->objects) {
    if (definition->deleting() || json::get_string(definition->value(), {"spec", "group"}) != group) continue;
    for (const json::value& v : json::get_array(json::at(&definition->value(), {"spec", "versions"})))
      served |= json::get_string(v, {"name"}) == version && json::get_bool(v, {"served"});
  }
  Call call;
  call.user = {"system:apiserver", "", {"system:masters"}, {}};
  call.resource = core_.registry.find("apiregistration.k8s.io", "v1", "apiservices");
  call.name = version + "." + group;
  call.trusted = true;
  call.field_manager = "kube-apiserver";
  ObjectPtr known = api_services_->get("", call.name);
  if (served == (known != nullptr)) return;
  Result<Written> done;
  if (served) {
    json::object metadata{{"name", call.name}, {"labels", json::object{{kManaged, "true"}}}};
    done = engine_.create(call, json::object{{"apiVersion", "apiregistration.k8s.io/v1"}, {"kind", "APIService"}, {"metadata", std::move(metadata)},
                                             {"spec", json::object{{"group", group}, {"version", version}, {"groupPriorityMinimum", kGroupPriority}, {"versionPriority", kVersionPriority}}}});
  } else if (known->label(kManaged) == "true") {
    done = engine_.remove(call, {});
  }
  if (!done && !done.error().is_not_found() && !done.error().is_conflict()) queue_.add_rate_limited(std::string(kDefinition) + version + "/" + group);
}

void Aggregator::check(const std::string& name) {
  ObjectPtr object = api_services_->get("", name);
  if (!object) {
    std::lock_guard lock(mutex_);
    if (documents_.erase(name) != 0) ++fetched_;
    queue_.forget(name);
    return;
  }
  ExtensionPtr extension;
  for (const auto& [key, e] : index()->by_version)
    if (e->name == name) extension = e;
  if (!extension) return write(name, {true, "Local", "Local APIServices are always available"});
  Condition condition = probe(*extension);
  write(name, condition);
  if (condition.reason == "FailedDiscoveryCheck") {
    queue_.add_rate_limited(name);
    return;
  }
  queue_.forget(name);
  if (condition.available) queue_.add_after(name, kAgain);
}

Aggregator::Condition Aggregator::probe(const Extension& extension) {
  Condition condition;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    // Another endpoint may do better.
    auto base = address(extension, &condition);
    if (!base) return condition;
    condition = ask(extension, *base);
    if (condition.available) return condition;
  }
  return condition;
}

Aggregator::Condition Aggregator::ask(const Extension& e, const std::string& base) {
  http::ClientRequest request{.url = base + "/apis/" + e.group + "/" + e.version, .timeout = kTimeout};
  for (auto& [name, value] : identity({"system:kube-aggregator", "", {"system:masters"}, {}})) request.headers.add(name, value);
  request.headers.add("Accept", "application/json");
  auto response = e.peer->client->send(request);
  if (!response) return {false, "FailedDiscoveryCheck", "failing or missing response from " + request.url + ": Get \"" + request.url + "\": " + response.error().message()};
  if (response->status < 200 || response->status >= 300)
    return {false, "FailedDiscoveryCheck", "failing or missing response from " + request.url + ": bad status from " + request.url + ": " + std::to_string(response->status)};
  auto fresh = std::make_shared<ExtensionDocuments>(*documents(e.name));
  bool changed = false;
  if (auto list = json::parse(response->body); list && *list != fresh->resources) {
    fresh->resources = std::move(*list);
    changed = true;
  }
  auto v3 = fresh->openapi_v3;
  auto etag = fresh->v2_etag;
  fetch_openapi(e, base, *fresh);
  changed |= v3 != fresh->openapi_v3 || etag != fresh->v2_etag;
  if (changed) {
    std::lock_guard lock(mutex_);
    documents_[e.name] = std::move(fresh);
    ++fetched_;
  }
  return {true, "Passed", "all checks passed"};
}

// Descriptions are a help to clients; a server without them is as good.
void Aggregator::fetch_openapi(const Extension& e, const std::string& base, ExtensionDocuments& documents) {
  auto get = [&](const std::string& path, const std::string& etag) {
    http::ClientRequest request{.url = base + path, .timeout = kTimeout};
    for (auto& [name, value] : identity({"system:aggregator", "", {"system:masters"}, {}})) request.headers.add(name, value);
    request.headers.add("Accept", "application/json");
    if (!etag.empty()) request.headers.add("If-None-Match", etag);
    return e.peer->client->send(request);
  };
  std::string own = "apis/" + e.group + "/" + e.version;
  if (auto index = get("/openapi/v3", ""); index && index->status == 200) {
    auto parsed = json::parse(index->body);
    documents.openapi_v3.clear();
    if (parsed)
      for (const auto& m : json::get_object(json::find(&*parsed, "paths")))
        if (json::view(m.key()) == own) documents.openapi_v3[own] = json::get_string(m.value(), {"serverRelativeURL"});
  }
  if (auto v2 = get("/openapi/v2", documents.v2_etag); v2 && v2->status == 200) {
    auto parsed = json::parse(v2->body);
    if (!parsed) return;
    documents.openapi_v2 = std::move(*parsed);
    documents.v2_etag = v2->headers.get("Etag");
    if (documents.v2_etag.empty()) documents.v2_etag = std::to_string(stable_hash(v2->body));
  }
}

void Aggregator::write(const std::string& name, const Condition& wanted) {
  Call call;
  call.user = {"system:apiserver", "", {"system:masters"}, {}};
  call.resource = core_.registry.find("apiregistration.k8s.io", "v1", "apiservices", "status");
  call.name = name;
  call.trusted = true;
  call.field_manager = "kube-apiserver";
  std::string status = wanted.available ? "True" : "False";
  auto done = engine_.modify(call, [&](json::value& object) -> Result<void> {
    json::array& conditions = json::ensure_array(json::ensure_path(object, {"status"}), "conditions");
    json::object next{{"type", "Available"}, {"status", status}, {"lastTransitionTime", format_time(core_.clock.now())}, {"reason", wanted.reason}, {"message", wanted.message}};
    json::value* old = nullptr;
    for (json::value& c : conditions)
      if (json::get_string(c, {"type"}) == "Available") old = &c;
    if (old != nullptr && json::get_string(*old, {"status"}) == status) next["lastTransitionTime"] = *json::find(old, "lastTransitionTime");
    if (old != nullptr) *old = std::move(next);
    else conditions.push_back(std::move(next));
    return {};
  });
  if (!done && !done.error().is_not_found()) {
    log::warn("apiserver", "the state of an APIService could not be written", {{"name", name}, {"error", done.error()}});
    queue_.add_rate_limited(name);
  }
}

}  // namespace kcube::apiserver
