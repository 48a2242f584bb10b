// The API over TLS: requests and watches on http::Client, answers turned back into Objects and Statuses.
#include <atomic>
#include <mutex>

#include "pkg/api/errors.h"
#include "pkg/base/strings.h"
#include "pkg/client/client.h"
#include "pkg/http/client.h"

namespace kcube::client {
namespace {

std::string path_of(const GroupVersionResource& r, std::string_view ns, std::string_view name, std::string_view subresource) {
  std::string path = r.group.empty() ? "/api/" + r.version : "/apis/" + r.group + "/" + r.version;
  if (!ns.empty() && r.resource != "namespaces") path.append("/namespaces/").append(ns);
  path.append("/").append(r.resource);
  if (!name.empty()) path.append("/").append(percent_encode(name));
  if (!subresource.empty()) path.append("/").append(subresource);
  return path;
}

void add_query(std::string& url, std::string_view name, std::string_view value) {
  if (value.empty()) return;
  url += url.find('?') == std::string::npos ? '?' : '&';
  url.append(name).append("=").append(percent_encode(value));
}

void add_list_options(std::string& url, const ListOptions& options) {
  add_query(url, "labelSelector", options.label_selector);
  add_query(url, "fieldSelector", options.field_selector);
  add_query(url, "resourceVersion", options.resource_version);
  add_query(url, "resourceVersionMatch", options.resource_version_match);
  add_query(url, "continue", options.continue_token);
  if (options.limit > 0) add_query(url, "limit", std::to_string(options.limit));
}

uint64_t revision_of(const json::value& object) {
  return parse_int<uint64_t>(json::get_string(object, {"metadata", "resourceVersion"})).value_or(0);
}

Result<json::value> body_of(const http::ClientResponse& response) {
  auto body = json::parse(response.body);
  if (response.status >= 400) {
    if (body) return fail(api::from_json(*body, response.status));
    return fail(Status(response.status, "", "the server answered " + std::to_string(response.status) + ": " + response.body.substr(0, 200)));
  }
  return body;
}

// Turns the lines of a watch into events.
class RemoteWatch final : public Watch {
 public:
  explicit RemoteWatch(std::function<void(const WatchEvent&)> sink) : sink_(std::move(sink)) {}
  // The stream calls back into all that is below: it ends first.
  ~RemoteWatch() override { stream.reset(); }

  void on_head(int status) { status_ = status; }

  void on_data(std::string_view piece) {
    buffer_.append(piece);
    if (status_ >= 400) return;  // an error body, read at the end
    size_t start = 0;
    for (size_t end; (end = buffer_.find('\n', start)) != std::string::npos; start = end + 1)
      line(std::string_view(buffer_).substr(start, end - start));
    buffer_.erase(0, start);
  }

  void on_end(const Result<void>& result) {
    if (ended_) return;
    ended_ = true;
    Status status = Status::unavailable("watch closed");
    if (!result) status = result.error();
    if (status_ >= 400) {
      auto body = json::parse(buffer_);
      status = body ? api::from_json(*body, status_) : Status(status_, "", "watch refused");
    }
    sink_({WatchEvent::Type::error, nullptr, 0, std::move(status)});
  }

  std::unique_ptr<http::ClientStream> stream;

 private:
  void line(std::string_view text) {
    if (ended_ || trim(text).empty()) return;
    auto event = json::parse(text);
    if (!event) return on_end(fail(event.error()));
    std::string_view type = json::get_string(*event, {"type"});
    json::value* object = json::find(&*event, "object");
    if (object == nullptr) return;
    if (type == "ERROR") {
      ended_ = true;
      sink_({WatchEvent::Type::error, nullptr, 0, api::from_json(*object, 500)});
      return;
    }
    uint64_t revision = revision_of(*object);
    if (type == "BOOKMARK") return sink_({WatchEvent::Type::bookmark, nullptr, revision});
    auto made = api::Object::from_value(std::move(*object));
    if (!made) return;
    auto kind = type == "ADDED" ? WatchEvent::Type::added : type == "DELETED" ? WatchEvent::Type::deleted : WatchEvent::Type::modified;
    sink_({kind, std::move(*made), revision});
  }

  std::function<void(const WatchEvent&)> sink_;
  std::string buffer_;
  int status_ = 0;
  bool ended_ = false;
};

class RemoteClientImpl final : public RemoteClient {
 public:
  explicit RemoteClientImpl(const RemoteOptions& options) : http_(http::Client::create(tls_of(options))), server_(options.server), token_(options.token) {}

  void set_credentials(const RemoteOptions& options) override {
    {
      std::lock_guard lock(mutex_);
      server_ = options.server;
      token_ = options.token;
    }
    http_->set_tls(tls_of(options));
  }

  Result<ObjectPtr> get(const GroupVersionResource& resource, std::string_view ns, std::string_view name) override {
    return object(call("GET", path_of(resource, ns, name, {}), {}, {}));
  }

