// Lists may have 100,000 elements: each is found by what identifies it, in trees, which no choice of names makes slow.
#include <algorithm>
#include <map>
#include <set>

#include "pkg/apiserver/machinery/go_text.h"
#include "pkg/apiserver/machinery/patch.h"
#include "pkg/apiserver/machinery/patch_removal.h"

namespace kcube::machinery {
namespace {

// What an element of a list is known by: its merge key, or itself. Empty when it has no such key.
std::string id_of(const json::value& item, std::string_view merge_key) {
  const json::value* id = merge_key.empty() ? &item : json::find(&item, merge_key);
  return id == nullptr ? std::string() : json::serialize(*id);
}

// Where the elements are, each at its first place.
using Places = std::map<std::string, std::ptrdiff_t>;
Places places_of(const json::array& list, std::string_view merge_key) {
  Places out;
  for (const json::value& item : list)
    if (std::string id = id_of(item, merge_key); !id.empty()) out.try_emplace(std::move(id), &item - list.data());
  return out;
}

std::ptrdiff_t place_in(const Places& places, const std::string& id) {
  auto it = places.find(id);
  return it == places.end() ? -1 : it->second;
}

class StrategicMerge {
 public:
  Result<void> merge(json::value& target, const json::value& patch, const api::Type* type) {
    if (!patch.is_object()) return fail(Status::bad_request("strategic merge patch is not an object"));
    std::string_view directive = json::get_string(patch, {"$patch"});
    if (directive == "replace") {
      target = without_directives(patch);
      return {};
    }
    if (directive == "delete") {
      target = json::object();
      return {};
    }
    if (!directive.empty() && directive != "merge") return fail(wrong("unknown patch type: " + std::string(directive) + " in map: " + go_text(patch)));
    if (!target.is_object()) target = json::object();
    json::object& object = target.get_object();
    retain_keys(object, patch);
    Removal removal(object);
    for (const auto& m : patch.get_object()) {
      std::string_view name = json::view(m.key());
      if (name == "$patch" || name == "$retainKeys" || name.starts_with("$setElementOrder/")) continue;
      if (name.starts_with("$deleteFromPrimitiveList/")) {
        remove_primitives(object, name.substr(25), m.value());
        continue;
      }
      if (m.value().is_null()) removal.add(name);
      else if (auto r = member(object, name, m.value(), patch, type); !r) return r;
    }
    removal.finish();
    // Orders without a list of changes still reorder.
    for (const auto& m : patch.get_object()) {
      std::string_view name = json::view(m.key());
      if (!name.starts_with("$setElementOrder/")) continue;
      std::string_view list = name.substr(17);
      if (patch.get_object().contains(json::key(list))) continue;
      const api::Field* field = type == nullptr ? nullptr : type->field(list);
      if (json::value* v = object.if_contains(json::key(list)); v != nullptr && v->is_array() && m.value().is_array())
        reorder(v->get_array(), json::array(v->get_array()), m.value().get_array(), field == nullptr ? std::string_view() : field->patch_merge_key);
    }
    return {};
  }

 private:
  Result<void> member(json::object& object, std::string_view name, const json::value& value, const json::value& patch, const api::Type* type) {
    const api::Field* field = type == nullptr ? nullptr : type->field(name);
    json::value* current = object.if_contains(json::key(name));
    if (value.is_object() && (field == nullptr || field->shape != api::Shape::list)) {
      const api::Type* inner = field != nullptr && field->kind == api::FieldKind::message && field->shape == api::Shape::single ? field->type : nullptr;
      if (current == nullptr || !current->is_object()) {
        object[json::key(name)] = json::object();
        current = object.if_contains(json::key(name));
      }
      if (field != nullptr && field->kind == api::FieldKind::any) {
        *current = value;
        return {};
      }
      return merge(*current, value, inner);
    }
    if (value.is_array() && field != nullptr && field->shape == api::Shape::list && field->patch_merge) {
      if (current == nullptr || !current->is_array()) {   // taken as it is
        object[json::key(name)] = without_directives(value);
        return {};
      }
      json::array before = current->get_array();
      const json::value* order = json::find(&patch, "$setElementOrder/" + std::string(name));
      if (order != nullptr)
        if (auto r = check_order(value.get_array(), *order, field->patch_merge_key); !r) return r;
      if (auto r = check_elements(before, value.get_array()); !r) return r;
      if (auto r = merge_list(current->get_array(), value.get_array(), *field); !r) return r;
      reorder(current->get_array(), before, order != nullptr && order->is_array() ? order->get_array() : value.get_array(), field->patch_merge_key);
      return {};
    }
    object[json::key(name)] = without_directives(value);
    return {};
  }

