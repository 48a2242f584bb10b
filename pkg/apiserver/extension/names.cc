#include "pkg/apiserver/extension/names.h"

#include <set>

#include "pkg/base/strings.h"

namespace kcube::apiserver::extension {
namespace {

struct Taken {
  std::set<std::string, std::less<>> resources, kinds;
};

Taken taken_by(const std::vector<api::ObjectPtr>& others) {
  Taken taken;
  for (const api::ObjectPtr& other : others) {
    const json::value* names = json::at(&other->value(), {"status", "acceptedNames"});
    auto take = [&](std::set<std::string, std::less<>>& into, std::string_view member) {
      if (std::string_view text = json::get_string(json::find(names, member)); !text.empty()) into.emplace(text);
    };
    take(taken.resources, "plural");
    take(taken.resources, "singular");
    for (const json::value& s : json::get_array(json::find(names, "shortNames"))) taken.resources.emplace(json::get_string(&s));
    take(taken.kinds, "kind");
    take(taken.kinds, "listKind");
  }
  return taken;
}

struct Conflict {
  std::string reason, message;
};

// Takes over each wanted name that is free; an earlier one stays where it is not. The last conflict speaks.
Conflict accept(const json::value& wanted, json::object& accepted, const Taken& taken) {
  Conflict conflict;
  auto one = [&](std::string_view member, const std::set<std::string, std::less<>>& used, std::string_view reason) {
    std::string_view name = json::get_string(json::find(&wanted, member));
    if (used.contains(name)) conflict = {std::string(reason), "\"" + std::string(name) + "\" is already in use"};
    else accepted[json::key(member)] = json::key(name);
  };
  one("plural", taken.resources, "PluralConflict");
  one("singular", taken.resources, "SingularConflict");
  std::string clashes;
  json::array shorts;
  for (const json::value& s : json::get_array(json::find(&wanted, "shortNames"))) {
    std::string_view name = json::get_string(&s);
    if (taken.resources.contains(name)) clashes += (clashes.empty() ? "" : ", ") + ("\"" + std::string(name) + "\" is already in use");
    else shorts.push_back(s);
  }
  if (!clashes.empty()) conflict = {"ShortNamesConflict", clashes};
  else if (!shorts.empty()) accepted["shortNames"] = std::move(shorts);
  else accepted.erase("shortNames");
  one("kind", taken.kinds, "KindConflict");
  one("listKind", taken.kinds, "ListKindConflict");
  if (const json::value* categories = json::find(&wanted, "categories")) accepted["categories"] = *categories;
  else accepted.erase("categories");
  return conflict;
}

}  // namespace

void set_condition(json::object& definition, std::string_view type, bool value, std::string_view reason, std::string_view message, SystemTime now) {
  json::array& conditions = json::ensure_array(json::ensure_object(definition, "status"), "conditions");
  json::object* found = nullptr;
  for (json::value& c : conditions)
    if (json::get_string(c, {"type"}) == type) found = &c.get_object();
  if (found == nullptr) found = &conditions.emplace_back(json::object{{"type", json::key(type)}}).get_object();
  std::string_view status = value ? "True" : "False";
  if (json::get_string(found->if_contains("status")) != status) (*found)["lastTransitionTime"] = format_time(now);
  (*found)["status"] = json::key(status);
  (*found)["reason"] = json::key(reason);
  (*found)["message"] = json::key(message);
}

bool condition_is(const json::value& definition, std::string_view type, bool value) {
  for (const json::value& c : json::get_array(json::at(&definition, {"status", "conditions"})))
    if (json::get_string(c, {"type"}) == type) return json::get_string(c, {"status"}) == (value ? "True" : "False");
  return false;
}

void settle_names(json::object& definition, const std::vector<api::ObjectPtr>& others, SystemTime now) {
  const json::value* names = json::find(definition.if_contains("spec"), "names");
  const json::value wanted = names == nullptr ? json::value() : *names;
  json::object& accepted = json::ensure_object(json::ensure_object(definition, "status"), "acceptedNames");
  Conflict conflict = accept(wanted, accepted, taken_by(others));
  bool fine = conflict.reason.empty();
  set_condition(definition, "NamesAccepted", fine, fine ? "NoConflicts" : conflict.reason, fine ? "no conflicts found" : conflict.message, now);
  json::value view(definition);
  if (condition_is(view, "Established", true)) return;
  set_condition(definition, "Established", fine, fine ? "InitialNamesAccepted" : "NotAccepted", fine ? "the initial names have been accepted" : "not all names are accepted", now);
}

}  // namespace kcube::apiserver::extension
