// What may change of a pod: by the pod itself, and by its subresources.
#include <algorithm>
#include <limits>

#include "pkg/api/names.h"
#include "pkg/api/quantity.h"
#include "pkg/apiserver/machinery/validation_pod.h"
#include "pkg/apiserver/machinery/validation_rules.h"
#include "pkg/base/strings.h"

namespace kcube::machinery {
namespace {

// Members where a false or 0 that is written and one that is left out are the same.
bool plain_member(std::string_view name) {
  for (std::string_view known : {"hostNetwork", "hostPID", "hostIPC", "stdin", "stdinOnce", "tty", "readOnly",
                                 "hostPort", "initialDelaySeconds"})
    if (name == known) return true;
  return false;
}

bool zero(const json::value* v, std::string_view name) {
  if (same(v, nullptr)) return true;
  return plain_member(name) && ((v->is_bool() && !v->get_bool()) || (v->is_int64() && v->get_int64() == 0));
}

// The places where two specs differ, as lines of a diff.
class Difference {
 public:
  void compare(const json::value* a, const json::value* b, const std::string& path, std::string_view name,
               bool amounts) {
    if (zero(a, name) && zero(b, name)) return;
    if (a != nullptr && b != nullptr && a->is_object() && b->is_object())
      return compare_objects(a->get_object(), b->get_object(), path, amounts);
    if (a != nullptr && b != nullptr && a->is_array() && b->is_array() &&
        a->get_array().size() == b->get_array().size()) {
      for (size_t i = 0; i < a->get_array().size(); ++i)
        compare(&a->get_array()[i], &b->get_array()[i], path + "[" + std::to_string(i) + "]", name, amounts);
      return;
    }
    if (a != nullptr && b != nullptr && *a == *b) return;
    if (amounts && a != nullptr && b != nullptr && api::Quantity::from_json(a) == api::Quantity::from_json(b)) return;
    if (a != nullptr) text_ += "-\t" + path + ": " + json::serialize(*a) + "\n";
    if (b != nullptr) text_ += "+\t" + path + ": " + json::serialize(*b) + "\n";
  }
  bool empty() const { return text_.empty(); }
  const std::string& text() const { return text_; }

 private:
  void compare_objects(const json::object& a, const json::object& b, const std::string& path, bool amounts) {
    auto below = [&](std::string_view name) {
      return path.empty() ? std::string(name) : path + "." + std::string(name);
    };
    auto is_amounts = [&](std::string_view name) {
      return amounts || name == "limits" || name == "requests" || name == "overhead" || name == "sizeLimit" ||
             name == "divisor";
    };
    for (const auto& m : a) {
      std::string_view name = json::view(m.key());
      compare(&m.value(), b.if_contains(m.key()), below(name), name, is_amounts(name));
    }
    for (const auto& m : b) {
      std::string_view name = json::view(m.key());
      if (!a.contains(m.key())) compare(nullptr, &m.value(), below(name), name, is_amounts(name));
    }
  }

