// What requests bring along: options of their queries, objects, patches and DeleteOptions of their bodies. Failures have the
// status and the words of kube-apiserver, which are those of Go's decoders. Internal to the room.
#pragma once

#include <string>
#include <string_view>

#include "pkg/apiserver/engine.h"
#include "pkg/apiserver/security_options.h"
#include "pkg/client/client.h"
#include "pkg/http/server.h"

namespace kcube::apiserver {

constexpr std::string_view kApplyCbor = "application/apply-patch+cbor";

// The Content-Type without its parameters.
std::string_view media_of(const http::Request& request);

// ListOptions; `listing` is false for watches, which have some of their own.
Result<ListOptions> read_list_query(const http::Query& query, bool listing);
// dryRun, fieldValidation and fieldManager into the call. `kind` is that of the options, for messages: "PatchOptions".
Result<void> read_options(Call& call, const http::Request& request, std::string_view kind);

// A whole object: JSON, YAML, protobuf, and CBOR when that gate is on. Fields that are there
// twice go into call.problems.
Result<json::value> read_body(Call& call, const http::Request& request, const FeatureGates& gates);

// By the Content-Type; 415 for others.
Result<client::PatchType> patch_type(std::string_view media, const FeatureGates& gates);
Result<json::value> read_patch(Call& call, const http::Request& request, client::PatchType type);

// From the body when there is one, else from the query. `dependents_go`: orphanDependents was said to be false.
Result<DeleteOptions> read_deletion(Call& call, const http::Request& request, const FeatureGates& gates, bool& dependents_go);

}  // namespace kcube::apiserver
