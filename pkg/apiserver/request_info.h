// What a URL asks for. Source: the API concepts page of the Kubernetes docs; the paths kube-apiserver serves.
#pragma once

#include <string>
#include <string_view>

namespace kcube::apiserver {

struct RequestInfo {
  bool is_resource = false;
  std::string verb;              // get, list, watch, create, update, patch, delete, deletecollection; else the method in lower case,
                                 // or "unknown" where a resource should follow
  std::string prefix;            // "api" or "apis"
  std::string group, version;
  std::string ns, resource, subresource, name;
  std::string rest;              // what follows a proxy subresource, with its leading '/'
};

// `path` is percent-decoded. Watches are told from lists by `watch`, names in field selectors are the caller's.
RequestInfo parse_request(std::string_view method, std::string_view path, bool watch);

}  // namespace kcube::apiserver