  // The real server has no status for these.
  static Status wrong(std::string text) { return {500, "", std::move(text)}; }

  // What a list of the patch names comes in the order that is said beside it.
  static Result<void> check_order(const json::array& list, const json::value& order, std::string_view merge_key) {
    if (!order.is_array()) return fail(Status::bad_request("invalid patch format of setElementOrder list"));
    if (list.empty() || order.get_array().empty()) return {};
    auto id = [&](const json::value& item) { return merge_key.empty() ? &item : json::find(&item, merge_key); };
    auto next = order.get_array().begin();
    for (const json::value& item : list) {
      if (json::get_string(item, {"$patch"}) == "delete") continue;
      const json::value* wanted = id(item);
      auto same = [&](const json::value& other) { return wanted != nullptr && id(other) != nullptr && *id(other) == *wanted; };
      next = std::find_if(next, order.get_array().end(), same);
      if (next == order.get_array().end())
        return fail(wrong("The order in patch list:\n" + go_text(list) + "\n doesn't match $setElementOrder list:\n" + go_text(order) + "\n"));
      ++next;
    }
    return {};
  }

  // Elements are all of one kind, and no lists.
  static Result<void> check_elements(const json::array& before, const json::array& patch) {
    auto kind = [](const json::value& v) { return v.is_object() ? 'o' : v.is_array() ? 'a' : v.is_string() ? 's' : v.is_bool() ? 'b' : v.is_double() ? 'd' : 'i'; };
    char first = 0;
    for (const json::array* list : {&before, &patch}) {
      for (const json::value& item : *list) {
        if (item.is_array()) return fail(Status(422, "Invalid", "the server rejected our request due to an error in our request"));
        if (first != 0 && kind(item) != first) return fail(wrong("list element types are not identical: [" + go_text(before) + " " + go_text(patch) + "]"));
        first = kind(item);
      }
    }
    return {};
  }

  Result<void> merge_list(json::array& target, const json::array& patch, const api::Field& field) {
    const json::value* sample = !target.empty() ? &target[0] : !patch.empty() ? &patch[0] : nullptr;
    if (field.patch_merge_key.empty() || (sample != nullptr && !sample->is_object())) {
      Places known = places_of(target, {});
      for (const json::value& item : patch)
        if (known.try_emplace(id_of(item, {}), 0).second) target.push_back(item);
      return {};
    }
    // {"$patch": "replace"} as an element replaces the whole list by the other elements.
    for (const json::value& item : patch) {
      if (json::get_string(item, {"$patch"}) == "replace" && json::find(&item, field.patch_merge_key) == nullptr) {
        json::array replaced;
        for (const json::value& other : patch)
          if (json::get_string(other, {"$patch"}).empty()) replaced.push_back(other);
        target = std::move(replaced);
        return {};
      }
    }
    Places known = places_of(target, field.patch_merge_key);
    std::set<std::ptrdiff_t> gone;
    for (const json::value& item : patch) {
      const std::string id = id_of(item, field.patch_merge_key);
      if (id.empty()) return fail(wrong("map: " + go_text(item) + " does not contain declared merge key: " + std::string(field.patch_merge_key)));
      const std::ptrdiff_t at = place_in(known, id);
      std::string_view directive = json::get_string(item, {"$patch"});
      if (directive == "delete") {
        if (at >= 0) gone.insert(at);
        known.erase(id);
      } else if (at < 0) {
        json::value added = json::object();
        if (auto r = merge(added, item, field.type); !r) return r;
        known[id] = static_cast<std::ptrdiff_t>(target.size());
        target.push_back(std::move(added));
      } else if (directive == "replace") {
        target[static_cast<size_t>(at)] = without_directives(item);
      } else if (auto r = merge(target[static_cast<size_t>(at)], item, field.type); !r) {
        return r;
      }
    }
    if (gone.empty()) return {};
    json::array kept;
    for (json::value& item : target)
      if (!gone.contains(&item - target.data())) kept.push_back(std::move(item));
    target = std::move(kept);
    return {};
  }

