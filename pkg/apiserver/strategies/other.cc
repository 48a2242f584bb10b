// Strategies of a few lines each.
#include <algorithm>

#include "pkg/api/errors.h"
#include "pkg/apiserver/extension/definition_rules.h"
#include "pkg/apiserver/extension/names.h"
#include "pkg/apiserver/strategy.h"
#include "pkg/auth/key_pair.h"
#include "pkg/base/strings.h"

namespace kcube::apiserver {
namespace {

// The finalizer keeps a deleted namespace until its controller has emptied it.
Result<void> create_namespace(json::object& object, Write&) {
  json::array& finalizers = json::ensure_array(json::ensure_object(object, "spec"), "finalizers");
  if (std::ranges::none_of(finalizers, [](const json::value& f) { return json::get_string(&f) == "kubernetes"; })) finalizers.push_back("kubernetes");
  json::ensure_object(object, "status")["phase"] = "Active";
  return {};
}

Result<void> keep_finalizers(json::object& object, const json::object& old, Write&) {
  json::object& spec = json::ensure_object(object, "spec");
  const json::value* finalizers = json::find(old.if_contains("spec"), "finalizers");
  if (finalizers != nullptr) spec["finalizers"] = *finalizers;
  else spec.erase("finalizers");
  return {};
}

// finalize: all but the status.
Result<void> finalize_namespace(json::object& object, const json::object& old, Write&) {
  keep_member(object, old, "status");
  return {};
}

void validate_namespace(const json::value& object, const json::value* old, Write& write, std::vector<Cause>& causes) {
  if (old == nullptr || write.call.resource->subresource() != "status") return;
  const bool deleted = json::at(&object, {"metadata", "deletionTimestamp"}) != nullptr;
  std::string_view phase = json::get_string(object, {"status", "phase"});
  if (phase == (deleted ? "Terminating" : "Active")) return;
  causes.push_back(api::field_invalid("status.Phase", json::value(json::key(phase)), deleted ? "may only be 'Terminating' if `deletionTimestamp` is not empty" : "may only be 'Active' if `deletionTimestamp` is empty"));
}

// stringData is for writing only: it becomes data.
Result<void> fold_string_data(json::object& secret, bool) {
  json::value* strings = secret.if_contains("stringData");
  if (strings == nullptr) return {};
  json::object& data = json::ensure_object(secret, "data");
  for (const auto& m : json::get_object(strings)) data[m.key()] = base64_encode(json::get_string(&m.value()));
  secret.erase("stringData");
  return {};
}

// A certificate that cannot be used is taken, with a word of warning.
void warn_of_key_pair(const json::object& secret, Write& write) {
  if (json::get_string(secret.if_contains("type")) != "kubernetes.io/tls") return;
  auto part = [&](std::string_view name) { return base64_decode(json::get_string(json::find(secret.if_contains("data"), name))).value_or(""); };
  if (std::string problem = auth::key_pair_problem(part("tls.crt"), part("tls.key")); !problem.empty()) write.call.warn(std::move(problem));
}

Result<void> create_secret(json::object& secret, Write& write) {
  warn_of_key_pair(secret, write);
  return {};
}

Result<void> update_secret(json::object& secret, const json::object&, Write& write) {
  warn_of_key_pair(secret, write);
  return {};
}

// Who asks is set by the server, not by the client. Source: CertificateSigningRequestSpec in the API reference.
Result<void> create_csr(json::object& object, Write& write) {
  json::object& spec = json::ensure_object(object, "spec");
  const auth::User& user = write.call.user;
  spec["username"] = user.name;
  if (!user.uid.empty()) spec["uid"] = user.uid;
  json::array groups;
  for (const std::string& g : user.groups) groups.push_back(json::value(g));
  spec["groups"] = std::move(groups);
  json::object extra;
  for (const auto& [key, values] : user.extra) {
    json::array list;
    for (const std::string& v : values) list.push_back(json::value(v));
    extra[key] = std::move(list);
  }
  if (!extra.empty()) spec["extra"] = std::move(extra);
  else spec.erase("extra");
  object["status"] = json::object();
  return {};
}

Result<void> update_csr(json::object& object, const json::object& old, Write&) {
  keep_member(object, old, "spec");
  keep_member(object, old, "status");
  return {};
}

// approval: metadata, and of the rest conditions alone, each stamped when it first appears.
Result<void> approve_csr(json::object& object, const json::object& old, Write& write) {
  json::value fresh(std::move(object));
  object = old;
  json::object& status = json::ensure_object(object, "status");
  const json::value* conditions = json::at(&fresh, {"status", "conditions"});
  json::array kept = json::get_array(conditions);
  std::string now = format_time(write.core.clock.now());
  for (json::value& condition : kept) {
    if (!condition.is_object()) continue;
    json::object& c = condition.get_object();
    for (const char* name : {"lastUpdateTime", "lastTransitionTime"})
      if (json::get_string(c.if_contains(name)).empty()) c[name] = now;
  }
  if (kept.empty()) status.erase("conditions");
  else status["conditions"] = std::move(kept);
  if (const json::value* metadata = json::find(&fresh, "metadata")) object["metadata"] = *metadata;
  return {};
}

// One without a name gets one, with which nothing else would make do.
Result<void> create_limit_range(json::object& object, Write& write) {
  json::object& metadata = json::ensure_object(object, "metadata");
  if (!json::get_string(metadata.if_contains("name")).empty()) return {};
  write.call.name = new_uuid();
  metadata["name"] = write.call.name;
  return {};
}

Result<void> create_volume(json::object& object, Write&) {
  object["status"] = json::object{{"phase", "Pending"}};
  return {};
}

Result<void> create_persistent_volume(json::object& object, Write& write) {
  object["status"] = json::object{{"phase", "Pending"}, {"lastPhaseTransitionTime", format_time(write.core.clock.now())}};
  return {};
}

// Go's structs are there before the kubelet fills them in.
Result<void> create_node(json::object& object, Write&) {
  json::object& status = json::ensure_object(object, "status");
  json::object& port = json::ensure_object(json::ensure_object(status, "daemonEndpoints"), "kubeletEndpoint");
  if (!port.contains("Port")) port["Port"] = 0;
  json::object& info = json::ensure_object(status, "nodeInfo");
  for (const char* name : {"machineID", "systemUUID", "bootID", "kernelVersion", "osImage", "containerRuntimeVersion", "kubeletVersion", "kubeProxyVersion", "operatingSystem", "architecture"})
    if (!info.contains(name)) info[name] = "";
  return {};
}

Result<void> create_job(json::object& object, Write& write) {
  // Without a selector of its own a job's pods are told by its uid. Source: the Kubernetes docs on Job selectors.
  json::object& spec = json::ensure_object(object, "spec");
  if (json::get_bool(spec.if_contains("manualSelector"))) return {};
  const json::value* metadata = object.if_contains("metadata");
  std::string uid(json::get_string(json::find(metadata, "uid")));
  const std::string& name = write.call.name;
  json::object& labels = json::ensure_object(json::ensure_object(json::ensure_object(spec, "template"), "metadata"), "labels");
  // What was there already stays, and is refused unless it says the same.
  for (const char* prefix : {"batch.kubernetes.io/", ""}) {
    labels.emplace(std::string(prefix) + "controller-uid", uid);
    labels.emplace(std::string(prefix) + "job-name", name);
  }
  json::ensure_object(json::ensure_object(spec, "selector"), "matchLabels").emplace("batch.kubernetes.io/controller-uid", uid);
  return {};
}

// What this server has itself is there at once.
Result<void> create_api_service(json::object& object, Write& write) {
  object.erase("status");
  const json::value* service = json::find(object.if_contains("spec"), "service");
  if (service != nullptr && service->is_object()) return {};
  json::object condition{{"type", "Available"}, {"status", "True"}, {"lastTransitionTime", format_time(write.core.clock.now())}, {"reason", "Local"}, {"message", "Local APIServices are always available"}};
  object["status"] = json::object{{"conditions", json::array{std::move(condition)}}};
  return {};
}

// The storage version counts as one that objects may be stored in.
void add_stored_version(json::object& definition) {
  json::array& stored = json::ensure_array(json::ensure_object(definition, "status"), "storedVersions");
  for (const json::value& version : json::get_array(json::find(definition.if_contains("spec"), "versions"))) {
    const json::value* name = json::find(&version, "name");
    if (name != nullptr && json::get_bool(version, {"storage"}) && std::ranges::find(stored, *name) == stored.end()) stored.push_back(*name);
  }
}

// What follows from the names that are given. Source: CustomResourceDefinitionNames in the API reference.
Result<void> default_crd(json::object& definition, bool) {
  json::object& spec = json::ensure_object(definition, "spec");
  json::object& conversion = json::ensure_object(spec, "conversion");
  if (json::get_string(conversion.if_contains("strategy")).empty()) conversion["strategy"] = "None";
  json::object& names = json::ensure_object(spec, "names");
  std::string kind(json::get_string(names.if_contains("kind")));
  if (kind.empty()) return {};
  if (json::get_string(names.if_contains("singular")).empty()) names["singular"] = to_lower(kind);
  if (json::get_string(names.if_contains("listKind")).empty()) names["listKind"] = kind + "List";
  return {};
}

Result<void> create_crd(json::object& object, Write&) {
  object["status"] = json::object{{"acceptedNames", json::object{{"kind", ""}, {"plural", ""}}}, {"conditions", nullptr}};
  add_stored_version(object);
  return {};
}

// How often the template has changed, in the annotation that old clients read.
constexpr const char* kTemplateGeneration = "deprecated.daemonset.template.generation";

json::value& template_generation(json::object& object) { return json::ensure_object(json::ensure_object(object, "metadata"), "annotations")[kTemplateGeneration]; }

// A member of the spec once, it is read with the object, and is 0 to who leaves it out.
Result<void> count_template(json::object& object, bool creating) {
  json::value& count = template_generation(object);
  const std::string text(json::get_string(&count));
  if (!text.empty() && !parse_int<int64_t>(text))
    return fail(Status::bad_request("DaemonSet in version \"v1\" cannot be handled as a DaemonSet: strconv.ParseInt: parsing \"" + text + "\": invalid syntax"));
  if (creating || text.empty()) count = creating ? "1" : "0";
  return {};
}

Result<void> update_daemon_set(json::object& object, const json::object& old, Write&) {
  const json::value* before = json::find(json::find(old.if_contains("metadata"), "annotations"), kTemplateGeneration);
  auto count = parse_int<int64_t>(json::get_string(before)).value_or(0);
  const json::value *now = json::find(object.if_contains("spec"), "template"), *was = json::find(old.if_contains("spec"), "template");
  const bool changed = now != nullptr && was != nullptr && *now != *was;
  template_generation(object) = std::to_string(changed ? count + 1 : count);
  return {};
}

Result<void> update_crd(json::object& object, const json::object&, Write&) {
  add_stored_version(object);
  return {};
}

// Its objects go before it does.
void validate_crd(const json::value& definition, const json::value* old, Write& write, std::vector<Cause>& causes) {
  for (Cause& cause : extension::validate_definition(definition, old, write.call.resource->subresource())) causes.push_back(std::move(cause));
}

void mark_crd_deleted(json::object& object, Write& write) {
  json::array& finalizers = json::ensure_array(json::ensure_object(object, "metadata"), "finalizers");
  const json::value ours("customresourcecleanup.apiextensions.k8s.io");
  if (std::ranges::find(finalizers, ours) == finalizers.end()) finalizers.push_back(ours);
  extension::set_condition(object, "Terminating", true, "InstanceDeletionPending",
                           "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon", write.core.clock.now());
}

}  // namespace

const Strategy kDaemonSetStrategy{.has_status = true, .has_generation = true, .normalize = count_template, .prepare_update = update_daemon_set};
const Strategy kNamespaceStrategy{.has_status = true,
                                  .prepare_create = create_namespace,
                                  .prepare_update = keep_finalizers,
                                  .prepare_subresource = finalize_namespace,
                                  .validate = validate_namespace};
// A kubelet registers its node with a status.
const Strategy kNodeStrategy{.has_status = true, .status_on_create = true, .prepare_create = create_node};
const Strategy kSecretStrategy{.normalize = fold_string_data, .prepare_create = create_secret, .prepare_update = update_secret};
const Strategy kCsrStrategy{.has_status = true, .tracks_spec = false, .prepare_create = create_csr, .prepare_update = update_csr, .prepare_subresource = approve_csr};
const Strategy kPersistentVolumeStrategy{.has_status = true, .returns_deleted = true, .prepare_create = create_persistent_volume};
const Strategy kPersistentVolumeClaimStrategy{.has_status = true, .returns_deleted = true, .prepare_create = create_volume};
const Strategy kIngressStrategy{.has_status = true, .has_generation = true};
const Strategy kEventStrategy{.creates_on_update = true, .collects_garbage = false};
const Strategy kLimitRangeStrategy{.creates_on_update = true, .prepare_create = create_limit_range};
const Strategy kJobStrategy{.has_status = true, .has_generation = true, .orphans_by_default = true, .warns_of_orphans = true, .prepare_create = create_job};
const Strategy kApiServiceStrategy{.has_status = true, .metadata_by_status = false, .prepare_create = create_api_service};
const Strategy kCrdStrategy{.has_status = true, .has_generation = true, .normalize = default_crd, .prepare_create = create_crd, .prepare_update = update_crd, .validate = validate_crd, .mark_deleted = mark_crd_deleted};

}  // namespace kcube::apiserver
