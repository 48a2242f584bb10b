// Profiles in JSON: the OCI runtime specification's "linux.seccomp", and Docker's with archMap, includes and excludes.
#include <boost/json.hpp>
#include <cerrno>
#include <map>

#include "runtime/seccomp.h"
#include "runtime/seccomp_compile.h"

namespace kcube::runtime {
namespace {

namespace json = boost::json;

Result<uint32_t> action_of(std::string_view name, uint32_t error) {
  static const std::map<std::string_view, uint32_t> actions = {{"SCMP_ACT_ALLOW", SCMP_ACT_ALLOW},
                                                               {"SCMP_ACT_KILL", SCMP_ACT_KILL_THREAD},
                                                               {"SCMP_ACT_KILL_THREAD", SCMP_ACT_KILL_THREAD},
                                                               {"SCMP_ACT_KILL_PROCESS", SCMP_ACT_KILL_PROCESS},
                                                               {"SCMP_ACT_TRAP", SCMP_ACT_TRAP},
                                                               {"SCMP_ACT_LOG", SCMP_ACT_LOG}};
  if (name == "SCMP_ACT_ERRNO") return SCMP_ACT_ERRNO(error);
  if (name == "SCMP_ACT_TRACE") return SCMP_ACT_TRACE(error);
  auto it = actions.find(name);
  if (it == actions.end())
    return fail(Status::bad_request("seccomp profile: unknown action \"" + std::string(name) + "\""));
  return it->second;
}

Result<scmp_compare> operator_of(std::string_view name) {
  static const std::map<std::string_view, scmp_compare> operators = {{"SCMP_CMP_NE", SCMP_CMP_NE},
                                                                     {"SCMP_CMP_LT", SCMP_CMP_LT},
                                                                     {"SCMP_CMP_LE", SCMP_CMP_LE},
                                                                     {"SCMP_CMP_EQ", SCMP_CMP_EQ},
                                                                     {"SCMP_CMP_GE", SCMP_CMP_GE},
                                                                     {"SCMP_CMP_GT", SCMP_CMP_GT},
                                                                     {"SCMP_CMP_MASKED_EQ", SCMP_CMP_MASKED_EQ}};
  auto it = operators.find(name);
  if (it == operators.end())
    return fail(Status::bad_request("seccomp profile: unknown operator \"" + std::string(name) + "\""));
  return it->second;
}

uint64_t number(const json::object& o, std::string_view key, uint64_t otherwise) {
  auto* v = o.if_contains(key);
  if (v == nullptr || !v->is_number()) return otherwise;
  if (v->is_uint64()) return v->get_uint64();
  if (v->is_int64()) return static_cast<uint64_t>(v->get_int64());
  return otherwise;
}

std::string_view text(const json::object& o, std::string_view key) {
  auto* v = o.if_contains(key);
  return v && v->is_string() ? std::string_view(v->get_string()) : std::string_view();
}

// Docker's conditions: capabilities and architectures. (minKernel is met by every kernel this runtime works on.)
bool mentions(const json::value* condition, CapabilitySet capabilities, bool all) {
  if (condition == nullptr || !condition->is_object()) return all;
  const auto& o = condition->get_object();
  bool any = false, every = true;
  if (auto* caps = o.if_contains("caps"); caps && caps->is_array())
    for (const auto& c : caps->get_array()) {
      auto set = capability(c.is_string() ? std::string_view(c.get_string()) : std::string_view());
      bool held = set && (capabilities & *set) != 0;
      any |= held;
      every &= held;
    }
  if (auto* arches = o.if_contains("arches"); arches && arches->is_array() && !arches->get_array().empty()) {
    bool ours = false;
    for (const auto& a : arches->get_array())
#if defined(__x86_64__)
      ours |= a.is_string() && (a.get_string() == "amd64" || a.get_string() == "x32");
#else
      ours |= a.is_string() && a.get_string() == "arm64";
#endif
    any |= ours;
    every &= ours;
  }
  return all ? every : any;
}

Result<std::vector<scmp_arg_cmp>> arguments_of(const json::object& rule) {
  std::vector<scmp_arg_cmp> out;
  auto* args = rule.if_contains("args");
  if (args == nullptr || !args->is_array()) return out;
  for (const auto& a : args->get_array()) {
    if (!a.is_object()) continue;
    auto op = operator_of(text(a.get_object(), "op"));
    if (!op) return fail(op.error());
    scmp_arg_cmp compare{};
    compare.arg = static_cast<unsigned>(number(a.get_object(), "index", 0));
    compare.op = *op;
    compare.datum_a = number(a.get_object(), "value", 0);
    compare.datum_b = number(a.get_object(), "valueTwo", 0);
    if (compare.arg > 5)
      return fail(
          Status::bad_request("seccomp profile: argument index " + std::to_string(compare.arg) + " is above 5"));
    out.push_back(compare);
  }
  return out;
}

Result<void> add_rule(SeccompBuilder& filter, const json::object& rule, CapabilitySet capabilities) {
  if (!mentions(rule.if_contains("includes"), capabilities, true) ||
      mentions(rule.if_contains("excludes"), capabilities, false))
    return {};
  auto action = action_of(text(rule, "action"), static_cast<uint32_t>(number(rule, "errnoRet", EPERM)));
  if (!action) return fail(action.error());
  auto arguments = arguments_of(rule);
  if (!arguments) return fail(arguments.error());
  std::vector<std::string> names;
  if (auto* list = rule.if_contains("names"); list && list->is_array())
    for (const auto& n : list->get_array())
      if (n.is_string()) names.emplace_back(n.get_string());
  if (auto name = text(rule, "name"); !name.empty()) names.emplace_back(name);
  for (const auto& name : names) {
    // libseccomp refuses one argument twice in a rule; the OCI reference then takes each as an alternative.
    std::vector<bool> seen(6, false);
    bool twice = false;
    for (const auto& a : *arguments) {
      twice |= seen[a.arg];
      seen[a.arg] = true;
    }
    if (!twice) {
      if (auto r = filter.add(*action, name, *arguments); !r) return r;
      continue;
    }
    for (const auto& a : *arguments)
      if (auto r = filter.add(*action, name, {a}); !r) return r;
  }
  return {};
}

}  // namespace

Result<std::string> seccomp_filter_from(const std::string& profile_json, CapabilitySet capabilities) {
  boost::system::error_code error;
  json::value profile = json::parse(profile_json, error);
  if (error || !profile.is_object()) return fail(Status::bad_request("seccomp profile: not a JSON object"));
  const auto& root = profile.get_object();
  auto default_action =
      action_of(text(root, "defaultAction"), static_cast<uint32_t>(number(root, "defaultErrnoRet", EPERM)));
  if (!default_action) return fail(default_action.error());
  auto filter = SeccompBuilder::create(*default_action);
  if (!filter) return fail(filter.error());
  if (auto* calls = root.if_contains("syscalls"); calls && calls->is_array())
    for (const auto& rule : calls->get_array())
      if (rule.is_object())
        if (auto r = add_rule(*filter, rule.get_object(), capabilities); !r) return fail(r.error());
  return filter->compile();
}

}  // namespace kcube::runtime
