#include "pkg/apiserver/audit/local_record.h"

#include "pkg/api/errors.h"
#include "pkg/base/strings.h"

namespace kcube::apiserver::audit {
namespace {

std::string uri_of(const client::LocalCall& in, const Call& call, const char* verb, const client::ListOptions* options) {
  const auto& r = in.resource;
  std::string out = (r.group.empty() ? "/api/" : "/apis/" + r.group + "/") + r.version;
  if (!call.ns.empty()) out += "/namespaces/" + call.ns;
  out += "/" + r.resource;
  if (!in.name.empty()) out += "/" + in.name;
  if (!in.subresource.empty()) out += "/" + in.subresource;
  std::string query;
  auto add = [&](const char* name, const std::string& value) {
    if (!value.empty()) query += (query.empty() ? "?" : "&") + std::string(name) + "=" + percent_encode(value);
  };
  if (options != nullptr) {
    add("fieldSelector", options->field_selector);
    add("labelSelector", options->label_selector);
    add("resourceVersion", options->resource_version);
  }
  if (std::string_view(verb) == "watch") add("watch", "true");
  return out + query;
}

}  // namespace

LocalRecord::LocalRecord(const Auditor* auditor, Call& call, const client::LocalCall& in, const char* verb, const json::value* body, const client::ListOptions* options) {
  if (auditor == nullptr) return;
  auth::Attributes a;
  a.user = call.user;
  if (!a.user.in_group("system:authenticated")) a.user.groups.emplace_back("system:authenticated");
  a.verb = verb;
  a.resource_request = true;
  a.namespace_ = call.ns;
  a.api_group = in.resource.group;
  a.api_version = in.resource.version;
  a.resource = in.resource.resource;
  a.subresource = in.subresource;
  a.name = in.name;
  record_ = auditor->begin(a, {uri_of(in, call, verb, options), "kcube/" + in.user.substr(in.user.rfind(':') + 1), {"127.0.0.1"}, {}}, [&] { return body == nullptr ? json::value() : *body; });
  if (!record_) return;
  record_->annotate("authorization.k8s.io/decision", "allow");
  record_->annotate("authorization.k8s.io/reason", "");
}

void LocalRecord::end(const Call& call, int code, json::value answer) {
  for (const auto& [key, value] : call.audit_annotations) record_->annotate(key, value);
  record_->answered(code, std::move(answer));
  record_->stage(Stage::response_complete);
}

void LocalRecord::answered(const Call& call, int code, const Result<client::ObjectPtr>& result) {
  if (!record_) return;
  if (!result) return end(call, result.error().code(), api::to_json(result.error()));
  end(call, code, wants_answer() && *result ? (*result)->value() : json::value());
}

void LocalRecord::answered(const Call& call, const Result<client::ObjectList>& result) {
  if (!record_) return;
  if (!result) return end(call, result.error().code(), api::to_json(result.error()));
  if (!wants_answer()) return end(call, 200, {});
  json::array items;
  for (const client::ObjectPtr& object : result->items) items.push_back(object->value());
  const api::ResourceInfo& info = *call.resource->info;
  json::object list{{"kind", std::string(info.kind) + "List"}, {"apiVersion", (info.group.empty() ? "" : std::string(info.group) + "/") + std::string(info.version)}};
  list["metadata"] = json::object{{"resourceVersion", std::to_string(result->revision)}};
  list["items"] = std::move(items);
  end(call, 200, std::move(list));
}

void LocalRecord::answered(const Call& call, const Result<void>& result) {
  if (!record_) return;
  if (!result) return end(call, result.error().code(), api::to_json(result.error()));
  end(call, 200, {});
}

std::shared_ptr<void> LocalRecord::started(const Call& call) {
  if (!record_) return nullptr;
  for (const auto& [key, value] : call.audit_annotations) record_->annotate(key, value);
  record_->answered(200, json::value());
  record_->stage(Stage::response_started);
  return {record_.get(), [record = record_](void*) { record->stage(Stage::response_complete); }};
}

}  // namespace kcube::apiserver::audit
