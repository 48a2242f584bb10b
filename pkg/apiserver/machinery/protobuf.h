// Bodies in Kubernetes' protobuf encoding, as typed Go clients send and take them: read over the schema's field numbers
// into the same JSON values that everything else works on, and written from them.
//
// Source: the protobuf encoding specification; the envelope ("k8s\0" and runtime.Unknown) in the API concepts page of the
// Kubernetes docs. Unknown fields are skipped, as Go does.
#pragma once

#include <string>
#include <string_view>

#include "pkg/api/json.h"
#include "pkg/api/schema.h"

namespace kcube::machinery {

constexpr std::string_view kProtobufType = "application/vnd.kubernetes.protobuf";

// 400 when the bytes are no envelope, no message of the kind they name, or the kind is unknown.
Result<json::value> decode_protobuf(const api::Schema& schema, std::string_view body);

// `object` in the envelope, its kind being `type`. Members that the schema has no number for are left out.
std::string encode_protobuf(const api::Type& type, const json::value& object);
// Its PartialObjectMetadata, of meta.k8s.io/v1 or another version of that.
std::string encode_metadata_protobuf(const json::value& object, std::string_view api_version = "meta.k8s.io/v1");

// A list of objects, made item by item.
class ProtobufList {
 public:
  explicit ProtobufList(const json::object& metadata);
  void add(const api::Type& type, const json::value& object);
  void add_metadata(const json::value& object);
  std::string finish(std::string_view api_version, std::string_view kind) const;

 private:
  std::string content_;
};

// One frame of a watch: four bytes of length, then a WatchEvent around an enveloped object.
std::string protobuf_watch_event(std::string_view type, std::string_view object);

}  // namespace kcube::machinery
