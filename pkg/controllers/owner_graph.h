// OwnerGraph: who owns whom, by uid, over every object of the cluster. An owner that is named by a child but has not been
// seen is a virtual node until somebody has looked whether it exists. Not thread-safe. Internal to the garbage collector.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "pkg/api/object.h"
#include "pkg/controllers/resource_list.h"

namespace kcube::controllers {

struct OwnerNode {
  std::string uid;
  api::GroupVersionResource resource;   // empty resource: of a kind nobody knows
  bool namespaced = false;
  std::string namespace_, name;
  std::vector<api::OwnerReference> owners;
  std::set<std::string> dependents;     // uids
  bool is_virtual = false;
  bool deleting = false;
  bool foreground = false;              // being deleted and waiting for its dependents
  bool orphaning = false;               // being deleted with the finalizer "orphan"
};

class OwnerGraph {
 public:
  // Teaches a kind, so that owner references can be resolved.
  void add_kind(const KnownResource& known);
  const KnownResource* kind(std::string_view api_version, std::string_view kind) const;

  // Takes an object in; returns the uids that need a look (virtual owners, dependents of a foreground deletion, …).
  std::vector<std::string> observe(const KnownResource& known, const api::Object& object);
  // The object (or virtual node) is gone. Returns its dependents and the owners that wait for it.
  std::vector<std::string> remove(const std::string& uid);

  const OwnerNode* find(const std::string& uid) const;
  // Dependents that hold up the deletion of `uid` (blockOwnerDeletion).
  std::vector<std::string> blocking(const std::string& uid) const;

 private:
  void link(OwnerNode& node, const std::vector<api::OwnerReference>& owners, std::vector<std::string>& look);
  void drop_if_unused(const std::string& uid);

  std::map<std::string, OwnerNode> nodes_;
  std::map<std::pair<std::string, std::string>, KnownResource> kinds_;   // (group, kind)
};

}  // namespace kcube::controllers
