// The volume sources that pods and PersistentVolumes share, and the small rules of paths and modes.
#include "pkg/api/names.h"
#include "pkg/apiserver/machinery/validation_pod.h"
#include "pkg/apiserver/machinery/validation_rules.h"
#include "pkg/base/strings.h"

namespace kcube::machinery {
namespace {

void need(const Cursor& at, std::initializer_list<std::string_view> members) {
  for (std::string_view member : members)
    if (at[member].empty()) at[member].required();
}

void validate_iscsi(const Cursor& at) {
  need(at, {"targetPortal"});
  Cursor iqn = at["iqn"];
  std::string_view text = iqn.text();
  if (iqn.empty())
    iqn.required();
  else if (!text.starts_with("iqn") && !text.starts_with("eui") && !text.starts_with("naa"))
    iqn.invalid("must be valid format starting with iqn, eui, or naa");
  if (at["lun"].number() < 0 || at["lun"].number() > 255) at["lun"].between(0, 255);
  if ((at["chapAuthDiscovery"].flag() || at["chapAuthSession"].flag()) && !at["secretRef"].present())
    at["secretRef"].required();
}

void validate_fc(const Cursor& at) {
  Cursor names = at["targetWWNs"];
  if (names.empty() && at["wwids"].empty())
    names.required("must specify either targetWWNs or wwids, but not both");
  else if (!names.empty() && !at["wwids"].empty())
    names.invalid("targetWWNs and wwids can not be specified simultaneously");
  if (names.empty()) return;
  if (!at["lun"].present())
    at["lun"].required("lun is required if targetWWNs is specified");
  else
    at["lun"].between(0, 255);
}

void validate_secret_reference(const Cursor& ref) {
  if (!ref.present()) return;
  for (std::string_view member : {"name", "namespace"}) {
    Cursor at = ref[member];
    if (at.empty())
      at.required();
    else
      at.check(api::check_dns1123_label(at.text()));
  }
}

void validate_csi(const Cursor& at, bool persistent) {
  validate_csi_driver_name(at["driver"]);
  if (!persistent) {
    Cursor secret = at["nodePublishSecretRef"];
    if (secret.present() && secret["name"].empty())
      secret["name"].required();
    else if (secret.present())
      secret["name"].renamed(at.path() + ".name").check(api::check_dns1123_subdomain(secret["name"].text()));
    return;
  }
  need(at, {"volumeHandle"});
  for (std::string_view member :
       {"controllerPublishSecretRef", "controllerExpandSecretRef", "nodePublishSecretRef", "nodeExpandSecretRef"})
    validate_secret_reference(at[member]);
}

void validate_azure_disk(const Cursor& at) {
  need(at, {"diskName", "diskURI"});
  at["cachingMode"].one_of_if_set({"None", "ReadOnly", "ReadWrite"});
  at["kind"].one_of_if_set({"Dedicated", "Managed", "Shared"});
}

}  // namespace

void validate_csi_driver_name(const Cursor& name) {
  if (name.empty()) return name.required();
  if (name.text().size() > 63) name.too_long(63);
  name.check(api::check_dns1123_subdomain(to_lower(name.text())));
}

void validate_file_mode(const Cursor& mode) {
  if (mode.number() < 0 || mode.number() > 0777)
    mode.invalid("must be a number between 0 and 0777 (octal), both inclusive");
}

void validate_no_backsteps(const Cursor& path) {
  for (std::string_view part : split(path.text(), '/')) {
    if (part != "..") continue;
    path.invalid("must not contain '..'");
    return;
  }
}

void validate_relative_path(const Cursor& path) {
  if (path.text().starts_with("/")) path.invalid("must be a relative path");
  validate_no_backsteps(path);
}

void validate_host_path(const Cursor& at) {
  if (at["path"].empty()) return at["path"].required();
  validate_no_backsteps(at["path"]);
  at["type"].one_of_if_set(
      {"", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"});
}

bool validate_common_volume_source(std::string_view source, const Cursor& at, bool persistent) {
  struct Needs {
    std::string_view source;
    std::initializer_list<std::string_view> members;
  };
  static const Needs kNeeds[] = {
      {"glusterfs", {"endpoints", "path"}},
      {"rbd", {"monitors", "image"}},
      {"cinder", {"volumeID"}},
      {"cephfs", {"monitors"}},
      {"flexVolume", {"driver"}},
      {"azureFile", {"secretName", "shareName"}},
      {"vsphereVolume", {"volumePath"}},
      {"photonPersistentDisk", {"pdID"}},
      {"portworxVolume", {"volumeID"}},
      {"scaleIO", {"gateway", "system", "volumeName"}},
      {"storageos", {"volumeName"}},
      {"gcePersistentDisk", {"pdName"}},
      {"awsElasticBlockStore", {"volumeID"}},
      {"quobyte", {"registry", "volume"}},
  };
  if (source == "hostPath")
    validate_host_path(at);
  else if (source == "iscsi")
    validate_iscsi(at);
  else if (source == "fc")
    validate_fc(at);
  else if (source == "csi")
    validate_csi(at, persistent);
  else if (source == "azureDisk")
    validate_azure_disk(at);
  else if (source == "nfs") {
    need(at, {"server", "path"});
    if (!at["path"].text().starts_with("/")) at["path"].invalid("must be an absolute path");
  } else if (source == "flocker") {
    if (at["datasetName"].empty() && at["datasetUUID"].empty())
      at.required("one of datasetName and datasetUUID is required");
    else if (!at["datasetName"].empty() && !at["datasetUUID"].empty())
      at.invalid_text("resource", "datasetName and datasetUUID can not be specified simultaneously");
  } else {
    for (const Needs& needs : kNeeds) {
      if (needs.source != source) continue;
      need(at, needs.members);
      if (at["partition"].present() && (at["partition"].number() < 0 || at["partition"].number() > 255))
        at["partition"].between(1, 255);
      return true;
    }
    return false;
  }
  return true;
}

}  // namespace kcube::machinery
