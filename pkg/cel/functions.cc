#include "pkg/cel/functions.h"

#include <algorithm>

#include "pkg/base/status.h"
#include "pkg/cel/authorizer.h"

namespace kcube::cel {
namespace {

struct NamedType {
  std::string_view name;
  const TypeRef& (*type)();
};
constexpr NamedType kTypes[]{
    {"dyn", Type::dyn}, {"null", Type::null}, {"bool", Type::boolean}, {"int", Type::integer}, {"uint", Type::uint}, {"double", Type::number},
    {"string", Type::string}, {"bytes", Type::bytes}, {"duration", Type::duration}, {"timestamp", Type::timestamp},
    {"url", url_type}, {"ip", ip_type}, {"cidr", cidr_type}, {"quantity", quantity_type}, {"semver", semver_type}, {"named_format", named_format_type},
    {"authorizer", authorizer_type}, {"path_check", path_check_type}, {"group_check", group_check_type}, {"resource_check", resource_check_type},
    {"decision", decision_type},
};

// Reads "list(A)" and the like from the front of a signature.
class SignatureReader {
 public:
  explicit SignatureReader(std::string_view text) : text_(text) {}

  Overload read() {
    Overload overload;
    overload.member = take(".");
    KCUBE_CHECK(take("("));
    while (!take(")")) {
      overload.parameters.push_back(type());
      take(", ");
    }
    KCUBE_CHECK(take(" "));
    overload.result = type();
    overload.generic = generic_;
    return overload;
  }

 private:
  bool take(std::string_view token) {
    if (!text_.starts_with(token)) return false;
    text_.remove_prefix(token.size());
    return true;
  }
  TypeRef type() {
    size_t end = std::min(text_.find_first_of("(), "), text_.size());
    std::string_view name = text_.substr(0, end);
    text_.remove_prefix(end);
    if (name.size() == 1) return generic_ = true, Type::parameter(std::string(name));
    if (take("(")) {
      std::vector<TypeRef> parameters;
      while (!take(")")) parameters.push_back(type()), take(", ");
      if (name == "list") return Type::list(parameters[0]);
      if (name == "map") return Type::map(parameters[0], parameters[1]);
      if (name == "optional") return Type::optional(parameters[0]);
      KCUBE_CHECK(name == "type");
      return Type::type_of(parameters[0]);
    }
    auto found = std::ranges::find(kTypes, name, &NamedType::name);
    KCUBE_CHECK(found != std::end(kTypes));
    return found->type();
  }

  std::string_view text_;
  bool generic_ = false;
};

}  // namespace

void Functions::add(std::span<const FunctionRow> rows) {
  for (const FunctionRow& row : rows) {
    Overload overload = SignatureReader(row.signature).read();
    overload.function = row.name, overload.run = row.run, overload.cost = row.cost;
    overloads_.push_back(std::move(overload));
  }
}

Functions::Functions() {
  for (auto rows : {operator_functions, conversion_functions, time_functions, optional_functions, string_functions, format_text_functions, list_functions,
                    set_functions, regex_functions, url_functions, ip_functions, named_format_functions, quantity_functions, semver_functions,
                    authorizer_functions, mutation_functions}) {
    add(rows());
  }
  std::ranges::stable_sort(overloads_, {}, &Overload::function);
}

const Functions& Functions::builtin() {
  static const Functions functions;
  return functions;
}

std::span<const Overload> Functions::find(std::string_view name) const {
  auto range = std::ranges::equal_range(overloads_, name, {}, &Overload::function);
  return {range.begin(), range.end()};
}

const TypeRef* Functions::find_type(std::string_view name) {
  static const std::vector<std::pair<std::string_view, TypeRef>> types = [] {
    std::vector<std::pair<std::string_view, TypeRef>> out;
    for (const NamedType& t : kTypes) {
      // By its full name only.
      if (t.name != "dyn" && t.name != "null" && !t.type()->name().starts_with("kubernetes.")) out.emplace_back(t.type()->name(), t.type());
    }
    out.emplace_back("null_type", Type::null());
    out.emplace_back("list", Type::list(Type::dyn()));
    out.emplace_back("map", Type::map(Type::dyn(), Type::dyn()));
    out.emplace_back("type", Type::type_of(nullptr));
    out.emplace_back("optional_type", Type::optional(Type::dyn()));
    return out;
  }();
  auto found = std::ranges::find(types, name, &std::pair<std::string_view, TypeRef>::first);
  return found == types.end() ? nullptr : &found->second;
}

bool accepts(const Type& parameter, const Value& value) {
  switch (parameter.kind()) {
    case TypeKind::dyn: case TypeKind::parameter: return true;
    case TypeKind::null: return value.is_null();
    case TypeKind::boolean: return value.is(Kind::boolean);
    case TypeKind::integer: return value.is(Kind::integer);
    case TypeKind::uint: return value.is(Kind::uint);
    case TypeKind::number: return value.is(Kind::number);
    case TypeKind::string: return value.is(Kind::string);
    case TypeKind::bytes: return value.is(Kind::bytes);
    case TypeKind::duration: return value.is(Kind::duration);
    case TypeKind::timestamp: return value.is(Kind::timestamp);
    case TypeKind::list: {
      if (!value.is(Kind::list)) return false;
      // As cel-go does, the first item tells which list it is.
      const Type& item = *parameter.parameters()[0];
      return item.kind() == TypeKind::parameter || item.kind() == TypeKind::dyn || item.kind() == TypeKind::list || item.kind() == TypeKind::map || value.size() == 0 || accepts(item, value.at(0));
    }
    case TypeKind::map: return value.is(Kind::map);
    case TypeKind::type: return value.is(Kind::type);
    case TypeKind::object: return value.is(Kind::map);
    case TypeKind::opaque:
      if (parameter.is_optional()) return value.is(Kind::optional);
      return value.is(Kind::opaque) && value.as_opaque().type().name() == parameter.name();
    case TypeKind::error: return false;
  }
  return false;
}

}  // namespace kcube::cel
