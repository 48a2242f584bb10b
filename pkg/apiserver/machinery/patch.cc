#include "pkg/apiserver/machinery/patch.h"

#include <algorithm>
#include <optional>
#include <set>

#include "pkg/apiserver/machinery/patch_removal.h"
#include "pkg/base/strings.h"

namespace kcube::machinery {
namespace {

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

}  // namespace kcube::machinery
