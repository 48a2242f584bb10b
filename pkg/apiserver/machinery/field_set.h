// Sets of fields, as managedFields keep them: a tree whose edges are path elements in the FieldsV1 notation.
//
// "f:NAME" is a member of an object, `k:{"name":"a"}` an element of a list with keys, `v:"x"` an element of a set. A node
// may be in the set itself, have nodes beneath it, or both ("." in JSON). Source: metav1.FieldsV1 in the API reference.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "pkg/api/json.h"

namespace kcube::machinery {

struct FieldSet {
  bool member = false;
  std::map<std::string, FieldSet, std::less<>> children;

  bool empty() const { return !member && children.empty(); }
  bool operator==(const FieldSet&) const = default;

  static FieldSet from_json(const json::value* fields);
  json::value to_json() const;

  void unite(const FieldSet& other);
  void subtract(const FieldSet& other);
  FieldSet intersection(const FieldSet& other) const;
  // The subtree beneath `element`, or null.
  const FieldSet* at(std::string_view element) const;
  // Every path in the set, as people read them: `.spec.containers[name="a"].image`.
  std::vector<std::string> paths() const;
};

}  // namespace kcube::machinery
