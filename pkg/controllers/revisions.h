// ControllerRevisions: the history of templates of a DaemonSet or StatefulSet, in the form that `kubectl rollout undo`
// patches back. Internal to the room.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "pkg/api/object.h"
#include "pkg/client/client.h"
#include "pkg/client/informer.h"

namespace kcube::controllers {

struct History {
  std::vector<api::ObjectPtr> all;   // oldest first, with `current`
  api::ObjectPtr current;            // of the present template
};

class Revisions {
 public:
  Revisions(client::Client& client, client::Informer& informer, client::GroupVersionResource owner_resource)
      : client_(client), informer_(informer), owner_resource_(std::move(owner_resource)) {}
  // Finds or makes the revision of the owner's template and makes it the newest. Two templates of one hash raise
  // status.collisionCount and fail with a conflict, so that the next attempt has another name.
  Result<History> sync(const api::Object& owner);
  // Deletes the oldest beyond spec.revisionHistoryLimit; those named in `live` stay.
  Result<void> truncate(const api::Object& owner, const History& history, const std::set<std::string>& live);

 private:
  Result<api::ObjectPtr> create(const api::Object& owner, int64_t number);
  client::Client& client_;
  client::Informer& informer_;
  const client::GroupVersionResource owner_resource_;
};

// {"spec":{"template":{…,"$patch":"replace"}}}
json::value revision_data(const json::value& owner);
// The template kept in a revision.
json::value template_of_revision(const json::value& revision);
inline constexpr const char* kRevisionHash = "controller-revision-hash";

}  // namespace kcube::controllers
