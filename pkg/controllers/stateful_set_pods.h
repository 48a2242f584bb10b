// The pods and claims of a StatefulSet: names, identity, which revision an ordinal gets. Internal to stateful_set.cc.
#pragma once

#include <string>
#include <vector>

#include "pkg/api/object.h"

namespace kcube::controllers::stateful {

int64_t start_ordinal(const json::value& set);
int64_t replicas_of(const json::value& set);
// -1 when `pod` is not named like one of the set's.
int64_t ordinal_of(const json::value& set, const api::Object& pod);
std::string pod_name(const json::value& set, int64_t ordinal);
bool is_parallel(const json::value& set);
bool is_rolling(const json::value& set);
int64_t partition_of(const json::value& set);

// From the template of `revision`, with the identity of `ordinal`.
json::object make_pod(const json::value& set, const api::Object& revision, int64_t ordinal);
// The claims of one ordinal, from spec.volumeClaimTemplates.
std::vector<json::object> claims_of(const json::value& set, int64_t ordinal);

}  // namespace kcube::controllers::stateful
