#include "pkg/apiserver/output.h"

#include <algorithm>
#include <optional>

#include "pkg/api/errors.h"
#include "pkg/apiserver/conversion.h"
#include "pkg/apiserver/extension/table.h"
#include "pkg/apiserver/machinery/cbor.h"
#include "pkg/apiserver/machinery/protobuf.h"
#include "pkg/apiserver/machinery/yaml_text.h"
#include "pkg/apiserver/scale.h"
#include "pkg/base/go_quoted.h"
#include "pkg/base/strings.h"
#include "pkg/http/gzip.h"

namespace kcube::apiserver {
namespace {

constexpr size_t kWorthCompressing = 128 << 10;

// The media type and parameters of one alternative: "application/json;as=Table;v=v1;g=meta.k8s.io".
struct Alternative {
  std::string_view type, as, version, group;
};

Alternative parse_alternative(std::string_view text) {
  Alternative a;
  bool first = true;
  for (std::string_view part : split(text, ';')) {
    part = trim(part);
    if (first) a.type = part;
    first = false;
    if (part.starts_with("as=")) a.as = part.substr(3);
    if (part.starts_with("v=")) a.version = part.substr(2);
    if (part.starts_with("g=")) a.group = part.substr(2);
  }
  return a;
}

// PodList of Pod; the metadata form has a kind of its own.
std::string list_head(const Resource& resource, const ListPage& page, bool metadata_only) {
  std::string head = "{\"kind\":\"";
  if (metadata_only) head += "PartialObjectMetadataList\",\"apiVersion\":\"meta.k8s.io/v1\"";
  else if (resource.custom != nullptr) head += std::string(resource.custom->owner->list_kind()) + "\",\"apiVersion\":\"" + resource.info->api_version() + "\"";
  else head += std::string(resource.info->kind) + "List\",\"apiVersion\":\"" + resource.info->api_version() + "\"";
  head += ",\"metadata\":{\"resourceVersion\":\"" + std::to_string(page.revision) + "\"";
  if (!page.continue_token.empty()) {
    head += ",\"continue\":\"" + page.continue_token + "\"";
    if (page.remaining >= 0) head += ",\"remainingItemCount\":" + std::to_string(page.remaining);
  }
  return head + "},\"items\":[";
}

json::object list_metadata(const ListPage& page) {
  json::object metadata{{"resourceVersion", std::to_string(page.revision)}};
  if (page.continue_token.empty()) return metadata;
  metadata["continue"] = page.continue_token;
  if (page.remaining >= 0) metadata["remainingItemCount"] = page.remaining;
  return metadata;
}

// As many warnings as clients have room for in the head of an answer; if need be each is cut short.
std::vector<std::string> bounded(const std::vector<std::string>& warnings) {
  constexpr size_t kMostBytes = 4096, kMostEach = 256;
  size_t total = 0;
  for (const std::string& text : warnings) total += text.size();
  if (total <= kMostBytes) return warnings;
  std::vector<std::string> out;
  total = 0;
  for (const std::string& text : warnings) {
    size_t end = std::min(text.size(), kMostEach);
    while (end > 0 && end < text.size() && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;   // not within a character
    total += end;
    if (total > kMostBytes) break;
    out.push_back(text.substr(0, end));
  }
  return out;
}

http::Headers json_headers(const std::vector<std::string>& warnings) {
  http::Headers headers;
  headers.add("Content-Type", "application/json");
  headers.add("Cache-Control", "no-cache, private");
  add_warnings(headers, warnings);
  return headers;
}

}  // namespace

void add_warnings(http::Headers& headers, const std::vector<std::string>& warnings) {
  for (const std::string& text : bounded(warnings)) {
    // RFC 9111 5.5: a quoted string.
    std::string quoted;
    for (char c : text) {
      if (c == '"' || c == '\\') quoted += '\\';
      if (static_cast<unsigned char>(c) >= 0x20) quoted += c;
    }
    headers.add("Warning", "299 - \"" + quoted + "\"");
  }
}

namespace {

// Custom resources have no field numbers.
bool has_protobuf(const Resource& resource) {
  const api::Type* type = resource.info->type;
  return type != nullptr && std::ranges::any_of(type->fields, [](const api::Field& f) { return f.proto != 0; });
}

// What its route lets through at all: these very words.
bool is_routed(std::string_view type, const FeatureGates& gates) {
  return type == "application/json" || type == "*/*" || type == "application/yaml" || type == machinery::kProtobufType || (gates.cbor && type == machinery::kCborType);
}

std::optional<Encoding> encoding_of(std::string_view type, const Resource& resource, const FeatureGates& gates) {
  if (type == "application/json" || type == "*/*" || type == "application/*") return Encoding::json;
  if (type == "application/yaml") return Encoding::yaml;
  if (gates.cbor && type == machinery::kCborType) return Encoding::cbor;
  if (type == machinery::kProtobufType && has_protobuf(resource)) return Encoding::protobuf;
  return std::nullopt;
}

}  // namespace

std::string_view media_types(const FeatureGates& gates) {
  constexpr std::string_view kAll = "application/json, application/yaml, application/vnd.kubernetes.protobuf, application/cbor";
  return gates.cbor ? kAll : kAll.substr(0, kAll.rfind(','));
}

namespace {

Status not_routed(const FeatureGates& gates, bool collection) {
  std::string text = "406: Not Acceptable\n\nAvailable representations: " + std::string(media_types(gates));
  if (collection) text += ", application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch";
  if (collection && gates.cbor) text += ", application/cbor-seq";
  return {406, "NotAcceptable", text};
}

Result<machinery::IncludeObject> read_include(std::string_view text) {
  if (text == "Object") return machinery::IncludeObject::object;
  if (text == "None") return machinery::IncludeObject::none;
  if (text.empty() || text == "Metadata") return machinery::IncludeObject::metadata;
  return fail(Status::bad_request("Unable to convert to Table as requested: includeObject: Invalid value: " + go_quoted(text) + ": must be 'Metadata', 'Object', 'None', or empty"));
}

}  // namespace

// v1 in what was made for it. Quotes are escaped inside of strings, so that nothing else looks like this.
std::string as_beta(std::string text) {
  for (const char* kind : {"Table", "PartialObjectMetadata", "PartialObjectMetadataList"}) {
    const std::string head = "{\"kind\":\"" + std::string(kind) + "\",\"apiVersion\":\"meta.k8s.io/v1";
    text = replace_all(std::move(text), head + "\"", head + "beta1\"");
  }
  return text;
}

Result<Accepted> negotiate(const http::Request& request, const Resource& resource, const FeatureGates& gates, bool collection, bool watch) {
  Accepted accepted;
  std::string_view accept = trim(request.headers.get("Accept"));
  // On the same machine compressing costs more than it saves.
  accepted.gzip = request.headers.get("Accept-Encoding").find("gzip") != std::string_view::npos && !request.from_here;
  if (accept.empty()) return accepted;
  bool known = resource.custom != nullptr;
  for (std::string_view text : split(accept, ',')) known = known || is_routed(parse_alternative(trim(text)).type, gates);
  if (!known) return fail(not_routed(gates, collection));
  for (std::string_view text : split(accept, ',')) {
    Alternative a = parse_alternative(trim(text));
    auto encoding = encoding_of(a.type, resource, gates);
    if (!encoding) continue;
    if (watch && encoding == Encoding::yaml) break;   // the first that fits is what counts
    accepted.encoding = *encoding;
    if (a.as.empty()) return accepted;
    if (a.group != "meta.k8s.io" || (a.version != "v1" && a.version != "v1beta1")) continue;
    accepted.beta = a.version == "v1beta1";
    accepted.as_list = a.as == "PartialObjectMetadataList";
    if (a.as == "Table" && encoding != Encoding::protobuf && encoding != Encoding::cbor) accepted.form = Form::table;
    else if (a.as == "PartialObjectMetadata" || accepted.as_list) accepted.form = Form::metadata;
    else continue;
    if (accepted.form == Form::table) {
      auto include = read_include(request.query.get("includeObject"));
      if (!include) return fail(include.error());
      accepted.include = *include;
    }
    return accepted;
  }
  if (watch) return fail(api::not_acceptable(std::string("application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch") + (gates.cbor ? ", application/cbor-seq" : "")));
  return fail(api::not_acceptable(media_types(gates)));
}

Result<void> check_form(const Accepted& accepted, const Resource& resource, bool list) {
  if (accepted.form != Form::metadata || accepted.as_list == list) return {};
  std::string go = resource.custom != nullptr ? "unstructured.Unstructured" : resource.internal_package() + "." + std::string(resource.info->kind);
  if (list) return fail(Status(406, "NotAcceptable", "you requested PartialObjectMetadata, but the requested object is a list (*" + go + "List)"));
  return fail(Status(406, "NotAcceptable", "you requested PartialObjectMetadataList, but the requested object is not a list (*" + go + ")"));
}

std::string metadata_text(const api::Object& object, const Accepted& accepted) {
  std::string text = machinery::partial_object_metadata(object);
  return accepted.beta ? as_beta(std::move(text)) : text;
}

std::string_view metadata_version(const Accepted& accepted) { return accepted.beta ? "meta.k8s.io/v1beta1" : "meta.k8s.io/v1"; }

std::string object_text(const Resource& resource, const api::Object& object) {
  if (resource.subresource() == "scale") return json::serialize(to_scale(resource, object.value()));
  if (!resource.converted) return object.bytes();
  json::value copy = object.value();
  convert(copy, *resource.stored, *resource.main);
  return json::serialize(copy);
}

std::string object_protobuf(const Resource& resource, const api::Object& object) {
  if (resource.subresource() == "scale") return machinery::encode_protobuf(*resource.info->type, to_scale(resource, object.value()));
  if (!resource.converted) return machinery::encode_protobuf(*resource.info->type, object.value());
  json::value copy = object.value();
  convert(copy, *resource.stored, *resource.main);
  return machinery::encode_protobuf(*resource.info->type, copy);
}

namespace {

// What the client sees: scale, or the version that it asked for. `copy` holds it when it is not the object's own value.
const json::value& served_value(const Resource& resource, const api::Object& object, json::value& copy) {
  if (resource.subresource() == "scale") return copy = to_scale(resource, object.value());
  if (!resource.converted) return object.value();
  copy = object.value();
  convert(copy, *resource.stored, *resource.main);
  return copy;
}

// Custom resources have no fields that are bytes.
const api::Type* cbor_type(const Resource& resource) { return resource.custom != nullptr ? nullptr : resource.info->type; }

json::value metadata_value(const api::Object& object, const Accepted& accepted) { return json::parse(metadata_text(object, accepted)).value_or(nullptr); }

// What a Table shows of a Scale.
const api::ResourceInfo& scale_info() {
  static const api::ResourceInfo info = [] {
    api::ResourceInfo made;
    made.group = "autoscaling", made.version = "v1", made.resource = "scales", made.kind = "Scale";
    made.columns = {{"Name", "string", "", 0}, {"Desired", "integer", "", 0}, {"Available", "integer", "", 0}, {"Age", "string", "", 0}};
    return made;
  }();
  return info;
}

}  // namespace

std::string object_cbor(const Resource& resource, const api::Object& object) {
  json::value copy;
  return machinery::encode_cbor(served_value(resource, object, copy), cbor_type(resource));
}

std::string table_text(const Resource& resource, const std::vector<ObjectPtr>& items, const json::object& list_metadata, machinery::IncludeObject include,
                       bool with_columns, SystemTime now) {
  if (resource.subresource() == "scale") {
    std::vector<ObjectPtr> scales;
    for (const ObjectPtr& object : items)
      if (auto scale = api::Object::from_value(to_scale(resource, object->value()))) scales.push_back(std::move(*scale));
    return machinery::table(scale_info(), scales, list_metadata, include, with_columns, now);
  }
  if (resource.custom != nullptr) return extension::table(*resource.custom, items, list_metadata, include, with_columns, now);
  return machinery::table(*resource.stored, items, list_metadata, include, with_columns, now);
}

std::string encode_object(const Resource& resource, const ObjectPtr& object, const Accepted& accepted, SystemTime now) {
  if (accepted.encoding == Encoding::protobuf)
    return accepted.form == Form::metadata ? machinery::encode_metadata_protobuf(object->value(), metadata_version(accepted)) : object_protobuf(resource, *object);
  if (accepted.encoding == Encoding::cbor)
    return accepted.form == Form::metadata ? machinery::encode_cbor(metadata_value(*object, accepted)) : object_cbor(resource, *object);
  if (accepted.form == Form::metadata) return metadata_text(*object, accepted);
  if (accepted.form == Form::object) return object_text(resource, *object);
  std::string text = table_text(resource, {object}, {{"resourceVersion", std::to_string(object->revision())}}, accepted.include, true, now);
  return accepted.beta ? as_beta(std::move(text)) : text;
}

namespace {

std::string encode_protobuf_list(const Resource& resource, const ListPage& page, const Accepted& accepted) {
  const bool metadata = accepted.form == Form::metadata;
  machinery::ProtobufList list(list_metadata(page));
  for (const ObjectPtr& object : page.items) {
    if (metadata) {
      list.add_metadata(object->value());
    } else if (resource.converted) {
      json::value copy = object->value();
      convert(copy, *resource.stored, *resource.main);
      list.add(*resource.info->type, copy);
    } else {
      list.add(*resource.info->type, object->value());
    }
  }
  if (metadata) return list.finish(metadata_version(accepted), "PartialObjectMetadataList");
  return list.finish(resource.info->api_version(), std::string(resource.info->kind) + "List");
}

std::string encode_cbor_list(const Resource& resource, const ListPage& page, const Accepted& accepted) {
  const bool metadata = accepted.form == Form::metadata;
  machinery::CborList list;
  for (const ObjectPtr& object : page.items) {
    json::value copy;
    if (metadata) list.add(metadata_value(*object, accepted), nullptr, true);
    else list.add(served_value(resource, *object, copy), cbor_type(resource), resource.custom != nullptr);
  }
  if (metadata) return list.finish(metadata_version(accepted), "PartialObjectMetadataList", list_metadata(page));
  std::string kind = resource.custom != nullptr ? std::string(resource.custom->owner->list_kind()) : std::string(resource.info->kind) + "List";
  return list.finish(resource.info->api_version(), kind, list_metadata(page));
}

}  // namespace

Body encode_list(const Resource& resource, const ListPage& page, const Accepted& accepted, SystemTime now) {
  static const auto kSeparator = std::make_shared<const std::string>(",{"), kFirst = std::make_shared<const std::string>("{"),
                    kComma = std::make_shared<const std::string>(","), kEnd = std::make_shared<const std::string>("]}\n");
  auto piece = [](std::string text) { return http::slice(std::make_shared<const std::string>(std::move(text))); };
  if (accepted.form == Form::table) {
    std::string text = table_text(resource, page.items, list_metadata(page), accepted.include, true, now);
    return {piece(accepted.beta ? as_beta(std::move(text)) : std::move(text))};
  }
  if (accepted.encoding == Encoding::protobuf) return {piece(encode_protobuf_list(resource, page, accepted))};
  if (accepted.encoding == Encoding::cbor) return {piece(encode_cbor_list(resource, page, accepted))};
  const bool metadata = accepted.form == Form::metadata;
  // The items of a typed list do not say their kind; custom resources do.
  const std::string said = "{\"apiVersion\":\"" + resource.main->api_version() + "\",\"kind\":\"" + std::string(resource.info->kind) + "\",";
  std::string head = list_head(resource, page, metadata);
  Body out{piece(accepted.beta ? as_beta(std::move(head)) : std::move(head))};
  out.reserve(2 * page.items.size() + 2);
  for (const ObjectPtr& object : page.items) {
    http::Slice item = metadata ? piece(metadata_text(*object, accepted))
                       : resource.converted ? piece(object_text(resource, *object)) : http::Slice{object, object->bytes()};
    const bool strip = resource.custom == nullptr && item.bytes.starts_with(said);
    if (strip) item.bytes.remove_prefix(said.size());
    if (strip) out.push_back(http::slice(out.size() > 1 ? kSeparator : kFirst));
    else if (out.size() > 1) out.push_back(http::slice(kComma));
    out.push_back(std::move(item));
  }
  out.push_back(http::slice(kEnd));
  return out;
}

void respond_json(http::Responder& responder, int code, std::string body, const std::vector<std::string>& warnings) {
  responder.respond(code, json_headers(warnings), std::move(body));
}

void respond_text(http::Responder& responder, int code, std::string body) {
  http::Headers headers;
  headers.add("Content-Type", "text/plain; charset=utf-8");
  headers.add("X-Content-Type-Options", "nosniff");
  responder.respond(code, std::move(headers), std::move(body));
}

void respond_status(http::Responder& responder, const Status& status, const std::vector<std::string>& warnings) {
  // Media types are looked at before the resource is: nothing is said of that then.
  const bool early = status.message().starts_with("406: ") || status.message().starts_with("415: ");
  http::Headers headers = json_headers(early ? std::vector<std::string>() : warnings);
  if (status.details().retry_after_seconds > 0) headers.add("Retry-After", std::to_string(status.details().retry_after_seconds));
  responder.respond(status.code(), std::move(headers), api::to_json_text(status));
}

namespace {

std::string_view media_type(Encoding encoding) {
  if (encoding == Encoding::yaml) return "application/yaml";
  if (encoding == Encoding::cbor) return machinery::kCborType;
  return encoding == Encoding::protobuf ? machinery::kProtobufType : "application/json";
}

std::string in_yaml(const std::string& text) {
  auto value = json::parse(text);
  return value ? machinery::yaml_text(*value) : text;
}

http::Headers accepted_headers(const Accepted& accepted, const std::vector<std::string>& warnings) {
  http::Headers headers = json_headers(warnings);
  headers.set("Content-Type", std::string(media_type(accepted.encoding)));
  return headers;
}

void compress(http::Headers& headers, Body& body) {
  size_t size = 0;
  for (const http::Slice& piece : body) size += piece.bytes.size();
  if (size < kWorthCompressing) return;
  body = {http::slice(std::make_shared<const std::string>(http::gzip(body)))};
  headers.add("Content-Encoding", "gzip");
  headers.add("Vary", "Accept-Encoding");
}

}  // namespace

void respond_as(http::Responder& responder, int code, std::string text, const Accepted& accepted, const std::vector<std::string>& warnings) {
  if (accepted.encoding == Encoding::yaml) text = in_yaml(text);
  if (accepted.gzip && text.size() >= kWorthCompressing)
    return respond_as(responder, code, Body{http::slice(std::make_shared<const std::string>(std::move(text)))}, accepted, warnings);
  responder.respond(code, accepted_headers(accepted, warnings), std::move(text));
}

void respond_as(http::Responder& responder, int code, Body body, const Accepted& accepted, const std::vector<std::string>& warnings) {
  if (accepted.encoding == Encoding::yaml) {
    std::string text;
    for (const http::Slice& piece : body) text += piece.bytes;
    body = {http::slice(std::make_shared<const std::string>(in_yaml(text)))};
  }
  http::Headers headers = accepted_headers(accepted, warnings);
  if (accepted.gzip) compress(headers, body);
  responder.respond_shared(code, std::move(headers), std::move(body));
}

namespace {

// Failures and other short answers are made as JSON everywhere; who wants another encoding gets them through this.
class EncodingResponder final : public http::Responder {
 public:
  EncodingResponder(std::unique_ptr<http::Responder> inner, Encoding encoding) : inner_(std::move(inner)), encoding_(encoding) {}
  void respond(int status, http::Headers headers, std::string body) override {
    if (headers.get("Content-Type") == "application/json")
      if (auto value = json::parse(body))
        if (auto encoded = encode(*value)) {
          body = std::move(*encoded);
          headers.set("Content-Type", std::string(media_type(encoding_)));
        }
    inner_->respond(status, std::move(headers), std::move(body));
  }
  void respond_shared(int status, http::Headers headers, std::vector<http::Slice> body) override { inner_->respond_shared(status, std::move(headers), std::move(body)); }
  std::unique_ptr<http::Stream> stream(int status, http::Headers headers) override { return inner_->stream(status, std::move(headers)); }
  Result<std::unique_ptr<http::Tunnel>> upgrade(http::Headers headers) override { return inner_->upgrade(std::move(headers)); }
  void on_abandoned(std::function<void()> callback) override { inner_->on_abandoned(std::move(callback)); }

