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

using Sealers = std::vector<std::shared_ptr<const auth::Sealer>>;

Result<Sealers> read_keys(const std::string& kind, const json::value& provider, const std::string& path) {
  Sealers sealers;
  for (const json::value& key : json::get_array(json::find(&provider, "keys"))) {
    std::string where = path + ".keys[" + std::to_string(sealers.size()) + "]", name(json::get_string(key, {"name"})), encoded(json::get_string(key, {"secret"}));
    if (name.empty()) return invalid(where + ".name", "Required value: name is a mandatory field for a key");
    if (encoded.empty()) return invalid(where + ".secret", "Required value: secret is a mandatory field for a secret");
    auto secret = base64_decode(encoded);
    if (!secret) return invalid(where + ".secret", "Invalid value: \"REDACTED\": secrets must be base64 encoded");
    auto sealer = auth::make_sealer(kind, name, *secret);
    if (!sealer) return invalid(where + ".secret", "Invalid value: \"REDACTED\": " + sealer.error().message());
    sealers.push_back(std::move(*sealer));
  }
  if (sealers.empty()) return invalid(path + ".keys", "Required value: at least one keys is required");
  return sealers;
}

// Go's durations, as far as timeouts need them: "3s", "1m30s", "500ms".
std::optional<std::chrono::milliseconds> read_duration(std::string_view text) {
  double total = 0;
  while (!text.empty()) {
    size_t digits = text.find_first_not_of("0123456789.");
    if (digits == 0 || digits == std::string_view::npos) return std::nullopt;
    double value = std::strtod(std::string(text.substr(0, digits)).c_str(), nullptr);
    text.remove_prefix(digits);
    size_t end = std::min(text.find_first_of("0123456789."), text.size());
    std::string_view unit = text.substr(0, end);
    if (unit == "ms") total += value;
    else if (unit == "s") total += value * 1000;
    else if (unit == "m") total += value * 60000;
    else if (unit == "h") total += value * 3600000;
    else return std::nullopt;
    text.remove_prefix(end);
  }
  return std::chrono::milliseconds(static_cast<int64_t>(std::min(total, 1e9)));
}

Result<std::shared_ptr<KmsProvider>> read_kms(const json::value& kms, const std::string& path, std::set<std::string>& names, Clock& clock) {
  std::string name(json::get_string(kms, {"name"})), endpoint(json::get_string(kms, {"endpoint"})), version(json::get_string(kms, {"apiVersion"}));
  auto value = [](std::string_view text) { return "Invalid value: \"" + std::string(text) + "\": "; };
  if (name.empty()) return invalid(path + ".name", "Required value: name is a mandatory field for a provider");
  if (name.find(':') != std::string::npos) return invalid(path + ".name", value(name) + "invalid KMS provider name " + name + ", must not contain ':'");
  if (!names.insert(name).second) return invalid(path + ".name", value(name) + "duplicate KMS provider name " + name + ", names must be unique");
  std::string_view said = json::get_string(kms, {"timeout"});
  auto timeout = said.empty() ? std::chrono::milliseconds(3000) : read_duration(said);
  if (!timeout || timeout->count() <= 0) return invalid(path + ".timeout", value(said) + "timeout should be a positive value");
  if (endpoint.empty()) return invalid(path + ".endpoint", value("") + "endpoint is a mandatory field for a kms");
  size_t scheme = endpoint.find("://");
  if (scheme == std::string::npos || endpoint.substr(0, scheme) != "unix")
    return invalid(path + ".endpoint", value(endpoint) + "unsupported scheme \"" + (scheme == std::string::npos ? "" : endpoint.substr(0, scheme)) + "\" for KMS provider, only unix is supported");
  std::string socket = endpoint.substr(scheme + 3);
  if (!socket.starts_with('/') || socket.starts_with("/@")) return invalid(path + ".endpoint", value(endpoint) + "the path of a socket is expected, like unix:///run/kms.sock");
  if (version.empty() || version == "v1") return invalid(path + ".apiVersion", "Invalid value: \"v1\": KMSv1 is deprecated and will only receive security updates going forward. Use KMSv2 instead.");
  if (version != "v2") return invalid(path + ".apiVersion", value(version) + "unsupported apiVersion apiVersion for KMS provider, only v1 and v2 are supported");
  if (json::find(&kms, "cachesize") != nullptr) return invalid(path + ".cachesize", "Invalid value: " + json::serialize(*json::find(&kms, "cachesize")) + ": cachesize is not supported in v2");
  return std::make_shared<KmsProvider>(name, std::move(socket), *timeout, clock);
}

