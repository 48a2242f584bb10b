// Type variables and what they stand for while an expression is checked.
#pragma once

#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "pkg/cel/type.h"

namespace kcube::cel {

class Unifier {
 public:
  TypeRef fresh();
  // Whether a value of type `a` may stand where `b` is expected; binds variables when it may, else changes nothing.
  bool assignable(const TypeRef& a, const TypeRef& b);
  bool assignable(std::span<const TypeRef> a, std::span<const TypeRef> b);
  // The type with its variables replaced by what they stand for; free ones stay, or become dyn.
  TypeRef resolve(const TypeRef& type, bool free_to_dyn = false) const;
  // The type with the parameters of a signature replaced by new variables; `made` keeps them within one signature.
  TypeRef instantiate(const TypeRef& type, std::vector<std::pair<std::string, TypeRef>>& made);

 private:
  bool internal(const TypeRef& a, const TypeRef& b);
  bool substitutes(const TypeRef& type, const TypeRef& variable, bool& had);
  bool occurs(const TypeRef& variable, const TypeRef& within) const;
  const TypeRef* find(const TypeRef& variable) const;
  void bind(const TypeRef& variable, TypeRef type);
  void roll_back(size_t mark);

  struct Undo {
    std::string name;
    TypeRef before;
  };
  std::unordered_map<std::string, TypeRef> bound_;
  std::vector<Undo> undo_;
  size_t count_ = 0;
  int depth_ = 0;
};

// The more general of two types that unify.
const TypeRef& most_general(const TypeRef& a, const TypeRef& b);

}  // namespace kcube::cel
