// YAML to JSON: manifests and configuration. YAML 1.1 scalars as Kubernetes reads them (yes and on are booleans, numbers
// typed, timestamps strings). Aliases are expanded up to a bound, so that a small text cannot become a huge one.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "pkg/api/json.h"

namespace kcube::api {

// Every document of the stream; empty ones are left out. 400 with line and column when malformed.
Result<std::vector<json::value>> parse_yaml_stream(std::string_view text);
// Exactly one document.
Result<json::value> parse_yaml(std::string_view text);
// The first document of a request's body, null when there is none. Of a key that is there twice the last value holds, and
// `duplicates` says so in the real server's words: `line 6: key "a" already set in map`.
Result<json::value> parse_yaml_body(std::string_view text, std::vector<std::string>& duplicates);
// JSON documents one after another, or YAML: for files whose kind is not known.
Result<std::vector<json::value>> parse_documents(std::string_view text);

}  // namespace kcube::api
