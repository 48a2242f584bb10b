// OpenAPI documents made from the schema: v3 one document a group and version, v2 one for all.
// Descriptions are our own and short. Source: OpenAPI 3.0 and Swagger 2.0 specifications, and which vendor extensions
// kubectl reads (x-kubernetes-group-version-kind, -patch-strategy, -patch-merge-key, -list-type, -list-map-keys, …).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "pkg/api/json.h"
#include "pkg/api/schema.h"

namespace kcube::machinery {

// What CustomResourceDefinitions add: their resources, whose types are no more than a name, and the schemas by name.
struct CustomSchemas {
  std::vector<const api::ResourceInfo*> resources;   // subresources follow their resource
  json::object schemas;                              // in the dialect of the document
};
// Beneath which the schema of a kind is found, "com.example.stable.v1.CronTab"; its list's is that and "List".
std::string custom_schema_name(std::string_view group, std::string_view version, std::string_view kind);

// The index at /openapi/v3: {"paths": {"api/v1": {"serverRelativeURL": "/openapi/v3/api/v1?hash=…"}}}.
std::string openapi_v3_index(const api::Schema& schema, const CustomSchemas& custom);
// The document of "api/v1" or "apis/apps/v1"; empty when there is none.
std::string openapi_v3(const api::Schema& schema, const CustomSchemas& custom, std::string_view group_version_path);
// /openapi/v2 as JSON.
std::string openapi_v2(const api::Schema& schema, const CustomSchemas& custom);

}  // namespace kcube::machinery
