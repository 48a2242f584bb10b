#include "pkg/api/object.h"

#include <algorithm>

#include "pkg/api/scan.h"
#include "pkg/base/strings.h"

namespace kcube::api {
namespace {
constexpr std::string_view kMetadata = "\"metadata\":";
constexpr std::string_view kHole = "\"metadata\":{\"resourceVersion\":\"";

}  // namespace

ObjectPtr Object::make(std::string_view template_text, uint64_t revision) {
  size_t hole = template_text.find(kHole);
  KCUBE_CHECK(hole != std::string_view::npos);
  hole += kHole.size();
  std::string number = std::to_string(revision);
  std::string bytes;
  bytes.reserve(template_text.size() + number.size());
  bytes.append(template_text.substr(0, hole)).append(number).append(template_text.substr(hole));
  std::shared_ptr<Object> object(new Object(std::move(bytes), revision));
  object->scan_metadata(std::string_view(object->bytes_).substr(hole - kHole.size() + kMetadata.size()));
  return object;
}

Result<ObjectPtr> Object::from_value(json::value value) {
  std::string text = json::serialize(value);
  uint64_t revision = parse_int<uint64_t>(json::get_string(value, {"metadata", "resourceVersion"})).value_or(0);
  std::shared_ptr<Object> object(new Object(std::move(text), revision));
  object->read_metadata(json::find(&value, "metadata"));
  object->value_ = new json::value(std::move(value));
  return object;
}

Result<ObjectPtr> Object::from_text(std::string text) {
  auto value = json::parse(text);
  if (!value) return fail(value.error());
  uint64_t revision = parse_int<uint64_t>(json::get_string(*value, {"metadata", "resourceVersion"})).value_or(0);
  std::shared_ptr<Object> object(new Object(std::move(text), revision));
  object->read_metadata(json::find(&*value, "metadata"));
  return object;
}

Object::~Object() { delete value_.load(); }

const json::value& Object::value() const {
  if (const json::value* done = value_.load(std::memory_order_acquire)) return *done;
  auto parsed = json::parse(bytes_);
  KCUBE_CHECK(parsed.has_value());
  auto* mine = new json::value(std::move(*parsed));
  const json::value* expected = nullptr;
  if (value_.compare_exchange_strong(expected, mine, std::memory_order_acq_rel)) return *mine;
  delete mine;
  return *expected;
}

std::string Object::key() const { return object_key(namespace__, name_); }

std::string_view Object::label(std::string_view key) const {
  auto it = std::ranges::lower_bound(labels_, key, {}, [](const auto& l) { return std::string_view(l.first); });
  return it != labels_.end() && it->first == key ? std::string_view(it->second) : std::string_view();
}

void Object::read_metadata(const json::value* metadata) {
  name_ = json::get_string(json::find(metadata, "name"));
  namespace__ = json::get_string(json::find(metadata, "namespace"));
  uid_ = json::get_string(json::find(metadata, "uid"));
  deleting_ = !json::get_string(json::find(metadata, "deletionTimestamp")).empty();
  for (const auto& label : json::get_object(json::find(metadata, "labels")))
    labels_.emplace_back(std::string(label.key()), std::string(json::get_string(&label.value())));
  std::ranges::sort(labels_);
}

// Without parsing: this runs for every write and, at the start, for every stored object.
void Object::scan_metadata(std::string_view text) {
  for (MemberScanner members(text); members.next();) {
    std::string_view key = members.key();
    if (key == "name") name_ = scalar_text(members.value());
    else if (key == "namespace") namespace__ = scalar_text(members.value());
    else if (key == "uid") uid_ = scalar_text(members.value());
    else if (key == "deletionTimestamp") deleting_ = !scalar_text(members.value()).empty();
    else if (key == "labels")
      for (MemberScanner labels(members.value()); labels.next();) labels_.emplace_back(labels.key(), scalar_text(labels.value()));
  }
  std::ranges::sort(labels_);
}

std::string encode(const json::value& value) {
  std::string out = "{";
  const json::object& object = json::get_object(&value);
  auto member = [&](std::string_view name, const json::value& v) {
    if (out.size() > 1) out += ',';
    json::append_quoted(out, name);
    out += ':';
    json::append(out, v);
  };
  for (std::string_view name : {"apiVersion", "kind"})
    if (const json::value* v = object.if_contains(json::key(name))) member(name, *v);
  if (out.size() > 1) out += ',';
  out.append(kHole).append("\"");
  for (const auto& m : json::get_object(object.if_contains("metadata"))) {
    if (m.key() == "resourceVersion") continue;
    out += ',';
    json::append_quoted(out, json::view(m.key()));
    out += ':';
    json::append(out, m.value());
  }
  out += '}';
  for (const auto& m : object)
    if (m.key() != "apiVersion" && m.key() != "kind" && m.key() != "metadata") member(json::view(m.key()), m.value());
  out += '}';
  return out;
}

std::string object_key(std::string_view namespace_, std::string_view name) {
  if (namespace_.empty()) return std::string(name);
  std::string key;
  key.reserve(namespace_.size() + 1 + name.size());
  return key.append(namespace_).append("/").append(name);
}

std::pair<std::string, std::string> split_key(std::string_view key) {
  size_t slash = key.find('/');
  if (slash == std::string_view::npos) return {"", std::string(key)};
  return {std::string(key.substr(0, slash)), std::string(key.substr(slash + 1))};
}

std::vector<OwnerReference> owner_references(const json::value& object) {
  std::vector<OwnerReference> out;
  for (const json::value& r : json::get_array(json::at(&object, {"metadata", "ownerReferences"}))) {
    auto text = [&](std::string_view name) { return std::string(json::get_string(json::find(&r, name))); };
    out.push_back({text("apiVersion"), text("kind"), text("name"), text("uid"), json::get_bool(json::find(&r, "controller")),
                   json::get_bool(json::find(&r, "blockOwnerDeletion"))});
  }
  return out;
}

OwnerReference controller_of(const json::value& object) {
  for (OwnerReference& r : owner_references(object))
    if (r.controller) return std::move(r);
  return {};
}

json::object controller_reference(const json::value& owner) {
  auto text = [&](std::initializer_list<std::string_view> path) { return json::value(json::key(json::get_string(json::at(&owner, path)))); };
  json::object r;
  r["apiVersion"] = text({"apiVersion"});
  r["kind"] = text({"kind"});
  r["name"] = text({"metadata", "name"});
  r["uid"] = text({"metadata", "uid"});
  r["controller"] = true;
  r["blockOwnerDeletion"] = true;
  return r;
}

}  // namespace kcube::api
