#include "pkg/apiserver/request_info.h"

#include "pkg/base/strings.h"

namespace kcube::apiserver {
namespace {

std::string verb_of(std::string_view method, bool named, bool watch) {
  if (method == "GET" || method == "HEAD") return named ? "get" : watch ? "watch" : "list";
  if (method == "POST") return "create";
  if (method == "PUT") return "update";
  if (method == "PATCH") return "patch";
  if (method == "DELETE") return named ? "delete" : "deletecollection";
  return "";
}

// Subresources of a namespace; anything else behind it is a resource inside.
bool is_namespace_subresource(std::string_view part) { return part == "status" || part == "finalize"; }

}  // namespace

RequestInfo parse_request(std::string_view method, std::string_view path, bool watch) {
  RequestInfo info;
  info.verb = to_lower(method);
  std::vector<std::string_view> parts;
  for (std::string_view part : split(path.starts_with('/') ? path.substr(1) : path, '/')) parts.push_back(part);
  while (!parts.empty() && parts.back().empty()) parts.pop_back();
  if (parts.empty() || (parts[0] != "api" && parts[0] != "apis")) return info;
  size_t at = 1;
  info.prefix = parts[0];
  if (info.prefix == "apis") {
    if (parts.size() < 4) return info;
    info.group = parts[at++];
  } else if (parts.size() < 3) {
    return info;
  }
  info.version = parts[at++];
  bool watch_path = parts[at] == "watch";   // the old form /api/v1/watch/…
  if ((watch_path || parts[at] == "proxy") && at + 1 >= parts.size()) {
    info.verb = "unknown";
    return info;
  }
  if (watch_path) ++at;
  info.is_resource = true;
  if (parts[at] == "namespaces" && at + 2 < parts.size() && !is_namespace_subresource(parts[at + 2])) {
    info.ns = parts[at + 1];
    at += 2;
  }
  info.resource = parts[at++];
  if (at < parts.size()) info.name = parts[at++];
  if (at < parts.size()) info.subresource = parts[at++];
  if (info.resource == "namespaces") info.ns = info.name;
  if (info.subresource == "proxy") {
    info.rest = path.substr(static_cast<size_t>(parts[at - 1].data() + parts[at - 1].size() - path.data()));
  } else if (at < parts.size()) {
    info.is_resource = false;   // nothing is served that deep
  }
  info.verb = verb_of(method, !info.name.empty(), watch);
  if (watch_path) info.verb = "watch";
  return info;
}

}  // namespace kcube::apiserver
