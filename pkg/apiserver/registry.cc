#include "pkg/apiserver/registry.h"

#include "pkg/apiserver/conversion.h"
#include "pkg/apiserver/strategy.h"

namespace kcube::apiserver {
namespace {

bool is_stored(const api::ResourceInfo& main) { return main.has_verb("update"); }

}  // namespace

std::string Resource::internal_package() const {
  std::string_view group = subresource().empty() ? stored->group : info->kind_group;
  return group.empty() ? "core" : std::string(group.substr(0, group.find('.')));
}

std::string Registry::name_of(std::string_view group, std::string_view version, std::string_view resource, std::string_view subresource) {
  std::string name;
  name.reserve(group.size() + version.size() + resource.size() + subresource.size() + 3);
  return name.append(group).append("/").append(version).append("/").append(resource).append("/").append(subresource);
}

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

ResourcePtr Registry::lookup(const std::unordered_map<std::string, const Resource*>& builtin, const std::string& name) const {
  if (auto it = builtin.find(name); it != builtin.end()) return {ResourcePtr(), it->second};
  auto dynamic = dynamic_.load();
  if (!dynamic) return nullptr;
  auto it = dynamic->find(name);
  return it == dynamic->end() ? nullptr : it->second;
}

ResourcePtr Registry::find(std::string_view group, std::string_view version, std::string_view resource, std::string_view subresource) const {
  return lookup(by_name_, name_of(group, version, resource, subresource));
}

ResourcePtr Registry::find_stored(std::string_view group, std::string_view resource) const {
  return lookup(stored_, name_of(group, {}, resource, {}));
}

ResourcePtr Registry::find_kind(std::string_view api_version, std::string_view kind) const {
  auto fits = [&](const Resource& r) {
    if (!r.subresource().empty() || r.info->kind != kind) return false;
    return r.group().empty() ? r.info->version == api_version : api_version == std::string(r.group()) + "/" + std::string(r.info->version);
  };
  for (const auto& r : all_)
    if (fits(*r)) return {ResourcePtr(), r.get()};
  auto dynamic = dynamic_.load();
  if (!dynamic) return nullptr;
  for (const auto& [name, r] : *dynamic)
    if (fits(*r)) return r;
  return nullptr;
}

}  // namespace kcube::apiserver