  Result<ObjectList> list(const GroupVersionResource& resource, std::string_view ns, const ListOptions& options) override {
    std::string url = path_of(resource, ns, {}, {});
    add_list_options(url, options);
    auto body = call("GET", url, {}, {});
    if (!body) return fail(body.error());
    ObjectList out;
    out.revision = revision_of(*body);
    out.continue_token = json::get_string(*body, {"metadata", "continue"});
    // Items of a list carry no kind of their own on the wire: it is the list's without "List".
    std::string kind(json::get_string(*body, {"kind"}));
    if (kind.ends_with("List")) kind.resize(kind.size() - 4);
    std::string version(json::get_string(*body, {"apiVersion"}));
    json::value* items = json::find(&*body, "items");
    if (items == nullptr || !items->is_array()) return out;
    for (json::value& item : items->get_array()) {
      if (item.is_object()) {
        json::object& o = item.get_object();
        if (!o.contains("kind")) o["kind"] = json::key(kind);
        if (!o.contains("apiVersion")) o["apiVersion"] = json::key(version);
      }
      auto made = api::Object::from_value(std::move(item));
      if (!made) return fail(made.error());
      out.items.push_back(std::move(*made));
    }
    return out;
  }

  Result<ObjectPtr> create(const GroupVersionResource& resource, std::string_view ns, const json::value& value, std::string_view subresource,
                           std::string_view name) override {
    return object(call("POST", path_of(resource, ns, subresource.empty() ? std::string_view() : name, subresource), json::serialize(value), "application/json"));
  }

  Result<ObjectPtr> update(const GroupVersionResource& resource, std::string_view ns, std::string_view name, const json::value& value,
                           std::string_view subresource) override {
    return object(call("PUT", path_of(resource, ns, name, subresource), json::serialize(value), "application/json"));
  }

  Result<ObjectPtr> patch(const GroupVersionResource& resource, std::string_view ns, std::string_view name, PatchType type, const json::value& patch,
                          std::string_view subresource) override {
    std::string url = path_of(resource, ns, name, subresource);
    std::string_view media = "application/json-patch+json";
    if (type == PatchType::merge) media = "application/merge-patch+json";
    if (type == PatchType::strategic) media = "application/strategic-merge-patch+json";
    if (type == PatchType::apply) {
      media = "application/apply-patch+yaml";
      add_query(url, "fieldManager", "kcube");
      add_query(url, "force", "true");
    }
    return object(call("PATCH", url, json::serialize(patch), media));
  }

  Result<void> remove(const GroupVersionResource& resource, std::string_view ns, std::string_view name, const DeleteOptions& options) override {
    json::object body{{"kind", "DeleteOptions"}, {"apiVersion", "v1"}};
    if (!options.uid.empty() || !options.resource_version.empty()) {
      json::object& p = json::ensure_object(body, "preconditions");
      if (!options.uid.empty()) p["uid"] = json::key(options.uid);
      if (!options.resource_version.empty()) p["resourceVersion"] = json::key(options.resource_version);
    }
    if (options.grace_period_seconds >= 0) body["gracePeriodSeconds"] = options.grace_period_seconds;
    if (!options.propagation.empty()) body["propagationPolicy"] = json::key(options.propagation);
    auto r = call("DELETE", path_of(resource, ns, name, {}), json::serialize(body), "application/json");
    if (!r) return fail(r.error());
    return {};
  }

  Result<std::unique_ptr<Watch>> watch(const GroupVersionResource& resource, std::string_view ns, const ListOptions& options,
                                       std::function<void(const WatchEvent&)> sink) override {
    std::string url = path_of(resource, ns, {}, {});
    add_query(url, "watch", "true");
    add_query(url, "allowWatchBookmarks", "true");
    add_list_options(url, options);
    http::ClientRequest request = make("GET", url, {}, {});
    request.timeout = {};
    auto watch = std::make_unique<RemoteWatch>(std::move(sink));
    RemoteWatch* w = watch.get();
    auto stream = http_->open(
        request, [w](int status, const http::Headers&) { w->on_head(status); }, [w](std::string_view data) { w->on_data(data); },
        [w](Result<void> end) { w->on_end(end); });
    if (!stream) return fail(stream.error());
    watch->stream = std::move(*stream);
    return watch;
  }

 private:
  static http::ClientTls tls_of(const RemoteOptions& o) { return {.ca_pem = o.ca_pem, .certificate_pem = o.certificate_pem, .key_pem = o.key_pem}; }

  http::ClientRequest make(std::string_view method, const std::string& url, std::string body, std::string_view media) {
    http::ClientRequest request;
    request.method = method;
    {
      std::lock_guard lock(mutex_);
      request.url = server_ + url;
      if (!token_.empty()) request.headers.set("Authorization", "Bearer " + token_);
    }
    request.headers.set("Accept", "application/json");
    request.headers.set("User-Agent", "kcube");
    if (!media.empty()) request.headers.set("Content-Type", std::string(media));
    request.body = std::move(body);
    return request;
  }

  Result<json::value> call(std::string_view method, const std::string& url, std::string body, std::string_view media) {
    auto response = http_->send(make(method, url, std::move(body), media));
    if (!response) return fail(response.error());
    return body_of(*response);
  }

  static Result<ObjectPtr> object(Result<json::value> body) {
    if (!body) return fail(body.error());
    return api::Object::from_value(std::move(*body));
  }

  std::unique_ptr<http::Client> http_;
  std::mutex mutex_;
  std::string server_, token_;
};

}  // namespace

std::unique_ptr<RemoteClient> remote_client(const RemoteOptions& options) { return std::make_unique<RemoteClientImpl>(options); }

}  // namespace kcube::client
