// Links of a page that is shown through a proxy subresource: absolute paths get the proxy's path put before them, so that
// a browser comes back through the proxy. Source: the behaviour of kube-apiserver's proxy.
#pragma once

#include <string>
#include <string_view>

namespace kcube::apiserver {

// A link as it must read behind the proxy at `prefix` ("/api/v1/namespaces/a/pods/b/proxy"). Relative links, those to
// hosts other than `host` and those that have the prefix already stay as they are.
std::string rewrite_link(std::string_view link, std::string_view prefix, std::string_view host);

// Rewrites HTML as it streams by. Holds back at most one tag; a tag longer than 64 KiB passes as it is.
class HtmlLinks {
 public:
  HtmlLinks(std::string prefix, std::string host) : prefix_(std::move(prefix)), host_(std::move(host)) {}

  // What can be sent after this piece.
  std::string feed(std::string_view piece);
  // The rest, when the page is over.
  std::string finish();

 private:
  std::string rewrite_tag(std::string_view tag);

  std::string prefix_, host_;
  std::string pending_;       // not sent yet
  std::string raw_until_;     // "</script": text in which no tags are, up to this; "-->" in a comment
};

}  // namespace kcube::apiserver
