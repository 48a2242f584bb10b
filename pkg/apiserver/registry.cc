#include "pkg/apiserver/registry.h"

#include "pkg/apiserver/conversion.h"
#include "pkg/apiserver/strategy.h"

namespace kcube::apiserver {
namespace {

std::string name_of(std::string_view group, std::string_view version, std::string_view resource, std::string_view subresource) {
  std::string name;
  name.reserve(group.size() + version.size() + resource.size() + subresource.size() + 3);
  return name.append(group).append("/").append(version).append("/").append(resource).append("/").append(subresource);
}

bool is_stored(const api::ResourceInfo& main) { return main.has_verb("update"); }

}  // namespace

Registry::Registry(const api::Schema& schema, Cache& cache) {
  const api::ResourceInfo* main = nullptr;
  for (const api::ResourceInfo& info : schema.resources()) {
    if (info.subresource.empty()) main = &info;
    auto resource = std::make_unique<Resource>();
    resource->info = &info;
    resource->main = main;
    resource->stored = storage_version(schema, *main);
    resource->converted = resource->stored != main;
    resource->strategy = &strategy_of(*resource->stored);
    if (is_stored(*main)) resource->cache = cache.add(resource->stored->group, resource->stored->resource);
    by_name_[name_of(info.group, info.version, info.resource, info.subresource)] = resource.get();
    if (info.subresource.empty() && !resource->converted) stored_[name_of(info.group, {}, info.resource, {})] = resource.get();
    all_.push_back(std::move(resource));
  }
}

const Resource* Registry::find(std::string_view group, std::string_view version, std::string_view resource,
                               std::string_view subresource) const {
  auto it = by_name_.find(name_of(group, version, resource, subresource));
  return it == by_name_.end() ? nullptr : it->second;
}

const Resource* Registry::find_stored(std::string_view group, std::string_view resource) const {
  auto it = stored_.find(name_of(group, {}, resource, {}));
  return it == stored_.end() ? nullptr : it->second;
}

}  // namespace kcube::apiserver
