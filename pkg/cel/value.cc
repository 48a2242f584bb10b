#include "pkg/cel/value.h"

#include <bit>
#include <cmath>
#include <unordered_map>

#include "pkg/base/strings.h"
#include "pkg/cel/time.h"
#include "pkg/cel/type.h"
#include "pkg/cel/value_body.h"

namespace kcube::cel {
namespace {

class TextBody final : public Shared {
 public:
  explicit TextBody(std::string text) : text(std::move(text)) {}
  const std::string text;
};

class ContainedBody final : public Shared {
 public:
  explicit ContainedBody(Value value) : value(std::move(value)) {}
  const Value value;
};

class JsonBody final : public Shared {
 public:
  JsonBody(std::shared_ptr<const json::value> document, TypeRef type) : document(std::move(document)), type(std::move(type)) {}
  const std::shared_ptr<const json::value> document;
  const TypeRef type;
};

// The same for all numbers that are equal.
size_t hash_key(const Value& key) {
  switch (key.kind()) {
    case Kind::string: return std::hash<std::string_view>()(key.as_text());
    case Kind::boolean: return key.as_boolean();
    case Kind::integer: return std::hash<double>()(static_cast<double>(key.as_integer()));
    case Kind::uint: return std::hash<double>()(static_cast<double>(key.as_uint()));
    case Kind::number: return std::hash<double>()(key.as_number());
    default: return 0;
  }
}

}  // namespace

const Value* MapBody::find(const Value& key) const {
  if (index.empty()) {
    for (const auto& [k, v] : entries) {
      if (equal(k, key)) return &v;
    }
    return nullptr;
  }
  auto [begin, end] = index.equal_range(hash_key(key));
  for (; begin != end; ++begin) {
    if (equal(entries[begin->second].first, key)) return &entries[begin->second].second;
  }
  return nullptr;
}

void MapBody::add(Value key, Value value) {
  entries.emplace_back(std::move(key), std::move(value));
  constexpr size_t small = 8;          // looked through one by one
  if (entries.size() <= small) return;
  size_t first = index.empty() ? 0 : entries.size() - 1;
  for (size_t i = first; i < entries.size(); ++i) index.emplace(hash_key(entries[i].first), static_cast<uint32_t>(i));
}

struct ValueAccess {
  static Value scalar(Kind kind, uint64_t bits) {
    Value v;
    v.kind_ = kind, v.payload_.u = bits;
    return v;
  }
  static Value text(Kind kind, std::string_view text, const Shared* owner) {
    Value v;
    v.kind_ = kind, v.size_ = static_cast<uint32_t>(text.size()), v.payload_.text = text.data();
    own(v, owner);
    return v;
  }
  static void own(Value& v, const Shared* owner) {
    v.owner_ = owner;
    if (owner) owner->acquire();
  }
  template <typename Body>
  static Value body(Kind kind, const Body* body, const Type* type = nullptr) {
    Value v;
    v.kind_ = kind, v.type_ = type;
    if constexpr (std::is_same_v<Body, ListBody>) v.payload_.list = body;
    if constexpr (std::is_same_v<Body, MapBody>) v.payload_.map = body;
    if constexpr (std::is_same_v<Body, Opaque>) v.payload_.opaque = body;
    if constexpr (std::is_same_v<Body, Members>) v.payload_.members = body, v.lazy_ = true;
    if constexpr (std::is_same_v<Body, ContainedBody>) v.payload_.contained = &body->value;
    own(v, body);
    return v;
  }
  static Value json(const json::value& document, const Type* type, const Shared* owner) {
    switch (document.kind()) {
      case json::kind::null: return {};
      case json::kind::bool_: return Value::boolean(document.get_bool());
      case json::kind::int64:
        if (type && type->kind() == TypeKind::number) return Value::number(static_cast<double>(document.get_int64()));
        return Value::integer(document.get_int64());
      case json::kind::uint64: return Value::number(static_cast<double>(document.get_uint64()));
      case json::kind::double_: return number(document.get_double(), type);
      case json::kind::string: return string(json::view(document.get_string()), type, owner);
      default: break;
    }
    Value v;
    v.kind_ = document.is_array() ? Kind::list : Kind::map;
    v.json_ = true, v.payload_.json = &document;
    bool fits = type && (document.is_array() ? type->kind() == TypeKind::list : type->kind() == TypeKind::map || type->kind() == TypeKind::object);
    v.type_ = fits ? type : nullptr;
    own(v, owner);
    return v;
  }
  static Value number(double d, const Type* type) {
    bool whole = type && type->kind() == TypeKind::integer && d == std::trunc(d) && std::abs(d) < 9e18;
    return whole ? Value::integer(static_cast<int64_t>(d)) : Value::number(d);
  }
  static Value string(std::string_view s, const Type* type, const Shared* owner) {
    switch (type ? type->kind() : TypeKind::string) {
      case TypeKind::timestamp: {
        std::optional<Instant> instant = s.size() == 10 ? parse_date(s) : parse_timestamp(s);
        if (!instant) return Value::failure("Invalid date-time formatted string " + std::string(s));
        return Value::timestamp(instant->seconds, instant->nanoseconds);
      }
      case TypeKind::duration: {
        std::optional<int64_t> duration = parse_duration(s);
        return duration ? Value::duration(*duration) : Value::failure("Invalid duration formatted string " + std::string(s));
      }
      case TypeKind::bytes: {
        std::optional<std::string> bytes = base64_decode(s);
        return bytes ? Value::bytes(std::move(*bytes)) : Value::failure("Invalid byte formatted string " + std::string(s));
      }
      default: return text(Kind::string, s, owner);
    }
  }
  // The member of a JSON object by the name that the expression gives, and its type.
  static const json::value* member(const Value& v, std::string_view name, const Type*& type) {
    const json::object& object = v.payload_.json->get_object();
    type = nullptr;
    if (v.type_ && v.type_->kind() == TypeKind::object) {
      const Field* field = v.type_->fields() ? v.type_->fields()->find(name) : nullptr;
      if (!field) return nullptr;
      type = field->type.get();
      return object.if_contains(json::key(field->json_name));
    }
    if (v.type_ && v.type_->parameters().size() == 2) type = v.type_->parameters()[1].get();
    return object.if_contains(json::key(name));
  }
  static const Type* type_of_json_member(const Value& v, std::string_view json_name) {
    if (!v.type_) return nullptr;
    if (v.type_->kind() == TypeKind::map) return v.type_->parameters()[1].get();
    const Field* field = v.type_->fields() ? v.type_->fields()->find_json(json_name) : nullptr;
    return field ? field->type.get() : nullptr;
  }
  static const Shared* owner(const Value& v) { return v.owner_; }
  static const ListBody* list(const Value& v) { return v.json_ ? nullptr : v.payload_.list; }
  static const MapBody* map(const Value& v) { return v.json_ || v.lazy_ ? nullptr : v.payload_.map; }
  static const Members* members(const Value& v) { return v.lazy_ ? v.payload_.members : nullptr; }
};

Value Value::boolean(bool b) { return ValueAccess::scalar(Kind::boolean, b); }
Value Value::integer(int64_t i) { return ValueAccess::scalar(Kind::integer, static_cast<uint64_t>(i)); }
Value Value::uint(uint64_t u) { return ValueAccess::scalar(Kind::uint, u); }
Value Value::number(double d) { return ValueAccess::scalar(Kind::number, std::bit_cast<uint64_t>(d)); }
Value Value::duration(int64_t nanoseconds) { return ValueAccess::scalar(Kind::duration, static_cast<uint64_t>(nanoseconds)); }
Value Value::timestamp(int64_t seconds, uint32_t nanoseconds) {
  Value v = ValueAccess::scalar(Kind::timestamp, static_cast<uint64_t>(seconds));
  v.size_ = nanoseconds;
  return v;
}
Value Value::text(std::string_view borrowed) { return ValueAccess::text(Kind::string, borrowed, nullptr); }
Value Value::string(std::string owned) {
  auto* body = new TextBody(std::move(owned));
  return ValueAccess::text(Kind::string, body->text, body);
}
Value Value::bytes(std::string owned) {
  auto* body = new TextBody(std::move(owned));
  return ValueAccess::text(Kind::bytes, body->text, body);
}
Value Value::failure(std::string message) {
  auto* body = new TextBody(std::move(message));
  return ValueAccess::text(Kind::error, body->text, body);
}
Value Value::list(std::vector<Value> items) {
  auto* body = new ListBody;
  body->items = std::move(items);
  return ValueAccess::body(Kind::list, static_cast<const ListBody*>(body));
}

namespace {

const MapBody* make_map(std::vector<std::pair<Value, Value>> entries) {
  auto* body = new MapBody;
  body->entries.reserve(entries.size());
  for (auto& [key, value] : entries) body->add(std::move(key), std::move(value));
  return body;
}

}  // namespace

Value Value::map(std::vector<std::pair<Value, Value>> entries) { return ValueAccess::body(Kind::map, make_map(std::move(entries))); }
Value Value::object(const Type& type, std::vector<std::pair<Value, Value>> fields) {
  return ValueAccess::body(Kind::map, make_map(std::move(fields)), &type);
}
Value Value::type(const Type& type) {
  Value v;
  v.kind_ = Kind::type, v.type_ = &type;
  return v;
}
Value Value::none() { return ValueAccess::scalar(Kind::optional, 0); }
Value Value::optional(Value value) { return ValueAccess::body(Kind::optional, static_cast<const ContainedBody*>(new ContainedBody(std::move(value)))); }
Value Value::opaque(const Opaque* body) { return ValueAccess::body(Kind::opaque, body); }
Value Value::members(const Members* body) { return ValueAccess::body(Kind::map, body); }
Value Value::json(const json::value& document, const Type* type) { return ValueAccess::json(document, type, nullptr); }
Value Value::share_json(std::shared_ptr<const json::value> document, TypeRef type) {
  const json::value& root = *document;
  const Type* root_type = type.get();
  auto* body = new JsonBody(std::move(document), std::move(type));
  body->acquire();
  Value v = ValueAccess::json(root, root_type, body);
  body->release();
  return v;
}

const Value* Value::contained() const { return payload_.u ? payload_.contained : nullptr; }

Value Value::borrow() const {
  Value v;
  v.kind_ = kind_, v.json_ = json_, v.lazy_ = lazy_, v.size_ = size_, v.payload_ = payload_, v.type_ = type_;
  return v;
}

size_t Value::size() const {
  switch (kind_) {
    case Kind::list: return json_ ? payload_.json->get_array().size() : payload_.list->items.size();
    case Kind::map: return json_ ? payload_.json->get_object().size() : lazy_ ? 0 : payload_.map->entries.size();
    case Kind::string: return count_code_points(as_text());
    case Kind::bytes: return size_;
    default: return 0;
  }
}

Value Value::at(size_t index) const {
  if (!json_) return payload_.list->items[index];
  return ValueAccess::json(payload_.json->get_array()[index], type_ ? type_->parameters()[0].get() : nullptr, owner_);
}

std::optional<Value> Value::find(std::string_view key) const {
  if (json_) {
    const Type* type = nullptr;
    const json::value* member = ValueAccess::member(*this, key, type);
    if (!member) return std::nullopt;
    return ValueAccess::json(*member, type, owner_);
  }
  if (lazy_) return payload_.members->find(key);
  const Value* found = payload_.map->find(Value::text(key));
  return found ? std::optional(*found) : std::nullopt;
}

std::optional<Value> Value::find(const Value& key) const {
  if (key.is(Kind::string)) return find(key.as_text());
  if (json_ || lazy_) return std::nullopt;
  const Value* found = payload_.map->find(key);
  return found ? std::optional(*found) : std::nullopt;
}

void Value::for_each(const std::function<bool(const Value&, const Value&)>& visit) const {
  if (lazy_) return;
  if (!json_) {
    for (const auto& [key, value] : payload_.map->entries) {
      if (!visit(key, value)) return;
    }
    return;
  }
  for (const auto& member : payload_.json->get_object()) {
    std::string_view name = json::view(member.key());
    if (!visit(ValueAccess::text(Kind::string, name, owner_), ValueAccess::json(member.value(), ValueAccess::type_of_json_member(*this, name), owner_))) return;
  }
}

std::vector<Value> Value::keys() const {
  std::vector<Value> out;
  if (lazy_) return out;
  out.reserve(size());
  if (!json_) {
    for (const auto& entry : payload_.map->entries) out.push_back(entry.first);
    return out;
  }
  for (const auto& member : payload_.json->get_object()) out.push_back(ValueAccess::text(Kind::string, json::view(member.key()), owner_));
  return out;
}

bool Value::append_in_place(Value item) {
  if (kind_ != Kind::list || json_ || !owner_ || !owner_->only_one()) return false;
  const_cast<ListBody*>(payload_.list)->items.push_back(std::move(item));
  return true;
}

bool Value::insert_in_place(Value key, Value value) {
  if (kind_ != Kind::map || json_ || lazy_ || !owner_ || !owner_->only_one()) return false;
  const_cast<MapBody*>(payload_.map)->add(std::move(key), std::move(value));
  return true;
}

const Type& Value::dynamic_type() const {
  static const TypeRef list = Type::list(Type::dyn()), map = Type::map(Type::dyn(), Type::dyn()), type = Type::type_of(nullptr), optional = Type::optional(Type::dyn());
  switch (kind_) {
    case Kind::error: return *Type::error();
    case Kind::null: return *Type::null();
    case Kind::boolean: return *Type::boolean();
    case Kind::integer: return *Type::integer();
    case Kind::uint: return *Type::uint();
    case Kind::number: return *Type::number();
    case Kind::string: return *Type::string();
    case Kind::bytes: return *Type::bytes();
    case Kind::duration: return *Type::duration();
    case Kind::timestamp: return *Type::timestamp();
    case Kind::list: return *list;
    case Kind::map: return type_ && type_->kind() == TypeKind::object ? *type_ : *map;
    case Kind::type: return *type;
    case Kind::optional: return *optional;
    case Kind::opaque: return payload_.opaque->type();
  }
  return *Type::dyn();
}

namespace {

bool numeric(Kind kind) { return kind == Kind::integer || kind == Kind::uint || kind == Kind::number; }

template <typename T>
int order(const T& a, const T& b) { return a < b ? -1 : b < a ? 1 : 0; }

int order_int_uint(int64_t i, uint64_t u) { return i < 0 ? -1 : order(static_cast<uint64_t>(i), u); }

int order_double_int(double d, int64_t i) {
  if (d < -9223372036854775808.0) return -1;
  if (d > 9223372036854775808.0) return 1;
  return order(d, static_cast<double>(i));     // as cel-go: the nearest double decides
}
int order_double_uint(double d, uint64_t u) {
  if (d < 0) return -1;
  if (d > 18446744073709551616.0) return 1;
  return order(d, static_cast<double>(u));
}

std::optional<int> order_numbers(const Value& a, const Value& b) {
  if (a.is(Kind::number) && std::isnan(a.as_number())) return std::nullopt;
  if (b.is(Kind::number) && std::isnan(b.as_number())) return std::nullopt;
  switch (a.kind()) {
    case Kind::integer:
      if (b.is(Kind::integer)) return order(a.as_integer(), b.as_integer());
      return b.is(Kind::uint) ? order_int_uint(a.as_integer(), b.as_uint()) : -order_double_int(b.as_number(), a.as_integer());
    case Kind::uint:
      if (b.is(Kind::uint)) return order(a.as_uint(), b.as_uint());
      return b.is(Kind::integer) ? -order_int_uint(b.as_integer(), a.as_uint()) : -order_double_uint(b.as_number(), a.as_uint());
    default:
      if (b.is(Kind::number)) return order(a.as_number(), b.as_number());
      return b.is(Kind::integer) ? order_double_int(a.as_number(), b.as_integer()) : order_double_uint(a.as_number(), b.as_uint());
  }
}

ListKind list_kind(const Value& v) { return v.declared_type() && v.declared_type()->kind() == TypeKind::list ? v.declared_type()->list_kind() : ListKind::atomic; }

bool contains(const Value& list, const Value& item) {
  for (size_t i = 0; i < list.size(); ++i) {
    if (equal(list.at(i), item)) return true;
  }
  return false;
}

bool equal_lists(const Value& a, const Value& b) {
  if (a.size() != b.size()) return false;
  // Items of sets and maps are different from each other, and their order means nothing.
  bool any_order = list_kind(a) != ListKind::atomic && list_kind(b) != ListKind::atomic;
  for (size_t i = 0; i < a.size(); ++i) {
    if (any_order ? !contains(b, a.at(i)) : !equal(a.at(i), b.at(i))) return false;
  }
  return true;
}

bool equal_maps(const Value& a, const Value& b) {
  if (a.size() != b.size()) return false;
  bool same = true;
  if (a.document() && b.document() && a.declared_type() == b.declared_type() && a.declared_type() && a.declared_type()->kind() == TypeKind::object) {
    // Members under names that the type does not know count too, so go by the documents.
    const json::object& other = b.document()->get_object();
    for (const auto& member : a.document()->get_object()) {
      const json::value* found = other.if_contains(member.key());
      if (!found) return false;
      const Type* type = ValueAccess::type_of_json_member(a, json::view(member.key()));
      if (!equal(Value::json(member.value(), type), Value::json(*found, type))) return false;
    }
    return true;
  }
  a.for_each([&](const Value& key, const Value& value) {
    std::optional<Value> found = b.find(key);
    return same = found && equal(value, *found);
  });
  return same;
}

}  // namespace

bool equal(const Value& a, const Value& b) {
  if (numeric(a.kind()) && numeric(b.kind())) return order_numbers(a, b) == 0;
  if (a.kind() != b.kind()) return false;
  switch (a.kind()) {
    case Kind::null: return true;
    case Kind::boolean: return a.as_boolean() == b.as_boolean();
    case Kind::string: case Kind::bytes: case Kind::error: return a.as_text() == b.as_text();
    case Kind::duration: return a.duration_nanoseconds() == b.duration_nanoseconds();
    case Kind::timestamp: return a.timestamp_seconds() == b.timestamp_seconds() && a.timestamp_nanoseconds() == b.timestamp_nanoseconds();
    case Kind::type: return a.as_type().kind() == b.as_type().kind() && a.as_type().name() == b.as_type().name();
    case Kind::list: return equal_lists(a, b);
    case Kind::map: return equal_maps(a, b);
    case Kind::optional: {
      const Value *x = a.contained(), *y = b.contained();
      return x && y ? equal(*x, *y) : !x && !y;
    }
    case Kind::opaque: return same_type(a.as_opaque().type(), b.as_opaque().type()) && a.as_opaque().equals(b.as_opaque());
    default: return false;
  }
}

std::optional<int> compare(const Value& a, const Value& b) {
  if (numeric(a.kind()) && numeric(b.kind())) return order_numbers(a, b);
  if (a.kind() != b.kind()) return std::nullopt;
  switch (a.kind()) {
    case Kind::boolean: return order(a.as_boolean(), b.as_boolean());
    case Kind::string: case Kind::bytes: return order(a.as_text(), b.as_text());
    case Kind::duration: return order(a.duration_nanoseconds(), b.duration_nanoseconds());
    case Kind::timestamp:
      return order(std::pair(a.timestamp_seconds(), a.timestamp_nanoseconds()), std::pair(b.timestamp_seconds(), b.timestamp_nanoseconds()));
    default: return std::nullopt;
  }
}

uint64_t count_code_points(std::string_view utf8) {
  uint64_t count = 0;
  for (char c : utf8) count += (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  return count;
}

Result<json::value> to_json(const Value& value) {
  switch (value.kind()) {
    case Kind::null: return json::value();
    case Kind::boolean: return json::value(value.as_boolean());
    case Kind::integer: return json::value(value.as_integer());
    case Kind::uint: return json::value(value.as_uint());
    case Kind::number: return json::value(value.as_number());
    case Kind::string: return json::value(json::key(value.as_text()));
    case Kind::bytes: return json::value(json::key(base64_encode(value.as_text())));
    case Kind::duration: return json::value(json::key(format_duration(value.duration_nanoseconds())));
    case Kind::timestamp: return json::value(json::key(format_timestamp({value.timestamp_seconds(), value.timestamp_nanoseconds()})));
    case Kind::list: {
      if (value.document()) return *value.document();
      json::array out;
      for (size_t i = 0; i < value.size(); ++i) {
        auto item = to_json(value.at(i));
        if (!item) return item;
        out.push_back(std::move(*item));
      }
      return json::value(std::move(out));
    }
    case Kind::map: {
      if (value.document()) return *value.document();
      json::object out;
      Result<json::value> failed = json::value();
      value.for_each([&](const Value& key, const Value& member) {
        if (!key.is(Kind::string)) failed = fail(Status::bad_request("only string keys have a JSON form"));
        auto item = failed ? to_json(member) : failed;
        if (!item) return failed = std::move(item), false;
        return out[json::key(key.as_text())] = std::move(*item), true;
      });
      if (!failed) return failed;
      return json::value(std::move(out));
    }
    default: return fail(Status::bad_request("a value of type " + value.dynamic_type().to_string() + " has no JSON form"));
  }
}

}  // namespace kcube::cel
