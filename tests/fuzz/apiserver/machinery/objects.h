// Objects of many kinds to begin with: the bases of the validation cases.
#pragma once

#include <filesystem>
#include <fstream>
#include <set>
#include <string>
#include <vector>

#include "pkg/api/schema.h"
#include "pkg/base/strings.h"
#include "tests/fuzz/driver/fuzz.h"

namespace kcube::fuzz {

struct Sample {
  const api::ResourceInfo* resource;
  std::string text;                     // JSON
};

// Lines "base NAME [GROUP/]VERSION/RESOURCE JSON" of tests/unit/apiserver/machinery/validation_cases.
inline const std::vector<Sample>& samples() {
  static const std::vector<Sample> all = [] {
    std::vector<Sample> made;
    // In the order of their names: a run with the same seed begins the same everywhere.
    std::set<std::filesystem::path> files;
    for (const auto& entry : std::filesystem::directory_iterator(KCUBE_CASES)) files.insert(entry.path());
    for (const auto& file : files) {
      std::ifstream in(file);
      for (std::string line; std::getline(in, line);) {
        auto words = split(line, ' ');
        if (words.size() < 4 || words[0] != "base") continue;
        auto path = split(words[2], '/');
        std::string_view resource = path.back(), version = path[path.size() - 2], group = path.size() > 2 ? path[0] : std::string_view();
        if (const auto* info = api::Schema::builtin().find_resource(group, version, resource)) made.push_back({info, line.substr(line.find('{'))});
      }
    }
    return made;
  }();
  return all;
}

// The resource that a document says it is, or null.
inline const api::ResourceInfo* resource_of(const json::value& object) {
  std::string_view version = json::get_string(object, {"apiVersion"}), kind = json::get_string(object, {"kind"});
  size_t slash = version.find('/');
  std::string_view group = slash == std::string_view::npos ? std::string_view() : version.substr(0, slash);
  return api::Schema::builtin().resource_of_kind(group, version.substr(slash + 1), kind);
}

}  // namespace kcube::fuzz
