// CEL types as declared to the checker. They also say how a JSON document is to be read (Value::json) and how large its
// parts may become (worst case cost).
//
// To describe an object kind, implement Fields over whatever holds the schema (api::Type rows, a CRD's structural schema):
// it is asked for a field only when an expression names it, so recursive and huge types cost nothing. Types are
// immutable and may be shared by threads; a Type must live as long as Values that were read with it.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace kcube::cel {

class Type;
using TypeRef = std::shared_ptr<const Type>;

enum class TypeKind : uint8_t {
  dyn, error, null, boolean, integer, uint, number, string, bytes, duration, timestamp, list, map, type,
  object,      // named, with fields
  opaque,      // named, of a library: kubernetes.URL, optional_type(T)
  parameter,   // A, B in the signature of a function
};

// How two lists compare and add up (x-kubernetes-list-type).
enum class ListKind : uint8_t { atomic, set, map };

inline constexpr uint64_t kUnbounded = std::numeric_limits<uint64_t>::max();

struct Field {
  TypeRef type;
  std::string json_name;      // as in the document
};

// The fields of one object type. Thread-safe.
class Fields {
 public:
  virtual ~Fields() = default;
  // `name` is what the expression says (escaped, see escape_field); null when there is no such field.
  virtual const Field* find(std::string_view name) const = 0;
  // By the name in the document.
  virtual const Field* find_json(std::string_view json_name) const = 0;
};

class Type {
 public:
  static const TypeRef& dyn();
  static const TypeRef& error();
  static const TypeRef& null();
  static const TypeRef& boolean();
  static const TypeRef& integer();
  static const TypeRef& uint();
  static const TypeRef& number();
  static const TypeRef& string();
  static const TypeRef& bytes();
  static const TypeRef& duration();
  static const TypeRef& timestamp();
  static TypeRef type_of(TypeRef what);
  static TypeRef list(TypeRef item, uint64_t max_items = kUnbounded, ListKind kind = ListKind::atomic,
                      std::vector<std::string> map_keys = {});
  static TypeRef map(TypeRef key, TypeRef value, uint64_t max_properties = kUnbounded);
  // `name` is what error messages and type() say.
  static TypeRef object(std::string name, std::shared_ptr<const Fields> fields);
  static TypeRef optional(TypeRef value);
  static TypeRef opaque(std::string name, std::vector<TypeRef> parameters = {});
  static TypeRef parameter(std::string name);
  // A string, bytes or other scalar with its worst-case length in a document, for cost estimates.
  static TypeRef limited(const TypeRef& scalar, uint64_t max_length);
  // The same list or map with another bound.
  // A JSON number of an integer field is an int, of a number field a double; int-or-string is dyn(). Formats of strings:
  // "date" and "date-time" are timestamps, "duration" a duration, "byte" bytes; anything else stays a string.
  static const TypeRef& of_format(std::string_view format);

  TypeKind kind() const { return kind_; }
  const std::string& name() const { return name_; }
  const std::vector<TypeRef>& parameters() const { return parameters_; }
  const Fields* fields() const { return fields_.get(); }
  // Characters, bytes, items or entries at most.
  uint64_t max_size() const { return max_size_; }
  ListKind list_kind() const { return list_kind_; }
  const std::vector<std::string>& map_keys() const { return map_keys_; }
  bool is_optional() const { return kind_ == TypeKind::opaque && name_ == "optional_type"; }
  // As cel-go writes it: "list(string)", "map(string, dyn)".
  std::string to_string() const;

 private:
  friend struct TypeBuilder;
  Type() = default;
  TypeKind kind_ = TypeKind::dyn;
  ListKind list_kind_ = ListKind::atomic;
  std::string name_;
  std::vector<TypeRef> parameters_;
  std::vector<std::string> map_keys_;
  std::shared_ptr<const Fields> fields_;
  uint64_t max_size_ = kUnbounded;
};

bool same_type(const Type& a, const Type& b);

// A fixed set of fields, when all are known: field names are escaped here.
std::shared_ptr<const Fields> make_fields(std::vector<std::pair<std::string, TypeRef>> json_names_and_types);

// The name of a property as expressions write it: "x-y.z" is "x__dash__y__dot__z", "namespace" is "__namespace__".
// nullopt when a name cannot be written (then it is left out of the type).
std::optional<std::string> escape_field(std::string_view json_name);
std::optional<std::string> unescape_field(std::string_view name);

}  // namespace kcube::cel
