// mkimage: an image archive from a directory. For scripts; the kcube binary does not need it.
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cstdio>
#include <map>

#include "pkg/base/file.h"
#include "pkg/base/strings.h"
#include "runtime/images/builder.h"

namespace kcube::runtime::images {
namespace {

constexpr const char* kUsage =
    "usage: mkimage --name NAME [options] ROOTDIR OUT.tar\n"
    "Makes an image archive (OCI and docker load) with the files of ROOTDIR as its one layer.\n"
    "\n"
    "  --name NAME          the image's name, e.g. registry.k8s.io/e2e-test-images/agnhost:2.53\n"
    "  --entrypoint ARG     one argument of the entrypoint; repeat for more\n"
    "  --cmd ARG            one argument of the default command; repeat for more\n"
    "  --env K=V            an environment variable; repeat for more\n"
    "  --expose PORT[/udp]  a port the image listens on; repeat for more\n"
    "  --label K=V          a label; repeat for more\n"
    "  --user USER          the user, a name or number, with an optional :group\n"
    "  --workdir DIR        the working directory\n"
    "  --arch ARCH          amd64, arm64 …; this machine's when not given\n"
    "  --owner UID:GID      the owner of all files, 0:0 when not given; `keep` keeps theirs\n";

struct Arguments {
  std::string name, root, out;
  BuildOptions build;
  bool keep_owner = false;
  uint32_t uid = 0, gid = 0;
};

Result<void> apply_option(Arguments& arguments, const std::string& option, const std::string& value) {
  const std::map<std::string, std::vector<std::string>*> lists{{"--entrypoint", &arguments.build.entrypoint},
                                                               {"--cmd", &arguments.build.cmd},
                                                               {"--env", &arguments.build.env},
                                                               {"--expose", &arguments.build.exposed}};
  const std::map<std::string, std::string*> texts{{"--name", &arguments.name},
                                                  {"--user", &arguments.build.user},
                                                  {"--workdir", &arguments.build.working_dir},
                                                  {"--arch", &arguments.build.architecture}};
  if (auto list = lists.find(option); list != lists.end()) {
    if (option == "--env" && value.find('=') == std::string::npos)
      return fail(Status::bad_request("--env " + value + ": give K=V"));
    list->second->push_back(value);
  } else if (auto text = texts.find(option); text != texts.end()) {
    *text->second = value;
  } else if (option == "--label") {
    size_t equals = value.find('=');
    if (equals == std::string::npos) return fail(Status::bad_request("--label " + value + ": give K=V"));
    arguments.build.labels[value.substr(0, equals)] = value.substr(equals + 1);
  } else if (option == "--owner") {
    auto parts = split(value, ':');
    auto uid = parse_int<uint32_t>(parts[0]), gid = parts.size() == 2 ? parse_int<uint32_t>(parts[1]) : uid;
    arguments.keep_owner = value == "keep";
    if (!arguments.keep_owner && (!uid || !gid))
      return fail(Status::bad_request("--owner " + value + ": give UID:GID or keep"));
    arguments.uid = uid.value_or(0);
    arguments.gid = gid.value_or(0);
  } else {
    return fail(Status::bad_request("unknown option " + option));
  }
  return {};
}

Result<Arguments> parse(const std::vector<std::string>& words) {
  Arguments arguments;
  std::vector<std::string> paths;
  for (size_t i = 0; i < words.size(); ++i) {
    if (!words[i].starts_with("--")) {
      paths.push_back(words[i]);
      continue;
    }
    size_t equals = words[i].find('=');
    std::string option = words[i].substr(0, equals);
    if (equals == std::string::npos && i + 1 == words.size())
      return fail(Status::bad_request(option + " needs a value"));
    std::string value = equals == std::string::npos ? words[++i] : words[i].substr(equals + 1);
    if (auto r = apply_option(arguments, option, value); !r) return fail(r.error());
  }
  if (paths.size() != 2) return fail(Status::bad_request("give a directory and the archive to write"));
  if (arguments.name.empty()) return fail(Status::bad_request("--name is missing"));
  arguments.root = paths[0];
  arguments.out = paths[1];
  return arguments;
}

class Walker {
 public:
  explicit Walker(const Arguments& arguments) : arguments_(arguments) {}
  Result<std::vector<LayerEntry>> run() {
    if (auto r = walk(""); !r) return fail(r.error());
    return std::move(entries_);
  }

