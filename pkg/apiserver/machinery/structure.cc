#include "pkg/apiserver/machinery/structure.h"

#include <algorithm>

namespace kcube::machinery {
namespace {

using api::Field;
using api::FieldKind;
using api::ListType;
using api::Shape;

std::string member_element(std::string_view name) { return "f:" + std::string(name); }

// A scalar as Go writes it for nothing.
bool is_zero(const Place& parent, std::string_view name, const json::value& value) {
  if (parent.kind != Place::Kind::object) return false;
  const Field* field = parent.type->field(name);
  if (field == nullptr || field->pointer || field->kind == FieldKind::message) return false;
  if (value.is_null()) return true;
  if (field->shape != Shape::single || field->default_json.empty()) return false;
  return (value.is_string() && value.get_string().empty() && field->default_json == "\"\"") || (value.is_int64() && value.get_int64() == 0 && field->default_json == "0") ||
         (value.is_bool() && !value.get_bool() && field->default_json == "false");
}

// Members that a Go struct always has, so that they never count as added.
bool always_there(const Place& parent, std::string_view name) {
  if (parent.kind != Place::Kind::object) return false;
  const Field* field = parent.type->field(name);
  if (field == nullptr) return false;
  if (field->shape != Shape::single) return field->required && !field->omitempty;
  return field->kind == FieldKind::message && !field->pointer;
}

struct Member {
  const json::value* before = nullptr;
  const json::value* after = nullptr;
  Place place;
  bool phantom = false;   // absent before, but only because it was empty
};

// The members or elements of both values under their path elements.
std::map<std::string, Member> members_of(const Place& place, const json::value* before, const json::value* after, bool phantoms) {
  std::map<std::string, Member> out;
  if (place.kind != Place::Kind::keyed_list && place.kind != Place::Kind::set) {
    auto take = [&](const json::value* v, auto slot) {
      for (const auto& m : json::get_object(v)) {
        Member& member = out[member_element(json::view(m.key()))];
        member.*slot = &m.value();
        member.place = place.member(json::view(m.key()));
        if (phantoms && is_zero(place, json::view(m.key()), m.value())) out.erase(member_element(json::view(m.key())));
        else if (phantoms) member.phantom = always_there(place, json::view(m.key()));
      }
    };
    take(before, &Member::before);
    take(after, &Member::after);
    return out;
  }
  auto take = [&](const json::value* v, auto slot) {
    for (const json::value& item : json::get_array(v)) {
      std::string element = path_element(place, item);
      if (element.empty()) continue;
      Member& member = out[element];
      member.*slot = &item;
      member.place = place.element();
    }
  };
  take(before, &Member::before);
  take(after, &Member::after);
  return out;
}

bool composite(const Place& place, const json::value& value) {
  if (place.kind == Place::Kind::leaf) return false;
  bool list = place.kind == Place::Kind::keyed_list || place.kind == Place::Kind::set;
  return list ? value.is_array() && !value.get_array().empty() : value.is_object() && !value.get_object().empty();
}

// Everything in `value`, itself and all that is between included.
FieldSet whole(const Place& place, const json::value& value) {
  FieldSet set;
  set.member = true;
  if (!composite(place, value)) return set;
  for (const auto& [element, m] : members_of(place, nullptr, &value, false)) set.children.emplace(element, whole(m.place, *m.after));
  return set;
}

void compare_into(const Place& place, const json::value* before, const json::value* after, bool phantom, FieldSet& added, FieldSet& modified, FieldSet& removed);

void compare_members(const Place& place, const json::value* before, const json::value* after, bool phantoms, FieldSet& added, FieldSet& modified, FieldSet& removed) {
  for (const auto& [element, m] : members_of(place, before, after, phantoms)) {
    FieldSet a, c, r;
    compare_into(m.place, m.before, m.after, m.phantom, a, c, r);
    if (!a.empty()) added.children.emplace(element, std::move(a));
    if (!c.empty()) modified.children.emplace(element, std::move(c));
    if (!r.empty()) removed.children.emplace(element, std::move(r));
  }
}

void compare_into(const Place& place, const json::value* before, const json::value* after, bool phantom, FieldSet& added, FieldSet& modified, FieldSet& removed) {
  if (before == nullptr && after == nullptr) return;
  if (before == nullptr) {
    if (phantom && after->is_object() && after->get_object().empty()) return;
    if (phantom && composite(place, *after)) return compare_members(place, nullptr, after, true, added, modified, removed);
    added = whole(place, *after);
    return;
  }
  if (after == nullptr) {
    removed = whole(place, *before);
    return;
  }
  if (*before == *after) return;
  if (!composite(place, *before) && !composite(place, *after)) {
    modified.member = true;
    return;
  }
  compare_members(place, before, after, false, added, modified, removed);
}

json::value merge_lists(const Place& place, const json::value& live, const json::value& config) {
  // What both have comes in the order of the configuration, what only the live list has before what follows it there.
  struct Item {
    std::string element;
    const json::value* value;
  };
  auto items_of = [&](const json::value& list) {
    std::vector<Item> items;
    for (const json::value& item : json::get_array(&list)) items.push_back({path_element(place, item), &item});
    return items;
  };
  const auto ours = items_of(live), theirs = items_of(config);
  // Lists may have 100,000 elements: found in a tree, each at its first place.
  auto index_of = [](const std::vector<Item>& items) {
    std::map<std::string_view, const json::value*> index;
    for (const Item& item : items) index.try_emplace(item.element, item.value);
    return index;
  };
  const auto our_index = index_of(ours), their_index = index_of(theirs);
  std::vector<std::string_view> shared;
  for (const Item& item : theirs)
    if (our_index.contains(item.element)) shared.push_back(item.element);
  json::array out;
  auto take = [&](const Item& item) {
    auto before = our_index.find(item.element);
    out.push_back(before == our_index.end() ? *item.value : merge(place.element(), *before->second, *item.value));
  };
  size_t l = 0, r = 0, next = 0;
  while (l < ours.size() || r < theirs.size()) {
    const bool known = l < ours.size() && their_index.contains(ours[l].element);
    if (l < ours.size() && r < theirs.size()) {
      if (ours[l].element == theirs[r].element) {
        take(theirs[r]);
        ++l, ++r, ++next;
        continue;
      }
      if (known && next < shared.size() && shared[next] != ours[l].element) {
        ++l;
        continue;
      }
    }
    if (l < ours.size() && !known) {
      out.push_back(*ours[l++].value);
      continue;
    }
    if (r < theirs.size()) {
      if (next < shared.size() && shared[next] == theirs[r].element) ++next;
      take(theirs[r++]);
    } else {
      ++l;
    }
  }
  return out;
}

bool has_nothing(const json::value& v) {
  return (v.is_object() && v.get_object().empty()) || (v.is_array() && v.get_array().empty());
}

}  // namespace

Place Place::of(const api::Type& type) {
  if (!type.atomic && type.open && type.fields.empty()) return {Kind::deduced, nullptr, nullptr};
  if (type.atomic || type.scalar != FieldKind::message || type.fields.empty()) return {};
  return {Kind::object, &type, nullptr};
}

Place Place::of(const Field& field) {
  switch (field.shape) {
    case Shape::single:
      if (field.kind != FieldKind::message || field.type == nullptr || field.atomic) return {};
      if (field.granular && !field.type->fields.empty()) return {Kind::object, field.type, nullptr};
      return of(*field.type);
    case Shape::list:
      if (field.list_type == ListType::map) return {Kind::keyed_list, nullptr, &field};
      if (field.list_type == ListType::set) return {Kind::set, nullptr, &field};
      return {};
    case Shape::map:
    case Shape::map_of_list:
      return field.atomic ? Place{} : Place{Kind::map, nullptr, &field};
  }
  return {};
}

Place Place::element() const {
  if (kind == Kind::deduced) return *this;
  if (field != nullptr && field->element != nullptr) {
    const Field& item = *field->element;
    if (kind == Kind::keyed_list && item.kind == FieldKind::message && item.shape == Shape::single && !item.type->fields.empty()) return {Kind::object, item.type, nullptr};
    return of(item);
  }
  if (kind == Kind::set || field == nullptr || field->shape == Shape::map_of_list) return {};
  if (field->kind != FieldKind::message || field->type == nullptr) return {};
  return of(*field->type);
}

Place Place::member(std::string_view name) const {
  if (kind == Kind::map || kind == Kind::deduced) return element();
  const Field* found = type == nullptr ? nullptr : type->field(name);
  if (found != nullptr) return of(*found);
  return type != nullptr && type->open ? Place{Kind::deduced, nullptr, nullptr} : Place{};
}

std::string path_element(const Place& place, const json::value& item) {
  if (place.kind == Place::Kind::set) return "v:" + json::serialize(item);
  std::map<std::string, json::value> keys;
  for (std::string_view key : place.field->list_map_keys) {
    const json::value* v = json::find(&item, key);
    const Field* field = place.field->type == nullptr ? nullptr : place.field->type->field(key);
    if (v != nullptr) {
      keys.emplace(key, *v);
    } else if (field != nullptr && !field->default_json.empty()) {
      if (auto fallback = json::parse(field->default_json)) keys.emplace(key, std::move(*fallback));
    }
  }
  if (keys.empty()) return {};
  json::object object;
  for (auto& [key, value] : keys) object[key] = std::move(value);
  return "k:" + json::serialize(json::value(std::move(object)));
}

FieldSet fields_of(const Place& place, const json::value& value) {
  FieldSet set;
  if (!composite(place, value)) {
    set.member = true;
    return set;
  }
  bool list = place.kind == Place::Kind::keyed_list || place.kind == Place::Kind::set;
  for (const auto& [element, m] : members_of(place, nullptr, &value, false)) {
    FieldSet child = fields_of(m.place, *m.after);
    // Elements of lists and keys of maps are owned themselves, members of structs by what they hold.
    if (list || place.kind == Place::Kind::map || place.kind == Place::Kind::deduced) child.member = true;
    set.children.emplace(element, std::move(child));
  }
  return set;
}

Difference compare(const Place& place, const json::value* before, const json::value* after) {
  Difference d;
  compare_into(place, before, after, before == nullptr, d.added, d.modified, d.removed);
  return d;
}

json::value merge(const Place& place, const json::value& live, const json::value& config) {
  if (place.kind == Place::Kind::keyed_list || place.kind == Place::Kind::set) return merge_lists(place, live, config);
  if (place.kind == Place::Kind::leaf || !live.is_object() || !config.is_object()) return config;
  json::value out = live;
  json::object& object = out.get_object();
  for (const auto& m : config.get_object()) {
    json::value* old = object.if_contains(m.key());
    if (old == nullptr) object[m.key()] = m.value();
    else *old = merge(place.member(json::view(m.key())), json::value(*old), m.value());
  }
  return out;
}

void remove_fields(const Place& place, json::value& value, const FieldSet& fields, const FieldSet& kept) {
  static const FieldSet kNothing;
  auto beneath = [&](const std::string& element) -> const FieldSet& {
    const FieldSet* k = kept.at(element);
    return k == nullptr ? kNothing : *k;
  };
  // True when the member or element must go.
  auto prune = [&](const Place& where, json::value& v, const std::string& element, const FieldSet& set) {
    const FieldSet& keep = beneath(element);
    if (set.member && keep.empty() && set.children.empty()) return true;
    if (set.children.empty()) return false;
    bool item = element.starts_with("k:");
    if (item && set.member && keep.empty()) return true;
    if (composite(where, v)) remove_fields(where, v, set, keep);
    return keep.empty() && has_nothing(v);
  };
  if (value.is_object()) {
    for (const auto& [element, set] : fields.children) {
      if (!element.starts_with("f:")) continue;
      std::string_view name = std::string_view(element).substr(2);
      json::value* member = value.get_object().if_contains(json::key(name));
      if (member != nullptr && prune(place.member(name), *member, element, set)) value.get_object().erase(json::key(name));
    }
  } else if (value.is_array()) {
    json::array left;
    for (json::value& item : value.get_array()) {
      std::string element = path_element(place, item);
      const FieldSet* set = element.empty() ? nullptr : fields.at(element);
      if (set == nullptr || !prune(place.element(), item, element, *set)) left.push_back(std::move(item));
    }
    value = std::move(left);
  }
}

}  // namespace kcube::machinery