 private:
  std::optional<std::string> encode(const json::value& value) const {
    if (encoding_ == Encoding::cbor) return machinery::encode_cbor(value);
    if (encoding_ == Encoding::yaml) return machinery::yaml_text(value);
    std::string_view version = json::get_string(value, {"apiVersion"}), kind = json::get_string(value, {"kind"});
    const size_t slash = version.find('/');
    const bool core = slash == std::string_view::npos;
    const api::Type* type = api::Schema::builtin().find_kind(core ? "" : version.substr(0, slash), core ? version.empty() ? "v1" : version : version.substr(slash + 1), kind);
    if (type == nullptr) return std::nullopt;
    return machinery::encode_protobuf(*type, value);
  }

  std::unique_ptr<http::Responder> inner_;
  const Encoding encoding_;
};

}  // namespace

std::unique_ptr<http::Responder> in_accepted_encoding(const http::Request& request, std::unique_ptr<http::Responder> responder, const FeatureGates& gates) {
  std::string_view accept = request.headers.get("Accept");
  if (accept.empty() || accept == "application/json" || accept == "*/*") return responder;
  for (std::string_view text : split(accept, ',')) {
    Alternative a = parse_alternative(trim(text));
    // Other forms are for objects alone.
    if (!a.as.empty()) continue;
    if (a.type == "application/json" || a.type == "*/*" || a.type == "application/*") return responder;
    std::optional<Encoding> encoding;
    if (a.type == "application/yaml") encoding = Encoding::yaml;
    if (a.type == machinery::kProtobufType) encoding = Encoding::protobuf;
    if (a.type == machinery::kCborType && gates.cbor) encoding = Encoding::cbor;
    if (encoding) return std::make_unique<EncodingResponder>(std::move(responder), *encoding);
  }
  return responder;
}

}  // namespace kcube::apiserver
