// How answers look: which of its forms a client accepts, and the bytes of objects, lists, Tables and failures.
// Source: the API concepts page of the Kubernetes docs (alternate representations, receiving resources as Tables).
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "pkg/apiserver/engine.h"
#include "pkg/apiserver/machinery/table.h"
#include "pkg/apiserver/security_options.h"
#include "pkg/http/server.h"

namespace kcube::apiserver {

enum class Form { object, table, metadata };

enum class Encoding { json, yaml, protobuf, cbor };

struct Accepted {
  Form form = Form::object;
  Encoding encoding = Encoding::json;
  bool gzip = false;                // the client takes it, and the bytes leave this machine
  machinery::IncludeObject include = machinery::IncludeObject::metadata;   // of Table rows
  bool beta = false;                // of Tables and metadata: meta.k8s.io/v1beta1
  bool as_list = false;             // metadata of a list was asked for
};

// The first of the Accept header that `resource` has; 406 when there is none. `collection`: what is asked for could be watched;
// `watch`: it is, for which there is no YAML.
Result<Accepted> negotiate(const http::Request& request, const Resource& resource, const FeatureGates& gates, bool collection = false, bool watch = false);
// Metadata of one object is not given for a list, nor the other way round: 406.
Result<void> check_form(const Accepted& accepted, const Resource& resource, bool list);
// Media types of objects, as they are listed for who asked for another or sent another.
std::string_view media_types(const FeatureGates& gates);
// When the client wants YAML, protobuf, or CBOR and may have it: a responder that turns failures and other answers in JSON into
// that. Otherwise the same.
std::unique_ptr<http::Responder> in_accepted_encoding(const http::Request& request, std::unique_ptr<http::Responder> responder, const FeatureGates& gates);

// One object as `resource` serves it: JSON text, in protobuf's envelope, or a CBOR document.
std::string object_text(const Resource& resource, const api::Object& object);
std::string object_protobuf(const Resource& resource, const api::Object& object);
std::string object_cbor(const Resource& resource, const api::Object& object);
// A Table of objects as machinery::table() makes it, with the resource's own columns.
std::string table_text(const Resource& resource, const std::vector<ObjectPtr>& items, const json::object& list_metadata, machinery::IncludeObject include,
                       bool with_columns, SystemTime now);
// Of the accepted version: metadata as JSON text, the group and version of that and of Tables, and a Table made as v1 turned
// into v1beta1.
std::string metadata_text(const api::Object& object, const Accepted& accepted);
std::string_view metadata_version(const Accepted& accepted);
std::string as_beta(std::string text);
// One object in the accepted form.
std::string encode_object(const Resource& resource, const ObjectPtr& object, const Accepted& accepted, SystemTime now);
// A list in the accepted form, piece by piece: what is served as it is stored is not copied but shared with the cache.
using Body = std::vector<http::Slice>;
Body encode_list(const Resource& resource, const ListPage& page, const Accepted& accepted, SystemTime now);

// Each as a Warning header.
void add_warnings(http::Headers& headers, const std::vector<std::string>& warnings);
void respond_json(http::Responder& responder, int code, std::string body, const std::vector<std::string>& warnings = {});
void respond_text(http::Responder& responder, int code, std::string body);
void respond_status(http::Responder& responder, const Status& status, const std::vector<std::string>& warnings = {});
// With the accepted media type.
void respond_as(http::Responder& responder, int code, std::string json, const Accepted& accepted, const std::vector<std::string>& warnings);
void respond_as(http::Responder& responder, int code, Body json, const Accepted& accepted, const std::vector<std::string>& warnings);

}  // namespace kcube::apiserver
