#include "pkg/controllers/support.h"

#include <algorithm>
#include <cmath>

#include "pkg/base/strings.h"

namespace kcube::controllers {
namespace {

bool nothing(const json::value* v) {
  return v == nullptr || v->is_null() || (v->is_object() && v->get_object().empty()) || (v->is_array() && v->get_array().empty());
}

void append_canonical(std::string& out, const json::value& v) {
  if (const json::object* o = v.if_object()) {
    std::vector<std::pair<std::string_view, const json::value*>> members;
    for (const auto& m : *o)
      if (!nothing(&m.value())) members.emplace_back(json::view(m.key()), &m.value());
    std::ranges::sort(members);
    out += '{';
    for (const auto& [name, value] : members) {
      json::append_quoted(out, name);
      out += ':';
      append_canonical(out, *value);
      out += ',';
    }
    out += '}';
  } else if (const json::array* a = v.if_array()) {
    out += '[';
    for (const json::value& e : *a) {
      append_canonical(out, e);
      out += ',';
    }
    out += ']';
  } else {
    json::append(out, v);
  }
}

// The owner as the server has it now: adopting for an owner that is gone would make garbage.
Result<void> check_owner(client::Client& client, const client::GroupVersionResource& resource, const api::Object& owner) {
  auto live = client.get(resource, owner.namespace_(), owner.name());
  if (!live) return fail(live.error());
  if ((*live)->uid() != owner.uid())
    return fail(Status(409, "Conflict", "original " + std::string(owner.key()) + " is gone: got another uid"));
  if ((*live)->deleting()) return fail(Status(409, "Conflict", std::string(owner.key()) + " has just been deleted"));
  return {};
}

Result<api::ObjectPtr> write_owners(client::Client& client, const client::GroupVersionResource& resource, const api::Object& child, json::array owners) {
  json::object metadata{{"uid", text(child.uid())}, {"resourceVersion", text(std::to_string(child.revision()))}, {"ownerReferences", std::move(owners)}};
  return client.patch(resource, child.namespace_(), child.name(), client::PatchType::merge, json::object{{"metadata", std::move(metadata)}});
}

}  // namespace

bool equivalent(const json::value* a, const json::value* b) {
  if (nothing(a) || nothing(b)) return nothing(a) && nothing(b);
  if (a->is_object() && b->is_object()) {
    const json::object &x = a->get_object(), &y = b->get_object();
    for (const auto& m : x)
      if (!equivalent(&m.value(), y.if_contains(m.key()))) return false;
    return std::ranges::all_of(y, [&](const auto& m) { return x.contains(m.key()) || nothing(&m.value()); });
  }
  if (a->is_array() && b->is_array())
    return std::ranges::equal(a->get_array(), b->get_array(), [](const json::value& x, const json::value& y) { return equivalent(&x, &y); });
  return *a == *b;
}

bool has(const json::value& v, std::initializer_list<std::string_view> path) {
  const json::value* found = json::at(&v, path);
  return found != nullptr && !found->is_null();
}

const json::value* find_condition(const json::value& object, std::string_view type) {
  for (const json::value& c : json::get_array(json::at(&object, {"status", "conditions"})))
    if (json::get_string(c, {"type"}) == type) return &c;
  return nullptr;
}

bool condition_is(const json::value& object, std::string_view type, std::string_view status) {
  const json::value* c = find_condition(object, type);
  return c != nullptr && json::get_string(*c, {"status"}) == status;
}

bool set_condition(json::array& conditions, const Condition& wanted, SystemTime now, bool update_time) {
  auto make = [&](std::string_view transition) {
    json::object c{{"type", text(wanted.type)}, {"status", text(wanted.status)}};
    if (update_time) c["lastUpdateTime"] = text(format_time(now));
    c["lastTransitionTime"] = text(transition);
    if (!wanted.reason.empty()) c["reason"] = text(wanted.reason);
    if (!wanted.message.empty()) c["message"] = text(wanted.message);
    return c;
  };
  for (json::value& c : conditions) {
    if (json::get_string(c, {"type"}) != wanted.type) continue;
    bool same_status = json::get_string(c, {"status"}) == wanted.status;
    bool same_message = update_time || json::get_string(c, {"message"}) == wanted.message;
    if (same_status && json::get_string(c, {"reason"}) == wanted.reason && same_message) return false;
    std::string transition = same_status ? string_at(c, {"lastTransitionTime"}) : format_time(now);
    c = make(transition);
    return true;
  }
  conditions.push_back(make(format_time(now)));
  return true;
}

bool remove_condition(json::array& conditions, std::string_view type) {
  auto it = std::ranges::find_if(conditions, [&](const json::value& c) { return json::get_string(c, {"type"}) == type; });
  if (it == conditions.end()) return false;
  conditions.erase(it);
  return true;
}

int64_t resolve_percent(const json::value* value, int64_t total, bool round_up, int64_t fallback) {
  if (value == nullptr || value->is_null()) return fallback;
  if (!value->is_string()) return json::get_int(value, fallback);
  std::string_view s = json::get_string(value);
  if (!s.ends_with('%')) return parse_int<int64_t>(s).value_or(fallback);
  auto percent = parse_int<int64_t>(s.substr(0, s.size() - 1));
  if (!percent) return fallback;
  return (*percent * total + (round_up ? 99 : 0)) / 100;
}

std::string safe_encode(uint32_t number) {
  // No vowels, nothing that reads like another letter: as rand.SafeEncodeString in apimachinery.
  constexpr std::string_view kLetters = "bcdfghjklmnpqrstvwxz2456789";
  std::string out;
  for (char digit : std::to_string(number)) out += kLetters[static_cast<unsigned char>(digit) % kLetters.size()];
  return out;
}

std::string template_hash(const json::value& pod_template, const json::value* collision_count) {
  std::string canonical;
  append_canonical(canonical, pod_template);
  if (collision_count != nullptr && !collision_count->is_null()) canonical += "#" + std::to_string(json::get_int(collision_count));
  uint64_t hash = stable_hash(canonical);
  return safe_encode(static_cast<uint32_t>(hash ^ (hash >> 32)));
}

SystemTime time_at(const json::value& v, std::initializer_list<std::string_view> path) {
  SystemTime time{};
  std::string_view s = json::get_string(json::at(&v, path));
  if (s.empty() || !parse_time(s, time)) return SystemTime{};
  return time;
}

SystemTime creation_time(const json::value& object) { return time_at(object, {"metadata", "creationTimestamp"}); }

Result<void> update_status(client::Client& client, const client::GroupVersionResource& resource, const api::Object& object, json::value status) {
  if (equivalent(json::find(&object.value(), "status"), &status)) return {};
  json::value next(object.value());
  next.as_object()["status"] = std::move(status);
  auto written = client.update(resource, object.namespace_(), object.name(), next, "status");
  if (!written && !written.error().is_not_found()) return fail(written.error());
  return {};
}

void index_by_controller(client::Informer& informer) {
  informer.add_index("controller", [](const api::Object& object) {
    api::OwnerReference owner = api::controller_of(object.value());
    return std::vector<std::string>{owner.uid.empty() ? "orphans/" + std::string(object.namespace_()) : owner.uid};
  });
}

std::vector<api::ObjectPtr> controlled_by(const client::Informer& informer, std::string_view uid) { return informer.by_index("controller", uid); }

std::vector<api::ObjectPtr> orphans_in(const client::Informer& informer, std::string_view ns) {
  return informer.by_index("controller", "orphans/" + std::string(ns));
}

Result<std::vector<api::ObjectPtr>> claim_children(client::Client& client, const client::Informer& children,
                                                   const client::GroupVersionResource& child_resource, const api::Object& owner,
                                                   const client::GroupVersionResource& owner_resource, const api::LabelSelector& selector) {
  std::vector<api::ObjectPtr> claimed;
  for (const api::ObjectPtr& child : controlled_by(children, owner.uid())) {
    if (selector.matches(child->labels())) {
      claimed.push_back(child);
      continue;
    }
    if (owner.deleting()) continue;
    json::array rest;
    for (const json::value& r : json::get_array(json::at(&child->value(), {"metadata", "ownerReferences"})))
      if (json::get_string(r, {"uid"}) != owner.uid()) rest.push_back(r);
    auto released = write_owners(client, child_resource, *child, std::move(rest));
    if (!released && !released.error().is_not_found()) return fail(released.error());
  }
  if (owner.deleting()) return claimed;
  bool checked = false;
  for (const api::ObjectPtr& orphan : orphans_in(children, owner.namespace_())) {
    if (orphan->deleting() || !selector.matches(orphan->labels())) continue;
    if (!checked) {
      if (auto live = check_owner(client, owner_resource, owner); !live) return fail(live.error());
      checked = true;
    }
    json::array owners = json::get_array(json::at(&orphan->value(), {"metadata", "ownerReferences"}));
    owners.push_back(api::controller_reference(owner.value()));
    auto adopted = write_owners(client, child_resource, *orphan, std::move(owners));
    if (adopted) claimed.push_back(*adopted);
    else if (!adopted.error().is_not_found()) return fail(adopted.error());
  }
  return claimed;
}

}  // namespace kcube::controllers
