#include "pkg/cel/type.h"

#include <algorithm>
#include <array>
#include <map>

namespace kcube::cel {

struct TypeBuilder {
  static std::shared_ptr<Type> make(TypeKind kind, std::string name, std::vector<TypeRef> parameters = {}) {
    auto type = std::shared_ptr<Type>(new Type);
    type->kind_ = kind, type->name_ = std::move(name), type->parameters_ = std::move(parameters);
    return type;
  }
  static void limit(Type& type, uint64_t max) { type.max_size_ = max; }
  static void list_kind(Type& type, ListKind kind, std::vector<std::string> keys) { type.list_kind_ = kind, type.map_keys_ = std::move(keys); }
  static void fields(Type& type, std::shared_ptr<const Fields> fields) { type.fields_ = std::move(fields); }
};

const TypeRef& Type::dyn() { static const TypeRef t = TypeBuilder::make(TypeKind::dyn, "dyn"); return t; }
const TypeRef& Type::error() { static const TypeRef t = TypeBuilder::make(TypeKind::error, "!error!"); return t; }
const TypeRef& Type::null() { static const TypeRef t = TypeBuilder::make(TypeKind::null, "null_type"); return t; }
const TypeRef& Type::boolean() { static const TypeRef t = TypeBuilder::make(TypeKind::boolean, "bool"); return t; }
const TypeRef& Type::integer() { static const TypeRef t = TypeBuilder::make(TypeKind::integer, "int"); return t; }
const TypeRef& Type::uint() { static const TypeRef t = TypeBuilder::make(TypeKind::uint, "uint"); return t; }
const TypeRef& Type::number() { static const TypeRef t = TypeBuilder::make(TypeKind::number, "double"); return t; }
const TypeRef& Type::string() { static const TypeRef t = TypeBuilder::make(TypeKind::string, "string"); return t; }
const TypeRef& Type::bytes() { static const TypeRef t = TypeBuilder::make(TypeKind::bytes, "bytes"); return t; }
const TypeRef& Type::duration() { static const TypeRef t = TypeBuilder::make(TypeKind::duration, "google.protobuf.Duration"); return t; }
const TypeRef& Type::timestamp() { static const TypeRef t = TypeBuilder::make(TypeKind::timestamp, "google.protobuf.Timestamp"); return t; }

TypeRef Type::type_of(TypeRef what) {
  std::vector<TypeRef> parameters;
  if (what) parameters.push_back(std::move(what));
  return TypeBuilder::make(TypeKind::type, "type", std::move(parameters));
}
TypeRef Type::list(TypeRef item, uint64_t max_items, ListKind kind, std::vector<std::string> map_keys) {
  auto type = TypeBuilder::make(TypeKind::list, "list", {std::move(item)});
  TypeBuilder::limit(*type, max_items);
  TypeBuilder::list_kind(*type, kind, std::move(map_keys));
  return type;
}
TypeRef Type::map(TypeRef key, TypeRef value, uint64_t max_properties) {
  auto type = TypeBuilder::make(TypeKind::map, "map", {std::move(key), std::move(value)});
  TypeBuilder::limit(*type, max_properties);
  return type;
}
TypeRef Type::object(std::string name, std::shared_ptr<const Fields> fields) {
  auto type = TypeBuilder::make(TypeKind::object, std::move(name));
  TypeBuilder::fields(*type, std::move(fields));
  return type;
}
TypeRef Type::optional(TypeRef value) { return TypeBuilder::make(TypeKind::opaque, "optional_type", {std::move(value)}); }
TypeRef Type::opaque(std::string name, std::vector<TypeRef> parameters) {
  return TypeBuilder::make(TypeKind::opaque, std::move(name), std::move(parameters));
}
TypeRef Type::parameter(std::string name) { return TypeBuilder::make(TypeKind::parameter, std::move(name)); }

TypeRef Type::limited(const TypeRef& scalar, uint64_t max_length) {
  auto type = TypeBuilder::make(scalar->kind(), scalar->name(), scalar->parameters());
  TypeBuilder::list_kind(*type, scalar->list_kind(), scalar->map_keys());
  TypeBuilder::fields(*type, scalar->fields_);
  TypeBuilder::limit(*type, max_length);
  return type;
}

const TypeRef& Type::of_format(std::string_view format) {
  if (format == "date" || format == "date-time") return timestamp();
  if (format == "duration") return duration();
  if (format == "byte") return bytes();
  return string();
}

std::string Type::to_string() const {
  if (kind_ == TypeKind::null) return "null";
  if (kind_ == TypeKind::duration) return "google.protobuf.Duration";
  if (parameters_.empty()) return name_;
  std::string out = name_ + "(";
  for (size_t i = 0; i < parameters_.size(); ++i) out += (i ? ", " : "") + parameters_[i]->to_string();
  return out + ")";
}

bool same_type(const Type& a, const Type& b) {
  if (&a == &b) return true;
  if (a.kind() != b.kind() || a.name() != b.name() || a.parameters().size() != b.parameters().size()) return false;
  for (size_t i = 0; i < a.parameters().size(); ++i) {
    if (!same_type(*a.parameters()[i], *b.parameters()[i])) return false;
  }
  return true;
}

namespace {

class FixedFields final : public Fields {
 public:
  explicit FixedFields(std::vector<std::pair<std::string, TypeRef>> fields) {
    for (auto& [name, type] : fields) {
      std::optional<std::string> escaped = escape_field(name);
      if (!escaped) continue;
      auto it = by_name_.emplace(*escaped, Field{std::move(type), name}).first;
      by_json_.emplace(name, &it->second);
    }
  }
  const Field* find(std::string_view name) const override {
    auto it = by_name_.find(name);
    return it == by_name_.end() ? nullptr : &it->second;
  }
  const Field* find_json(std::string_view json_name) const override {
    auto it = by_json_.find(json_name);
    return it == by_json_.end() ? nullptr : it->second;
  }

