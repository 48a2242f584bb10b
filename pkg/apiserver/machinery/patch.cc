#include "pkg/apiserver/machinery/patch.h"

#include <algorithm>
#include <optional>
#include <set>

#include "pkg/api/json_members.h"
#include "pkg/base/strings.h"

namespace kcube::machinery {
namespace {

// Members that a patch takes away, all at once at the end. Meanwhile others may be added, which come behind.
class Removal {
 public:
  explicit Removal(json::object& object) : object_(object) {}
  void add(std::string_view name) {
    if (auto it = object_.find(json::key(name)); it != object_.end()) places_.push_back(static_cast<size_t>(it - object_.begin()));
  }
  void finish() {
    if (places_.empty()) return;
    std::ranges::sort(places_);
    places_.erase(std::ranges::unique(places_).begin(), places_.end());
    json::erase_members(object_, places_);
  }

 private:
  json::object& object_;
  std::vector<size_t> places_;
};

constexpr size_t kMaxOperations = 10'000;

// Which operation failed is not said.
Status does_not_apply() { return {422, "Invalid", "the server rejected our request due to an error in our request"}; }

// --- JSON Pointer (RFC 6901) ---
Result<std::vector<std::string>> pointer(std::string_view text) {
  std::vector<std::string> out;
  if (text.empty()) return out;
  if (text[0] != '/') return fail(does_not_apply());
  for (std::string_view part : split(text.substr(1), '/')) out.push_back(replace_all(replace_all(std::string(part), "~1", "/"), "~0", "~"));
  return out;
}

std::optional<size_t> array_index(const std::string& token, size_t size, bool allow_end) {
  if (token == "-") return allow_end ? std::optional(size) : std::nullopt;
  if (token.starts_with('-')) {   // counted from the end
    auto back = parse_int<size_t>(std::string_view(token).substr(1));
    return back && *back > 0 && *back <= size ? std::optional(size - *back) : std::nullopt;
  }
  auto index = parse_int<size_t>(token);
  if (!index || *index > size || (*index == size && !allow_end)) return std::nullopt;
  return index;
}

json::value* walk(json::value& root, const std::vector<std::string>& path, size_t depth) {
  json::value* here = &root;
  for (size_t i = 0; i < depth && here != nullptr; ++i) {
    if (here->is_object()) {
      here = here->get_object().if_contains(json::key(path[i]));
    } else if (here->is_array()) {
      auto index = array_index(path[i], here->get_array().size(), false);
      here = index ? &here->get_array()[*index] : nullptr;
    } else {
      here = nullptr;
    }
  }
  return here;
}

// Operations can put objects into each other over and over: as deep as a text may be, and not much larger.
constexpr size_t kMostDepth = 512, kMostCopied = 3 << 20;

// How deep `value` is; not more than `most` are counted.
size_t depth_of(const json::value& value, size_t most) {
  size_t deepest = 0;
  if (most == 0) return 0;
  if (const auto* object = value.if_object())
    for (const auto& m : *object) deepest = std::max(deepest, 1 + depth_of(m.value(), most - 1));
  if (const auto* array = value.if_array())
    for (const auto& item : *array) deepest = std::max(deepest, 1 + depth_of(item, most - 1));
  return deepest;
}

class JsonPatch {
 public:
  explicit JsonPatch(json::value& root) : root_(root) {}

  Result<void> run(const json::value& operation) {
    static const json::value kNull(nullptr);
    std::string_view op = json::get_string(operation, {"op"});
    auto path = pointer(json::get_string(operation, {"path"}));
    if (!path) return fail(path.error());
    const json::value* value = json::find(&operation, "value");
    if (json::find(&operation, "path") == nullptr) return fail(does_not_apply());
    if (value == nullptr) value = &kNull;
    if (auto r = check_depth(*path, *value); !r) return r;
    if (op == "add") return add(*path, *value);
    if (op == "remove") return remove(*path);
    if (op == "replace") return replace(*path, *value);
    if (op == "test") return test(*path, *value);
    if (op == "move" || op == "copy") {
      if (json::find(&operation, "from") == nullptr) return fail(does_not_apply());
      auto from = pointer(json::get_string(operation, {"from"}));
      if (!from) return fail(from.error());
      json::value* source = walk(root_, *from, from->size());
      if (source == nullptr) return fail(does_not_apply());
      if (auto r = check_depth(*path, *source); !r) return r;
      if (op == "copy") {
        copied_ += json::serialize(*source).size();
        if (copied_ > kMostCopied)
          return fail(Status(422, "Invalid", "Unable to complete the copy, the accumulated size increase of copy is " + std::to_string(copied_) + ", exceeding the limit " + std::to_string(kMostCopied)));
      }
      json::value copy = *source;
      if (op == "move")
        if (auto r = remove(*from); !r) return r;
      return add(*path, copy);
    }
    return fail(does_not_apply());
  }

