// Values over the schema as server-side apply sees them: objects member by member, lists by key or as sets, the rest as
// leaves. What a value consists of, how two differ, and one laid over another.
// Source: KEP-555; the merge rules in the Kubernetes docs on server-side apply.
#pragma once

#include "pkg/api/json.h"
#include "pkg/api/schema.h"
#include "pkg/apiserver/machinery/field_set.h"

namespace kcube::machinery {

// Where in the schema a value stands: a type (objects of it), or a field (its value whole), or an element of one.
struct Place {
  enum class Kind { leaf, object, map, keyed_list, set, deduced };
  Kind kind = Kind::leaf;
  const api::Type* type = nullptr;     // of object
  const api::Field* field = nullptr;   // of map, keyed_list and set
  // deduced: nothing is known, so that objects are maps and everything else is a leaf.

  static Place of(const api::Type& type);
  static Place of(const api::Field& field);
  // The place of the elements of this map or list.
  Place element() const;
  Place member(std::string_view name) const;
};

// The path element of `item` in the keyed list or set at `place`; empty when it lacks its keys.
std::string path_element(const Place& place, const json::value& item);

// Every field that `value` states.
FieldSet fields_of(const Place& place, const json::value& value);

struct Difference {
  FieldSet added, modified, removed;
  bool none() const { return added.empty() && modified.empty() && removed.empty(); }
};
// From `before` (null: nothing was there) to `after` (null: nothing is left).
Difference compare(const Place& place, const json::value* before, const json::value* after);

// `config` laid over `live`: members of objects and elements of keyed lists and sets are united, leaves replaced.
json::value merge(const Place& place, const json::value& live, const json::value& config);

// Removes from `value` what is in `fields` and not beneath anything in `kept`; objects that become empty by it go too
// where `fields` names something beneath them.
void remove_fields(const Place& place, json::value& value, const FieldSet& fields, const FieldSet& kept);

}  // namespace kcube::machinery
