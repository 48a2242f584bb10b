#include "pkg/apiserver/watches.h"

#include <atomic>
#include <mutex>

#include "pkg/api/errors.h"
#include "pkg/apiserver/extension/custom_resource.h"
#include "pkg/apiserver/machinery/cbor.h"
#include "pkg/apiserver/machinery/protobuf.h"
#include "pkg/base/strings.h"
#include "pkg/http/streams.h"
#include "pkg/http/websocket.h"

namespace kcube::apiserver {
namespace {

using Type = Delivery::Type;

constexpr std::string_view type_name(Type type) {
  switch (type) {
    case Type::added: return "ADDED";
    case Type::modified: return "MODIFIED";
    case Type::deleted: return "DELETED";
    case Type::bookmark: return "BOOKMARK";
    case Type::error: break;
  }
  return "ERROR";
}

std::string event_text(Type type, std::string_view object) {
  if (object.ends_with('\n')) object.remove_suffix(1);   // an event is one line
  std::string text;
  text.reserve(object.size() + 40);
  return text.append("{\"type\":\"").append(type_name(type)).append("\",\"object\":").append(object).append("}\n");
}

json::object bookmark_object(const Resource& resource, const Accepted& accepted, const Delivery& d) {
  json::object metadata{{"resourceVersion", std::to_string(d.revision)}};
  if (d.initial_end) metadata["annotations"] = json::object{{"k8s.io/initial-events-end", "true"}};
  json::object object{{"kind", json::key(resource.info->kind)}, {"apiVersion", resource.info->api_version()}, {"metadata", std::move(metadata)}};
  if (accepted.form == Form::metadata) {
    object["kind"] = "PartialObjectMetadata";
    object["apiVersion"] = json::key(metadata_version(accepted));
  } else if (accepted.form == Form::table) {
    if (accepted.include == machinery::IncludeObject::metadata) object["kind"] = "PartialObjectMetadata", object["apiVersion"] = json::key(metadata_version(accepted));
    json::object row{{"cells", json::array()}, {"object", accepted.include == machinery::IncludeObject::none ? json::value(nullptr) : json::value(std::move(object))}};
    object = {{"kind", "Table"}, {"apiVersion", json::key(metadata_version(accepted))}, {"metadata", json::object{{"resourceVersion", std::to_string(d.revision)}}}, {"columnDefinitions", json::array()}, {"rows", json::array{std::move(row)}}};
  }
  return object;
}

// Watchers of one resource, form and encoding share encoded events under this address; Table rows have ages and are not shared.
const void* encoder_of(const Resource& resource, const Accepted& accepted) {
  return reinterpret_cast<const char*>(&resource) + static_cast<int>(accepted.form) * 8 + (accepted.beta ? 4 : 0) + static_cast<int>(accepted.encoding);
}

std::string encode_frame(const Resource& resource, const Accepted& accepted, const Delivery& d) {
  static const api::Type& status = *api::Schema::builtin().find_type("io.k8s.apimachinery.pkg.apis.meta.v1.Status");
  const bool metadata = accepted.form == Form::metadata;
  auto object = [&]() -> std::string {
    if (d.type == Type::error) return machinery::encode_protobuf(status, api::to_json(*d.error));
    if (d.type != Type::bookmark) return metadata ? machinery::encode_metadata_protobuf(d.object->value(), metadata_version(accepted)) : object_protobuf(resource, *d.object);
    const json::value bookmark = bookmark_object(resource, accepted, d);
    return metadata ? machinery::encode_metadata_protobuf(bookmark, metadata_version(accepted)) : machinery::encode_protobuf(*resource.info->type, bookmark);
  };
  return machinery::protobuf_watch_event(type_name(d.type), object());
}

std::string encode_cbor_event(const Resource& resource, const Accepted& accepted, const Delivery& d) {
  auto object = [&] {
    if (d.type == Type::error) return machinery::encode_cbor(api::to_json(*d.error));
    if (d.type == Type::bookmark) return machinery::encode_cbor(bookmark_object(resource, accepted, d));
    return encode_object(resource, d.object, accepted, SystemTime());
  };
  return machinery::cbor_watch_event(type_name(d.type), object());
}

std::string encode(const Resource& resource, const Accepted& accepted, Clock& clock, const Delivery& d, bool with_columns) {
  if (accepted.encoding == Encoding::protobuf) return encode_frame(resource, accepted, d);
  if (accepted.encoding == Encoding::cbor) return encode_cbor_event(resource, accepted, d);
  if (d.type == Type::bookmark) return event_text(d.type, json::serialize(bookmark_object(resource, accepted, d)));
  if (d.type == Type::error) return event_text(d.type, json::serialize(api::to_json(*d.error)));
  if (accepted.form == Form::table) {
    std::string text = table_text(resource, {d.object}, {{"resourceVersion", std::to_string(d.revision)}}, accepted.include, with_columns, clock.now());
    return event_text(d.type, accepted.beta ? as_beta(std::move(text)) : std::move(text));
  }
  return event_text(d.type, accepted.form == Form::metadata ? metadata_text(*d.object, accepted) : object_text(resource, *d.object));
}

std::string media_type(const Accepted& accepted) {
  if (accepted.encoding == Encoding::protobuf) return std::string(machinery::kProtobufType) + ";stream=watch";
 if (accepted.encoding == Encoding::cbor) return std::string(machinery::kCborSequenceType);
  return accepted.form == Form::object ? "application/json" : "application/json;stream=watch";
}

// One HTTP client. deliver() and end() come from the hub's thread, the close from the reactor's.
class StreamReceiver final : public Receiver {
 public:
  StreamReceiver(std::unique_ptr<http::Stream> stream, ResourcePtr resource, Accepted accepted, Clock& clock)
      : stream_(std::move(stream)), resource_(std::move(resource)), accepted_(accepted), clock_(clock) {}

