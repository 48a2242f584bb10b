// A CEL value: what expressions read, compute and return.
//
// A Value is 32 bytes and cheap to copy. Scalars live in it; text, lists and maps are either borrowed (from a JSON
// document, from the program's literals) or shared by reference count. A JSON document is wrapped, never copied: members
// become Values when an expression reaches them. Therefore a Value made by json() or text(), and whatever was computed from
// it, must not outlive the document; share_json() keeps the document alive instead.
//
// Values are immutable once made, so several threads may read the same one.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "pkg/api/json.h"

namespace kcube::cel {

class Type;
using TypeRef = std::shared_ptr<const Type>;
class Value;

enum class Kind : uint8_t {
  error,      // inside an evaluation only: `evaluate` returns it as a Status
  null, boolean, integer, uint, number, string, bytes, list, map, duration, timestamp, type, optional,
  opaque,     // of a library: quantity, IP, CIDR, URL, semver, format, authorizer …
};

// What is shared between Values, counted in place.
class Shared {
 public:
  virtual ~Shared() = default;
  void acquire() const { count_.fetch_add(1, std::memory_order_relaxed); }
  void release() const {
    if (count_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
  }
  bool only_one() const { return count_.load(std::memory_order_acquire) == 1; }

 private:
  mutable std::atomic<uint32_t> count_{0};
};

// A value of a library's own type.
class Opaque : public Shared {
 public:
  virtual const Type& type() const = 0;
  // `other` has the same type.
  virtual bool equals(const Opaque& other) const { return this == &other; }
  // What size() says to the cost tracker; 1 for most.
  virtual uint64_t cost_size() const { return 1; }
};

// A map whose members are made when they are asked for, such as `variables`. Called by the thread that evaluates.
class Members : public Shared {
 public:
  // The member, or nullopt when there is none; may be Value::failure().
  virtual std::optional<Value> find(std::string_view name) const = 0;
};

struct ListBody;
struct MapBody;

class Value {
 public:
  Value() = default;                                          // null
  Value(const Value& other) noexcept : kind_(other.kind_), json_(other.json_), lazy_(other.lazy_), size_(other.size_), payload_(other.payload_), type_(other.type_), owner_(other.owner_) {
    if (owner_) owner_->acquire();
  }
  Value(Value&& other) noexcept : kind_(other.kind_), json_(other.json_), lazy_(other.lazy_), size_(other.size_), payload_(other.payload_), type_(other.type_), owner_(std::exchange(other.owner_, nullptr)) {}
  Value& operator=(Value other) noexcept {
    std::swap(kind_, other.kind_), std::swap(json_, other.json_), std::swap(lazy_, other.lazy_), std::swap(size_, other.size_), std::swap(payload_, other.payload_);
    std::swap(type_, other.type_), std::swap(owner_, other.owner_);
    return *this;
  }
  ~Value() {
    if (owner_) owner_->release();
  }

  static Value null() { return {}; }
  static Value boolean(bool b);
  static Value integer(int64_t i);
  static Value uint(uint64_t u);
  static Value number(double d);
  static Value text(std::string_view borrowed);               // a string that lives elsewhere
  static Value string(std::string owned);
  static Value bytes(std::string owned);
  static Value list(std::vector<Value> items);
  // Of duplicate keys the caller must have kept one. Keys are strings, booleans, integers or uints.
  static Value map(std::vector<std::pair<Value, Value>> entries);
  static Value duration(int64_t nanoseconds);
  static Value timestamp(int64_t seconds, uint32_t nanoseconds);
  static Value type(const Type& type);                        // types live as long as the environment
  static Value optional(Value value);
  static Value none();
  static Value opaque(const Opaque* made_with_new);
  static Value members(const Members* made_with_new);
  // A view of a JSON document. With `type` (see type.h), members are read as it says: strings of format date-time are
  // timestamps, names of fields are unescaped, lists are sets, and so on; without, they are what JSON says.
  static Value json(const json::value& document, const Type* type = nullptr);
  static Value share_json(std::shared_ptr<const json::value> document, TypeRef type = nullptr);
  // An object made by an expression or a library: a map that has the type's name.
  static Value object(const Type& type, std::vector<std::pair<Value, Value>> fields);
  static Value failure(std::string message);

