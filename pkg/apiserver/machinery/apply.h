// Server-side apply and managed fields: who owns which field.
// Source: KEP-555; structured-merge-diff's rules for atomic, set and map lists; FieldsV1 notation (`f:`, `k:`, `v:`, `i:`).
#pragma once

#include <string>
#include <string_view>

#include "pkg/api/json.h"
#include "pkg/api/schema.h"
#include "pkg/base/clock.h"

namespace kcube::machinery {

struct ApplyOptions {
  std::string manager;
  bool force = false;
  std::string subresource;          // "" or "status", "scale", …
  std::string api_version;          // of the applied configuration
  SystemTime now{};
  bool status_apart = true;         // status is written by its subresource alone
  bool tracks_spec = true;          // spec may change at all
};

// The object after `config` is applied to `live` (null: create), with its managedFields brought up to date.
// 409 Conflict with causes of reason FieldManagerConflict when another manager owns a changed field and force is off.
Result<json::value> apply(const json::value* live, const json::value& config, const api::Type& type, const ApplyOptions& options);

// After a create, update or patch by `options.manager`: the fields that differ between `live` (null: create) and `updated`
// become its own, removed ones nobody's. Changes updated's metadata.managedFields in place. An update that sets
// managedFields to an empty list clears them.
void update_managed_fields(const json::value* live, json::value& updated, const api::Type& type, const ApplyOptions& options);

}  // namespace kcube::machinery
