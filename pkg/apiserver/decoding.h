// What a body has to say of itself to be an object of the resource that is asked for. Internal to the room.
#pragma once

#include "pkg/apiserver/core.h"

namespace kcube::apiserver {

// 400 when its name or namespace are others than those of the URL.
Result<void> check_identity(const Call& call, const json::object& object);
// 400 when an object at a URL does not say its name.
Result<void> check_named(const Call& call, const json::object& object);

}  // namespace kcube::apiserver