 private:
  Result<void> walk(const std::string& directory) {
    auto names = file::list(arguments_.root + "/" + directory);
    if (!names) return fail(names.error());
    for (const std::string& name : *names)
      if (auto r = add(directory.empty() ? name : directory + "/" + name); !r) return r;
    return {};
  }

  Result<void> add(const std::string& path) {
    std::string full = arguments_.root + "/" + path;
    struct stat st {};
    if (::lstat(full.c_str(), &st) != 0) return fail(Status::from_errno("stat " + full));
    LayerEntry item{.entry = {.path = path,
                              .mode = st.st_mode & 07777,
                              .uid = arguments_.uid,
                              .gid = arguments_.gid,
                              .mtime = st.st_mtim.tv_sec}};
    if (arguments_.keep_owner) item.entry.uid = st.st_uid, item.entry.gid = st.st_gid;
    item.entry.major = major(st.st_rdev);
    item.entry.minor = minor(st.st_rdev);
    if (auto r = fill(item, full, st); !r) return r;
    bool directory = item.entry.type == TarType::directory;
    entries_.push_back(std::move(item));
    return directory ? walk(path) : Result<void>();
  }

  Result<void> fill(LayerEntry& item, const std::string& full, const struct stat& st) {
    switch (st.st_mode & S_IFMT) {
      case S_IFDIR: item.entry.type = TarType::directory; return {};
      case S_IFCHR: item.entry.type = TarType::char_device; return {};
      case S_IFBLK: item.entry.type = TarType::block_device; return {};
      case S_IFIFO: item.entry.type = TarType::fifo; return {};
      case S_IFLNK: {
        item.entry.type = TarType::symlink;
        item.entry.link.resize(static_cast<size_t>(st.st_size) + 1);
        ssize_t n = ::readlink(full.c_str(), item.entry.link.data(), item.entry.link.size());
        if (n < 0) return fail(Status::from_errno("read the link " + full));
        item.entry.link.resize(static_cast<size_t>(n));
        return {};
      }
      case S_IFREG: break;
      default: return fail(Status::bad_request(full + " is a socket, which no layer can hold"));
    }
    if (auto known = inodes_.find({st.st_dev, st.st_ino}); known != inodes_.end()) {
      item.entry.type = TarType::hard_link;
      item.entry.link = known->second;
      return {};
    }
    if (st.st_nlink > 1) inodes_[{st.st_dev, st.st_ino}] = item.entry.path;
    auto bytes = file::read(full, uint64_t{4} << 30);
    if (!bytes) return fail(bytes.error());
    item.bytes = std::move(*bytes);
    return {};
  }

  const Arguments& arguments_;
  std::vector<LayerEntry> entries_;
  std::map<std::pair<dev_t, ino_t>, std::string> inodes_;
};

Result<void> run(const std::vector<std::string>& words) {
  auto arguments = parse(words);
  if (!arguments) return fail(arguments.error());
  auto entries = Walker(*arguments).run();
  if (!entries) return fail(entries.error());
  auto layer = build_layer(*entries);
  if (!layer) return fail(layer.error());
  entries->clear();
  auto archive = build_archive_of_layers(arguments->name, {*layer}, arguments->build);
  if (!archive) return fail(archive.error());
  return file::write_atomic(arguments->out, *archive);
}

}  // namespace
}  // namespace kcube::runtime::images

int main(int argc, char** argv) {
  std::vector<std::string> words(argv + 1, argv + argc);
  if (words.empty() || words[0] == "--help" || words[0] == "-h") {
    std::fputs(kcube::runtime::images::kUsage, words.empty() ? stderr : stdout);
    return words.empty() ? 2 : 0;
  }
  auto done = kcube::runtime::images::run(words);
  if (done) return 0;
  std::fprintf(stderr, "mkimage: %s\n", done.error().message().c_str());
  return 1;
}
