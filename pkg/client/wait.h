// Waiting for one object to become as wanted: lists it, then watches, and lists again when the watch breaks.
#pragma once

#include <chrono>
#include <functional>
#include <string_view>

#include "pkg/client/client.h"

namespace kcube::client {

// The object once `done` says so; `what` names it in the 504 Timeout after `deadline`. An object that does not exist (yet)
// is waited for. Blocks; `done` may run on a thread of the client and must not call it. Other failures of the first list
// are returned at once.
Result<ObjectPtr> wait_for(Client& client, const GroupVersionResource& resource, std::string_view ns, std::string_view name,
                           const std::function<bool(const json::value&)>& done, std::chrono::milliseconds deadline, std::string_view what);

}  // namespace kcube::client