  std::string text_;
};

std::string difference(const json::value* before, const json::value* now) {
  Difference d;
  d.compare(before, now, "", "", false);
  return d.text();
}

// `spec` with the members of `old` where a change is allowed, so that what still differs is forbidden.
json::object without_allowed(const json::object& spec, const json::object& old) {
  json::object out = spec;
  for (std::string_view list : {"containers", "initContainers"}) {
    json::value* items = out.if_contains(json::key(list));
    const json::array& before = json::get_array(old.if_contains(json::key(list)));
    if (items == nullptr || !items->is_array()) continue;
    for (size_t i = 0; i < items->get_array().size() && i < before.size(); ++i) {
      json::value& container = items->get_array()[i];
      const json::value* image = json::find(&before[i], "image");
      if (container.is_object() && image != nullptr) container.get_object()["image"] = *image;
    }
  }
  auto restore = [&](std::string_view name) {
    if (const json::value* v = old.if_contains(json::key(name)))
      out[json::key(name)] = *v;
    else
      out.erase(json::key(name));
  };
  for (std::string_view name : {"activeDeadlineSeconds", "tolerations", "schedulingGates"}) restore(name);
  if (json::get_int(old.if_contains("terminationGracePeriodSeconds")) < 0 &&
      json::get_int(out.if_contains("terminationGracePeriodSeconds")) == 1)
    restore("terminationGracePeriodSeconds");
  if (json::get_array(old.if_contains("schedulingGates")).empty()) return out;
  // While it is held back, the choice of nodes may become narrower.
  restore("nodeSelector");
  const json::value* affinity = json::find(old.if_contains("affinity"), "nodeAffinity");
  if (affinity != nullptr)
    json::ensure_object(out, "affinity")["nodeAffinity"] = *affinity;
  else if (json::value* now = out.if_contains("affinity"); now != nullptr && now->is_object())
    now->get_object().erase("nodeAffinity");
  return out;
}

void check_containers(const Validation& v, std::string_view list, bool& stop) {
  Cursor now = v["spec"][list];
  const json::array& before = json::get_array(v.before({"spec", list}));
  if (now.size() == before.size()) return;
  now.forbidden("pod updates may not add or remove containers");
  stop = true;
}

// False when nothing more is to be said.
bool check_deadline(const Validation& v) {
  Cursor now = v["spec"]["activeDeadlineSeconds"];
  const json::value* before = v.before({"spec", "activeDeadlineSeconds"});
  if (!now.present()) {
    if (before != nullptr && !before->is_null())
      now.invalid(json::value(nullptr), "must not update from a positive integer to nil value");
    return true;
  }
  if (!now.between(0, std::numeric_limits<int32_t>::max())) return false;
  if (before == nullptr || json::get_int(before) >= now.number()) return true;
  now.invalid("must be less than or equal to previous value");
  return false;
}

bool same_but_seconds(const json::value& a, const json::value& b) {
  for (std::string_view member : {"key", "operator", "value", "effect"})
    if (json::get_string(json::find(&a, member)) != json::get_string(json::find(&b, member))) return false;
  return true;
}

void check_tolerations(const Validation& v) {
  Cursor now = v["spec"]["tolerations"];
  const json::array& list = json::get_array(now.value());
  for (const json::value& old : json::get_array(v.before({"spec", "tolerations"}))) {
    bool kept = std::any_of(list.begin(), list.end(), [&](const json::value& t) { return same_but_seconds(old, t); });
    if (!kept) return now.forbidden("existing toleration can not be modified except its tolerationSeconds");
  }
}

void check_gates(const Validation& v) {
  const json::array& before = json::get_array(v.before({"spec", "schedulingGates"}));
  for (const Cursor& gate : v["spec"]["schedulingGates"].items()) {
    bool known = std::any_of(before.begin(), before.end(), [&](const json::value& g) {
      return json::get_string(g, {"name"}) == gate["name"].text();
    });
    if (!known)
      gate["name"].forbidden("only deletion is allowed, but found new scheduling gate '" +
                             std::string(gate["name"].text()) + "'");
  }
  if (before.empty()) return;
  Cursor selector = v["spec"]["nodeSelector"];
  for (const auto& m : json::get_object(v.before({"spec", "nodeSelector"})))
    if (selector.entry(json::view(m.key())).text() != json::get_string(&m.value())) {
      selector.invalid("only additions to spec.nodeSelector are allowed (no mutations or deletions)");
      break;
    }
}

void check_annotations(const Validation& v) {
  constexpr std::string_view kMirror = "kubernetes.io/config.mirror";
  Cursor now = v["metadata"]["annotations"].entry(kMirror);
  const json::value* before = v.before({"metadata", "annotations", kMirror});
  if (before != nullptr && (!now.present() || now.text() != json::get_string(before)))
    now.forbidden("may not remove or update mirror pod annotation");
  if (before == nullptr && now.present()) now.forbidden("may not add mirror pod annotation");
}

void check_status(const Validation& v) {
  Cursor status = v["status"];
  if (!same(v["spec"]["nodeName"].value(), v.before({"spec", "nodeName"})))
    status["nodeName"].forbidden("may not be changed directly");
  status["qosClass"].unchanged(v.before({"status", "qosClass"}));
  for (std::string_view list : {"conditions"})
    for (const Cursor& condition : status[list].items())
      if (condition["observedGeneration"].number() < 0)
        condition["observedGeneration"].invalid("must be a non-negative integer");
  std::vector<Cursor> ips = status["podIPs"].items();
  if (ips.empty() && !status["podIP"].empty()) check_ip(status["podIP"].renamed("status.podIPs[0]"));
  if (!status["nominatedNodeName"].empty()) status["nominatedNodeName"].check(api::check_dns1123_subdomain(status["nominatedNodeName"].text()));
  bool v4 = false, v6 = false;
  for (const Cursor& ip : ips) {
    check_ip(ip["ip"].renamed(ip.path()));
    bool four = valid_ip_v4(ip["ip"].text());
    if (four ? v4 : v6) {
      status["podIPs"].invalid("may specify no more than one IP for each IP family");
      break;
    }
    (four ? v4 : v6) = true;
  }
}

void check_ephemeral(const Validation& v) {
  Cursor now = v["spec"]["ephemeralContainers"];
  std::vector<Cursor> items = now.items();
  for (const json::value& old : json::get_array(v.before({"spec", "ephemeralContainers"}))) {
    std::string name(json::get_string(old, {"name"}));
    auto it = std::find_if(items.begin(), items.end(), [&](const Cursor& c) { return c["name"].text() == name; });
    if (it == items.end()) {
      now.forbidden("existing ephemeral containers \"" + name + "\" may not be removed\n");
    } else if (std::string changed = difference(&old, it->value()); !changed.empty()) {
      now.forbidden("existing ephemeral containers \"" + name + "\" may not be changed\n" + changed);
    }
  }
}

std::string_view qos(const json::value* spec) {
  bool any = false, guaranteed = true;
  for (std::string_view list : {"containers", "initContainers"})
    for (const json::value& container : json::get_array(json::find(spec, list)))
      for (std::string_view resource : {"cpu", "memory"}) {
        auto limit = api::Quantity::from_json(json::at(&container, {"resources", "limits", resource}));
        const json::value* asked = json::at(&container, {"resources", "requests", resource});
        auto request = asked == nullptr ? limit : api::Quantity::from_json(asked);
        any = any || !limit.zero() || !request.zero();
        guaranteed = guaranteed && !limit.zero() && limit == request;
      }
  return !any ? "BestEffort" : guaranteed ? "Guaranteed" : "Burstable";
}

void check_resize_of(const Cursor& container, const json::value& before) {
  for (const auto& [member, what] :
       {std::pair<std::string_view, std::string_view>{"requests", "requests"}, {"limits", "limits"}}) {
    Cursor now = container["resources"][member];
    for (const auto& m : json::get_object(json::at(&before, {"resources", member})))
      if (!now.entry(json::view(m.key())).present()) {
        now.forbidden("resource " + std::string(what) + " cannot be removed");
        break;
      }
  }
  for (std::string_view member : {"requests", "limits"}) {
    Cursor now = container["resources"][member];
    for (const auto& [name, amount] : now.members()) {
      const json::value* old = json::at(&before, {"resources", member, name});
      bool changed = old == nullptr || api::Quantity::from_json(old) != api::Quantity::from_json(amount.value());
      if (name == "cpu" || name == "memory" || !changed) continue;
      container.renamed("spec").forbidden("only cpu and memory resources are mutable");
      return;
    }
  }
}

void check_resize(const Validation& v) {
  if (qos(v["spec"].value()) != qos(v.before({"spec"}))) {
    const json::value* shown = v.before({"status", "qosClass"});
    v["spec"].invalid(shown == nullptr ? json::value("") : *shown,
                      "Pod QOS Class may not change as a result of resizing");
  }
  for (std::string_view list : {"initContainers", "containers"}) {
    std::vector<Cursor> items = v["spec"][list].items();
    const json::array& before = json::get_array(v.before({"spec", list}));
    if (items.size() != before.size()) {
      v["spec"][list].forbidden(std::string(list) + " may not be added or removed on resize");
      return;
    }
    for (size_t i = 0; i < items.size(); ++i) {
      if (items[i]["name"].text() != json::get_string(before[i], {"name"}))
        return items[i]["name"].forbidden(std::string(list) + " may not be renamed or reordered on resize");
      check_resize_of(items[i], before[i]);
    }
  }
}

}  // namespace

void validate_binding(const Validation& v) {
  Cursor target = v["target"];
  if (!target["kind"].empty() && target["kind"].text() != "Node") target["kind"].not_supported({"Node", "<empty>"});
  if (target["name"].empty()) target["name"].required();
}

void validate_pod_update(const Validation& v) {
  check_annotations(v);
  if (v.subresource == "status") return check_status(v);
  if (v.subresource == "ephemeralcontainers") return check_ephemeral(v);
  if (v.subresource == "resize") return check_resize(v);
  bool stop = false;
  for (std::string_view list : {"containers", "initContainers"}) {
    check_containers(v, list, stop);
    if (stop) return;
  }
  if (!check_deadline(v)) return;
  check_tolerations(v);
  check_gates(v);
  json::value munged(without_allowed(json::get_object(v["spec"].value()), json::get_object(v.before({"spec"}))));
  std::string changed = difference(v.before({"spec"}), &munged);
  if (changed.empty()) return;
  v["spec"].forbidden(
      "pod updates may not change fields other than "
      "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,"
      "`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to "
      "be set to 1 if it was "
      "previously negative)\n" +
      changed);
}

}  // namespace kcube::machinery
