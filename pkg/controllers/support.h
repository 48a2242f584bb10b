// What many controllers do with JSON objects: conditions, percentages, hashes, comparisons, labels of children.
// Pure functions. Internal to the room.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "pkg/api/json.h"
#include "pkg/api/object.h"
#include "pkg/api/selector.h"
#include "pkg/base/clock.h"
#include "pkg/client/client.h"
#include "pkg/client/informer.h"

namespace kcube::controllers {

// A JSON string; spares the reader Boost's string_view.
inline json::value text(std::string_view s) { return json::value(json::key(s)); }
inline std::string string_at(const json::value& v, std::initializer_list<std::string_view> path) {
  return std::string(json::get_string(json::at(&v, path)));
}

// Equal but for what the API does not tell apart: null, {}, [] and absent.
bool equivalent(const json::value* a, const json::value* b);
// The member is there and not null.
bool has(const json::value& v, std::initializer_list<std::string_view> path);

struct Condition {
  std::string_view type, status, reason, message;
};
const json::value* find_condition(const json::value& object, std::string_view type);
bool condition_is(const json::value& object, std::string_view type, std::string_view status = "True");
// Sets it in `conditions`; the transition time moves only with the status. True when something changed.
// With `update_time` it is a Deployment's: lastUpdateTime is kept too, and another message alone changes nothing.
bool set_condition(json::array& conditions, const Condition& condition, SystemTime now, bool update_time = false);
bool remove_condition(json::array& conditions, std::string_view type);

// An IntOrString: a number, or a percentage of `total` rounded up or down.
int64_t resolve_percent(const json::value* value, int64_t total, bool round_up, int64_t fallback = 0);

// A hash over the JSON that does not depend on the order of members, in the form of pod-template-hash.
std::string template_hash(const json::value& pod_template, const json::value* collision_count);
// The letters of such hashes for a number.
std::string safe_encode(uint32_t number);

// RFC 3339 times in objects; the epoch when absent.
SystemTime time_at(const json::value& v, std::initializer_list<std::string_view> path);
SystemTime creation_time(const json::value& object);

// PUTs the object with this status; nothing is written when it is equivalent to the present one.
Result<void> update_status(client::Client& client, const client::GroupVersionResource& resource, const api::Object& object, json::value status);

// The index "controller" over an informer: bucket = uid of the controlling owner, or "orphans/NS".
void index_by_controller(client::Informer& informer);
std::vector<api::ObjectPtr> controlled_by(const client::Informer& informer, std::string_view uid);
std::vector<api::ObjectPtr> orphans_in(const client::Informer& informer, std::string_view ns);

// The children of `owner` among the informer's objects: those it controls and that match `selector`. Orphans that match
// are adopted, children that no longer match are released. Source: the Kubernetes docs on ReplicaSet, "acquiring Pods".
Result<std::vector<api::ObjectPtr>> claim_children(client::Client& client, const client::Informer& children,
                                                   const client::GroupVersionResource& child_resource, const api::Object& owner,
                                                   const client::GroupVersionResource& owner_resource, const api::LabelSelector& selector);

}  // namespace kcube::controllers
