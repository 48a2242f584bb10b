#include "pkg/cel/unify.h"

namespace kcube::cel {
namespace {

bool dyn_or_error(const Type& t) { return t.kind() == TypeKind::dyn || t.kind() == TypeKind::error; }

bool nullable(const Type& t) {
  return t.kind() == TypeKind::null || t.kind() == TypeKind::opaque || t.kind() == TypeKind::object || t.kind() == TypeKind::duration ||
         t.kind() == TypeKind::timestamp;
}

bool less_specific(const Type& a, const Type& b) {
  if (a.kind() == TypeKind::dyn || a.kind() == TypeKind::parameter) return true;
  if (b.kind() == TypeKind::dyn || b.kind() == TypeKind::parameter || a.kind() != b.kind()) return false;
  if (a.kind() == TypeKind::type) return true;
  if (a.name() != b.name() || a.parameters().size() != b.parameters().size()) return false;
  for (size_t i = 0; i < a.parameters().size(); ++i) {
    if (!less_specific(*a.parameters()[i], *b.parameters()[i])) return false;
  }
  return true;
}

// The same kind of list, map or opaque with other parameters. Bounds and schema stay where nothing changes.
TypeRef with_parameters(const TypeRef& type, std::vector<TypeRef> parameters) {
  switch (type->kind()) {
    case TypeKind::list: return Type::list(std::move(parameters[0]), type->max_size(), type->list_kind(), type->map_keys());
    case TypeKind::map: return Type::map(std::move(parameters[0]), std::move(parameters[1]), type->max_size());
    case TypeKind::type: return Type::type_of(std::move(parameters[0]));
    default: return Type::opaque(type->name(), std::move(parameters));
  }
}

template <typename Replace>
TypeRef rebuild(const TypeRef& type, Replace replace) {
  if (type->parameters().empty()) return type;
  std::vector<TypeRef> parameters;
  bool changed = false;
  for (const TypeRef& p : type->parameters()) {
    parameters.push_back(replace(p));
    changed |= parameters.back() != p;
  }
  return changed ? with_parameters(type, std::move(parameters)) : type;
}

constexpr int kMaxTypeDepth = 64;      // deeper types are dyn to us: what is nested so deep was made to hurt

}  // namespace

const TypeRef& most_general(const TypeRef& a, const TypeRef& b) { return less_specific(*a, *b) ? a : b; }

TypeRef Unifier::fresh() { return Type::parameter("_var" + std::to_string(count_++)); }

const TypeRef* Unifier::find(const TypeRef& variable) const {
  if (variable->kind() != TypeKind::parameter) return nullptr;
  auto it = bound_.find(variable->name());
  return it == bound_.end() ? nullptr : &it->second;
}

void Unifier::bind(const TypeRef& variable, TypeRef type) {
  TypeRef& slot = bound_[variable->name()];
  undo_.push_back({variable->name(), slot});
  slot = std::move(type);
}

void Unifier::roll_back(size_t mark) {
  for (; undo_.size() > mark; undo_.pop_back()) {
    if (undo_.back().before) bound_[undo_.back().name] = undo_.back().before;
    else bound_.erase(undo_.back().name);
  }
}

bool Unifier::assignable(const TypeRef& a, const TypeRef& b) {
  bool ok = internal(a, b);
  if (!ok) roll_back(0);
  undo_.clear();
  return ok;
}

bool Unifier::assignable(std::span<const TypeRef> a, std::span<const TypeRef> b) {
  bool ok = a.size() == b.size();
  for (size_t i = 0; ok && i < a.size(); ++i) ok = internal(a[i], b[i]);
  if (!ok) roll_back(0);
  undo_.clear();
  return ok;
}

bool Unifier::occurs(const TypeRef& variable, const TypeRef& within) const {
  if (same_type(*variable, *within)) return true;
  if (const TypeRef* stands_for = find(within)) return occurs(variable, *stands_for);
  for (const TypeRef& p : within->parameters()) {
    if (occurs(variable, p)) return true;
  }
  return false;
}

// Whether `variable` may stand for `type`; `had` tells that it stood for something already.
bool Unifier::substitutes(const TypeRef& type, const TypeRef& variable, bool& had) {
  had = true;
  if (same_type(*type, *variable)) return true;
  if (const TypeRef* found = find(variable)) {
    TypeRef bound = *found;
    if (same_type(*type, *bound)) return true;
    if (!internal(type, bound)) return false;
    const TypeRef& general = most_general(type, bound);
    if (!occurs(variable, general)) bind(variable, general);
    return true;
  }
  had = false;
  if (occurs(variable, type)) return false;
  bind(variable, type);
  return true;
}

bool Unifier::internal(const TypeRef& a, const TypeRef& b) {
  struct Deeper {
    explicit Deeper(int& d) : depth(++d) {}
    ~Deeper() { --depth; }
    int& depth;
  } deeper(depth_);
  if (depth_ > kMaxTypeDepth) return true;
  if (b->kind() == TypeKind::parameter) {
    bool had = false;
    if (substitutes(a, b, had)) return true;
    if (had) return false;
  }
  if (a->kind() == TypeKind::parameter) {
    bool had = false;
    return substitutes(b, a, had);
  }
  if (dyn_or_error(*a) || dyn_or_error(*b)) return true;
  if (a->kind() == TypeKind::null) return nullable(*b);
  if (b->kind() == TypeKind::null) return nullable(*a);
  if (a->kind() != b->kind()) return false;
  if (a->kind() == TypeKind::type) return true;
  if (a->name() != b->name() || a->parameters().size() != b->parameters().size()) return false;
  for (size_t i = 0; i < a->parameters().size(); ++i) {
    if (!internal(a->parameters()[i], b->parameters()[i])) return false;
  }
  return true;
}

TypeRef Unifier::resolve(const TypeRef& type, bool free_to_dyn) const {
  if (const TypeRef* found = find(type)) return resolve(*found, free_to_dyn);
  if (type->kind() == TypeKind::parameter) return free_to_dyn ? Type::dyn() : type;
  return rebuild(type, [&](const TypeRef& p) { return resolve(p, free_to_dyn); });
}

TypeRef Unifier::instantiate(const TypeRef& type, std::vector<std::pair<std::string, TypeRef>>& made) {
  if (type->kind() == TypeKind::parameter) {
    for (const auto& [name, variable] : made) {
      if (name == type->name()) return variable;
    }
    return made.emplace_back(type->name(), fresh()).second;
  }
  return rebuild(type, [&](const TypeRef& p) { return instantiate(p, made); });
}

}  // namespace kcube::cel
