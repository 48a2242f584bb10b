// What is special about a resource: which parts of an object each kind of write may change, and what the server fills in.
//
// The default strategy fits most: spec by the main resource, status by its subresource, a generation that counts changes
// of the spec. Those with more to say have a file in strategies/. To add one: a Strategy value there, a row in
// strategy.cc. Source: the behaviour of kube-apiserver.
#pragma once

#include "pkg/apiserver/core.h"

namespace kcube::apiserver {

struct Write {
  Core& core;
  Call& call;
};

struct Strategy {
  bool has_status = false;             // the main resource leaves status alone
  bool has_generation = false;
  bool status_on_create = false;       // a created object keeps the status it came with
  bool generation_by_status = false;   // status is no subresource: a change of it counts as one of the spec
  bool empty_status = true;            // a created object has a status, if an empty one
  bool labels_by_status = true;        // a status write may change labels
  bool metadata_by_status = true;      // a status write may change metadata at all
  bool returns_deleted = false;        // DELETE answers with the object instead of a Status
  bool creates_on_update = false;      // PUT to an absent name creates
  bool orphans_by_default = false;     // dependents of a deleted object stay unless asked otherwise
  bool warns_of_orphans = false;       // and who deletes without saying what becomes of them is told so
  bool collects_garbage = true;        // has dependents at all
  bool generation_by_labels = false;   // a change of labels counts as one of the spec
  bool generation_by_annotations = false;
  bool extends_names = true;           // a generateName gets a random end
  bool tracks_spec = true;             // spec is anybody's to set

  // What a version of the kind has and the object has otherwise; before fields are tracked.
  Result<void> (*normalize)(json::object& object, bool creating) = nullptr;
  // After metadata is filled in and before defaults. `object` is the whole object.
  Result<void> (*prepare_create)(json::object& object, Write& write) = nullptr;
  // By the main resource; status and metadata are settled already.
  Result<void> (*prepare_update)(json::object& object, const json::object& old, Write& write) = nullptr;
  // By subresource `write.call.resource->subresource()` other than status and scale: `object` holds what the caller sent.
  Result<void> (*prepare_subresource)(json::object& object, const json::object& old, Write& write) = nullptr;
  // Rules beyond machinery::validate(): adds to `causes`, which has what those found, in the order they are told in.
  void (*validate)(const json::value& object, const json::value* old, Write& write, std::vector<Cause>& causes) = nullptr;
  // When the write was refused or failed after prepare_create or prepare_update: gives back what they took.
  void (*abandon)(const json::object& object, const json::object* old, Write& write) = nullptr;
  // When an object that stays for its finalizers or its grace is first deleted: what else changes with that.
  void (*mark_deleted)(json::object& object, Write& write) = nullptr;
  // Grace of a deletion, in seconds; `asked` is -1 for the default. 0 removes at once.
  int64_t (*grace)(const json::object& object, int64_t asked) = nullptr;
};

const Strategy& strategy_of(const api::ResourceInfo& stored);
// An update must say which version it is about.
bool needs_version(const api::ResourceInfo& stored);

// The strategies with files of their own.
extern const Strategy kPodStrategy, kServiceStrategy, kNamespaceStrategy, kNodeStrategy, kSecretStrategy, kCsrStrategy,
    kPersistentVolumeStrategy, kPersistentVolumeClaimStrategy, kIngressStrategy, kEventStrategy, kJobStrategy,
    kApiServiceStrategy, kCrdStrategy, kDaemonSetStrategy, kRoleStrategy, kRoleBindingStrategy,
    kLimitRangeStrategy, kResourceClaimStrategy, kResourceClaimTemplateStrategy;

// For strategies: `object`'s member becomes what `old` has there, or goes.
void keep_member(json::object& object, const json::object& old, std::string_view name);

}  // namespace kcube::apiserver
