// Structural schemas: the openAPIV3Schema of a CustomResourceDefinition's version, read once into a tree, and what is done
// with it before validation: pruning, defaulting.
//
// Immutable after from_json(), so any thread may read it. The schema has been validated (machinery/validation_schema.cc);
// what does not fit anyway reads as absent. Source: the Kubernetes docs on structural schemas (KEP-2333's predecessor).
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "pkg/api/json.h"
#include "pkg/cel/regex.h"

namespace kcube::apiserver::extension {

struct Structural {
  std::string type;                       // empty: any
  bool nullable = false;
  bool preserve_unknown = false;          // x-kubernetes-preserve-unknown-fields
  bool int_or_string = false;
  bool embedded = false;                  // x-kubernetes-embedded-resource
  std::string list_type, map_type;
  std::vector<std::string> list_map_keys;
  std::optional<json::value> fallback;    // default

  std::map<std::string, Structural, std::less<>> properties;
  std::unique_ptr<Structural> additional; // schema of additionalProperties
  bool any_additional = false;            // additionalProperties: true
  std::unique_ptr<Structural> items;

  // Of values.
  std::string format, pattern;
  std::shared_ptr<const cel::Regex> regex; // of pattern; null when that is none
  std::optional<double> minimum, maximum, multiple_of;
  bool exclusive_minimum = false, exclusive_maximum = false, unique_items = false;
  std::optional<int64_t> min_length, max_length, min_items, max_items, min_properties, max_properties;
  std::vector<json::value> enumeration;
  std::vector<std::string> required;
  std::vector<Structural> all_of, any_of, one_of;
  std::unique_ptr<Structural> negated;    // not
  json::value rules;                      // x-kubernetes-validations, null when there are none

  bool has_defaults = false;              // here or beneath
  bool has_rules = false;                 // likewise

  static Structural from_json(const json::value& schema);
  // The schema of a member; null when none speaks of it.
  const Structural* member(std::string_view name) const;
  bool keeps_unknown() const { return preserve_unknown || any_additional; }
};

// Removes what no schema speaks of. Paths of what went are added to `removed` when that is given. The root's apiVersion,
// kind and metadata are left alone, as those of embedded resources.
void prune(json::value& value, const Structural& schema, bool root, std::vector<std::string>* removed);

// Drops nulls where the schema does not allow them, then fills in defaults. True when something changed.
bool apply_defaults(json::value& value, const Structural& schema);

}  // namespace kcube::apiserver::extension