 private:
  static Result<void> check_depth(const std::vector<std::string>& path, const json::value& value) {
    if (path.size() + depth_of(value, kMostDepth) <= kMostDepth) return {};
    return fail(Status(422, "Invalid", "the patch nests objects deeper than " + std::to_string(kMostDepth)));
  }

  Result<void> add(const std::vector<std::string>& path, const json::value& value) {
    if (path.empty()) return fail(does_not_apply());
    json::value* parent = walk(root_, path, path.size() - 1);
    if (parent == nullptr) return fail(does_not_apply());
    if (parent->is_object()) {
      parent->get_object()[json::key(path.back())] = value;
      return {};
    }
    if (!parent->is_array()) return fail(does_not_apply());
    json::array& array = parent->get_array();
    auto index = array_index(path.back(), array.size(), true);
    if (!index) return fail(does_not_apply());
    array.insert(array.begin() + static_cast<std::ptrdiff_t>(*index), value);
    return {};
  }

  Result<void> remove(const std::vector<std::string>& path) {
    if (path.empty()) return fail(does_not_apply());
    json::value* parent = walk(root_, path, path.size() - 1);
    if (parent != nullptr && parent->is_object()) {
      json::object& object = parent->get_object();
      auto it = object.find(json::key(path.back()));
      if (it == object.end()) return fail(does_not_apply());
      object.stable_erase(it);
      return {};
    }
    if (parent == nullptr || !parent->is_array()) return fail(does_not_apply());
    json::array& array = parent->get_array();
    auto index = array_index(path.back(), array.size(), false);
    if (!index) return fail(does_not_apply());
    array.erase(array.begin() + static_cast<std::ptrdiff_t>(*index));
    return {};
  }

  Result<void> replace(const std::vector<std::string>& path, const json::value& value) {
    json::value* target = walk(root_, path, path.size());
    if (target != nullptr) {
      *target = value;
      return {};
    }
    // A member that is missing is added.
    json::value* parent = path.empty() ? nullptr : walk(root_, path, path.size() - 1);
    if (parent == nullptr || !parent->is_object()) return fail(does_not_apply());
    parent->get_object()[json::key(path.back())] = value;
    return {};
  }

  Result<void> test(const std::vector<std::string>& path, const json::value& value) {
    json::value* target = walk(root_, path, path.size());
    bool equal = target == nullptr ? value.is_null() : *target == value;
    if (equal) return {};
    return fail(does_not_apply());
  }

