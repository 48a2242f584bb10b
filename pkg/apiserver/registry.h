// The registry: every served resource and subresource, what it is stored as, and the names by which requests find it.
//
// Built once from the schema; immutable, so any thread may read it.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "pkg/api/schema.h"
#include "pkg/apiserver/cache.h"

namespace kcube::apiserver {

struct Strategy;

// One resource or subresource of one served version.
struct Resource {
  const api::ResourceInfo* info = nullptr;     // as the request named it
  const api::ResourceInfo* main = nullptr;     // the resource itself: `info` unless that is a subresource
  const api::ResourceInfo* stored = nullptr;   // `main` in the version that is stored
  ResourceCache* cache = nullptr;              // null for kinds that are never stored (reviews, bindings)
  const Strategy* strategy = nullptr;
  bool converted = false;                      // `main` and `stored` differ

  std::string_view group() const { return info->group; }
  std::string_view resource() const { return info->resource; }
  std::string_view subresource() const { return info->subresource; }
  bool namespaced() const { return info->namespaced; }
  bool is(std::string_view group, std::string_view resource) const { return info->group == group && info->resource == resource; }
};

class Registry {
 public:
  // Declares each stored resource to `cache`.
  Registry(const api::Schema& schema, Cache& cache);
  const Resource* find(std::string_view group, std::string_view version, std::string_view resource,
                       std::string_view subresource = {}) const;
  // The resource in the version that is stored, for callers inside the server.
  const Resource* find_stored(std::string_view group, std::string_view resource) const;
  const std::vector<std::unique_ptr<Resource>>& all() const { return all_; }

 private:
  std::vector<std::unique_ptr<Resource>> all_;
  std::unordered_map<std::string, const Resource*> by_name_, stored_;
};

}  // namespace kcube::apiserver