  bool deliver(const Delivery& d, EncodedEvent& encoded) override {
    if (!stream_) return false;
    bool shared = accepted_.form != Form::table && d.type != Type::bookmark && d.type != Type::error;
    auto make = [&] { return encode(*resource_, accepted_, clock_, d, !columns_sent_); };
    auto piece = shared ? encoded.get(encoder_of(*resource_, accepted_), d.type, make) : std::make_shared<const std::string>(make());
    columns_sent_ |= d.object != nullptr;
    return stream_->write(std::move(piece));
  }
  void end() override {
    if (stream_) stream_->close();
    stream_.reset();
  }

 private:
  std::unique_ptr<http::Stream> stream_;
  const ResourcePtr resource_;
  const Accepted accepted_;
  Clock& clock_;
  bool columns_sent_ = false;
};

// The same over a WebSocket: one message an event.
class SocketReceiver final : public Receiver {
 public:
  SocketReceiver(std::unique_ptr<http::Channel> channel, ResourcePtr resource, Accepted accepted, Clock& clock)
      : channel_(std::move(channel)), resource_(std::move(resource)), accepted_(accepted), clock_(clock) {}
  bool deliver(const Delivery& d, EncodedEvent&) override { return channel_->write(encode(*resource_, accepted_, clock_, d, true)).has_value(); }
  void end() override {
    channel_->close_write();
    channel_->reset();
  }

