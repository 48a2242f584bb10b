#include "pkg/apiserver/deletion.h"

#include <algorithm>

#include "pkg/api/errors.h"
#include "pkg/apiserver/admission/admission.h"
#include "pkg/apiserver/extension/custom_resource.h"
#include "pkg/apiserver/strategy.h"

namespace kcube::apiserver {
namespace {

// Preconditions of a deletion; about the kind, not the resource.
Result<void> check_deletion(const Call& call, const api::Object& old, const DeleteOptions& deletion) {
  auto differs = [&](std::string_view what, const std::string& asked, std::string_view found, std::string_view why) {
    if (is_namespace(*call.resource))
      return fail(api::conflict("", "namespaces", old.name(), "Precondition failed: " + std::string(what) + " in precondition: " + asked + ", " + std::string(what) +
                                                                  " in object meta: " + std::string(found)));
    return fail(api::conflict(call.resource->stored->kind_group, call.resource->stored->kind, old.name(),
                              "the " + std::string(what) + " in the precondition (" + asked + ") does not match the " + std::string(what) +
                                  " in record (" + std::string(found) + "). The object might have been " + std::string(why)));
  };
  if (!deletion.uid.empty() && deletion.uid != old.uid()) return differs("UID", deletion.uid, old.uid(), "deleted and then recreated");
  const std::string revision = std::to_string(old.revision());
  if (!deletion.resource_version.empty() && deletion.resource_version != revision) return differs("ResourceVersion", deletion.resource_version, revision, "modified");
  return {};
}

void set_finalizer(json::object& metadata, std::string_view name, bool present) {
  json::array kept;
  if (const json::value* list = metadata.if_contains("finalizers"))
    for (const json::value& f : json::get_array(list))
      if (json::get_string(&f) != name) kept.push_back(f);
  if (present) kept.push_back(json::value(json::key(name)));
  if (kept.empty()) metadata.erase("finalizers");
  else metadata["finalizers"] = std::move(kept);
}

// The finalizers that make the garbage collector treat dependents as asked.
void set_propagation(json::object& metadata, const Strategy& strategy, std::string_view asked) {
  if (!strategy.collects_garbage) return;
  std::string_view policy = asked;
  bool had_foreground = false, had_orphan = false;
  if (const json::value* list = metadata.if_contains("finalizers")) {
    for (const json::value& f : json::get_array(list)) {
      had_foreground |= json::get_string(&f) == "foregroundDeletion";
      had_orphan |= json::get_string(&f) == "orphan";
    }
  }
  if (policy.empty() && (had_foreground || had_orphan)) return;
  if (policy.empty() && strategy.orphans_by_default) policy = "Orphan";
  set_finalizer(metadata, "foregroundDeletion", policy == "Foreground");
  set_finalizer(metadata, "orphan", policy == "Orphan");
}

}  // namespace

bool is_namespace(const Resource& r) { return r.stored->group.empty() && r.stored->resource == "namespaces"; }

json::object& metadata_of(json::object& object) { return json::ensure_object(object, "metadata"); }

int64_t grace_of(const json::object& object) {
  return json::get_int(json::find(object.if_contains("metadata"), "deletionGracePeriodSeconds"), 0);
}

bool finalized_by_spec(const Resource& r, const json::object& object) {
  return is_namespace(r) && !json::get_array(json::find(object.if_contains("spec"), "finalizers")).empty();
}

bool ready_to_go(const Resource& r, const json::object& object) {
  const json::value* metadata = object.if_contains("metadata");
  if (json::find(metadata, "deletionTimestamp") == nullptr) return false;
  if (!json::get_array(json::find(metadata, "finalizers")).empty()) return false;
  return grace_of(object) == 0 && !finalized_by_spec(r, object);
}

Result<Written> Engine::remove(Call& call, const DeleteOptions& deletion) {
  if (auto done = check_name(call); !done) return fail(done.error());
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    ObjectPtr old = call.resource->cache->get(call.ns, call.name);
    if (!old) return fail(missing(call));
    if (auto done = check_deletion(call, *old, deletion); !done) return fail(done.error());
    ObjectPtr seen = old;
    if (call.resource->custom != nullptr && !call.admitted) {
      // Admission sees the version that the request names.
      auto served = call.resource->custom->read(old);
      if (!served) return fail(served.error());
      seen = std::move(*served);
    }
    Admission admission{core_, call, Operation::remove, nullptr, &seen->value(), &deletion};
    if (auto done = mutate(admission); !done) return fail(done.error());
    if (auto done = admit(admission); !done) return fail(done.error());
    auto written = mark_deleted(call, old, deletion);
    if (written || written.error().reason() != kRaced) return written;
  }
  return fail(api::modified(call.resource->group(), call.resource->resource(), call.name));
}

Result<Written> Engine::mark_deleted(Call& call, const ObjectPtr& old, const DeleteOptions& deletion) {
  const Strategy& strategy = *call.resource->strategy;
  json::value copy = old->value();
  json::object& object = copy.get_object();
  json::object& metadata = metadata_of(object);
  int64_t grace = strategy.grace == nullptr ? 0 : strategy.grace(object, deletion.grace_period_seconds);
  set_propagation(metadata, strategy, deletion.propagation);
  bool was_deleting = old->deleting();
  // A later deletion may only shorten the grace of an earlier one.
  if (was_deleting) grace = std::min(grace, grace_of(old->value().get_object()));
  if (Write write{core_, call}; !was_deleting && strategy.mark_deleted != nullptr) strategy.mark_deleted(object, write);
  bool finalizers = !json::get_array(metadata.if_contains("finalizers")).empty() || finalized_by_spec(*call.resource, object);
  auto now = core_.clock.now();
  const bool at_once = grace == 0 && !finalizers;
  // What goes at once does not say so, unless it could have had a grace.
  if (at_once && strategy.grace == nullptr) return commit(call, copy, old->revision(), true);
  if (!was_deleting || grace < grace_of(old->value().get_object())) {
    metadata["deletionTimestamp"] = format_time(now + std::chrono::seconds(grace));
    // Definitions are marked by themselves there, as namespaces are.
    const bool definition = call.resource->is("apiextensions.k8s.io", "customresourcedefinitions");
    if (!is_namespace(*call.resource) && !definition) metadata["deletionGracePeriodSeconds"] = grace;
    if (!was_deleting && !definition && metadata.contains("generation")) metadata["generation"] = json::get_int(metadata.if_contains("generation")) + 1;
    if (is_namespace(*call.resource)) json::ensure_object(object, "status")["phase"] = "Terminating";
  }
  if (at_once) return commit(call, copy, old->revision(), true);
  if (copy == old->value()) return Written{old, false, false};
  return commit(call, copy, old->revision(), false);
}

Result<ListPage> Engine::remove_collection(Call& call, const DeleteOptions& deletion, const ListOptions& query) {
  auto page = list(call, query);
  if (!page) return fail(page.error());
  ListPage gone;
  gone.continue_token = page->continue_token;
  gone.remaining = page->remaining;
  std::vector<ObjectPtr>& removed = gone.items;
  for (const ObjectPtr& object : page->items) {
    Call one = call;
    one.ns = object->namespace_();
    one.name = object->name();
    auto done = remove(one, deletion);
    call.warnings = std::move(one.warnings);
    call.audit_annotations = std::move(one.audit_annotations);
    if (done) removed.push_back(object);   // as it was listed
    else if (!done.error().is_not_found() && !done.error().is_conflict()) return fail(done.error());
  }
  gone.revision = core_.cache.revision();
  return gone;
}

}  // namespace kcube::apiserver