Result<Sealers> read_provider(const json::value& provider, const std::string& path, std::set<std::string>& names, Encryption& out, Clock& clock) {
  static constexpr std::string_view kKinds[] = {"kms", "aesgcm", "aescbc", "secretbox", "identity"};
  const json::object& members = json::get_object(&provider);
  std::vector<std::string> kinds;
  for (std::string_view kind : kKinds)
    if (members.contains(kind)) kinds.emplace_back(kind);
  for (const auto& member : members)
    if (std::ranges::find(kKinds, json::view(member.key())) == std::end(kKinds)) return invalid(path, "unknown field \"" + std::string(json::view(member.key())) + "\"");
  if (kinds.empty()) return invalid(path, "provider does not contain any of the expected providers: KMS, AESGCM, AESCBC, Secretbox, Identity");
  if (kinds.size() > 1) return invalid(path, "more than one provider specified in a single element, should split into different list elements");
  const std::string& kind = kinds[0];
  if (kind == "identity") return Sealers{*auth::make_sealer(kind, "", "")};
  if (kind != "kms") return read_keys(kind, members.at(kind), path + "." + kind);
  auto kms = read_kms(members.at(kind), path + ".kms", names, clock);
  if (!kms) return fail(kms.error());
  out.kms.push_back(*kms);
  return Sealers{std::move(*kms)};
}

// "deployments.apps" → {"deployments", "apps"}.
std::pair<std::string, std::string> group_resource(const std::string& name) {
  size_t dot = name.find('.');
  return {name.substr(0, dot), dot == std::string::npos ? "" : name.substr(dot + 1)};
}

// As one list may name them: none twice, none behind a pattern that has it already.
Result<void> check_overlap(const std::vector<std::string>& names, const std::string& path) {
  std::string list;
  for (const std::string& name : names) list += (list.empty() ? "\"" : ",\"") + name + "\"";
  bool twice = false, overlap = false;
  for (size_t i = 0; i < names.size(); ++i)
    for (size_t j = 0; j < names.size(); ++j) {
      if (i == j) continue;
      auto a = group_resource(names[i]), b = group_resource(names[j]);
      if (a == b) twice = true;
      else if (names[i] == "*.*" || (a.second == b.second && (a.first == "*" || b.first == "*"))) overlap = true;
    }
  if (twice) return invalid(path, "Invalid value: [" + list + "]: the same resource cannot be specified multiple times");
  if (overlap) return invalid(path, "Invalid value: [" + list + "]: using overlapping resources such as 'secrets' and '*.' in the same resource list is not allowed as they will be masked");
  return {};
}

