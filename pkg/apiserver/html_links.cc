#include "pkg/apiserver/html_links.h"

#include <algorithm>
#include <cctype>
#include <utility>

#include "pkg/base/strings.h"

namespace kcube::apiserver {
namespace {

constexpr size_t kLongestTag = size_t{64} << 10;

// Elements and those of their attributes that hold links. Source: the index of attributes of the HTML standard.
constexpr std::pair<std::string_view, std::string_view> kLinks[] = {
    {"a", "href"},         {"applet", "codebase"}, {"area", "href"},     {"audio", "src"},      {"base", "href"},     {"blockquote", "cite"},
    {"body", "background"}, {"button", "formaction"}, {"command", "icon"}, {"del", "cite"},      {"embed", "src"},     {"form", "action"},
    {"frame", "longdesc"}, {"frame", "src"},       {"head", "profile"},  {"html", "manifest"},  {"iframe", "longdesc"}, {"iframe", "src"},
    {"img", "longdesc"},   {"img", "src"},         {"img", "usemap"},    {"input", "formaction"}, {"input", "src"},   {"input", "usemap"},
    {"ins", "cite"},       {"link", "href"},       {"object", "classid"}, {"object", "codebase"}, {"object", "data"}, {"object", "usemap"},
    {"q", "cite"},         {"script", "src"},      {"source", "src"},    {"video", "poster"},   {"video", "src"}};

bool holds_link(std::string_view element, std::string_view attribute) {
  return std::ranges::find(kLinks, std::pair(element, attribute)) != std::end(kLinks);
}

bool is_space(char c) { return std::isspace(static_cast<unsigned char>(c)) != 0; }

std::string_view take_while(std::string_view text, size_t& at, auto&& wanted) {
  size_t from = at;
  while (at < text.size() && wanted(text[at])) ++at;
  return text.substr(from, at - from);
}

// The end of the tag that starts at 0: behind its '>', quotes respected; npos when it is not there yet.
size_t tag_end(std::string_view text) {
  char quote = 0;
  for (size_t i = 1; i < text.size(); ++i) {
    if (quote != 0) {
      if (text[i] == quote) quote = 0;
    } else if (text[i] == '>') {
      return i + 1;
    } else if ((text[i] == '"' || text[i] == '\'') && text[i - 1] == '=') {
      quote = text[i];
    }
  }
  return std::string_view::npos;
}

size_t find_ignoring_case(std::string_view text, std::string_view what) {
  auto found = std::ranges::search(text, what, {}, [](char c) { return static_cast<char>(std::tolower(static_cast<unsigned char>(c))); });
  return found.empty() ? std::string_view::npos : static_cast<size_t>(found.begin() - text.begin());
}

}  // namespace

std::string rewrite_link(std::string_view link, std::string_view prefix, std::string_view host) {
  std::string_view path = link;
  size_t scheme = path.find("://");
  if (scheme != std::string_view::npos && path.find('/') > scheme) path.remove_prefix(scheme + 3);
  else if (path.starts_with("//")) path.remove_prefix(2);
  else scheme = std::string_view::npos;
  if (path.size() != link.size()) {   // it names a host
    size_t end = std::min(path.find('/'), path.size());
    if (path.substr(0, end) != host) return std::string(link);
    path.remove_prefix(end);
  }
  if (!path.starts_with('/') || path.starts_with(prefix)) return std::string(link);
  return std::string(prefix) + std::string(path);
}

std::string HtmlLinks::rewrite_tag(std::string_view tag) {
  size_t at = 1;
  std::string element = to_lower(take_while(tag, at, [](char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0; }));
  if (element == "script" || element == "style" || element == "textarea" || element == "title") raw_until_ = "</" + element;
  std::string out(tag.substr(0, at));
  while (at < tag.size()) {
    out += take_while(tag, at, [](char c) { return is_space(c) || c == '/'; });
    std::string_view name = take_while(tag, at, [](char c) { return !is_space(c) && c != '=' && c != '>' && c != '/'; });
    out += name;
    size_t before = at;
    take_while(tag, at, is_space);
    if (at >= tag.size() || tag[at] != '=') {
      at = before;
      if (name.empty() && at < tag.size() && tag[at] != '/' && !is_space(tag[at])) out += tag[at++];
      continue;
    }
    ++at;
    take_while(tag, at, is_space);
    out += '=';
    char quote = at < tag.size() && (tag[at] == '"' || tag[at] == '\'') ? tag[at++] : '\0';
    std::string_view value = take_while(tag, at, [&](char c) { return quote != 0 ? c != quote : !is_space(c) && c != '>'; });
    if (quote != 0) {
      out += quote;
      if (at < tag.size()) ++at;
    }
    if (holds_link(element, to_lower(name))) out += rewrite_link(value, prefix_, host_);
    else out += value;
    if (quote != 0) out += quote;
  }
  return out;
}

std::string HtmlLinks::feed(std::string_view piece) {
  pending_ += piece;
  std::string out;
  std::string_view rest = pending_;
  while (!rest.empty()) {
    if (!raw_until_.empty()) {
      size_t end = find_ignoring_case(rest, raw_until_);
      // The end may have come by half.
      size_t sure = end != std::string_view::npos ? end : rest.size() - std::min(rest.size(), raw_until_.size() - 1);
      out += rest.substr(0, sure);
      rest.remove_prefix(sure);
      if (end == std::string_view::npos) break;
      raw_until_.clear();
    }
    size_t tag = std::min(rest.find('<'), rest.size());
    out += rest.substr(0, tag);
    rest.remove_prefix(tag);
    if (rest.size() < 4) break;
    if (rest.starts_with("<!--")) {
      raw_until_ = "-->";
      continue;
    }
    size_t end = tag_end(rest);
    if (end == std::string_view::npos && rest.size() < kLongestTag) break;
    out += end == std::string_view::npos ? std::string(rest) : rewrite_tag(rest.substr(0, end));
    rest.remove_prefix(std::min(end, rest.size()));
  }
  pending_ = std::string(rest);
  return out;
}

std::string HtmlLinks::finish() { return std::exchange(pending_, {}); }

}  // namespace kcube::apiserver
