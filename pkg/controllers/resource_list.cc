#include "pkg/controllers/resource_list.h"

#include <set>

#include "pkg/api/schema.h"
#include "pkg/controllers/support.h"

namespace kcube::controllers {

const std::vector<KnownResource>& builtin_resources() {
  static const std::vector<KnownResource> all = [] {
    std::vector<KnownResource> out;
    std::set<std::string> seen;
    for (const api::ResourceInfo& r : api::Schema::builtin().resources()) {
      if (!r.subresource.empty() || !r.has_verb("list") || !r.has_verb("watch") || !r.has_verb("delete")) continue;
      // The same objects as the core group's.
      if (r.group == "events.k8s.io") continue;
      KnownResource known{{std::string(r.group), std::string(r.version), std::string(r.resource)}, std::string(r.kind), r.namespaced};
      if (seen.insert(known.resource.group_resource()).second) out.push_back(std::move(known));
    }
    return out;
  }();
  return all;
}

std::vector<KnownResource> custom_resource(const api::Object& definition) {
  const json::value& crd = definition.value();
  if (!condition_is(crd, "Established")) return {};
  for (const json::value& version : json::get_array(json::at(&crd, {"spec", "versions"}))) {
    if (!json::get_bool(version, {"served"})) continue;
    return {{{string_at(crd, {"spec", "group"}), string_at(version, {"name"}), string_at(crd, {"spec", "names", "plural"})},
             string_at(crd, {"spec", "names", "kind"}),
             json::get_string(crd, {"spec", "scope"}) == "Namespaced"}};
  }
  return {};
}

}  // namespace kcube::controllers