Result<void> check_name(const std::string& name, const std::string& path) {
  auto wrong = [&](std::string_view why) { return invalid(path, "Invalid value: \"" + name + "\": " + std::string(why)); };
  auto [resource, group] = group_resource(name);
  if (to_lower(name) != name) return wrong("resource name should not contain capital letters");
  if (name == "*") return wrong("use '*.' to encrypt all the resources from core API group or *.* to encrypt all resources");
  if (name == "apiserveripinfo" || name == "serviceipallocations" || name == "servicenodeportallocations") return wrong("resources which do not have REST API/s cannot be encrypted");
  if (group == "events.k8s.io") return wrong("'*.events.k8s.io' objects are stored using the 'events' API group in etcd. Use 'events' instead in the config file");
  if (group == "extensions") return wrong("'extensions' group has been removed and cannot be used for encryption");
  if (group == "*" && resource != "*") return wrong("encrypting the same resource across groups is not supported");
  return {};
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

Result<Encryption> parse_encryption(std::string_view text, Clock& clock) {
  auto config = api::parse_yaml(text);
  if (!config) return fail(config.error());
  if (json::get_string(*config, {"kind"}) != "EncryptionConfiguration" || json::get_string(*config, {"apiVersion"}) != "apiserver.config.k8s.io/v1")
    return fail(Status::bad_request("expected an EncryptionConfiguration of apiserver.config.k8s.io/v1"));
  Encryption out;
  std::set<std::string> kms_names;
  const json::array& entries = json::get_array(json::find(&*config, "resources"));
  if (entries.empty()) return invalid("resources", "Required value: at least one resources is required");
  for (size_t i = 0; i < entries.size(); ++i) {
    const std::string path = "resources[" + std::to_string(i) + "]";
    std::vector<std::string> names;
    for (const json::value& r : json::get_array(json::find(&entries[i], "resources"))) names.emplace_back(json::get_string(&r));
    if (names.empty()) return invalid(path + ".resources", "Required value: at least one " + path + ".resources is required");
    if (auto done = check_overlap(names, path + ".resources"); !done) return fail(done.error());
    for (size_t n = 0; n < names.size(); ++n)
      if (auto done = check_name(names[n], path + ".resources[" + std::to_string(n) + "]"); !done) return fail(done.error());
    const json::array& providers = json::get_array(json::find(&entries[i], "providers"));
    if (providers.empty()) return invalid(path + ".providers", "Required value: at least one " + path + ".providers is required");
    Sealers sealers;
    for (size_t p = 0; p < providers.size(); ++p) {
      auto more = read_provider(providers[p], path + ".providers[" + std::to_string(p) + "]", kms_names, out, clock);
      if (!more) return fail(more.error());
      sealers.insert(sealers.end(), more->begin(), more->end());
    }
    for (const std::string& name : names)
      for (std::string& prefix : prefixes_of(name)) out.rules.push_back({std::move(prefix), sealers});
  }
  return out;
}

EncryptionWatcher::EncryptionWatcher(std::string path, store::EncryptedStore& store, KmsHealth& health, Clock& clock, Fd notify, Fd wake)
    : path_(std::move(path)), store_(store), health_(health), clock_(clock), notify_(std::move(notify)), wake_(std::move(wake)), seen_(file::read(path_).value_or("")), thread_([this] { run(); }) {}

// The directory is watched, not the file: editors and mounted Secrets replace files.
Result<std::unique_ptr<EncryptionWatcher>> EncryptionWatcher::start(const std::string& path, store::EncryptedStore& store, KmsHealth& health, Clock& clock) {
  Fd notify(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK)), wake(::eventfd(0, EFD_CLOEXEC));
  size_t slash = path.rfind('/');
  std::string directory = slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
  if (!notify.valid() || !wake.valid() || ::inotify_add_watch(notify.get(), directory.c_str(), IN_CLOSE_WRITE | IN_MOVED_TO | IN_CREATE) < 0) return fail(Status::from_errno("watch " + directory));
  return std::unique_ptr<EncryptionWatcher>(new EncryptionWatcher(path, store, health, clock, std::move(notify), std::move(wake)));
}

EncryptionWatcher::~EncryptionWatcher() {
  uint64_t one = 1;
  (void)!::write(wake_.get(), &one, sizeof one);
  thread_.join();
}

Result<void> EncryptionWatcher::use(std::string_view text) {
  auto next = parse_encryption(text, clock_);
  if (!next) return fail(next.error());
  for (const auto& provider : next->kms)
    if (auto well = provider->check(); !well) return well;
  store_.set_rules(std::move(next->rules));
  health_.set(std::move(next->kms));
  return {};
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
    if (auto used = use(*text); !used) {
      log::error("server", "the changed encryption configuration cannot be used", {{"path", path_}, {"error", used.error()}});
      continue;
    }
    log::info("server", "encryption configuration read again", {{"path", path_}});
  }
}

}  // namespace kcube::server