 private:
  std::map<std::string, Field, std::less<>> by_name_;
  std::map<std::string, const Field*, std::less<>> by_json_;
};

// Words that the grammar takes for itself.
constexpr std::array<std::string_view, 22> kReserved{"true", "false", "null", "in", "as", "break", "const", "continue", "else", "for", "function",
                                                     "if", "import", "let", "loop", "package", "namespace", "return", "var", "void", "while", ""};
struct Escape {
  std::string_view text, escaped;
};
constexpr Escape kEscapes[]{{"__", "__underscores__"}, {".", "__dot__"}, {"-", "__dash__"}, {"/", "__slash__"}};

bool letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool name_char(char c) { return letter(c) || (c >= '0' && c <= '9'); }

}  // namespace

std::shared_ptr<const Fields> make_fields(std::vector<std::pair<std::string, TypeRef>> fields) {
  return std::make_shared<FixedFields>(std::move(fields));
}

std::optional<std::string> escape_field(std::string_view name) {
  if (name.empty() || (name[0] >= '0' && name[0] <= '9') || name == "") return std::nullopt;
  if (std::ranges::find(kReserved, name) != kReserved.end()) return "__" + std::string(name) + "__";
  std::string out;
  for (size_t i = 0; i < name.size(); ) {
    bool escaped = false;
    for (const Escape& e : kEscapes) {
      if (!name.substr(i).starts_with(e.text)) continue;
      out += e.escaped, i += e.text.size(), escaped = true;
      break;
    }
    if (escaped) continue;
    if (!name_char(name[i])) return std::nullopt;
    out += name[i++];
  }
  return out;
}

std::optional<std::string> unescape_field(std::string_view name) {
  if (name.size() > 4 && name.starts_with("__") && name.ends_with("__")) {
    std::string_view inner = name.substr(2, name.size() - 4);
    if (std::ranges::find(kReserved, inner) != kReserved.end()) return std::string(inner);
  }
  std::string out;
  for (size_t i = 0; i < name.size(); ) {
    bool escaped = false;
    for (const Escape& e : kEscapes) {
      if (!name.substr(i).starts_with(e.escaped)) continue;
      out += e.text, i += e.escaped.size(), escaped = true;
      break;
    }
    if (escaped) continue;
    if (name.substr(i).starts_with("__")) return std::nullopt;
    out += name[i++];
  }
  return out;
}

}  // namespace kcube::cel
