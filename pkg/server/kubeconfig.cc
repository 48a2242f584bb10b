#include "pkg/server/kubeconfig.h"

#include <sys/stat.h>
#include <unistd.h>

#include "pkg/api/yaml.h"
#include "pkg/base/file.h"
#include "pkg/base/strings.h"

namespace kcube::server {
namespace {

constexpr const char* kLists[] = {"clusters", "users", "contexts"};

bool plain(std::string_view s) {
  static constexpr std::string_view kSafe = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./+=:@";
  if (s.empty() || s.find_first_not_of(kSafe) != std::string_view::npos) return false;
  // What could be read as something other than text, or as a key.
  bool starts_odd = std::string_view("-:.=@+0123456789").find(s[0]) != std::string_view::npos;
  return !starts_odd && s.find(": ") == std::string_view::npos && !s.ends_with(':') && s != "true" && s != "false" && s != "null" && s != "yes" && s != "no" && s != "on" && s != "off" && s != "y" && s != "n";
}

// Block style, as people keep these files. Only what a kubeconfig holds.
void write_yaml(std::string& out, const json::value& v, int depth, bool in_list) {
  std::string indent(static_cast<size_t>(depth) * 2, ' ');
  if (v.is_object() && !v.get_object().empty()) {
    bool first = in_list;
    for (const auto& m : v.get_object()) {
      if (!first) out += indent;
      first = false;
      out.append(m.key()).append(":");
      bool block = (m.value().is_object() && !m.value().get_object().empty()) || (m.value().is_array() && !m.value().get_array().empty());
      out += block ? "\n" : " ";
      write_yaml(out, m.value(), m.value().is_array() ? depth : depth + 1, false);
    }
    return;
  }
  if (v.is_array() && !v.get_array().empty()) {
    for (const json::value& item : v.get_array()) {
      out += indent + "- ";
      write_yaml(out, item, depth + 1, true);
    }
    return;
  }
  if (v.is_string() && plain(json::get_string(&v))) out += json::get_string(&v);
  else json::append(out, v);
  out += '\n';
}

std::string to_yaml(const json::value& v) {
  std::string out;
  write_yaml(out, v, 0, false);
  return out;
}

void remove_named(json::object& config, const char* list, std::string_view name) {
  json::array kept;
  for (json::value& item : json::ensure_array(config, list))
    if (json::get_string(item, {"name"}) != name) kept.push_back(std::move(item));
  config[list] = std::move(kept);
}

Result<json::value> read_config(const std::string& path) {
  auto text = file::read(path);
  if (!text && text.error().is_not_found()) return json::object{{"apiVersion", "v1"}, {"kind", "Config"}};
  if (!text) return fail(text.error());
  if (trim(*text).empty()) return json::object{{"apiVersion", "v1"}, {"kind", "Config"}};
  auto config = api::parse_yaml(*text);
  if (!config || !config->is_object()) return fail(Status::bad_request(path + " is no kubeconfig; move it away or set KUBECONFIG to another file"));
  return config;
}

}  // namespace

std::string kubeconfig_text(const KubeconfigEntry& e) {
  json::object cluster{{"server", e.server}, {"certificate-authority-data", base64_encode(e.ca_pem)}};
  json::object user{{"client-certificate-data", base64_encode(e.client.certificate_pem)}, {"client-key-data", base64_encode(e.client.key_pem)}};
  json::object context{{"cluster", e.context}, {"user", e.context}};
  json::object config{{"apiVersion", "v1"}, {"kind", "Config"}};
  config["clusters"] = json::array{json::object{{"name", e.context}, {"cluster", std::move(cluster)}}};
  config["users"] = json::array{json::object{{"name", e.context}, {"user", std::move(user)}}};
  config["contexts"] = json::array{json::object{{"name", e.context}, {"context", std::move(context)}}};
  config["current-context"] = e.context;
  return to_yaml(config);
}

Result<void> merge_kubeconfig(const std::string& path, const std::string& entry, bool switch_context, uid_t uid, gid_t gid) {
  auto config = read_config(path);
  if (!config) return fail(config.error());
  auto added = api::parse_yaml(entry);
  if (!added) return fail(added.error());
  json::object& object = config->get_object();
  for (const char* list : kLists) {
    for (const json::value& item : json::get_array(json::find(&*added, list))) {
      remove_named(object, list, json::get_string(item, {"name"}));
      json::ensure_array(object, list).push_back(item);
    }
  }
  if (switch_context || json::get_string(object.if_contains("current-context")).empty()) object["current-context"] = *json::find(&*added, "current-context");
  size_t slash = path.rfind('/');
  if (slash != std::string::npos && slash != 0) {
    std::string directory = path.substr(0, slash);
    bool fresh = !file::exists(directory);
    if (auto made = file::make_dirs(directory, 0755); !made) return made;
    if (fresh && ::chown(directory.c_str(), uid, gid) != 0 && ::geteuid() == 0) return fail(Status::from_errno("chown " + directory));
  }
  if (auto written = file::write_atomic(path, to_yaml(*config), 0600); !written) return written;
  if (::chown(path.c_str(), uid, gid) != 0 && ::geteuid() == 0) return fail(Status::from_errno("chown " + path));
  return {};
}

Result<void> remove_from_kubeconfig(const std::string& path, const std::string& context) {
  if (!file::exists(path)) return {};
  struct stat before{};
  if (::stat(path.c_str(), &before) != 0) return fail(Status::from_errno("stat " + path));
  auto config = read_config(path);
  if (!config) return fail(config.error());
  json::object& object = config->get_object();
  for (const char* list : kLists) remove_named(object, list, context);
  if (json::get_string(object.if_contains("current-context")) == context) object["current-context"] = "";
  if (auto written = file::write_atomic(path, to_yaml(*config), before.st_mode & 0777); !written) return written;
  if (::chown(path.c_str(), before.st_uid, before.st_gid) != 0 && ::geteuid() == 0) return fail(Status::from_errno("chown " + path));
  return {};
}

}  // namespace kcube::server
