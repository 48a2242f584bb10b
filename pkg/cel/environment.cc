#include "pkg/cel/environment.h"

namespace kcube::cel {

Environment& Environment::declare(std::string name, TypeRef type) {
  for (Variable& variable : variables_) {
    if (variable.name == name) return variable.type = std::move(type), *this;
  }
  variables_.push_back({std::move(name), std::move(type)});
  return *this;
}

Environment& Environment::enable_mutations() {
  mutations_ = true;
  return *this;
}

Environment& Environment::enable_bindings() {
  bindings_ = true;
  return *this;
}

const Variable* Environment::find_variable(std::string_view name) const {
  for (const Variable& variable : variables_) {
    if (variable.name == name) return &variable;
  }
  return nullptr;
}

}  // namespace kcube::cel
