// The registry: every served resource and subresource, what it is stored as, and the names by which requests find it.
//
// The built-in ones are made once from the schema and never change. Those of CustomResourceDefinitions come and go: they
// are one immutable map that is exchanged whole, and each lives for as long as somebody holds it. Any thread may read.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "pkg/api/schema.h"
#include "pkg/apiserver/cache.h"

namespace kcube::apiserver {

struct Strategy;
namespace extension {
struct CustomVersion;
}

// One resource or subresource of one served version.
struct Resource {
  const api::ResourceInfo* info = nullptr;     // as the request named it
  const api::ResourceInfo* main = nullptr;     // the resource itself: `info` unless that is a subresource
  const api::ResourceInfo* stored = nullptr;   // `main` in the version that is stored
  ResourceCache* cache = nullptr;              // null for kinds that are never stored (reviews, bindings)
  const Strategy* strategy = nullptr;
  bool converted = false;                      // `main` and `stored` differ
  const extension::CustomVersion* custom = nullptr;   // of a CustomResourceDefinition: what else there is to know of it

  std::string_view group() const { return info->group; }
  std::string_view resource() const { return info->resource; }
  std::string_view subresource() const { return info->subresource; }
  bool namespaced() const { return info->namespaced; }
  // The Go package of the form that kube-apiserver has for itself: "core", "apps"; messages name it.
  std::string internal_package() const;
  bool is(std::string_view group, std::string_view resource) const { return info->group == group && info->resource == resource; }
};

// Of a built-in resource it owns nothing and costs what a pointer costs.
using ResourcePtr = std::shared_ptr<const Resource>;

class Registry {
 public:
  // The resources of CustomResourceDefinitions, by name_of().
  using Dynamic = std::unordered_map<std::string, ResourcePtr>;
  // Declares each stored resource to `cache`.
  Registry(const api::Schema& schema, Cache& cache);
  ResourcePtr find(std::string_view group, std::string_view version, std::string_view resource,
                   std::string_view subresource = {}) const;
  // The resource in the version that is stored, for callers inside the server.
  ResourcePtr find_stored(std::string_view group, std::string_view resource) const;
  // What serves `kind` of "apps/v1", or "v1" for the core group; null when nothing does.
  ResourcePtr find_kind(std::string_view api_version, std::string_view kind) const;
  // The built-in ones.
  const std::vector<std::unique_ptr<Resource>>& all() const { return all_; }
  // From now on these are found beside the built-in ones. Under {} for the version: what find_stored() gives.
  void set_dynamic(std::shared_ptr<const Dynamic> resources) { dynamic_.store(std::move(resources)); }
  static std::string name_of(std::string_view group, std::string_view version, std::string_view resource, std::string_view subresource);

 private:
  std::vector<std::unique_ptr<Resource>> all_;
  ResourcePtr lookup(const std::unordered_map<std::string, const Resource*>& builtin, const std::string& name) const;

  std::unordered_map<std::string, const Resource*> by_name_, stored_;
  std::atomic<std::shared_ptr<const Dynamic>> dynamic_;
};

}  // namespace kcube::apiserver
