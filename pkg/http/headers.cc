#include <strings.h>

#include "pkg/base/strings.h"
#include "pkg/http/server.h"

namespace kcube::http {
namespace {

bool same_name(std::string_view a, std::string_view b) {
  return a.size() == b.size() && ::strncasecmp(a.data(), b.data(), a.size()) == 0;
}

}  // namespace

void Headers::add(std::string name, std::string value) { items_.emplace_back(std::move(name), std::move(value)); }

void Headers::set(std::string name, std::string value) {
  std::erase_if(items_, [&](const auto& item) { return same_name(item.first, name); });
  add(std::move(name), std::move(value));
}

std::string_view Headers::get(std::string_view name) const {
  for (const auto& [key, value] : items_)
    if (same_name(key, name)) return value;
  return {};
}

bool Headers::has(std::string_view name) const {
  for (const auto& item : items_)
    if (same_name(item.first, name)) return true;
  return false;
}

std::vector<std::string_view> Headers::all(std::string_view name) const {
  std::vector<std::string_view> found;
  for (const auto& [key, value] : items_)
    if (same_name(key, name)) found.push_back(value);
  return found;
}

Query Query::parse(std::string_view raw) {
  Query query;
  while (!raw.empty()) {
    auto part = raw.substr(0, raw.find('&'));
    raw.remove_prefix(std::min(raw.size(), part.size() + 1));
    if (part.empty()) continue;
    auto equals = part.find('=');
    auto value = equals == std::string_view::npos ? std::string_view() : part.substr(equals + 1);
    query.items_.emplace_back(percent_decode(part.substr(0, equals), true), percent_decode(value, true));
  }
  return query;
}

std::string_view Query::get(std::string_view name) const {
  for (const auto& [key, value] : items_)
    if (key == name) return value;
  return {};
}

bool Query::has(std::string_view name) const {
  for (const auto& item : items_)
    if (item.first == name) return true;
  return false;
}

bool Query::flag(std::string_view name) const {
  if (!has(name)) return false;
  std::string_view value = get(name);
  return value != "0" && !same_name(value, "false");
}

std::vector<std::string_view> Query::all(std::string_view name) const {
  std::vector<std::string_view> found;
  for (const auto& [key, value] : items_)
    if (key == name) found.push_back(value);
  return found;
}

}  // namespace kcube::http
