// When objects go, and what the engine's two halves, writing and deleting, have in common. Internal to the engine.
#pragma once

#include <string_view>

#include "pkg/api/json.h"
#include "pkg/apiserver/engine.h"

namespace kcube::apiserver {

// How often a write is tried again when others come first.
constexpr int kAttempts = 16;
// Reason of the failure that says so; it never leaves the engine.
constexpr std::string_view kRaced = "Raced";

bool is_namespace(const Resource& resource);
json::object& metadata_of(json::object& object);
// metadata.deletionGracePeriodSeconds, 0 without.
int64_t grace_of(const json::object& object);
// Only a namespace has finalizers in its spec; elsewhere that name is anybody's.
bool finalized_by_spec(const Resource& resource, const json::object& object);
// Marked as deleted, and nobody and nothing holds it any more.
bool ready_to_go(const Resource& resource, const json::object& object);

}  // namespace kcube::apiserver
