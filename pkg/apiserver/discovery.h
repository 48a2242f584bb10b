// Discovery: which groups, versions and resources are served, in the legacy documents and the aggregated one.
// Source: the API reference of APIGroupList and APIResourceList; KEP-3352 (aggregated discovery, v2).
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "pkg/api/schema.h"

namespace kcube::apiserver {

class Discovery {
 public:
  // Subresources follow their resource; the first resource of a group puts the group in its place.
  explicit Discovery(const std::vector<const api::ResourceInfo*>& resources);
  // The document at `path` ("/api", "/apis", "/apis/apps", "/apis/apps/v1"), or null. JSON text that lives as long as this.
  const std::string* legacy(std::string_view path) const;
  // At "/api" and "/apis" alone.
  const std::string* aggregated(std::string_view path) const;
  static constexpr const char* kAggregatedType = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
  // True when the Accept header prefers the aggregated form.
  static bool wants_aggregated(std::string_view accept);

 private:
  std::map<std::string, std::string, std::less<>> legacy_, aggregated_;
};

}  // namespace kcube::apiserver
