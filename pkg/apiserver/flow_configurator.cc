#include "pkg/apiserver/flow_configurator.h"

#include <algorithm>

#include "pkg/base/log.h"

namespace kcube::apiserver {
namespace {

constexpr const char* kGroup = "flowcontrol.apiserver.k8s.io";
constexpr const char* kAutoUpdate = "apf.kubernetes.io/autoupdate-spec";
constexpr const char* kProducer = "api-priority-and-fairness-config-producer-v1";
constexpr const char* kConsumer = "api-priority-and-fairness-config-consumer-v1";

std::string_view resource_of(std::string_view kind) { return kind == "FlowSchema" ? "flowschemas" : "prioritylevelconfigurations"; }

// Whether we keep its spec: as the annotation says, or as long as nobody has touched an object without one.
bool follows_us(const json::value& object) {
  const json::value* said = json::find(json::at(&object, {"metadata", "annotations"}), kAutoUpdate);
  if (said == nullptr) return json::get_int(object, {"metadata", "generation"}) == 1;
  return json::get_string(said) == "true";
}

std::vector<json::value> values(const ResourceCache& cache) {
  std::vector<json::value> out;
  const SnapshotPtr snapshot = cache.snapshot();
  for (const ObjectPtr& object : snapshot->objects) out.push_back(object->value());
  return out;
}

}  // namespace

FlowConfigurator::FlowConfigurator(Engine& engine, Cache& cache, flowcontrol::FlowControl& flow)
    : engine_(engine), flow_(flow), schemas_(cache.find(kGroup, "flowschemas")), levels_(cache.find(kGroup, "prioritylevelconfigurations")), executor_({"flow-config", 1, 4}) {}

void FlowConfigurator::start() {
  maintain();
  started_ = true;
  flow_.configure(values(*schemas_), values(*levels_));
  executor_.submit([this] { follow(); });
}

void FlowConfigurator::stop() {
  started_ = false;
  executor_.stop();
}

void FlowConfigurator::observe(const Event& event) {
  if (event.cache != schemas_ && event.cache != levels_) return;
  if (!started_ || pending_.exchange(true)) return;
  if (!executor_.submit([this] { follow(); })) pending_ = false;
}

void FlowConfigurator::follow() {
  pending_ = false;
  if (!started_) return;
  flow_.configure(values(*schemas_), values(*levels_));
  maintain();
  const SnapshotPtr schemas = schemas_->snapshot();
  for (const ObjectPtr& schema : schemas->objects) report(*schema);
}

Call FlowConfigurator::call(std::string_view kind, std::string_view name, const char* manager) const {
  Call c;
  c.user = {"system:apiserver", "", {"system:masters"}, {}};
  c.resource = engine_.core().registry.find_stored(kGroup, resource_of(kind));
  c.name = name;
  c.trusted = true;
  c.field_manager = manager;
  return c;
}

void FlowConfigurator::maintain() {
  for (const json::value& wanted : flowcontrol::mandatory_objects()) maintain_one(wanted, true);
  for (const json::value& wanted : flowcontrol::suggested_objects()) maintain_one(wanted, false);
  remove_outdated();
}

void FlowConfigurator::maintain_one(const json::value& wanted, bool mandatory) {
  std::string_view kind = json::get_string(wanted, {"kind"}), name = json::get_string(wanted, {"metadata", "name"});
  ObjectPtr there = cache_of(kind).get("", name);
  Call c = call(kind, name, kProducer);
  auto complain = [&](const Status& status) {
    if (status.reason() != "AlreadyExists" && status.reason() != "Conflict") log::warn("apiserver", "flow control: " + std::string(name), {{"error", status.message()}});
  };
  if (!there) {
    if (auto made = engine_.create(c, wanted); !made) complain(made.error());
    return;
  }
  const json::value& object = there->value();
  const bool ours = mandatory || follows_us(object);
  std::string_view annotation = json::get_string(json::find(json::at(&object, {"metadata", "annotations"}), kAutoUpdate));
  const json::value* spec = json::find(&wanted, "spec");
  // How much the exempt level lends is the administrator's.
  const bool free = kind == "PriorityLevelConfiguration" && name == "exempt";
  const bool right = !ours || free || *json::find(&object, "spec") == *spec;
  if (right && annotation == (ours ? "true" : "false")) return;
  auto changed = engine_.modify(c, [&](json::value& o) -> Result<void> {
    json::ensure_path(o, {"metadata", "annotations"})[kAutoUpdate] = ours ? "true" : "false";
    if (!right) o.as_object()["spec"] = *spec;
    return {};
  });
  if (!changed) complain(changed.error());
}

// What an earlier version had, and nobody has made his own.
void FlowConfigurator::remove_outdated() {
  for (std::string_view kind : {"FlowSchema", "PriorityLevelConfiguration"}) {
    const SnapshotPtr snapshot = cache_of(kind).snapshot();
    for (const ObjectPtr& object : snapshot->objects) {
      if (json::get_string(json::find(json::at(&object->value(), {"metadata", "annotations"}), kAutoUpdate)) != "true") continue;
      auto is_it = [&](const json::value& o) { return json::get_string(o, {"kind"}) == kind && json::get_string(o, {"metadata", "name"}) == object->name(); };
      if (std::ranges::any_of(flowcontrol::mandatory_objects(), is_it) || std::ranges::any_of(flowcontrol::suggested_objects(), is_it)) continue;
      Call c = call(kind, object->name(), kProducer);
      if (auto removed = engine_.remove(c, {}); !removed && removed.error().code() != 404) log::warn("apiserver", "flow control: " + std::string(object->name()), {{"error", removed.error().message()}});
    }
  }
}

// The condition Dangling.
void FlowConfigurator::report(const api::Object& schema) {
  const json::value& object = schema.value();
  std::string level(json::get_string(object, {"spec", "priorityLevelConfiguration", "name"}));
  const bool found = levels_->get("", level) != nullptr;
  const std::string message = "This FlowSchema references the PriorityLevelConfiguration object named \"" + level + "\" " + (found ? "and it exists" : "but there is no such object");
  const json::value* before = nullptr;
  for (const json::value& c : json::get_array(json::at(&object, {"status", "conditions"})))
    if (json::get_string(c, {"type"}) == "Dangling") before = &c;
  std::string_view status = found ? "False" : "True";
  if (before != nullptr && json::get_string(*before, {"status"}) == status && json::get_string(*before, {"message"}) == message) return;
  const bool flipped = before == nullptr || json::get_string(*before, {"status"}) != status;
  json::object condition{{"type", "Dangling"}, {"status", json::key(status)}, {"reason", found ? "Found" : "NotFound"}, {"message", message}};
  condition["lastTransitionTime"] = flipped ? json::value(format_time(engine_.core().clock.now())) : *json::find(before, "lastTransitionTime");
  json::object patch{{"apiVersion", "flowcontrol.apiserver.k8s.io/v1"}, {"kind", "FlowSchema"}, {"metadata", json::object{{"name", json::key(schema.name())}, {"uid", json::key(schema.uid())}}},
                     {"status", json::object{{"conditions", json::array{json::value(std::move(condition))}}}}};
  Call c = call("FlowSchema", schema.name(), kConsumer);
  c.resource = engine_.core().registry.find(kGroup, "v1", "flowschemas", "status");
  if (auto written = engine_.patch(c, client::PatchType::apply, json::value(std::move(patch)), true); !written && written.error().code() != 404 && written.error().reason() != "Conflict")
    log::warn("apiserver", "flow control: status of " + std::string(schema.name()), {{"error", written.error().message()}});
}

}  // namespace kcube::apiserver
