// The atomic writer: DIR/..<stamp>/ holds the files, DIR/..data points to it, DIR/<name> points through ..data.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <set>

#include "pkg/base/file.h"
#include "pkg/base/strings.h"
#include "pkg/kubelet/volumes.h"

namespace kcube::kubelet {
namespace {

Result<void> link_atomically(const std::string& target, const std::string& path) {
  std::string temporary = path + ".tmp";
  ::unlink(temporary.c_str());
  if (::symlink(target.c_str(), temporary.c_str()) != 0) return fail(Status::from_errno("symlink " + temporary));
  return file::rename(temporary, path);
}

std::string link_target(const std::string& path) {
  char buffer[4096];
  ssize_t n = ::readlink(path.c_str(), buffer, sizeof buffer);
  return n > 0 ? std::string(buffer, static_cast<size_t>(n)) : std::string();
}

// The mode is exact, whatever the umask; a group may read what nobody may write.
mode_t mode_of(const VolumeFile& file, int64_t fs_group) { return static_cast<mode_t>(file.mode) | (fs_group >= 0 ? 0440 : 0); }

bool unchanged(const std::string& current, const std::vector<VolumeFile>& files, const std::string& directory, int64_t fs_group) {
  std::set<std::string> tops;
  for (const VolumeFile& f : files) {
    auto content = file::read(current + "/" + f.path);
    if (!content || *content != f.content) return false;
    struct stat st{};
    if (::stat((current + "/" + f.path).c_str(), &st) != 0 || (st.st_mode & 0777) != mode_of(f, fs_group)) return false;
    tops.insert(f.path.substr(0, f.path.find('/')));
  }
  auto names = file::list(directory);
  if (!names) return false;
  for (const std::string& name : *names)
    if (!name.starts_with("..") && !tops.contains(name)) return false;
  return true;
}

}  // namespace

Result<void> write_files_atomically(const std::string& directory, const std::vector<VolumeFile>& files, int64_t fs_group) {
  if (auto r = file::make_dirs(directory); !r) return r;
  std::string data = directory + "/..data", old = link_target(data);
  if (!old.empty() && unchanged(directory + "/" + old, files, directory, fs_group)) return {};

  std::string stamp = ".." + replace_all(format_nano_time(RealClock::instance().now()), ":", "_");
  std::string fresh = directory + "/" + stamp;
  if (auto r = file::make_dirs(fresh, 0755); !r) return r;
  std::set<std::string> tops;
  for (const VolumeFile& f : files) {
    std::string path = fresh + "/" + f.path;
    if (size_t slash = f.path.rfind('/'); slash != std::string::npos)
      if (auto r = file::make_dirs(fresh + "/" + f.path.substr(0, slash)); !r) return r;
    if (auto r = file::write(path, f.content, static_cast<mode_t>(f.mode)); !r) return r;
    if ((fs_group >= 0 || f.owner >= 0) && ::lchown(path.c_str(), static_cast<uid_t>(f.owner), static_cast<gid_t>(fs_group)) != 0)
      return fail(Status::from_errno("chown " + path));
    if (::chmod(path.c_str(), mode_of(f, fs_group)) != 0) return fail(Status::from_errno("chmod " + path));
    tops.insert(f.path.substr(0, f.path.find('/')));
  }
  if (auto r = link_atomically(stamp, data); !r) return r;
  for (const std::string& top : tops)
    if (link_target(directory + "/" + top) != "..data/" + top)
      if (auto r = link_atomically("..data/" + top, directory + "/" + top); !r) return r;
  auto names = file::list(directory);
  if (!names) return fail(names.error());
  for (const std::string& name : *names)
    if (!name.starts_with("..") && !tops.contains(name))
      if (auto r = file::remove(directory + "/" + name); !r) return r;
  if (!old.empty()) return file::remove_tree(directory + "/" + old);
  return {};
}

}  // namespace kcube::kubelet
