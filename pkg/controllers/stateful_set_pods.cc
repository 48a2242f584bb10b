#include "pkg/controllers/stateful_set_pods.h"

#include <algorithm>

#include "pkg/base/strings.h"
#include "pkg/controllers/pods.h"
#include "pkg/controllers/revisions.h"
#include "pkg/controllers/support.h"

namespace kcube::controllers::stateful {

int64_t start_ordinal(const json::value& set) { return json::get_int(set, {"spec", "ordinals", "start"}); }
int64_t replicas_of(const json::value& set) { return json::get_int(set, {"spec", "replicas"}, 1); }
std::string pod_name(const json::value& set, int64_t ordinal) { return string_at(set, {"metadata", "name"}) + "-" + std::to_string(ordinal); }
bool is_parallel(const json::value& set) { return json::get_string(set, {"spec", "podManagementPolicy"}) == "Parallel"; }
bool is_rolling(const json::value& set) { return json::get_string(set, {"spec", "updateStrategy", "type"}) != "OnDelete"; }
int64_t partition_of(const json::value& set) { return json::get_int(set, {"spec", "updateStrategy", "rollingUpdate", "partition"}); }

int64_t ordinal_of(const json::value& set, const api::Object& pod) {
  std::string prefix = string_at(set, {"metadata", "name"}) + "-";
  if (!pod.name().starts_with(prefix)) return -1;
  return parse_int<int64_t>(pod.name().substr(prefix.size())).value_or(-1);
}

std::vector<json::object> claims_of(const json::value& set, int64_t ordinal) {
  std::vector<json::object> out;
  for (const json::value& from : json::get_array(json::at(&set, {"spec", "volumeClaimTemplates"}))) {
    json::value claim(from);
    json::object& o = claim.as_object();
    o["apiVersion"] = "v1";
    o["kind"] = "PersistentVolumeClaim";
    o.erase("status");
    json::object& metadata = json::ensure_path(claim, {"metadata"});
    metadata["name"] = text(string_at(from, {"metadata", "name"}) + "-" + pod_name(set, ordinal));
    metadata["namespace"] = text(json::get_string(set, {"metadata", "namespace"}));
    json::object& labels = json::ensure_object(metadata, "labels");
    for (const auto& m : json::get_object(json::at(&set, {"spec", "selector", "matchLabels"}))) labels[m.key()] = m.value();
    out.push_back(std::move(o));
  }
  return out;
}

json::object make_pod(const json::value& set, const api::Object& revision, int64_t ordinal) {
  json::value pod(pod_from_template(template_of_revision(revision.value()), set));
  std::string name = pod_name(set, ordinal);
  json::object& metadata = json::ensure_path(pod, {"metadata"});
  metadata.erase("generateName");
  metadata["name"] = text(name);
  json::object& labels = json::ensure_object(metadata, "labels");
  labels["statefulset.kubernetes.io/pod-name"] = text(name);
  labels["apps.kubernetes.io/pod-index"] = text(std::to_string(ordinal));
  labels[kRevisionHash] = text(revision.name());
  json::object& spec = json::ensure_path(pod, {"spec"});
  spec["hostname"] = text(name);
  if (std::string service = string_at(set, {"spec", "serviceName"}); !service.empty()) spec["subdomain"] = text(service);
  json::array volumes;
  std::vector<std::string> claimed;
  for (const json::value& from : json::get_array(json::at(&set, {"spec", "volumeClaimTemplates"}))) {
    std::string volume = string_at(from, {"metadata", "name"});
    claimed.push_back(volume);
    volumes.push_back(json::object{{"name", text(volume)}, {"persistentVolumeClaim", json::object{{"claimName", text(volume + "-" + name)}, {"readOnly", false}}}});
  }
  for (const json::value& v : json::get_array(spec.if_contains("volumes")))
    if (std::ranges::find(claimed, json::get_string(v, {"name"})) == claimed.end()) volumes.push_back(v);
  if (!volumes.empty()) spec["volumes"] = std::move(volumes);
  return std::move(pod.as_object());
}

}  // namespace kcube::controllers::stateful
