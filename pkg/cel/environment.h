// What an expression may refer to: Kubernetes' functions and macros (always all of those that kube-apiserver 1.36 has) and
// the variables that the caller declares. Copying is cheap; immutable once given to compile().
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "pkg/cel/type.h"

namespace kcube::cel {

struct Variable {
  std::string name;
  TypeRef type;
};

class Environment {
 public:
  // Declares or redeclares a variable: environment.declare("object", pod_type).declare("oldObject", pod_type).
  Environment& declare(std::string name, TypeRef type);
  // Adds the types of MutatingAdmissionPolicy: Object{…}, Object.spec{…}, JSONPatch{…}, and jsonpatch.escapeKey().
  Environment& enable_mutations();
  // Adds the macro cel.bind(name, value, expression), which only the expressions that choose devices have.
  Environment& enable_bindings();

  const Variable* find_variable(std::string_view name) const;
  const std::vector<Variable>& variables() const { return variables_; }
  bool mutations() const { return mutations_; }
  bool bindings() const { return bindings_; }

 private:
  std::vector<Variable> variables_;
  bool mutations_ = false;
  bool bindings_ = false;
};

}  // namespace kcube::cel
