#include "runtime/users.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <optional>

#include "pkg/base/file.h"
#include "pkg/base/strings.h"

namespace kcube::runtime {
namespace {

// Files of a stranger: only a regular file counts, and only its first megabyte.
std::string read_in(const Fd& root, const std::string& path) {
  auto fd = file::open_beneath(root, path, O_RDONLY | O_NONBLOCK);
  struct stat info;
  if (!fd || ::fstat(fd->get(), &info) != 0 || !S_ISREG(info.st_mode)) return "";
  std::string text(static_cast<size_t>(std::min<off_t>(info.st_size, 1 << 20)), 0);
  ssize_t n = ::pread(fd->get(), text.data(), text.size(), 0);
  text.resize(n > 0 ? static_cast<size_t>(n) : 0);
  return text;
}

std::optional<uint32_t> as_id(std::string_view text) { return parse_int<uint32_t>(text); }

struct PasswdEntry {
  std::string name, home;
  uint32_t uid = 0, gid = 0;
};

// By name, or by number when `uid` is given.
std::optional<PasswdEntry> find_passwd(const std::string& passwd, std::string_view name, std::optional<uint32_t> uid) {
  for (auto line : split(passwd, '\n')) {
    auto parts = split(line, ':');
    if (parts.size() < 6) continue;
    auto number = as_id(parts[2]), gid = as_id(parts[3]);
    if (!number || !gid) continue;
    if (uid ? *number == *uid : parts[0] == name)
      return PasswdEntry{std::string(parts[0]), std::string(parts[5]), *number, *gid};
  }
  return std::nullopt;
}

std::optional<uint32_t> find_group(const std::string& group, std::string_view name) {
  for (auto line : split(group, '\n')) {
    auto parts = split(line, ':');
    if (parts.size() >= 3 && parts[0] == name) return as_id(parts[2]);
  }
  return std::nullopt;
}

std::vector<uint32_t> groups_of(const std::string& group, std::string_view user) {
  std::vector<uint32_t> out;
  for (auto line : split(group, '\n')) {
    auto parts = split(line, ':');
    if (parts.size() < 4) continue;
    auto members = split(parts[3], ',');
    auto gid = as_id(parts[2]);
    if (gid && std::ranges::find(members, user) != members.end()) out.push_back(*gid);
  }
  return out;
}

Result<uint32_t> checked_id(int64_t id, std::string_view what) {
  if (id < 0 || id > UINT32_MAX - 1)
    return fail(Status::bad_request(std::string(what) + " " + std::to_string(id) + " is out of range"));
  return static_cast<uint32_t>(id);
}

}  // namespace

Result<User> find_user(const Fd& root, const std::string& image_user, const SecurityConfig& security) {
  size_t colon = image_user.find(':');
  std::string name = image_user.substr(0, colon),
              group_name = colon == std::string::npos ? "" : image_user.substr(colon + 1);
  if (!security.run_as_username.empty() || security.run_as_user) {
    name = security.run_as_user ? std::to_string(*security.run_as_user) : security.run_as_username;
    group_name.clear();
  }
  if (name.empty()) name = "0";
  std::string passwd = read_in(root, "/etc/passwd"), group = read_in(root, "/etc/group");

  User user;
  auto number = parse_int<int64_t>(name);
  if (number) {
    auto uid = checked_id(*number, "user");
    if (!uid) return fail(uid.error());
    user.uid = *uid;
  }
  auto entry = find_passwd(passwd, name, number ? std::optional(user.uid) : std::nullopt);
  if (!entry && !number)
    return fail(Status::bad_request("unable to find user " + name + ": no matching entries in passwd file"));
  if (entry) {
    user.uid = entry->uid;
    user.gid = entry->gid;
    if (!entry->home.empty()) user.home = entry->home;
  }
  if (!group_name.empty()) {
    auto gid = as_id(group_name);
    if (!gid) gid = find_group(group, group_name);
    if (!gid)
      return fail(Status::bad_request("unable to find group " + group_name + ": no matching entries in group file"));
    user.gid = *gid;
  }
  if (security.run_as_group) {
    auto gid = checked_id(*security.run_as_group, "group");
    if (!gid) return fail(gid.error());
    user.gid = *gid;
  }
  // The primary group is listed too, as other runtimes do: what tests membership often looks only there.
  user.groups.push_back(user.gid);
  if (!security.supplemental_groups_strict && entry)
    for (uint32_t gid : groups_of(group, entry->name)) user.groups.push_back(gid);
  for (int64_t id : security.supplemental_groups) {
    auto gid = checked_id(id, "supplemental group");
    if (!gid) return fail(gid.error());
    user.groups.push_back(*gid);
  }
  std::ranges::sort(user.groups);
  user.groups.erase(std::ranges::unique(user.groups).begin(), user.groups.end());
  return user;
}

}  // namespace kcube::runtime
