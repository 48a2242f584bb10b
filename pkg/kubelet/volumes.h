// Volumes of a pod: made before its containers, kept current while it runs, removed after.
//
// emptyDir, hostPath, configMap, secret, downwardAPI, projected (those and service account tokens), and PersistentVolumes
// of kind hostPath or local; image volumes are mounted by the runtime. Files from the API are replaced atomically through a `..data` link, so that a reader sees
// the old set or the new one, never a mix. Source: the Kubernetes docs on volumes.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "pkg/api/views/core_v1.h"
#include "pkg/client/client.h"
#include "pkg/kubelet/environment.h"
#include "runtime/pod_runtime.h"

namespace kcube::kubelet {

// One file of a projected set.
struct VolumeFile {
  std::string path;        // relative, no ".."
  std::string content;
  int mode = 0644;
  int64_t owner = -1;      // -1: root
};

// Writes `files` under `directory` as one atomic step; nothing happens when they are there already.
Result<void> write_files_atomically(const std::string& directory, const std::vector<VolumeFile>& files, int64_t fs_group);

// Volumes in memory of all pods below `pods_dir`, when their node is taken off the machine.
Result<void> unmount_volumes(const std::string& pods_dir);

class VolumeManager {
 public:
  // `pods_dir` holds one directory a pod UID.
  VolumeManager(client::Client& client, std::string pods_dir) : client_(client), pods_dir_(std::move(pods_dir)) {}

  // Makes or updates every volume; volume name -> path on the node (empty for images, which the runtime mounts). Fails with the message for a FailedMount event.
  Result<std::map<std::string, std::string>> set_up(const core::v1::Pod& pod, const EnvironmentSources& sources);
  // Unmounts and removes the pod's directory.
  Result<void> tear_down(const std::string& pod_uid);
  // UIDs that have a directory.
  std::vector<std::string> pods_on_disk() const;

  // The mounts of a container over volumes that are set up; `images`: the image ids of image volumes by their names.
  // Makes sub paths.
  Result<std::vector<runtime::Mount>> mounts(const core::v1::Pod& pod, const core::v1::Container& container,
                                             const std::map<std::string, std::string>& volumes, const std::map<std::string, std::string>& images,
                                             const std::map<std::string, std::string>& env);

  std::string pod_dir(std::string_view uid) const { return pods_dir_ + "/" + std::string(uid); }

 private:
  Result<std::string> one(const core::v1::Pod& pod, core::v1::Volume volume, const EnvironmentSources& sources);
  Result<std::string> empty_dir(const core::v1::Pod& pod, core::v1::Volume volume);
  Result<std::string> claim(const core::v1::Pod& pod, core::v1::Volume volume);
  Result<std::vector<VolumeFile>> projected_files(const core::v1::Pod& pod, core::v1::ProjectedVolumeSource source, const EnvironmentSources& sources);
  Result<std::string> token(const core::v1::Pod& pod, core::v1::ServiceAccountTokenProjection projection);

  client::Client& client_;
  std::string pods_dir_;
};

}  // namespace kcube::kubelet
