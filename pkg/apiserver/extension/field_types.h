// A structural schema as the schema room's own types, so that server-side apply works on custom resources as on built-in
// ones. Constraints are not in it.
#pragma once

#include <deque>
#include <string>
#include <vector>

#include "pkg/api/schema.h"
#include "pkg/apiserver/extension/structural.h"

namespace kcube::apiserver::extension {

// Owns the types that it makes; they point into each other, so it stays where it is.
class FieldTypes {
 public:
  FieldTypes() = default;
  FieldTypes(const FieldTypes&) = delete;
  FieldTypes& operator=(const FieldTypes&) = delete;
  // The type of the whole object. `schema` outlives this.
  const api::Type* build(const Structural& schema);

 private:
  const api::Type* object(const Structural& schema, bool resource);
  api::Field field(std::string_view name, const Structural& schema);

  std::deque<api::Type> types_;
  std::deque<std::vector<api::Field>> fields_;
  std::deque<api::Field> elements_;
  std::deque<std::vector<std::string_view>> keys_;
  std::deque<std::string> texts_;
};

}  // namespace kcube::apiserver::extension