  json::value& root_;
  size_t copied_ = 0;
};

// --- Strategic merge ---
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
    if (!directive.empty() && directive != "merge") return fail(Status::bad_request("Unknown patch directive: " + std::string(directive)));
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
      if (current == nullptr || !current->is_array()) {
        object[json::key(name)] = json::array();
        current = object.if_contains(json::key(name));
      }
      json::array before = current->get_array();
      if (auto r = merge_list(current->get_array(), value.get_array(), *field); !r) return r;
      const json::value* order = json::find(&patch, "$setElementOrder/" + std::string(name));
      reorder(current->get_array(), before, order != nullptr && order->is_array() ? order->get_array() : value.get_array(), field->patch_merge_key);
      return {};
    }
    object[json::key(name)] = without_directives(value);
    return {};
  }

  Result<void> merge_list(json::array& target, const json::array& patch, const api::Field& field) {
    if (field.patch_merge_key.empty()) {
      for (const json::value& item : patch)
        if (std::find(target.begin(), target.end(), item) == target.end()) target.push_back(item);
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
    for (const json::value& item : patch) {
      const json::value* key = json::find(&item, field.patch_merge_key);
      if (key == nullptr)
        return fail(Status::bad_request("map: " + json::serialize(item) + " does not contain declared merge key: " + std::string(field.patch_merge_key)));
      auto it = std::find_if(target.begin(), target.end(), [&](const json::value& t) {
        const json::value* k = json::find(&t, field.patch_merge_key);
        return k != nullptr && *k == *key;
      });
      std::string_view directive = json::get_string(item, {"$patch"});
      if (directive == "delete") {
        if (it != target.end()) target.erase(it);
      } else if (it == target.end()) {
        json::value added = json::object();
        if (auto r = merge(added, item, field.type); !r) return r;
        target.push_back(std::move(added));
      } else if (directive == "replace") {
        *it = without_directives(item);
      } else if (auto r = merge(*it, item, field.type); !r) {
        return r;
      }
    }
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
    for (const json::value& item : json::get_array(&items)) {
      json::array& array = list->get_array();
      for (auto it = array.begin(); it != array.end();) it = *it == item ? array.erase(it) : it + 1;
    }
  }

  // Elements named by the order come in that order, new ones before the others, which keep their places relative to those
  // that were there before. Source: the API conventions on strategic merge patches.
  static void reorder(json::array& list, const json::array& before, const json::array& order, std::string_view merge_key) {
    auto position = [&](const json::array& in, const json::value& item) -> std::ptrdiff_t {
      const json::value* id = merge_key.empty() ? &item : json::find(&item, merge_key);
      auto same = [&](const json::value& other) {
        const json::value* o = merge_key.empty() ? &other : json::find(&other, merge_key);
        return id != nullptr && o != nullptr && *o == *id;
      };
      auto it = std::ranges::find_if(in, same);
      return it == in.end() ? -1 : it - in.begin();
    };
    std::vector<json::value> named, others;
    for (json::value& item : list) (position(order, item) >= 0 ? named : others).push_back(std::move(item));
    std::ranges::stable_sort(named, {}, [&](const json::value& item) { return position(order, item); });
    std::ranges::stable_sort(others, {}, [&](const json::value& item) { return position(before, item); });
    json::array out;
    size_t n = 0;
    for (json::value& other : others) {
      std::ptrdiff_t at = position(before, other);
      // What is new comes before what was there.
      for (; n < named.size(); ++n) {
        std::ptrdiff_t was = position(before, named[n]);
        if (was >= 0 && at >= 0 && at < was) break;
        out.push_back(std::move(named[n]));
      }
      out.push_back(std::move(other));
    }
    for (; n < named.size(); ++n) out.push_back(std::move(named[n]));
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

Result<json::value> json_patch(const json::value& object, const json::value& operations) {
  if (operations.is_null()) return object;
  auto kind = [](const json::value& v) { return std::string(v.is_object() ? "object" : v.is_array() ? "array" : v.is_string() ? "string" : v.is_bool() ? "bool" : "number"); };
  auto undecodable = [&](const json::value& v, const char* what) {
    return fail(Status::bad_request("error decoding patch: json: cannot unmarshal " + kind(v) + " into Go " + what));
  };
  if (!operations.is_array()) return undecodable(operations, "value of type []handlers.jsonPatchOp");
  for (const json::value& operation : operations.get_array()) {
    if (!operation.is_object()) return undecodable(operation, "value of type handlers.jsonPatchOp");
    for (const char* name : {"op", "from", "path"})
      if (const json::value* v = json::find(&operation, name); v != nullptr && !v->is_string() && !v->is_null())
        return undecodable(*v, (std::string("struct field jsonPatchOp.") + name + " of type string").c_str());
  }
  if (operations.get_array().size() > kMaxOperations)
    return fail(Status(413, "RequestEntityTooLarge", "The allowed maximum operations in a JSON patch is 10000, got " +
                                                         std::to_string(operations.get_array().size())));
  json::value result = object;
  JsonPatch patch(result);
  for (const json::value& operation : operations.get_array())
    if (auto r = patch.run(operation); !r) return fail(r.error());
  return result;
}

json::value merge_patch(const json::value& object, const json::value& patch) {
  if (!patch.is_object()) return patch;
  json::value result = object.is_object() ? object : json::value(json::object());
  json::object& target = result.get_object();
  Removal removal(target);
  for (const auto& m : patch.get_object()) {
    if (m.value().is_null()) {
      removal.add(json::view(m.key()));
    } else {
      json::value& slot = target[m.key()];
      slot = merge_patch(slot, m.value());
    }
  }
  removal.finish();
  return result;
}

Result<json::value> strategic_merge_patch(const json::value& object, const json::value& patch, const api::Type& type) {
  json::value result = object;
  StrategicMerge merger;
  if (auto r = merger.merge(result, patch, &type); !r) return fail(r.error());
  return result;
}

}  // namespace kcube::machinery
