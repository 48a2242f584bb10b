#include "pkg/server/encryption.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <algorithm>
#include <set>

#include "pkg/api/schema.h"
#include "pkg/api/yaml.h"
#include "pkg/base/executor.h"
#include "pkg/base/file.h"
#include "pkg/base/log.h"
#include "pkg/base/strings.h"

namespace kcube::server {
namespace {

constexpr std::string_view kRoot = "/registry/";

std::unexpected<Status> invalid(const std::string& path, const std::string& why) { return fail(Status::bad_request(path + ": " + why)); }

Result<std::vector<std::shared_ptr<const auth::Sealer>>> read_provider(const json::value& provider, const std::string& path) {
  std::vector<std::shared_ptr<const auth::Sealer>> sealers;
  const json::object& members = json::get_object(&provider);
  if (members.size() != 1) return invalid(path, "provider does not contain any of the expected providers: KMS, AESGCM, AESCBC, Secretbox, Identity");
  std::string kind(json::view(members.begin()->key()));
  if (kind == "identity") {
    sealers.push_back(*auth::make_sealer(kind, "", ""));
    return sealers;
  }
  if (kind != "aescbc" && kind != "aesgcm" && kind != "secretbox") return invalid(path + "." + kind, "this provider is not one of aesgcm, aescbc, secretbox and identity");
  std::set<std::string> names;
  for (const json::value& key : json::get_array(json::find(&members.begin()->value(), "keys"))) {
    std::string where = path + "." + kind + ".keys[" + std::to_string(sealers.size()) + "]", name(json::get_string(key, {"name"}));
    if (name.empty()) return invalid(where + ".name", "Required value: key name must be provided");
    if (name.find(':') != std::string::npos) return invalid(where + ".name", "Invalid value: \"" + name + "\": a name cannot hold a colon");
    if (!names.insert(name).second) return invalid(where + ".name", "Duplicate value: \"" + name + "\"");
    auto secret = base64_decode(json::get_string(key, {"secret"}));
    if (!secret) return invalid(where + ".secret", "secrets must be base64 encoded");
    auto sealer = auth::make_sealer(kind, name, *secret);
    if (!sealer) return invalid(where + ".secret", sealer.error().message());
    sealers.push_back(std::move(*sealer));
  }
  if (sealers.empty()) return invalid(path + "." + kind + ".keys", "Required value: at least one key is needed");
  return sealers;
}

// The prefixes of keys that a resource's name stands for.
std::vector<std::string> prefixes_of(const std::string& name) {
  size_t dot = name.find('.');
  std::string resource = name.substr(0, dot), group = dot == std::string::npos ? "" : name.substr(dot + 1), root(kRoot);
  if (name == "*.*") return {root};
  if (resource != "*") return {root + (group.empty() ? "" : group + "/") + resource + "/"};
  if (!group.empty()) return {root + group + "/"};
  std::set<std::string> core;
  for (const api::ResourceInfo& r : api::Schema::builtin().resources())
    if (r.group.empty() && r.subresource.empty()) core.insert(root + std::string(r.resource) + "/");
  return {core.begin(), core.end()};
}

}  // namespace

Result<store::EncryptionRules> parse_encryption(std::string_view text) {
  auto config = api::parse_yaml(text);
  if (!config) return fail(config.error());
  if (json::get_string(*config, {"kind"}) != "EncryptionConfiguration" || json::get_string(*config, {"apiVersion"}) != "apiserver.config.k8s.io/v1")
    return fail(Status::bad_request("expected an EncryptionConfiguration of apiserver.config.k8s.io/v1"));
  store::EncryptionRules rules;
  const json::array& entries = json::get_array(json::find(&*config, "resources"));
  if (entries.empty()) return invalid("resources", "Required value: at least one resource is needed");
  for (size_t i = 0; i < entries.size(); ++i) {
    std::string path = "resources[" + std::to_string(i) + "]";
    std::vector<std::shared_ptr<const auth::Sealer>> sealers;
    const json::array& providers = json::get_array(json::find(&entries[i], "providers"));
    if (providers.empty()) return invalid(path + ".providers", "Required value: at least one provider is needed");
    for (size_t p = 0; p < providers.size(); ++p) {
      auto more = read_provider(providers[p], path + ".providers[" + std::to_string(p) + "]");
      if (!more) return fail(more.error());
      sealers.insert(sealers.end(), more->begin(), more->end());
    }
    const json::array& resources = json::get_array(json::find(&entries[i], "resources"));
    if (resources.empty()) return invalid(path + ".resources", "Required value: at least one resource is needed");
    for (const json::value& r : resources) {
      std::string name(json::get_string(&r));
      if (name == "*") return invalid(path + ".resources", "Invalid value: \"*\": use '*.' to encrypt all the resources from core API group or *.* to encrypt all resources");
      for (std::string& prefix : prefixes_of(name)) rules.push_back({std::move(prefix), sealers});
    }
  }
  return rules;
}

EncryptionWatcher::EncryptionWatcher(std::string path, store::EncryptedStore& store, Fd notify, Fd wake)
    : path_(std::move(path)), store_(store), notify_(std::move(notify)), wake_(std::move(wake)), seen_(file::read(path_).value_or("")), thread_([this] { run(); }) {}

// The directory is watched, not the file: editors and mounted Secrets replace files.
Result<std::unique_ptr<EncryptionWatcher>> EncryptionWatcher::start(const std::string& path, store::EncryptedStore& store) {
  Fd notify(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK)), wake(::eventfd(0, EFD_CLOEXEC));
  size_t slash = path.rfind('/');
  std::string directory = slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
  if (!notify.valid() || !wake.valid() || ::inotify_add_watch(notify.get(), directory.c_str(), IN_CLOSE_WRITE | IN_MOVED_TO | IN_CREATE) < 0) return fail(Status::from_errno("watch " + directory));
  return std::unique_ptr<EncryptionWatcher>(new EncryptionWatcher(path, store, std::move(notify), std::move(wake)));
}

EncryptionWatcher::~EncryptionWatcher() {
  uint64_t one = 1;
  (void)!::write(wake_.get(), &one, sizeof one);
  thread_.join();
}

void EncryptionWatcher::run() {
  set_thread_name("encryption");
  while (true) {
    pollfd fds[] = {{notify_.get(), POLLIN, 0}, {wake_.get(), POLLIN, 0}};
    if (::poll(fds, 2, -1) < 0 && errno != EINTR) return;
    if (fds[1].revents != 0) return;
    char events[4096];
    while (::read(notify_.get(), events, sizeof events) > 0) {}
    auto text = file::read(path_);
    if (!text || *text == seen_) continue;
    seen_ = *text;
    auto rules = parse_encryption(*text);
    if (!rules) {
      log::error("server", "the changed encryption configuration cannot be used", {{"path", path_}, {"error", rules.error()}});
      continue;
    }
    store_.set_rules(std::move(*rules));
    log::info("server", "encryption configuration read again", {{"path", path_}});
  }
}

}  // namespace kcube::server
