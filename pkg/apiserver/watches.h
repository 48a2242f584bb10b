// Watches over HTTP: a hub's deliveries as a stream of JSON events, each encoded once for all who read the same form.
#pragma once

#include <memory>

#include "pkg/apiserver/hub.h"
#include "pkg/apiserver/output.h"

namespace kcube::apiserver {

// What a watch request asks for; `now` is the newest revision. 400 or 422 when it contradicts itself.
Result<WatchSpec> read_watch(const Call& call, const http::Query& query, uint64_t now);

// Registers with `hub` and goes on after this returns.
void serve_watch(Hub& hub, WatchSpec spec, const ResourcePtr& resource, const Accepted& accepted, const std::vector<std::string>& warnings, Clock& clock, const http::Request& request,
                 std::unique_ptr<http::Responder> responder);

}  // namespace kcube::apiserver
