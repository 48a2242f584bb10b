#include "pkg/kubelet/volumes.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <set>

#include "pkg/api/quantity.h"
#include "pkg/base/file.h"
#include "pkg/base/strings.h"

namespace kcube::kubelet {
namespace {

int64_t fs_group_of(const core::v1::Pod& pod) {
  auto context = pod.spec().security_context();
  return context.has_fs_group() ? context.fs_group() : -1;
}

// The one user that all containers run as; -1 when one says none, or they differ.
int64_t user_of(const core::v1::Pod& pod) {
  auto of_pod = pod.spec().security_context();
  std::set<int64_t> users;
  for (auto list : {pod.spec().init_containers(), pod.spec().containers()})
    for (auto container : list) {
      auto own = container.security_context();
      users.insert(own.has_run_as_user() ? own.run_as_user() : of_pod.has_run_as_user() ? of_pod.run_as_user() : -1);
    }
  return users.size() == 1 ? *users.begin() : -1;
}

// A path from the API must stay inside its volume.
Result<void> check_relative(std::string_view path) {
  if (path.empty() || path.starts_with('/')) return fail(Status::bad_request("invalid path \"" + std::string(path) + "\" in volume"));
  for (std::string_view part : split(path, '/'))
    if (part == "..") return fail(Status::bad_request("invalid path \"" + std::string(path) + "\" in volume: must not contain '..'"));
  return {};
}

// Files of a ConfigMap or Secret: all keys, or the items asked for.
Result<void> add_object(const Result<api::ObjectPtr>& object, api::views::ListView<core::v1::KeyToPath> items, bool optional, bool secret,
                        int64_t default_mode, std::vector<VolumeFile>& files) {
  if (!object) {
    if (optional && object.error().is_not_found()) return {};
    return fail(object.error());
  }
  const json::value& value = (*object)->value();
  auto content = [&](std::string_view key, std::string& out) {
    if (const json::value* v = json::at(&value, {"data", key})) {
      std::string_view text = json::get_string(v);
      out = secret ? base64_decode(text).value_or("") : std::string(text);
      return true;
    }
    if (const json::value* v = json::at(&value, {"binaryData", key}); v != nullptr && !secret) {
      out = base64_decode(json::get_string(v)).value_or("");
      return true;
    }
    return false;
  };
  if (items.empty()) {
    for (std::string_view field : {"data", "binaryData"}) {
      if (secret && field == "binaryData") continue;
      for (const auto& m : json::get_object(json::find(&value, field))) {
        VolumeFile f{std::string(m.key()), {}, static_cast<int>(default_mode)};
        content(f.path, f.content);
        files.push_back(std::move(f));
      }
    }
    return {};
  }
  for (auto item : items) {
    VolumeFile f{std::string(item.path()), {}, static_cast<int>(item.mode(default_mode))};
    if (auto r = check_relative(f.path); !r) return r;
    if (!content(item.key(), f.content)) {
      if (optional) continue;
      return fail(Status::not_found(std::string("references non-existent ") + (secret ? "secret" : "config") + " key: " + std::string(item.key())));
    }
    files.push_back(std::move(f));
  }
  return {};
}

Result<void> add_downward(const core::v1::Pod& pod, api::views::ListView<core::v1::DownwardAPIVolumeFile> items, int64_t default_mode,
                          const EnvironmentSources& sources, std::vector<VolumeFile>& files) {
  for (auto item : items) {
    if (auto r = check_relative(item.path()); !r) return r;
    Result<std::string> content = fail(Status::bad_request("downward API item without a source"));
    if (auto field = item.field_ref()) {
      content = field_value(pod, field.field_path(), sources);
    } else if (auto resource = item.resource_field_ref()) {
      for (auto c : pod.spec().containers())
        if (c.name() == resource.container_name()) content = resource_value(c, resource.resource(), resource.divisor(), sources);
    }
    if (!content) return fail(content.error());
    files.push_back({std::string(item.path()), std::move(*content), static_cast<int>(item.mode(default_mode))});
  }
  return {};
}

Result<void> check_host_path(const std::string& path, std::string_view type) {
  struct stat st{};
  bool there = ::stat(path.c_str(), &st) == 0;
  if (type == "DirectoryOrCreate" && !there) return file::make_dirs(path);
  if (type == "FileOrCreate" && !there) return file::append(path, "", 0644);
  if (type.empty()) {
    // No check; the runtime's mount needs something to be there, as with other runtimes a directory is made.
    if (!there) return file::make_dirs(path);
    return {};
  }
  auto wrong = [&](std::string_view what) { return fail(Status::bad_request("hostPath type check failed: " + path + " is not a " + std::string(what))); };
  if ((type == "Directory" || type == "DirectoryOrCreate") && !(there && S_ISDIR(st.st_mode))) return wrong("directory");
  if ((type == "File" || type == "FileOrCreate") && !(there && S_ISREG(st.st_mode))) return wrong("file");
  if (type == "Socket" && !(there && S_ISSOCK(st.st_mode))) return wrong("socket");
  if (type == "CharDevice" && !(there && S_ISCHR(st.st_mode))) return wrong("character device");
  if (type == "BlockDevice" && !(there && S_ISBLK(st.st_mode))) return wrong("block device");
  return {};
}

bool is_mount_point(const std::string& path) {
  struct stat here{}, parent{};
  return ::lstat(path.c_str(), &here) == 0 && ::lstat((path + "/..").c_str(), &parent) == 0 && here.st_dev != parent.st_dev;
}

Result<void> unmount_memory(const std::string& pod_dir) {
  std::string directory = pod_dir + "/volumes/kubernetes.io~empty-dir/";
  for (const std::string& name : file::list(directory).value_or(std::vector<std::string>()))
    if (is_mount_point(directory + name) && ::umount2((directory + name).c_str(), MNT_DETACH) != 0)
      return fail(Status::from_errno("unmount " + directory + name));
  return {};
}

}  // namespace

Result<void> unmount_volumes(const std::string& pods_dir) {
  for (const std::string& uid : file::list(pods_dir).value_or(std::vector<std::string>()))
    if (auto r = unmount_memory(pods_dir + "/" + uid); !r) return r;
  return {};
}

Result<std::map<std::string, std::string>> VolumeManager::set_up(const core::v1::Pod& pod, const EnvironmentSources& sources) {
  std::map<std::string, std::string> out;
  for (auto volume : pod.spec().volumes()) {
    auto path = one(pod, volume, sources);
    if (!path) return fail(path.error().with_context("MountVolume.SetUp failed for volume \"" + std::string(volume.name()) + "\" "));
    out[std::string(volume.name())] = std::move(*path);
  }
  return out;
}

Result<std::string> VolumeManager::one(const core::v1::Pod& pod, core::v1::Volume volume, const EnvironmentSources& sources) {
  std::string base = pod_dir(pod.metadata().uid()) + "/volumes/";
  if (volume.has_empty_dir()) return empty_dir(pod, volume);
  if (auto host = volume.host_path()) {
    std::string path(host.path());
    if (auto r = check_host_path(path, host.type()); !r) return fail(r.error());
    return path;
  }
  if (volume.has_persistent_volume_claim()) return claim(pod, volume);
  if (volume.has_image()) return std::string();

  std::vector<VolumeFile> files;
  std::string kind;
  Result<void> added;
  if (auto source = volume.config_map()) {
    kind = "kubernetes.io~configmap";
    added = add_object(sources.config_map(source.name()), source.items(), source.optional(), false, source.default_mode(0644), files);
  } else if (auto secret = volume.secret()) {
    kind = "kubernetes.io~secret";
    added = add_object(sources.secret(secret.secret_name()), secret.items(), secret.optional(), true, secret.default_mode(0644), files);
  } else if (auto downward = volume.downward_api()) {
    kind = "kubernetes.io~downward-api";
    added = add_downward(pod, downward.items(), downward.default_mode(0644), sources, files);
  } else if (auto projected = volume.projected()) {
    kind = "kubernetes.io~projected";
    auto all = projected_files(pod, projected, sources);
    if (!all) return fail(all.error());
    files = std::move(*all);
  } else {
    return fail(Status::bad_request("no volume plugin matched"));
  }
  if (!added) return fail(added.error());
  std::string directory = base + kind + "/" + std::string(volume.name());
  if (auto r = write_files_atomically(directory, files, fs_group_of(pod)); !r) return fail(r.error());
  return directory;
}

Result<std::string> VolumeManager::empty_dir(const core::v1::Pod& pod, core::v1::Volume volume) {
  std::string path = pod_dir(pod.metadata().uid()) + "/volumes/kubernetes.io~empty-dir/" + std::string(volume.name());
  bool fresh = !file::exists(path);
  if (auto r = file::make_dirs(path); !r) return fail(r.error());
  auto source = volume.empty_dir();
  if (source.medium() == "Memory" && !is_mount_point(path)) {
    std::string data = "mode=0777";
    int64_t limit = api::Quantity::from_json(source.size_limit()).value();
    if (limit > 0) data += ",size=" + std::to_string(limit);
    if (::mount("tmpfs", path.c_str(), "tmpfs", MS_NOSUID | MS_NODEV, data.c_str()) != 0) return fail(Status::from_errno("mount tmpfs at " + path));
  }
  if (fresh || source.medium() == "Memory") {
    mode_t mode = 0777;
    int64_t group = fs_group_of(pod);
    if (group >= 0) {
      if (::chown(path.c_str(), static_cast<uid_t>(-1), static_cast<gid_t>(group)) != 0) return fail(Status::from_errno("chown " + path));
      mode |= S_ISGID;
    }
    if (::chmod(path.c_str(), mode) != 0) return fail(Status::from_errno("chmod " + path));
  }
  return path;
}

Result<std::string> VolumeManager::claim(const core::v1::Pod& pod, core::v1::Volume volume) {
  std::string ns(pod.metadata().namespace_()), name(volume.persistent_volume_claim().claim_name());
  auto pvc = client_.get({"", "v1", "persistentvolumeclaims"}, ns, name);
  if (!pvc) return fail(pvc.error());
  core::v1::PersistentVolumeClaim claim((*pvc)->value());
  if (claim.status().phase() != "Bound") return fail(Status::unavailable("persistentvolumeclaim \"" + name + "\" is not bound"));
  auto object = client_.get({"", "v1", "persistentvolumes"}, "", claim.spec().volume_name());
  if (!object) return fail(object.error());
  core::v1::PersistentVolume pv((*object)->value());
  std::string path(pv.spec().host_path() ? pv.spec().host_path().path() : pv.spec().local().path());
  if (path.empty()) return fail(Status::bad_request("no volume plugin matched"));
  if (auto r = check_host_path(path, pv.spec().host_path() ? std::string_view("DirectoryOrCreate") : std::string_view("Directory")); !r) return fail(r.error());
  return path;
}

Result<std::vector<VolumeFile>> VolumeManager::projected_files(const core::v1::Pod& pod, core::v1::ProjectedVolumeSource source,
                                                              const EnvironmentSources& sources) {
  std::vector<VolumeFile> files;
  int64_t mode = source.default_mode(0644);
  for (auto part : source.sources()) {
    Result<void> added;
    if (auto map = part.config_map()) {
      added = add_object(sources.config_map(map.name()), map.items(), map.optional(), false, mode, files);
    } else if (auto secret = part.secret()) {
      added = add_object(sources.secret(secret.name()), secret.items(), secret.optional(), true, mode, files);
    } else if (auto downward = part.downward_api()) {
      added = add_downward(pod, downward.items(), mode, sources, files);
    } else if (auto projection = part.service_account_token()) {
      if (auto r = check_relative(projection.path()); !r) return fail(r.error());
      auto text = token(pod, projection);
      if (!text) return fail(text.error());
      // Tokens are for the pod's user and group alone when it has them.
      int64_t owner = user_of(pod);
      bool restricted = owner >= 0 || pod.spec().security_context().has_fs_group();
      files.push_back({std::string(projection.path()), std::move(*text), restricted ? 0600 : static_cast<int>(mode), owner});
    }
    if (!added) return fail(added.error());
  }
  return files;
}

// A token is asked for again when four fifths of its life are over; until then the file on disk is it.
Result<std::string> VolumeManager::token(const core::v1::Pod& pod, core::v1::ServiceAccountTokenProjection projection) {
  std::string cache_dir = pod_dir(pod.metadata().uid()) + "/tokens";
  int64_t seconds = projection.expiration_seconds(3600);
  std::string cache = cache_dir + "/" + std::to_string(stable_hash(std::string(projection.audience()) + "|" + std::to_string(seconds)));
  struct stat st{};
  if (::stat(cache.c_str(), &st) == 0) {
    auto age = std::chrono::system_clock::now() - std::chrono::system_clock::from_time_t(st.st_mtime);
    if (age < std::chrono::seconds(seconds * 4 / 5))
      if (auto text = file::read(cache)) return text;
  }
  json::object spec{{"expirationSeconds", seconds},
                    {"boundObjectRef", json::object{{"kind", "Pod"}, {"apiVersion", "v1"}, {"name", json::key(pod.metadata().name())}, {"uid", json::key(pod.metadata().uid())}}}};
  if (!projection.audience().empty()) spec["audiences"] = json::array{json::value(json::key(projection.audience()))};
  json::object request{{"apiVersion", "authentication.k8s.io/v1"}, {"kind", "TokenRequest"}, {"metadata", json::object()}, {"spec", std::move(spec)}};
  std::string account(pod.spec().service_account_name());
  if (account.empty()) account = "default";
  auto made = client_.create({"", "v1", "serviceaccounts"}, pod.metadata().namespace_(), request, "token", account);
  if (!made) return fail(made.error().with_context("failed to fetch token"));
  std::string text(json::get_string((*made)->value(), {"status", "token"}));
  if (auto r = file::make_dirs(cache_dir, 0700); !r) return fail(r.error());
  if (auto r = file::write_atomic(cache, text, 0600); !r) return fail(r.error());
  return text;
}

Result<void> VolumeManager::tear_down(const std::string& pod_uid) {
  if (auto r = unmount_memory(pod_dir(pod_uid)); !r) return r;
  return file::remove_tree(pod_dir(pod_uid));
}

std::vector<std::string> VolumeManager::pods_on_disk() const { return file::list(pods_dir_).value_or(std::vector<std::string>()); }

Result<std::vector<runtime::Mount>> VolumeManager::mounts(const core::v1::Pod& pod, const core::v1::Container& container,
                                                          const std::map<std::string, std::string>& volumes, const std::map<std::string, std::string>& images,
                                                          const std::map<std::string, std::string>& env) {
  std::vector<runtime::Mount> out;
  for (auto m : container.volume_mounts()) {
    runtime::Mount mount;
    mount.container_path = m.mount_path();
    if (!mount.container_path.starts_with('/')) mount.container_path = "/" + mount.container_path;
    mount.readonly = m.read_only();
    if (m.mount_propagation() == "HostToContainer") mount.propagation = runtime::Propagation::host_to_container;
    if (m.mount_propagation() == "Bidirectional") mount.propagation = runtime::Propagation::bidirectional;
    std::string name(m.name());
    auto it = volumes.find(name);
    if (it == volumes.end()) return fail(Status::bad_request("volume \"" + name + "\" of container \"" + std::string(container.name()) + "\" is not set up"));
    mount.host_path = it->second;
    for (auto v : pod.spec().volumes())
      if (v.name() == name && (v.has_config_map() || v.has_secret() || v.has_projected() || v.has_downward_api())) mount.readonly = true;
    std::string sub = m.sub_path_expr().empty() ? std::string(m.sub_path()) : expand(m.sub_path_expr(), env);
    if (!sub.empty())
      if (auto r = check_relative(sub); !r) return fail(r.error());
    if (auto image = images.find(name); image != images.end()) {
      mount.image = image->second;
      mount.image_sub_path = std::move(sub);
      mount.readonly = true;
    } else if (!sub.empty()) {
      // The sub path may hold links made by a pod: resolved beneath the volume, it cannot point out of it.
      auto root = file::open(mount.host_path, O_PATH | O_DIRECTORY);
      if (!root) return fail(root.error());
      auto target = file::open_beneath(*root, sub, O_PATH);
      if (!target) {
        if (auto r = file::make_dirs(mount.host_path + "/" + sub, 0750); !r) return fail(r.error());
        (void)::chmod((mount.host_path + "/" + sub).c_str(), 0777);
        target = file::open_beneath(*root, sub, O_PATH);
        if (!target) return fail(target.error());
      }
      char resolved[4096];
      ssize_t n = ::readlink(("/proc/self/fd/" + std::to_string(target->get())).c_str(), resolved, sizeof resolved);
      if (n <= 0) return fail(Status::from_errno("resolve sub path " + sub));
      mount.host_path.assign(resolved, static_cast<size_t>(n));
    }
    out.push_back(std::move(mount));
  }
  return out;
}

}  // namespace kcube::kubelet
