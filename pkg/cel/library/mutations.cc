// Object{…} and JSONPatch{…} of MutatingAdmissionPolicy, and jsonpatch.escapeKey().
#include "pkg/base/strings.h"
#include "pkg/cel/functions.h"
#include "pkg/cel/mutation.h"

namespace kcube::cel {
namespace {

// Any field, of any type: what it must be is known when the object is merged into the other.
class AnyFields final : public Fields {
 public:
  const Field* find(std::string_view) const override { return &any_; }
  const Field* find_json(std::string_view) const override { return &any_; }

 private:
  const Field any_{Type::dyn(), ""};
};

class PatchFields final : public Fields {
 public:
  const Field* find(std::string_view name) const override {
    if (name == "op" || name == "path" || name == "from") return &text_;
    return name == "value" ? &any_ : nullptr;
  }
  const Field* find_json(std::string_view name) const override { return find(name); }

 private:
  const Field text_{Type::string(), ""}, any_{Type::dyn(), ""};
};

Value escape_key(Arguments a, const Node&) {
  return Value::string(replace_all(replace_all(std::string(a[0].as_text()), "~", "~0"), "/", "~1"));
}

constexpr FunctionRow kRows[]{{"jsonpatch.escapeKey", "(string) string", escape_key, CostRule::url}};

}  // namespace

TypeRef mutation_type(std::string_view name) {
  static const auto any = std::make_shared<const AnyFields>();
  static const TypeRef patch = Type::object("JSONPatch", std::make_shared<const PatchFields>());
  if (name == "JSONPatch") return patch;
  if (name == "Object" || name.starts_with("Object.")) return Type::object(std::string(name), any);
  return nullptr;
}

Result<void> check_object_types(const Value& value, const std::string& path) {
  if (value.is(Kind::list)) {
    for (size_t i = 0; i < value.size(); ++i) {
      if (auto ok = check_object_types(value.at(i), path); !ok) return ok;
    }
    return {};
  }
  if (!value.is(Kind::map) || value.document()) return {};
  const Type& type = value.dynamic_type();
  bool named = type.kind() == TypeKind::object;
  if (named && type.name() != path) {
    return fail(Status::bad_request("unexpected type name \"" + type.name() + "\", expected \"" + path + "\", which matches field name path from root Object type"));
  }
  Result<void> result;
  value.for_each([&](const Value& key, const Value& member) {
    result = check_object_types(member, named && key.is(Kind::string) ? path + "." + std::string(key.as_text()) : path);
    return result.has_value();
  });
  return result;
}

std::span<const FunctionRow> mutation_functions() { return kRows; }

}  // namespace kcube::cel
