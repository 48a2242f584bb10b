// The names that a CustomResourceDefinition gets of those it wants, and the conditions that say so.
#pragma once

#include <string>
#include <vector>

#include "pkg/api/json.h"
#include "pkg/api/object.h"
#include "pkg/base/clock.h"

namespace kcube::apiserver::extension {

// Sets a condition of `definition`; the time of its transition only when its status changes.
void set_condition(json::object& definition, std::string_view type, bool value, std::string_view reason, std::string_view message, SystemTime now);
bool condition_is(const json::value& definition, std::string_view type, bool value);

// status.acceptedNames, NamesAccepted and Established of `definition`, beside the `others` of its group.
void settle_names(json::object& definition, const std::vector<api::ObjectPtr>& others, SystemTime now);

}  // namespace kcube::apiserver::extension
