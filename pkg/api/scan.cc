#include "pkg/api/scan.h"

#include "pkg/api/json.h"

namespace kcube::api {
namespace {

size_t skip_space(std::string_view t, size_t i) {
  while (i < t.size() && (t[i] == ' ' || t[i] == '\n' || t[i] == '\t' || t[i] == '\r')) ++i;
  return i;
}

// `i` is at the opening quote; returns the place after the closing one.
size_t skip_string(std::string_view t, size_t i) {
  for (++i; i < t.size(); ++i) {
    if (t[i] == '\\') ++i;
    else if (t[i] == '"') return i + 1;
  }
  return t.size();
}

size_t skip_value(std::string_view t, size_t i) {
  if (i >= t.size()) return i;
  if (t[i] == '"') return skip_string(t, i);
  if (t[i] == '{' || t[i] == '[') {
    int depth = 0;
    while (i < t.size()) {
      char c = t[i];
      if (c == '"') {
        i = skip_string(t, i);
        continue;
      }
      if (c == '{' || c == '[') ++depth;
      if ((c == '}' || c == ']') && --depth == 0) return i + 1;
      ++i;
    }
    return i;
  }
  while (i < t.size() && t[i] != ',' && t[i] != '}' && t[i] != ']') ++i;
  return i;
}

}  // namespace

MemberScanner::MemberScanner(std::string_view text) : text_(text), at_(skip_space(text, 0)) {}

bool MemberScanner::next() {
  if (at_ >= text_.size() || (text_[at_] != '{' && text_[at_] != ',')) return false;
  size_t i = skip_space(text_, at_ + 1);
  if (i >= text_.size() || text_[i] != '"') return false;
  size_t key_end = skip_string(text_, i);
  key_ = text_.substr(i + 1, key_end - i - 2);
  i = skip_space(text_, key_end);
  i = skip_space(text_, i + 1);  // ':'
  size_t end = skip_value(text_, i);
  value_ = text_.substr(i, end - i);
  at_ = skip_space(text_, end);
  return true;
}

std::string_view scan_member(std::string_view text, std::string_view name) {
  for (MemberScanner members(text); members.next();)
    if (members.key() == name) return members.value();
  return {};
}

std::string_view scan_path(std::string_view text, std::initializer_list<std::string_view> path) {
  for (std::string_view name : path) text = scan_member(text, name);
  return text;
}

std::string_view scan_dotted(std::string_view text, std::string_view path) {
  while (!path.empty()) {
    size_t dot = path.find('.');
    text = scan_member(text, path.substr(0, dot));
    if (dot == std::string_view::npos) break;
    path.remove_prefix(dot + 1);
  }
  return text;
}

std::string scalar_text(std::string_view raw) {
  if (raw.empty() || raw == "null") return {};
  if (raw[0] != '"') return std::string(raw);
  if (raw.find('\\') == std::string_view::npos) return std::string(raw.substr(1, raw.size() - 2));
  auto value = json::parse(raw);
  return value ? std::string(json::get_string(&*value)) : std::string();
}

}  // namespace kcube::api
