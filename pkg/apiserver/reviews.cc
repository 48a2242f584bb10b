#include "pkg/apiserver/reviews.h"

#include <algorithm>

#include "pkg/api/errors.h"
#include "pkg/apiserver/admission/admission.h"
#include "pkg/apiserver/authorizer.h"
#include "pkg/base/strings.h"

namespace kcube::apiserver {
namespace {

constexpr std::string_view kAuthentication = "authentication.k8s.io", kAuthorization = "authorization.k8s.io";

std::vector<std::string> strings(const json::value* list) {
  std::vector<std::string> out;
  for (const json::value& v : json::get_array(list)) out.emplace_back(json::get_string(&v));
  return out;
}

json::array string_array(const std::vector<std::string>& list) {
  json::array out;
  for (const std::string& s : list) out.push_back(json::value(s));
  return out;
}

json::object user_json(const auth::User& user) {
  json::object out{{"username", user.name}};
  if (!user.uid.empty()) out["uid"] = user.uid;
  out["groups"] = string_array(user.groups);
  json::object extra;
  for (const auto& [key, values] : user.extra) extra[key] = string_array(values);
  if (!extra.empty()) out["extra"] = std::move(extra);
  return out;
}

json::value success() { return json::object{{"kind", "Status"}, {"apiVersion", "v1"}, {"metadata", json::object()}, {"status", "Success"}, {"code", 201}}; }

// Requirements as a query has them: "a in (b,c),!d", of fields "a=b,c!=d".
std::string selector_text(const json::array& requirements, bool fields) {
  std::string text;
  for (const json::value& r : requirements) {
    std::string key(json::get_string(r, {"key"}));
    std::string_view op = json::get_string(r, {"operator"});
    auto values = strings(json::find(&r, "values"));
    bool in = op == "In", not_in = op == "NotIn";
    if (fields && (values.size() != 1 || (!in && !not_in))) continue;
    if (!text.empty()) text += ',';
    if (fields) text += key + (in ? "=" : "!=") + values[0];
    else if (in || not_in) text += key + (in ? " in (" : " notin (") + join(values, ",") + ")";
    else text += (op == "DoesNotExist" ? "!" : "") + key;
  }
  return text;
}

// As kube-apiserver shows its own form of them.
json::value shown_attributes(const json::value& attributes) {
  return json::object{{"Path", json::key(json::get_string(attributes, {"path"}))}, {"Verb", json::key(json::get_string(attributes, {"verb"}))}};
}

// Requirements that cannot be selectors are not looked at, which is said.
std::string selector_problem(const json::value& spec) {
  static constexpr std::string_view kOperators[] = {"In", "NotIn", "Exists", "DoesNotExist"};
  std::vector<std::string> problems;
  for (const char* kind : {"fieldSelector", "labelSelector"}) {
    const json::array& requirements = json::get_array(json::at(&spec, {"resourceAttributes", kind, "requirements"}));
    if (std::ranges::any_of(requirements, [](const json::value& r) { return std::ranges::find(kOperators, json::get_string(r, {"operator"})) == std::end(kOperators); }))
      problems.push_back("spec.resourceAttributes." + std::string(kind) + " ignored due to parse error");
  }
  return problems.empty() ? "" : problems.size() == 1 ? problems[0] : "[" + join(problems, ", ") + "]";
}

// A review is of nothing that has metadata; the namespace stands in the path.
Result<void> check_metadata(const Call& call, const json::value& review) {
  const bool local = call.resource->namespaced();
  std::string_view ns = json::get_string(review, {"metadata", "namespace"});
  if (local && !ns.empty() && ns != call.ns) return fail(Status::bad_request("the namespace of the provided object does not match the namespace sent on the request"));
  for (const auto& m : json::get_object(json::find(&review, "metadata")))
    if (m.key() != "managedFields" && !(local && m.key() == "namespace"))
      return fail(api::invalid(kAuthorization, "", "", {api::field_invalid("metadata", json::object{{"Name", json::key(json::get_string(review, {"metadata", "name"}))}}, local ? "must be empty except for namespace" : "must be empty")}));
  return {};
}

Result<auth::Attributes> read_attributes(const json::value& spec) {
  auth::Attributes a;
  const json::value* r = json::find(&spec, "resourceAttributes");
  const json::value* n = json::find(&spec, "nonResourceAttributes");
  auto invalid = [&](Cause cause) { return fail(api::invalid(kAuthorization, "", "", {std::move(cause)})); };
  if (r != nullptr && n != nullptr)
    return invalid(api::field_invalid("spec.nonResourceAttributes", shown_attributes(*n), "cannot be specified in combination with resourceAttributes"));
  if (r == nullptr && n == nullptr)
    return invalid(api::field_invalid("spec.resourceAttributes", json::value(nullptr), "exactly one of nonResourceAttributes or resourceAttributes must be specified"));
  auto at = [](const json::value* v, std::string_view name) { return std::string(json::get_string(json::find(v, name))); };
  if (n != nullptr) {
    a.resource_request = false;
    a.verb = at(n, "verb");
    a.path = at(n, "path");
    return a;
  }
  a.verb = at(r, "verb");
  a.namespace_ = at(r, "namespace");
  a.api_group = at(r, "group");
  a.api_version = at(r, "version");
  a.resource = at(r, "resource");
  a.subresource = at(r, "subresource");
  a.name = at(r, "name");
  for (const char* kind : {"fieldSelector", "labelSelector"}) {
    const json::value* s = json::find(r, kind);
    std::string_view raw = json::get_string(json::find(s, "rawSelector"));
    const json::array& requirements = json::get_array(json::find(s, "requirements"));
    if (!raw.empty() && !requirements.empty())
      return invalid(api::field_invalid("spec.resourceAttributes." + std::string(kind) + ".rawSelector", json::value(json::key(raw)), "may not specified at the same time as requirements"));
    std::string& text = kind[0] == 'f' ? a.field_selector : a.label_selector;
    text = raw.empty() ? selector_text(requirements, kind[0] == 'f') : std::string(raw);
  }
  return a;
}

}  // namespace

bool Reviews::handles(const Resource& r) {
  std::string_view sub = r.subresource();
  return r.group() == kAuthentication || r.group() == kAuthorization || sub == "token" || sub == "binding" || sub == "eviction" || r.is("", "bindings");
}

Result<json::value> Reviews::create(Call& call, json::value body) {
  auto decoded = engine_.decode_whole(call, std::move(body));
  if (!decoded) return fail(decoded.error());
  const Resource& r = *call.resource;
  if (r.group() == kAuthentication || r.group() == kAuthorization) engine_.track_fields(call, *decoded, nullptr);
  if (r.is("", "bindings") && call.name.empty()) call.name = json::get_string(*decoded, {"metadata", "name"});
  if (auto done = admit_request(engine_.core(), call, Operation::create, *decoded); !done) return fail(done.error());
  if (r.subresource() == "token") return token_request(call, std::move(*decoded));
  if (r.subresource() == "binding" || r.resource() == "bindings") return bind(call, std::move(*decoded));
  if (r.subresource() == "eviction") return evict(call, std::move(*decoded));
  if (r.resource() == "tokenreviews") return token_review(call, std::move(*decoded));
  if (r.resource() == "selfsubjectreviews") return self_subject_review(call, std::move(*decoded));
  if (r.resource() == "selfsubjectrulesreviews") return rules_review(call, std::move(*decoded));
  return access_review(call, std::move(*decoded));
}

Result<json::value> Reviews::token_review(Call&, json::value review) {
  std::string token(json::get_string(review, {"spec", "token"}));
  if (token.empty()) return fail(Status::bad_request("token is required for TokenReview in authentication"));
  json::object status;
  auto known = authenticator_.authenticate_token(token, strings(json::at(&review, {"spec", "audiences"})));
  if (known) {
    status["authenticated"] = true;
    status["user"] = user_json(known->user);
    status["audiences"] = string_array(known->audiences);
  } else {
    status["user"] = json::object();
    status["error"] = "invalid bearer token";
  }
  review.get_object()["status"] = std::move(status);
  return review;
}

Result<json::value> Reviews::self_subject_review(Call& call, json::value review) {
  json::ensure_object(review.get_object(), "metadata")["creationTimestamp"] = format_time(engine_.core().clock.now());
  review.get_object()["status"] = json::object{{"userInfo", user_json(call.user)}};
  return review;
}

Result<json::value> Reviews::access_review(Call& call, json::value review) {
  const json::value empty = json::object();
  const json::value* spec = json::find(&review, "spec");
  if (auto done = check_metadata(call, review); !done) return fail(done.error());
  const bool local = call.resource->namespaced();
  auto refuse = [&](Cause cause) { return fail(api::invalid(kAuthorization, "", "", {std::move(cause)})); };
  if (const json::value* urls = json::find(spec, "nonResourceAttributes"); local && urls != nullptr)
    return refuse(api::field_invalid("spec.nonResourceAttributes", shown_attributes(*urls), "disallowed on this kind of request"));
  auto attributes = read_attributes(spec != nullptr ? *spec : empty);
  if (!attributes) return fail(attributes.error());
  if (call.resource->resource() == "selfsubjectaccessreviews") {
    attributes->user = call.user;
  } else {
    attributes->user.name = json::get_string(json::find(spec, "user"));
    attributes->user.uid = json::get_string(json::find(spec, "uid"));
    attributes->user.groups = strings(json::find(spec, "groups"));
    for (const auto& m : json::get_object(json::find(spec, "extra"))) attributes->user.extra[std::string(json::view(m.key()))] = strings(&m.value());
    if (attributes->user.name.empty() && attributes->user.groups.empty())
      return refuse(api::field_invalid("spec.user", json::value(""), "at least one of user or group must be specified"));
  }
  if (local && attributes->namespace_ != call.ns)
    return refuse(api::field_invalid("spec.resourceAttributes.namespace", json::value(attributes->namespace_), "must match metadata.namespace"));
  if (local) json::ensure_object(review.get_object(), "metadata")["namespace"] = call.ns;
  auto decision = engine_.core().authorizer.decide(*attributes);
  json::object status{{"allowed", decision.allowed}};
  if (decision.denied) status["denied"] = true;
  if (!decision.reason.empty()) status["reason"] = decision.reason;
  if (std::string problem = spec == nullptr ? "" : selector_problem(*spec); !problem.empty()) status["evaluationError"] = problem;
  review.get_object()["status"] = std::move(status);
  return review;
}

Result<json::value> Reviews::rules_review(Call& call, json::value review) {
  if (json::get_string(review, {"spec", "namespace"}).empty()) return fail(Status::bad_request("no namespace on request"));
  json::array resources, urls;
  for (const auth::PolicyRule& rule : engine_.core().authorizer.rules_of(call.user, json::get_string(review, {"spec", "namespace"}))) {
    if (!rule.non_resource_urls.empty()) {
      urls.push_back(json::object{{"verbs", string_array(rule.verbs)}, {"nonResourceURLs", string_array(rule.non_resource_urls)}});
      continue;
    }
    json::object one{{"verbs", string_array(rule.verbs)}, {"apiGroups", string_array(rule.api_groups)}, {"resources", string_array(rule.resources)}};
    if (!rule.resource_names.empty()) one["resourceNames"] = string_array(rule.resource_names);
    resources.push_back(std::move(one));
  }
  std::string unresolved = engine_.core().authorizer.unresolved(call.user);
  json::object status{{"resourceRules", std::move(resources)}, {"nonResourceRules", std::move(urls)}, {"incomplete", !unresolved.empty()}};
  if (!unresolved.empty()) status["evaluationError"] = unresolved;
  // What was asked is not repeated.
  return json::object{{"kind", "SelfSubjectRulesReview"}, {"apiVersion", "authorization.k8s.io/v1"}, {"metadata", json::object()}, {"spec", json::object()}, {"status", std::move(status)}};
}

Result<json::value> Reviews::token_request(Call& call, json::value request) {
  const Core& core = engine_.core();
  for (const auto& [member, own, what] : {std::tuple<const char*, const std::string&, const char*>{"name", call.name, "must match the service account name if specified"}, {"namespace", call.ns, "must match the service account namespace if specified"}})
    if (std::string_view said = json::get_string(request, {"metadata", member}); !said.empty() && said != own)
      return fail(api::invalid(kAuthentication, "TokenRequest", call.name, {api::field_invalid("metadata." + std::string(member), json::value(json::key(said)), what)}));
  ObjectPtr account = core.get("", "serviceaccounts", call.ns, call.name);
  if (!account) return fail(api::not_found("", "serviceaccounts", call.name));
  TokenRequest wanted{call.ns, call.name, std::string(account->uid()), strings(json::at(&request, {"spec", "audiences"})), std::chrono::seconds(3600), {}, {}, {}, {}, {}};
  int64_t lifetime = json::get_int(request, {"spec", "expirationSeconds"}, 3600);
  if (lifetime < 600 || lifetime > (int64_t{1} << 32)) {
    return fail(api::invalid(kAuthentication, "TokenRequest", "",
                             {api::field_invalid("spec.expirationSeconds", json::value(lifetime),
                                                 lifetime < 600 ? "may not specify a duration less than 10 minutes" : "may not specify a duration larger than 2^32 seconds")}));
  }
  wanted.lifetime = std::chrono::seconds(lifetime);
  if (const json::value* ref = json::at(&request, {"spec", "boundObjectRef"})) {
    wanted.bound_kind = json::get_string(json::find(ref, "kind"));
    wanted.bound_name = json::get_string(json::find(ref, "name"));
    std::string_view resource = wanted.bound_kind == "Pod" ? "pods" : wanted.bound_kind == "Secret" ? "secrets" : wanted.bound_kind == "Node" ? "nodes" : "";
    if (resource.empty()) {
      std::string version(json::get_string(json::find(ref, "apiVersion")));
      if (version.find('/') == std::string::npos) version.insert(0, "/");
      return fail(Status::bad_request("cannot bind token to object of type " + version + ", Kind=" + wanted.bound_kind));
    }
    ObjectPtr bound = core.get("", resource, resource == "nodes" ? "" : call.ns, wanted.bound_name);
    if (!bound) return fail(api::not_found("", resource, wanted.bound_name));
    std::string_view uid = json::get_string(json::find(ref, "uid"));
    if (!uid.empty() && uid != bound->uid())
      return fail(api::conflict("", resource, wanted.bound_name, "the UID in the bound object reference (" + std::string(uid) + ") does not match the UID in record (" + std::string(bound->uid()) + "). The object might have been deleted and then recreated"));
    if (resource == "pods" && json::get_string(bound->value(), {"spec", "serviceAccountName"}) != call.name)
      return fail(Status::bad_request("cannot bind token for serviceaccount \"" + call.name + "\" to pod running with different serviceaccount name."));
    wanted.bound_uid = bound->uid();
    if (resource == "pods") {
      wanted.node_name = json::get_string(bound->value(), {"spec", "nodeName"});
      if (ObjectPtr node = core.get("", "nodes", "", wanted.node_name)) wanted.node_uid = node->uid();
    }
  }
  auto token = authenticator_.issue(wanted);
  if (!token) return fail(token.error());
  json::object& spec = json::ensure_object(request.get_object(), "spec");
  spec["expirationSeconds"] = lifetime;
  if (wanted.audiences.empty()) spec["audiences"] = string_array(authenticator_.api_audiences());
  json::object& metadata = json::ensure_object(request.get_object(), "metadata");
  metadata["name"] = call.name;
  metadata["namespace"] = call.ns;
  metadata["creationTimestamp"] = format_time(core.clock.now());
  request.get_object()["status"] = json::object{{"token", token->first}, {"expirationTimestamp", format_time(token->second)}};
  return request;
}

Result<json::value> Reviews::bind(Call& call, json::value binding) {
  std::string node(json::get_string(binding, {"target", "name"})), uid(json::get_string(binding, {"metadata", "uid"}));
  if (call.resource->resource() != "bindings" && json::get_string(binding, {"metadata", "name"}) != call.name)
    return fail(Status::bad_request("name in URL does not match name in Binding object"));
  if (call.name.empty()) call.name = json::get_string(binding, {"metadata", "name"});
  std::vector<std::string> problems;
  if (std::string_view kind = json::get_string(binding, {"target", "kind"}); !kind.empty() && kind != "Node")
    problems.push_back("target.kind: " + api::field_not_supported("", json::value(json::key(kind)), {"Node", "<empty>"}).message);
  if (node.empty()) problems.push_back("target.name: Required value");
  if (!problems.empty()) return fail(Status(500, "", problems.size() == 1 ? problems[0] : "[" + join(problems, ", ") + "]"));
  Call write = call;
  write.admitted = true;
  write.resource = engine_.core().registry.find("", "v1", "pods", "binding");
  std::string now = format_time(engine_.core().clock.now());
  auto done = engine_.modify(write, [&](json::value& pod) -> Result<void> {
    if (!uid.empty() && uid != json::get_string(pod, {"metadata", "uid"})) return fail(api::conflict("", "pods", call.name, "StorageError: invalid object, Code: 4, Key: " + write.resource->cache->store_key(call.ns, call.name) + ", ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: " + uid + ", UID in object meta: " + std::string(json::get_string(pod, {"metadata", "uid"}))));
    if (json::at(&pod, {"metadata", "deletionTimestamp"}) != nullptr) return fail(api::conflict("", "pods/binding", call.name, "pod " + call.name + " is being deleted, cannot be assigned to a host"));
    std::string_view bound = json::get_string(pod, {"spec", "nodeName"});
    if (!bound.empty()) return fail(api::conflict("", "pods/binding", call.name, "pod " + call.name + " is already assigned to node \"" + std::string(bound) + "\""));
    if (!json::get_array(json::at(&pod, {"spec", "schedulingGates"})).empty()) return fail(api::conflict("", "pods/binding", call.name, "pod " + call.name + " has non-empty .spec.schedulingGates"));
    json::ensure_path(pod, {"spec"})["nodeName"] = node;
    for (const auto& m : json::get_object(json::at(&binding, {"metadata", "annotations"}))) json::ensure_path(pod, {"metadata", "annotations"})[m.key()] = m.value();
    for (const auto& m : json::get_object(json::at(&binding, {"metadata", "labels"}))) {
      json::object& labels = json::ensure_path(pod, {"metadata", "labels"});
      if (!labels.contains(m.key())) labels[m.key()] = m.value();
    }
    json::array& conditions = json::ensure_array(json::ensure_path(pod, {"status"}), "conditions");
    json::array kept;
    for (json::value& c : conditions)
      if (json::get_string(c, {"type"}) != "PodScheduled") kept.push_back(std::move(c));
    kept.push_back(json::object{{"type", "PodScheduled"}, {"status", "True"}, {"lastTransitionTime", now}});
    conditions = std::move(kept);
    return {};
  });
  if (!done) return fail(done.error());
  return success();
}

// Job controllers and people tell by this condition that the pod did not fail by itself.
Result<void> Reviews::mark_disrupted(const Call& eviction) {
  Call change = eviction;
  change.admitted = true;
  change.resource = engine_.core().registry.find("", "v1", "pods", "status");
  std::string now = format_time(engine_.core().clock.now());
  auto done = engine_.modify(change, [&](json::value& pod) -> Result<void> {
    json::array& conditions = json::ensure_array(json::ensure_path(pod, {"status"}), "conditions");
    json::array kept;
    for (json::value& c : conditions)
      if (json::get_string(c, {"type"}) != "DisruptionTarget") kept.push_back(std::move(c));
    kept.push_back(json::object{{"type", "DisruptionTarget"}, {"status", "True"}, {"reason", "EvictionByEvictionAPI"}, {"message", "Eviction API: evicting"}, {"lastTransitionTime", now}});
    conditions = std::move(kept);
    return {};
  });
  return done ? Result<void>() : fail(done.error());
}

Result<json::value> Reviews::evict(Call& call, json::value eviction) {
  Core& core = engine_.core();
  if (json::get_string(eviction, {"metadata", "name"}) != call.name) return fail(Status::bad_request("name in URL does not match name in Eviction object"));
  ObjectPtr pod = core.get("", "pods", call.ns, call.name);
  if (!pod) return fail(api::not_found("", "pods", call.name));
  Call write = call;
  write.admitted = true;
  write.resource = core.registry.find_stored("", "pods");
  if (!pod->deleting()) {
    for (SnapshotPtr all = core.cache.find("policy", "poddisruptionbudgets")->snapshot(); const ObjectPtr& budget : all->objects) {
      if (budget->namespace_() != call.ns) continue;
      auto selector = api::LabelSelector::from_json(json::at(&budget->value(), {"spec", "selector"}));
      if (!selector || !selector->matches(pod->labels())) continue;
      std::string_view phase = json::get_string(pod->value(), {"status", "phase"});
      if (phase == "Pending" || phase == "Succeeded" || phase == "Failed") continue;
      Call change = call;
      change.admitted = true;
      change.resource = core.registry.find("policy", "v1", "poddisruptionbudgets", "status");
      change.name = budget->name();
      auto done = engine_.modify(change, [&](json::value& object) -> Result<void> {
        json::object& status = json::ensure_path(object, {"status"});
        int64_t allowed = json::get_int(status.if_contains("disruptionsAllowed"));
        if (json::get_int(status.if_contains("observedGeneration")) < json::get_int(object, {"metadata", "generation"}))
          return fail(api::too_many_requests("Cannot evict pod as it would violate the pod's disruption budget.", 10));
        if (allowed <= 0) {
          Status status = api::too_many_requests("Cannot evict pod as it would violate the pod's disruption budget.", 0);
          status.details().causes.push_back({"DisruptionBudget", "The disruption budget " + std::string(budget->name()) + " needs " + std::to_string(json::get_int(object, {"status", "desiredHealthy"})) + " healthy pods and has " + std::to_string(json::get_int(object, {"status", "currentHealthy"})) + " currently", ""});
          return fail(std::move(status));
        }
        status["disruptionsAllowed"] = allowed - 1;
        json::ensure_object(status, "disruptedPods")[call.name] = format_time(core.clock.now());
        return {};
      });
      if (!done) return fail(done.error());
    }
  }
  const json::value* options = json::find(&eviction, "deleteOptions");
  for (const json::value& d : json::get_array(json::find(options, "dryRun"))) write.dry_run |= json::get_string(&d) == "All";
  if (!pod->deleting())
    if (auto marked = mark_disrupted(write); !marked) return fail(marked.error());
  DeleteOptions deletion;
  deletion.grace_period_seconds = json::get_int(json::find(options, "gracePeriodSeconds"), -1);
  deletion.uid = json::get_string(json::at(options, {"preconditions", "uid"}));
  deletion.resource_version = json::get_string(json::at(options, {"preconditions", "resourceVersion"}));
  auto removed = engine_.remove(write, deletion);
  if (!removed) return fail(removed.error());
  return success();
}

}  // namespace kcube::apiserver
