#include "pkg/apiserver/audit/auditor.h"

#include "pkg/apiserver/machinery/decode.h"
#include "pkg/base/strings.h"

namespace kcube::apiserver::audit {
namespace {

json::value text(std::string_view s) { return json::value(json::key(s)); }

json::object user_json(const auth::User& user) {
  auto list = [](const std::vector<std::string>& strings) {
    json::array out;
    for (const std::string& s : strings) out.push_back(json::value(s));
    return out;
  };
  json::object out{{"username", user.name}};
  if (!user.uid.empty()) out["uid"] = user.uid;
  if (!user.groups.empty()) out["groups"] = list(user.groups);
  json::object extra;
  for (const auto& [key, values] : user.extra) extra[key] = list(values);
  if (!extra.empty()) out["extra"] = std::move(extra);
  return out;
}

void drop_managed_fields(json::value& object) {
  if (!object.is_object()) return;
  if (json::value* metadata = json::find(&object, "metadata"); metadata != nullptr && metadata->is_object()) metadata->as_object().erase("managedFields");
  if (json::value* items = json::find(&object, "items"); items != nullptr && items->is_array())
    for (json::value& item : items->as_array()) drop_managed_fields(item);
}

json::object object_reference(const auth::Attributes& a, const json::value& body) {
  json::object ref;
  auto add = [&](const char* name, std::string_view value) {
    if (!value.empty()) ref[name] = text(value);
  };
  std::string_view name = a.name;
  // Of a creation the name is in the body.
  if (name.empty() && a.verb == "create") name = json::get_string(body, {"metadata", "name"});
  add("resource", a.resource);
  add("namespace", a.namespace_);
  add("name", name);
  if (a.verb == "update") {
    add("uid", json::get_string(body, {"metadata", "uid"}));
    add("resourceVersion", json::get_string(body, {"metadata", "resourceVersion"}));
  }
  add("apiGroup", a.api_group);
  add("apiVersion", a.api_version);
  add("subresource", a.subresource);
  return ref;
}

std::vector<std::string> source_addresses(const http::Request& request) {
  std::vector<std::string> out;
  for (std::string_view part : split(request.headers.get("X-Forwarded-For"), ','))
    if (!trim(part).empty()) out.emplace_back(trim(part));
  if (out.empty() || out.back() != request.remote_address) out.push_back(request.remote_address);
  return out;
}

// Closes the record when the stream ends, whoever ends it.
class RecordedStream final : public http::Stream {
 public:
  RecordedStream(std::unique_ptr<http::Stream> inner, std::shared_ptr<Record> record) : inner_(std::move(inner)), record_(std::move(record)) {}
  ~RecordedStream() override { record_->stage(Stage::response_complete); }
  bool write(std::shared_ptr<const std::string> piece) override { return inner_->write(std::move(piece)); }
  void on_close(std::function<void()> callback) override { inner_->on_close(std::move(callback)); }
  void close() override { inner_->close(); }

 private:
  std::unique_ptr<http::Stream> inner_;
  std::shared_ptr<Record> record_;
};

class RecordedResponder final : public http::Responder {
 public:
  RecordedResponder(std::unique_ptr<http::Responder> inner, std::shared_ptr<Record> record) : inner_(std::move(inner)), record_(std::move(record)) {}
  void respond(int status, http::Headers headers, std::string body) override {
    record_->answered(status, headers.get("Content-Type"), body);
    record_->stage(Stage::response_complete);
    headers.set("Audit-Id", record_->id());
    inner_->respond(status, std::move(headers), std::move(body));
  }
  void respond_shared(int status, http::Headers headers, std::vector<http::Slice> body) override {
    std::string whole;
    for (const http::Slice& piece : body) whole += piece.bytes;
    record_->answered(status, headers.get("Content-Type"), whole);
    record_->stage(Stage::response_complete);
    headers.set("Audit-Id", record_->id());
    inner_->respond_shared(status, std::move(headers), std::move(body));
  }
  std::unique_ptr<http::Stream> stream(int status, http::Headers headers) override {
    record_->answered(status, {}, {});
    record_->stage(Stage::response_started);
    headers.set("Audit-Id", record_->id());
    return std::make_unique<RecordedStream>(inner_->stream(status, std::move(headers)), record_);
  }
  Result<std::unique_ptr<http::Tunnel>> upgrade(http::Headers headers) override {
    record_->answered(101, {}, {});
    record_->stage(Stage::response_started);
    auto tunnel = inner_->upgrade(std::move(headers));
    record_->stage(Stage::response_complete);
    return tunnel;
  }
  void on_abandoned(std::function<void()> callback) override { inner_->on_abandoned(std::move(callback)); }

