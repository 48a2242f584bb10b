// A pod's volumes and what containers mount of them.
#include "pkg/api/names.h"
#include "pkg/api/quantity.h"
#include "pkg/apiserver/machinery/validation_pod.h"
#include "pkg/apiserver/machinery/validation_rules.h"
#include "pkg/base/strings.h"

namespace kcube::machinery {
namespace {

constexpr int64_t kMinTokenSeconds = 600, kMaxTokenSeconds = int64_t{1} << 32;

// A relative path that does not go up and does not begin with "..", as files in a volume are named.
void validate_file_path(const Cursor& path) {
  validate_relative_path(path);
  if (path.text().starts_with("..") && !path.text().starts_with("../")) path.invalid("must not start with '..'");
}

void validate_items(const Cursor& items) {
  for (const Cursor& item : items.items()) {
    if (item["key"].empty()) item["key"].required();
    if (item["path"].empty()) item["path"].required();
    validate_file_path(item["path"]);
    validate_file_mode(item["mode"]);
  }
}

void validate_config_source(const Cursor& source, std::string_view name) {
  if (source[name].empty()) source[name].required();
  validate_file_mode(source["defaultMode"]);
  validate_items(source["items"]);
}

void validate_downward_file(const Cursor& file) {
  if (file["path"].empty()) file["path"].required();
  validate_file_path(file["path"]);
  Cursor field = file["fieldRef"], resource = file["resourceFieldRef"];
  if (field.present()) {
    validate_field_ref(field, true);
    if (resource.present())
      file.invalid_text("resource", "fieldRef and resourceFieldRef can not be specified simultaneously");
  } else if (resource.present()) {
    validate_resource_field_ref(resource, true);
  } else {
    file.required("one of fieldRef and resourceFieldRef is required");
  }
  validate_file_mode(file["mode"]);
}

void validate_token(const Cursor& projected, const Cursor& token, std::set<std::string_view>& paths) {
  int64_t seconds = token["expirationSeconds"].number(3600);
  if (seconds < kMinTokenSeconds) token["expirationSeconds"].invalid("may not specify a duration less than 10 minutes");
  if (seconds > kMaxTokenSeconds)
    token["expirationSeconds"].invalid("may not specify a duration larger than 2^32 seconds");
  Cursor path = token["path"];
  if (path.empty())
    projected["path"].required();
  else
    validate_file_path(path);
  if (!path.empty() && !paths.insert(path.text()).second)
    projected.invalid_text(path.text(), "conflicting duplicate paths");
}

void validate_trust_bundle(const Cursor& projected, const Cursor& bundle, std::set<std::string_view>& paths) {
  bool name = bundle["name"].present(), signer = bundle["signerName"].present();
  if (name && signer)
    bundle.invalid(bundle.value() == nullptr ? json::value() : *bundle.value(),
                   "only one of name and signerName may be used");
  else if (name && bundle["name"].empty())
    bundle["name"].required("must be a valid object name");
  else if (name && bundle["labelSelector"].present())
    bundle["labelSelector"].invalid("labelSelector must be unset if name is specified");
  else if (signer && bundle["signerName"].empty())
    bundle["signerName"].required("must be a valid signer name");
  else if (!name && !signer)
    bundle.required("either name or signerName must be specified");
  if (bundle["path"].empty()) return bundle["path"].required();
  validate_file_path(bundle["path"]);
  if (!paths.insert(bundle["path"].text()).second)
    projected.invalid_text(bundle["path"].text(), "conflicting duplicate paths");
}

// The paths of all sources lie in one directory.
void note_paths(const Cursor& projected, const Cursor& items, std::string_view shown,
                std::set<std::string_view>& paths) {
  for (const Cursor& item : items.items()) {
    std::string_view path = item["path"].text();
    if (!path.empty() && !paths.insert(path).second)
      projected.invalid_text(shown.empty() ? path : shown, "conflicting duplicate paths");
  }
}

void validate_projected(const Cursor& projected) {
  validate_file_mode(projected["defaultMode"]);
  std::set<std::string_view> paths;
  for (const Cursor& source : projected["sources"].items()) {
    size_t count = 0;
    auto next = [&](std::string_view kind) {
      if (!source[kind].present()) return false;
      if (count++ == 0) return true;
      source.forbidden("may not specify more than 1 volume type per source");
      return false;
    };
    for (std::string_view kind : {"secret", "configMap"}) {
      if (!next(kind)) continue;
      Cursor at = source[kind];
      if (at["name"].empty()) at["name"].required();
      validate_items(at["items"]);
      note_paths(projected, at["items"], at["name"].text(), paths);
    }
    if (next("downwardAPI")) {
      for (const Cursor& file : source["downwardAPI"]["items"].items())
        validate_downward_file(file.renamed(source["downwardAPI"].path()));
      note_paths(projected, source["downwardAPI"]["items"], {}, paths);
    }
    if (next("serviceAccountToken")) validate_token(projected, source["serviceAccountToken"], paths);
    if (next("clusterTrustBundle")) validate_trust_bundle(projected, source["clusterTrustBundle"], paths);
  }
}

void validate_source(const Cursor& at, std::string_view kind, const PodContext& pod, std::string_view volume_name) {
  if (validate_common_volume_source(kind, at, false)) return;
  if (kind == "secret") validate_config_source(at, "secretName");
  if (kind == "configMap") validate_config_source(at, "name");
  if (kind == "persistentVolumeClaim" && at["claimName"].empty()) at["claimName"].required();
  if (kind == "projected") validate_projected(at);
  if (kind == "gitRepo") {
    if (at["repository"].empty()) at["repository"].required();
    validate_relative_path(at["directory"]);
  }
  if (kind == "downwardAPI") {
    validate_file_mode(at["defaultMode"]);
    // The real server does not name the item.
    for (const Cursor& file : at["items"].items()) validate_downward_file(file.renamed(at.path()));
  }
  if (kind == "image") {
    if (at["reference"].empty() && pod.pod) at["reference"].required();
    at["pullPolicy"].one_of({"Always", "IfNotPresent", "Never"});
  }
  if (kind == "ephemeral") {
    Cursor claim = at["volumeClaimTemplate"];
    if (!claim.present()) return claim.required();
    validate_labels(claim["metadata"]["labels"]);
    validate_annotations(claim["metadata"]["annotations"]);
    validate_claim_spec(claim["spec"]);
    std::string_view name = json::get_string(json::find(pod.metadata, "name"));
    if (std::string full = std::string(name) + "-" + std::string(volume_name); !name.empty())
      if (std::string problem = api::check_dns1123_subdomain(full); !problem.empty())
        at.renamed(pod.spec.path()).invalid_text(volume_name, "PVC name \"" + full + "\": " + problem);
  }
}

void validate_one_source(const PodContext& pod, const Cursor& volume) {
  size_t count = 0;
  for (const auto& m : json::get_object(volume.value())) {
    std::string_view kind = json::view(m.key());
    if (kind == "name" || m.value().is_null()) continue;
    Cursor at = volume[kind];
    if (kind == "emptyDir") {
      ++count;
      if (at["sizeLimit"].present() && api::Quantity::from_json(at["sizeLimit"].value()) < api::Quantity())
        at["sizeLimit"].forbidden("SizeLimit field must be a valid resource quantity");
      continue;
    }
    if (count++ > 0)
      at.forbidden("may not specify more than 1 volume type");
    else
      validate_source(at, kind, pod, volume["name"].text());
  }
  if (count == 0) volume.required("must specify a volume type");
}

void validate_propagation(const Cursor& container, const Cursor& mount, const Cursor& mounts) {
  Cursor propagation = mount["mountPropagation"].renamed(mounts.path() + ".mountPropagation");
  if (propagation.present()) {
    if (!propagation.in({"Bidirectional", "HostToContainer", "None"}))
      propagation.not_supported({"Bidirectional", "HostToContainer", "None"});
    if (propagation.text() == "Bidirectional" && !container["securityContext"]["privileged"].flag())
      propagation.forbidden("Bidirectional mount propagation is available only to privileged containers");
  }
  Cursor recursive = mount["recursiveReadOnly"].renamed(mounts.path() + ".recursiveReadOnly");
  if (!recursive.present() || recursive.text() == "Disabled") return;
  if (!recursive.in({"Enabled", "IfPossible"})) return recursive.not_supported({"Disabled", "Enabled", "IfPossible"});
  if (!mount["readOnly"].flag()) recursive.forbidden("may only be specified when readOnly is true");
  if (propagation.present() && propagation.text() != "None")
    recursive.forbidden("may only be specified when mountPropagation is None or not specified");
}

void validate_devices(const PodContext& pod, const Cursor& container) {
  std::set<std::string_view> names, paths;
  for (const Cursor& device : container["volumeDevices"].items()) {
    Cursor name = device["name"], path = device["devicePath"];
    const json::value* volume = pod.volume(name.text());
    if (name.empty())
      name.required();
    else if (!names.insert(name.text()).second)
      name.invalid("must be unique");
    if (volume == nullptr)
      name.not_found();
    else if (json::find(volume, "persistentVolumeClaim") == nullptr && json::find(volume, "ephemeral") == nullptr)
      name.invalid("can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode");
    if (path.empty())
      path.required();
    else if (!paths.insert(path.text()).second)
      path.invalid("must be unique");
    for (std::string_view part : split(path.text(), '/'))
      if (part == "..") {
        path.invalid("can not contain backsteps ('..')");
        break;
      }
    for (const Cursor& mount : container["volumeMounts"].items()) {
      if (!name.empty() && mount["name"].text() == name.text()) name.invalid("must not already exist in volumeMounts");
      if (!path.empty() && mount["mountPath"].text() == path.text())
        path.invalid("must not already exist as a path in volumeMounts");
    }
  }
}

}  // namespace

void validate_volumes(PodContext& pod) {
  std::set<std::string_view> names;
  for (const Cursor& volume : pod.spec["volumes"].items()) {
    const size_t told = volume.told();
    validate_one_source(pod, volume);
    Cursor name = volume["name"];
    if (name.empty())
      name.required();
    else if (name.check(api::check_dns1123_label(name.text())) && !names.insert(name.text()).second)
      name.duplicate();
    if (pod.pod && pod.spec["serviceAccountName"].empty()) {
      Cursor sources = volume["projected"]["sources"];
      for (const Cursor& source : sources.items())
        if (source["serviceAccountToken"].present())
          source["serviceAccountToken"].forbidden("must not be specified when serviceAccountName is not set");
    }
    if (volume.told() != told) pod.broken_volumes.insert(volume.value());
  }
}

void validate_volume_mounts(const PodContext& pod, const Cursor& container) {
  std::set<std::string_view> points;
  Cursor mounts = container["volumeMounts"], devices = container["volumeDevices"];
  for (const Cursor& mount : mounts.items()) {
    Cursor name = mount["name"], path = mount["mountPath"];
    if (name.empty()) name.required();
    if (pod.volume(name.text()) == nullptr) name.not_found();
    if (path.empty()) path.required();
    if (!points.insert(path.text()).second) path.invalid("must be unique");
    for (const Cursor& device : devices.items()) {
      if (device["name"].text() == name.text()) name.invalid("must not already exist in volumeDevices");
      if (device["devicePath"].text() == path.text()) path.invalid("must not already exist as a path in volumeDevices");
    }
    // The real server names the list in these.
    for (std::string_view member : {"subPath", "subPathExpr"})
      if (!mount[member].empty())
        validate_relative_path(mount[member].renamed(mounts.path() + "." + std::string(member)));
    if (!mount["subPath"].empty() && !mount["subPathExpr"].empty())
      mount["subPathExpr"].invalid("subPathExpr and subPath are mutually exclusive");
    validate_propagation(container, mount, mounts);
  }
  validate_devices(pod, container);
}

}  // namespace kcube::machinery
