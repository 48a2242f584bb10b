// Which resources hold objects that can be deleted: the built-in ones from the schema, and those of CRDs. For what must
// look at everything: the namespace controller and the garbage collector. Internal to the room.
#pragma once

#include <string>
#include <vector>

#include "pkg/api/object.h"
#include "pkg/client/informer.h"

namespace kcube::controllers {

inline const api::GroupVersionResource kCustomResourceDefinitions{"apiextensions.k8s.io", "v1", "customresourcedefinitions"};

struct KnownResource {
  api::GroupVersionResource resource;
  std::string kind;
  bool namespaced = false;
};

// One entry a group and resource, whatever the number of versions; with the verbs list, watch and delete.
const std::vector<KnownResource>& builtin_resources();
// Of an established CRD, through a version that it serves; empty otherwise.
std::vector<KnownResource> custom_resource(const api::Object& definition);

}  // namespace kcube::controllers