  Kind kind() const { return kind_; }
  bool is(Kind kind) const { return kind_ == kind; }
  bool is_null() const { return kind_ == Kind::null; }
  bool is_error() const { return kind_ == Kind::error; }
  bool is_true() const { return kind_ == Kind::boolean && payload_.b; }
  bool is_false() const { return kind_ == Kind::boolean && !payload_.b; }

  // Each asks for the matching kind.
  bool as_boolean() const { return payload_.b; }
  int64_t as_integer() const { return payload_.i; }
  uint64_t as_uint() const { return payload_.u; }
  double as_number() const { return payload_.d; }
  std::string_view as_text() const { return {payload_.text, size_}; }   // of strings, bytes and errors
  int64_t duration_nanoseconds() const { return payload_.i; }
  int64_t timestamp_seconds() const { return payload_.i; }
  uint32_t timestamp_nanoseconds() const { return size_; }
  const Type& as_type() const { return *type_; }
  const Opaque& as_opaque() const { return *payload_.opaque; }
  // Of an optional; null when it is none.
  const Value* contained() const;

  // Lists and maps.
  size_t size() const;
  Value at(size_t index) const;                               // of a list; index < size()
  // Of a map; nullopt when the key is missing. Numeric keys match over their types: 1u finds 1.
  std::optional<Value> find(const Value& key) const;
  std::optional<Value> find(std::string_view key) const;
  // Each key of a map with its value until `visit` returns false. Members (see above) have no keys to visit.
  void for_each(const std::function<bool(const Value& key, const Value& value)>& visit) const;
  std::vector<Value> keys() const;

  // The type as type() says it: "int", "map", "list", "google.protobuf.Timestamp", "kubernetes.Quantity" …
  const Type& dynamic_type() const;
  // The declared type of a JSON member, or null.
  const Type* declared_type() const { return kind_ == Kind::type ? nullptr : type_; }
  // The library's value when it is of that class, else null.
  template <typename T>
  const T* opaque_as() const {
    return kind_ == Kind::opaque ? dynamic_cast<const T*>(payload_.opaque) : nullptr;
  }

  // The same value that refers to this one without counting; this one must live longer. For literals of programs.
  Value borrow() const;
  // Adds an item to a list that this Value alone holds; false (and nothing done) when it is shared or borrowed.
  bool append_in_place(Value item);
  bool insert_in_place(Value key, Value value);
  // The JSON document behind a map, list or typed object, or null when it was computed.
  const json::value* document() const { return json_ ? payload_.json : nullptr; }

 private:
  friend struct ValueAccess;
  Kind kind_ = Kind::null;
  bool json_ = false;                                         // payload_.json of a list or map
  bool lazy_ = false;                                         // payload_.members of a map
  uint32_t size_ = 0;                                         // bytes of text, nanoseconds of a timestamp
  union Payload {
    bool b;
    int64_t i;
    uint64_t u;
    double d;
    const char* text;
    const json::value* json;
    const ListBody* list;
    const MapBody* map;
    const Value* contained;
    const Opaque* opaque;
    const Members* members;
  } payload_{.u = 0};
  const Type* type_ = nullptr;
  const Shared* owner_ = nullptr;
};

// CEL's `==`: numbers compare over their types, lists and maps by content (lists of type set and map by their meaning),
// everything else is equal only within its type. Never fails.
bool equal(const Value& a, const Value& b);

// CEL's order of booleans, numbers (over their types), strings, bytes, durations and timestamps: negative, zero or
// positive. nullopt when the two have no order, and for NaN.
std::optional<int> compare(const Value& a, const Value& b);

// The JSON form: timestamps, durations and bytes as the API writes them. Fails for values without one (types,
// optionals, authorizers).
Result<json::value> to_json(const Value& value);

// Code points, which is what size() counts.
uint64_t count_code_points(std::string_view utf8);

}  // namespace kcube::cel