 private:
  std::unique_ptr<http::Channel> channel_;
  const ResourcePtr resource_;
  const Accepted accepted_;
  Clock& clock_;
};

// Tells the hub that a client has gone, whether that happens before or after the hub knows it.
struct Departure {
  std::mutex mutex;
  Hub* hub = nullptr;
  Hub::WatchId id = 0;
  bool gone = false;
};

}  // namespace

Result<WatchSpec> read_watch(const Call& call, const http::Query& query, uint64_t now) {
  WatchSpec spec;
  spec.cache = call.resource->cache;
  spec.ns = call.ns;
  spec.name = call.name;
  auto labels = api::LabelSelector::parse(query.get("labelSelector"));
  if (!labels) return fail(labels.error());
  spec.labels = std::move(*labels);
  auto fields = FieldMatcher::create(*call.resource, query.get("fieldSelector"));
  if (!fields) return fail(fields.error());
  spec.fields = std::move(*fields);
  if (call.resource->custom != nullptr) spec.view = [resource = call.resource](const ObjectPtr& object) { return resource->custom->read(object); };
  if (spec.name.empty()) spec.name = spec.fields.bound("metadata.name");
  std::string_view version = query.get("resourceVersion");
  auto revision = parse_int<uint64_t>(version.empty() ? "0" : version);
  spec.bookmarks = query.flag("allowWatchBookmarks");
  std::string_view match = query.get("resourceVersionMatch");
  const bool initial_given = query.has("sendInitialEvents");
  std::vector<Cause> causes;
  if (!match.empty() && !initial_given)
    causes.push_back(api::field_forbidden("resourceVersionMatch", "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"));
  if (initial_given && match != "NotOlderThan")
    causes.push_back(api::field_forbidden("resourceVersionMatch", "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"));
  if (!match.empty() && match != "NotOlderThan") causes.push_back(api::field_not_supported("resourceVersionMatch", json::value(json::key(match)), {"NotOlderThan"}));
  if (!query.get("continue").empty())
    causes.push_back(api::field_forbidden("resourceVersionMatch", "resourceVersionMatch is forbidden when continue is provided"));
  if (!causes.empty()) return fail(api::invalid("meta.k8s.io", "ListOptions", "", std::move(causes)));
  if (!revision)
    return fail(Status(500, "", "resourceVersion: Invalid value: \"" + std::string(version) + "\": strconv.ParseUint: parsing \"" + std::string(version) + "\": invalid syntax"));
  if (query.flag("sendInitialEvents")) {
    spec.initial_state = true;
    spec.initial_end = spec.bookmarks;
  } else {
    spec.initial_state = *revision == 0 && !initial_given;
  }
  spec.after = *revision == 0 ? now : *revision;
  auto seconds = parse_int<int64_t>(query.get("timeoutSeconds"));
  // Without a wish: half an hour and some, so that clients do not all come back at once.
  spec.timeout = std::chrono::seconds(seconds && *seconds > 0 ? *seconds : 1800 + static_cast<int64_t>(random_u64() % 1800));
  return spec;
}

void serve_watch(Hub& hub, WatchSpec spec, const ResourcePtr& resource, const Accepted& accepted, const std::vector<std::string>& warnings, Clock& clock, const http::Request& request,
                 std::unique_ptr<http::Responder> responder) {
  if (http::wants_websocket(request)) {
    auto channel = http::accept_message_stream(request, std::move(responder), true);
    if (channel) hub.add(std::move(spec), std::make_shared<SocketReceiver>(std::move(*channel), resource, accepted, clock));
    return;
  }
  http::Headers headers;
  headers.add("Content-Type", media_type(accepted));
  headers.add("Cache-Control", "no-cache, private");
  add_warnings(headers, warnings);
  auto stream = responder->stream(200, std::move(headers));
  auto departure = std::make_shared<Departure>();
  stream->on_close([departure] {
    std::lock_guard lock(departure->mutex);
    departure->gone = true;
    if (departure->hub != nullptr) departure->hub->remove(departure->id);
  });
  auto receiver = std::make_shared<StreamReceiver>(std::move(stream), resource, accepted, clock);
  Hub::WatchId id = hub.add(std::move(spec), std::move(receiver));
  std::lock_guard lock(departure->mutex);
  departure->hub = &hub;
  departure->id = id;
  if (departure->gone) hub.remove(id);
}

}  // namespace kcube::apiserver
