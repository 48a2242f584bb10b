// ServiceAccount: every pod runs as one, and finds its token, the CA and its namespace in the usual place.
#include "pkg/apiserver/admission/admission.h"
#include "pkg/base/strings.h"

namespace kcube::apiserver {
namespace {

constexpr std::string_view kMirror = "kubernetes.io/config.mirror";
constexpr std::string_view kMountPath = "/var/run/secrets/kubernetes.io/serviceaccount";
constexpr int kTokenSeconds = 3607;   // an hour, and told from what a user writes

json::value token_volume(const std::string& name) {
  json::array sources;
  sources.push_back(json::object{{"serviceAccountToken", json::object{{"expirationSeconds", kTokenSeconds}, {"path", "token"}}}});
  sources.push_back(json::object{
      {"configMap", json::object{{"name", "kube-root-ca.crt"}, {"items", json::array{json::object{{"key", "ca.crt"}, {"path", "ca.crt"}}}}}}});
  json::object field{{"path", "namespace"}, {"fieldRef", json::object{{"apiVersion", "v1"}, {"fieldPath", "metadata.namespace"}}}};
  json::array items;
  items.push_back(std::move(field));
  sources.push_back(json::object{{"downwardAPI", json::object{{"items", std::move(items)}}}});
  return json::object{{"name", name}, {"projected", json::object{{"sources", std::move(sources)}, {"defaultMode", 420}}}};
}

bool has_mount(const json::value& container) {
  for (const json::value& m : json::get_array(json::find(&container, "volumeMounts")))
    if (json::get_string(m, {"mountPath"}) == kMountPath) return true;
  return false;
}

void mount_token(json::object& spec) {
  std::string volume;
  for (const json::value& v : json::get_array(spec.if_contains("volumes")))
    if (json::get_string(v, {"name"}).starts_with("kube-api-access-")) volume = json::get_string(v, {"name"});
  bool known = !volume.empty();
  if (!known) volume = "kube-api-access-" + random_suffix();
  bool needed = false;
  for (const char* list : {"initContainers", "containers"}) {
    json::value* containers = spec.if_contains(list);
    if (containers == nullptr || !containers->is_array()) continue;
    for (json::value& container : containers->get_array()) {
      if (!container.is_object() || has_mount(container)) continue;
      needed = true;
      json::ensure_array(container.get_object(), "volumeMounts")
          .push_back(json::object{{"name", volume}, {"readOnly", true}, {"mountPath", json::key(kMountPath)}});
    }
  }
  if (needed && !known) json::ensure_array(spec, "volumes").push_back(token_volume(volume));
}

Result<void> assign(Admission& a) {
  if (!a.is("", "pods") || a.operation != Operation::create) return {};
  json::object& pod = a.object->get_object();
  json::object& spec = json::ensure_object(pod, "spec");
  if (json::find(json::find(pod.if_contains("metadata"), "annotations"), kMirror) != nullptr) {
    if (!json::get_string(spec.if_contains("serviceAccountName")).empty()) return a.forbid("a mirror pod may not reference service accounts");
    return {};
  }
  std::string name(json::get_string(spec.if_contains("serviceAccountName")));
  if (name.empty()) name = "default";
  spec["serviceAccountName"] = name;
  spec["serviceAccount"] = name;
  ObjectPtr account = a.core.get("", "serviceaccounts", a.call.ns, name);
  // The default account of a namespace that was made just now is on its way.
  if (!account && name != "default")
    return a.forbid("error looking up service account " + a.call.ns + "/" + name + ": serviceaccount \"" + name + "\" not found");
  const json::value* of_account = account ? &account->value() : nullptr;
  const json::value* automount = spec.if_contains("automountServiceAccountToken");
  if (automount == nullptr) automount = json::find(of_account, "automountServiceAccountToken");
  if (json::get_bool(automount, true)) mount_token(spec);
  if (!json::get_array(spec.if_contains("imagePullSecrets")).empty()) return {};
  if (const json::value* secrets = json::find(of_account, "imagePullSecrets"); !json::get_array(secrets).empty()) spec["imagePullSecrets"] = *secrets;
  return {};
}

}  // namespace

const AdmissionPlugin kServiceAccount{"ServiceAccount", assign, nullptr};

}  // namespace kcube::apiserver