 private:
  std::unique_ptr<http::Responder> inner_;
  std::shared_ptr<Record> record_;
};

}  // namespace

void Record::annotate(std::string_view key, std::string_view value) {
  std::lock_guard lock(mutex_);
  annotations_[json::key(key)] = text(value);
}

void Record::impersonate(const auth::User& user) {
  std::lock_guard lock(mutex_);
  event_["impersonatedUser"] = user_json(user);
}

void Record::stage(Stage stage) {
  json::object event;
  {
    std::lock_guard lock(mutex_);
    if (!decision_.records(stage)) return;
    event = event_;
    if (!annotations_.empty()) event["annotations"] = annotations_;
  }
  event["stage"] = stage_name(stage);
  event["stageTimestamp"] = format_micro_time(auditor_.clock_.now());
  auditor_.send(event);
}

void Record::answered(int code, std::string_view content_type, std::string_view body) {
  json::value answer = nullptr;
  bool is_object = content_type.find("json") != std::string_view::npos || content_type.find("protobuf") != std::string_view::npos;
  // A failure's Status is told at every level; other bodies are not parsed for nothing.
  if (is_object && (code >= 400 || decision_.level == Level::request_response))
    if (auto parsed = machinery::parse_body(content_type, body)) answer = std::move(*parsed);
  answered(code, std::move(answer));
}

void Record::answered(int code, json::value answer) {
  json::object status{{"metadata", json::object()}};
  if (code >= 400 && json::get_string(answer, {"kind"}) == "Status")
    for (const char* member : {"status", "message", "reason", "details"})
      if (const json::value* v = json::find(&answer, member)) status[member] = *v;
  status["code"] = code;
  std::lock_guard lock(mutex_);
  event_["responseStatus"] = std::move(status);
  if (decision_.level != Level::request_response || !answer.is_object()) return;
  if (decision_.omit_managed_fields) drop_managed_fields(answer);
  event_["responseObject"] = std::move(answer);
}

Result<std::unique_ptr<Auditor>> Auditor::create(const SecurityOptions& options, Clock& clock) {
  if (!options.audit_policy || (!options.audit_log && !options.audit_webhook)) return nullptr;
  std::unique_ptr<Auditor> auditor(new Auditor(options.audit_policy, clock));
  if (options.audit_log) {
    auto sink = make_log_sink(*options.audit_log, clock);
    if (!sink) return fail(sink.error().with_context("--audit-log-path"));
    auditor->sinks_.push_back(std::move(*sink));
  }
  if (options.audit_webhook) auditor->sinks_.push_back(make_webhook_sink(*options.audit_webhook));
  return auditor;
}

void Auditor::send(const json::object& event) const {
  events_.fetch_add(1, std::memory_order_relaxed);
  for (const auto& sink : sinks_) sink->log(event);
}

std::shared_ptr<Record> Auditor::begin(const auth::Attributes& a, const http::Request& request, std::unique_ptr<http::Responder>& responder) const {
  auto body = [&] {
    const bool writes = a.verb == "create" || a.verb == "update" || a.verb == "patch" || a.verb == "delete" || a.verb == "deletecollection";
    if (!writes || request.body.empty()) return json::value();
    std::string_view type = request.headers.get("Content-Type");
    auto parsed = machinery::parse_body(type.starts_with("application/apply-patch+yaml") ? "application/yaml" : a.verb == "patch" ? "application/json" : type, request.body);
    return parsed ? std::move(*parsed) : json::value();
  };
  Origin origin{request.raw_path + (request.raw_query.empty() ? "" : "?" + request.raw_query), std::string(request.headers.get("User-Agent")), source_addresses(request), std::string(request.headers.get("Audit-Id"))};
  auto record = begin(a, std::move(origin), body);
  if (record) responder = std::make_unique<RecordedResponder>(std::move(responder), record);
  return record;
}

std::shared_ptr<Record> Auditor::begin(const auth::Attributes& a, Origin origin, const std::function<json::value()>& make_body) const {
  Decision decision = policy_->decide(a);
  if (decision.level == Level::none) return nullptr;
  std::string id = std::move(origin.audit_id);
  if (id.empty() || id.size() > 64) id = new_uuid();
  json::value body = make_body();
  json::array addresses;
  for (const std::string& one : origin.addresses) addresses.push_back(json::value(one));
  json::object event{{"kind", "Event"}, {"apiVersion", "audit.k8s.io/v1"}, {"level", level_name(decision.level)}, {"auditID", id}, {"stage", ""},
                     {"requestURI", origin.uri}, {"verb", a.verb}, {"user", user_json(a.user)}, {"sourceIPs", std::move(addresses)}};
  if (!origin.user_agent.empty()) event["userAgent"] = origin.user_agent;
  if (a.resource_request) event["objectRef"] = object_reference(a, body);
  event["requestReceivedTimestamp"] = format_micro_time(clock_.now());
  auto record = std::make_shared<Record>(*this, decision, std::move(event));
  record->id_ = id;
  record->stage(Stage::request_received);
  // What was sent is in the events after the first.
  if (decision.level >= Level::request && !body.is_null() && a.resource_request) {
    if (decision.omit_managed_fields) drop_managed_fields(body);
    record->event_["requestObject"] = std::move(body);
  }
  return record;
}

}  // namespace kcube::apiserver::audit
