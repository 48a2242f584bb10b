#include "runtime/images/registries.h"

#include <cerrno>
#include <regex>

#include "pkg/api/yaml.h"
#include "pkg/base/file.h"
#include "pkg/base/strings.h"

namespace kcube::runtime::images {
namespace {

// Docker Hub's name is not its address.
std::string address_of(const std::string& registry) {
  return registry == "docker.io" ? "registry-1.docker.io" : registry;
}

bool is_loopback(const std::string& host) {
  std::string name = host.starts_with('[') ? host.substr(0, host.find(']') + 1) : host.substr(0, host.find(':'));
  return name == "localhost" || name.starts_with("127.") || name == "[::1]";
}

std::string host_of(const std::string& url) {
  size_t start = url.find("://") + 3;
  return url.substr(start, url.find('/', start) - start);
}

// k3s writes "https://host" and "https://host/v2" for the same; any other path is taken as it is.
std::string with_api_path(std::string url) {
  if (url.find("://") == std::string::npos) url = "https://" + url;
  while (url.ends_with('/')) url.pop_back();
  if (url.find('/', url.find("://") + 3) == std::string::npos) url += "/v2";
  return url;
}

// $1 in the replacement stands for the first group, as in Go.
Result<std::string> rewritten(const std::string& repository,
                              const std::vector<std::pair<std::string, std::string>>& rewrites) {
  for (const auto& [pattern, replacement] : rewrites) {
    try {
      std::regex expression(pattern, std::regex::ECMAScript);
      if (!std::regex_search(repository, expression)) continue;
      return std::regex_replace(repository, expression, replace_all(replace_all(replacement, "${", "$"), "}", ""));
    } catch (const std::regex_error& error) {
      return fail(Status::bad_request("the rewrite \"" + pattern + "\" is no regular expression: " + error.what()));
    }
  }
  return repository;
}

RegistryAuth parse_auth(const json::value* v) {
  RegistryAuth auth{.username = std::string(json::get_string(json::find(v, "username"))),
                    .password = std::string(json::get_string(json::find(v, "password"))),
                    .identity_token = std::string(json::get_string(json::find(v, "identity_token")))};
  // Docker's "auth": base64 of user:password.
  if (auto pair = base64_decode(json::get_string(json::find(v, "auth"))); pair && auth.username.empty()) {
    size_t colon = pair->find(':');
    if (colon != std::string::npos) {
      auth.username = pair->substr(0, colon);
      auth.password = pair->substr(colon + 1);
    }
  }
  return auth;
}

}  // namespace

Result<Registries::File> Registries::parse(const std::string& text) {
  File result;
  auto documents = api::parse_yaml_stream(text);
  if (!documents) return fail(documents.error());
  if (documents->empty()) return result;
  const json::value* root = &documents->front();
  for (const auto& member : json::get_object(json::find(root, "mirrors"))) {
    Mirror mirror;
    for (const json::value& url : json::get_array(json::find(&member.value(), "endpoint")))
      mirror.endpoints.emplace_back(json::get_string(&url));
    for (const auto& rewrite : json::get_object(json::find(&member.value(), "rewrite")))
      mirror.rewrites.emplace_back(json::view(rewrite.key()), json::get_string(&rewrite.value()));
    result.mirrors[std::string(json::view(member.key()))] = std::move(mirror);
  }
  for (const auto& member : json::get_object(json::find(root, "configs"))) {
    RegistryConfig config;
    if (const json::value* auth = json::find(&member.value(), "auth")) config.auths.push_back(parse_auth(auth));
    if (const json::value* tls = json::find(&member.value(), "tls")) {
      config.has_tls = true;
      config.tls = {.ca_file = std::string(json::get_string(json::find(tls, "ca_file"))),
                    .certificate_file = std::string(json::get_string(json::find(tls, "cert_file"))),
                    .key_file = std::string(json::get_string(json::find(tls, "key_file"))),
                    .insecure_skip_verify = json::get_bool(json::find(tls, "insecure_skip_verify"))};
    }
    std::string host(json::view(member.key()));
    if (host.find("://") != std::string::npos) host = host_of(host);
    result.configs[host] = std::move(config);
  }
  return result;
}

Result<std::shared_ptr<const Registries::File>> Registries::current() {
  static const auto kNone = std::make_shared<const File>();
  if (file_.empty()) return kNone;
  std::lock_guard lock(mutex_);
  struct stat now {};
  if (::stat(file_.c_str(), &now) != 0) {
    if (errno == ENOENT) return kNone;
    return fail(Status::from_errno("stat " + file_));
  }
  bool unchanged = now.st_ino == seen_.st_ino && now.st_size == seen_.st_size &&
                   now.st_mtim.tv_sec == seen_.st_mtim.tv_sec && now.st_mtim.tv_nsec == seen_.st_mtim.tv_nsec;
  if (parsed_ && unchanged) return parsed_;
  auto text = file::read(file_, 1 << 20);
  if (!text) return fail(text.error());
  auto fresh = parse(*text);
  if (!fresh) return fail(fresh.error().with_context(file_));
  parsed_ = std::make_shared<const File>(std::move(*fresh));
  seen_ = now;
  return parsed_;
}

const Registries::RegistryConfig* Registries::config_of(const File& file, const std::string& host) {
  std::vector<std::string> keys{host};
  if (host == "registry-1.docker.io") keys.emplace_back("docker.io");
  keys.emplace_back("*");
  for (const std::string& key : keys)
    if (auto at = file.configs.find(key); at != file.configs.end()) return &at->second;
  return nullptr;
}

Result<std::vector<Endpoint>> Registries::endpoints(const ImageReference& reference) {
  auto file = current();
  if (!file) return fail(file.error());
  std::vector<Endpoint> result;
  auto add = [&](std::string url, const std::string& repository, bool mirror) {
    Endpoint endpoint{.url = with_api_path(std::move(url)), .repository = repository};
    endpoint.same_server = !result.empty() && host_of(result.back().url) == host_of(endpoint.url);
    if (mirror) endpoint.mirror_of = reference.registry;
    if (const RegistryConfig* config = config_of(**file, host_of(endpoint.url))) {
      endpoint.auths = config->auths;
      endpoint.tls = config->tls;
    }
    result.push_back(std::move(endpoint));
  };
  auto mirror = (*file)->mirrors.find(reference.registry);
  if (mirror == (*file)->mirrors.end()) mirror = (*file)->mirrors.find("*");
  if (mirror != (*file)->mirrors.end()) {
    auto repository = rewritten(reference.repository, mirror->second.rewrites);
    if (!repository) return fail(repository.error().with_context(file_));
    for (const std::string& url : mirror->second.endpoints) add(url, *repository, true);
  }
  std::string address = address_of(reference.registry);
  // A registry on this machine seldom has a certificate, and nobody can listen in between: as containerd, try without
  // first. (The other order would wait for servers that take a TLS greeting for a slow request.)
  if (const RegistryConfig* config = config_of(**file, address);
      is_loopback(address) && (config == nullptr || !config->has_tls))
    add("http://" + address, reference.repository, false);
  add("https://" + address, reference.repository, false);
  return result;
}

}  // namespace kcube::runtime::images
