#include "pkg/apiserver/machinery/field_set.h"

namespace kcube::machinery {
namespace {

std::string element_text(std::string_view element) {
  std::string_view rest = element.substr(std::min<size_t>(2, element.size()));
  if (element.starts_with("f:")) return "." + std::string(rest);
  if (element.starts_with("v:")) return "[=" + std::string(rest) + "]";
  if (!element.starts_with("k:")) return "[" + std::string(rest) + "]";
  std::string out;
  auto keys = json::parse(rest);
  if (!keys) return "[" + std::string(rest) + "]";
  for (const auto& m : json::get_object(&*keys)) out += (out.empty() ? "" : ",") + std::string(m.key()) + "=" + json::serialize(m.value());
  return "[" + out + "]";
}

void collect(const FieldSet& set, const std::string& path, std::vector<std::string>& out) {
  if (set.member) out.push_back(path);
  for (const auto& [element, child] : set.children) collect(child, path + element_text(element), out);
}

}  // namespace

FieldSet FieldSet::from_json(const json::value* fields) {
  FieldSet set;
  for (const auto& m : json::get_object(fields)) {
    if (m.key() == ".") {
      set.member = true;
      continue;
    }
    FieldSet child = from_json(&m.value());
    if (child.children.empty()) child.member = true;
    set.children.emplace(m.key(), std::move(child));
  }
  return set;
}

json::value FieldSet::to_json() const {
  json::object out;
  if (member && !children.empty()) out["."] = json::object();
  for (const auto& [element, child] : children) out[element] = child.to_json();
  return out;
}

void FieldSet::unite(const FieldSet& other) {
  member |= other.member;
  for (const auto& [element, child] : other.children) children[element].unite(child);
}

void FieldSet::subtract(const FieldSet& other) {
  if (other.member) member = false;
  for (const auto& [element, child] : other.children) {
    auto it = children.find(element);
    if (it == children.end()) continue;
    it->second.subtract(child);
    if (it->second.empty()) children.erase(it);
  }
}

FieldSet FieldSet::intersection(const FieldSet& other) const {
  FieldSet out;
  out.member = member && other.member;
  for (const auto& [element, child] : children) {
    const FieldSet* match = other.at(element);
    if (match == nullptr) continue;
    FieldSet common = child.intersection(*match);
    if (!common.empty()) out.children.emplace(element, std::move(common));
  }
  return out;
}

const FieldSet* FieldSet::at(std::string_view element) const {
  auto it = children.find(element);
  return it == children.end() ? nullptr : &it->second;
}

std::vector<std::string> FieldSet::paths() const {
  std::vector<std::string> out;
  collect(*this, "", out);
  return out;
}

}  // namespace kcube::machinery