  static void retain_keys(json::object& object, const json::value& patch) {
    const json::value* keys = json::find(&patch, "$retainKeys");
    if (keys == nullptr || !keys->is_array()) return;
    std::set<std::string_view> kept;
    for (const json::value& k : keys->get_array()) kept.insert(json::get_string(&k));
    Removal removal(object);
    for (const auto& m : object)
      if (!kept.contains(json::view(m.key()))) removal.add(json::view(m.key()));
    removal.finish();
  }

  static void remove_primitives(json::object& object, std::string_view name, const json::value& items) {
    json::value* list = object.if_contains(json::key(name));
    if (list == nullptr || !list->is_array()) return;
    const Places removed = places_of(json::get_array(&items), {});
    json::array kept;
    for (json::value& item : list->get_array())
      if (place_in(removed, id_of(item, {})) < 0) kept.push_back(std::move(item));
    *list = std::move(kept);
  }

  // Elements named by the order come in that order, new ones before the others, which keep their places relative to those
  // that were there before. Source: the API conventions on strategic merge patches.
  static void reorder(json::array& list, const json::array& before, const json::array& order, std::string_view merge_key) {
    struct Element {
      std::ptrdiff_t wanted, was;   // places in the order and before; -1 where it is not
      json::value value;
    };
    const Places wanted = places_of(order, merge_key), was = places_of(before, merge_key);
    std::vector<Element> named, others;
    for (json::value& item : list) {
      const std::string id = id_of(item, merge_key);
      Element element{place_in(wanted, id), place_in(was, id), std::move(item)};
      (element.wanted >= 0 ? named : others).push_back(std::move(element));
    }
    std::ranges::stable_sort(named, {}, &Element::wanted);
    std::ranges::stable_sort(others, {}, &Element::was);
    json::array out;
    size_t n = 0;
    for (Element& other : others) {
      // What is new comes before what was there.
      for (; n < named.size(); ++n) {
        if (named[n].was >= 0 && other.was >= 0 && other.was < named[n].was) break;
        out.push_back(std::move(named[n].value));
      }
      out.push_back(std::move(other.value));
    }
    for (; n < named.size(); ++n) out.push_back(std::move(named[n].value));
    list = std::move(out);
  }

  static json::value without_directives(const json::value& v) {
    if (v.is_object()) {
      json::object out;
      for (const auto& m : v.get_object())
        if (!m.key().starts_with("$") && !m.value().is_null()) out[m.key()] = without_directives(m.value());
      return out;
    }
    if (v.is_array()) {
      json::array out;
      for (const json::value& item : v.get_array())
        if (!item.is_object() || json::get_string(item, {"$patch"}).empty()) out.push_back(without_directives(item));
      return out;
    }
    return v;
  }
};

}  // namespace

Result<json::value> strategic_merge_patch(const json::value& object, const json::value& patch, const api::Type& type) {
  json::value result = object;
  StrategicMerge merger;
  if (auto r = merger.merge(result, patch, &type); !r) return fail(r.error());
  return result;
}

}  // namespace kcube::machinery
