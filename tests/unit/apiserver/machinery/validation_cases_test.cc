// Every case of validation_cases/*.txt: what a real kube-apiserver said, and what we say. record.py writes the answers.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <regex>

#include "pkg/apiserver/machinery/defaults.h"
#include "pkg/apiserver/machinery/validation.h"
#include "pkg/base/strings.h"

namespace kcube::machinery {
namespace {

struct Base {
  std::string group, version, resource;
  json::value object;
};

json::value parsed(std::string_view text) {
  auto value = json::parse(text);
  EXPECT_TRUE(value) << text;
  return value ? *value : json::value();
}

// "spec.containers[0].name" as "spec", "containers", 0, "name".
std::vector<std::string> split_path(std::string_view path) {
  std::vector<std::string> parts(1);
  for (char c : path) {
    if (c == '.' || c == '[')
      parts.emplace_back();
    else if (c != ']')
      parts.back() += c;
  }
  return parts;
}

void apply_edit(json::value& object, std::string_view edit) {
  size_t equals = edit.find('=');
  std::vector<std::string> parts = split_path(trim(edit.substr(0, equals)));
  json::value value = parsed(trim(edit.substr(equals + 1)));
  json::value* at = &object;
  for (size_t i = 0; i < parts.size(); ++i) {
    bool last = i + 1 == parts.size();
    auto index = parse_int<size_t>(parts[i]);
    if (index) {
      if (!at->is_array()) *at = json::array();
      json::array& array = at->get_array();
      if (last && value.is_null()) {
        if (*index < array.size()) array.erase(array.begin() + static_cast<std::ptrdiff_t>(*index));
        return;
      }
      while (array.size() <= *index) array.push_back(json::object());
      at = &array[*index];
    } else {
      if (!at->is_object()) *at = json::object();
      if (last && value.is_null()) {
        at->get_object().erase(parts[i]);
        return;
      }
      at = &at->get_object()[parts[i]];
    }
  }
  *at = std::move(value);
}

json::value edited(const json::value& object, std::string_view edits) {
  json::value out = object;
  while (!trim(edits).empty()) {
    size_t end = edits.find(" && ");
    apply_edit(out, edits.substr(0, end));
    edits = end == std::string_view::npos ? std::string_view() : edits.substr(end + 4);
  }
  return out;
}

std::string shortened(const Cause& cause) {
  static const std::regex kBulk(R"(^((?:Invalid|Duplicate|Unsupported) value: )[\[{].*[\]}](?=$|: ))");
  std::string message = std::regex_replace(cause.message.substr(0, cause.message.find('\n')), kBulk, "$1…");
  // The recorder counts characters, and "…" is the only one of several bytes.
  size_t limit = message.find("…") < 150 ? 152 : 150;
  if (message.size() > limit) message = message.substr(0, limit) + "…";
  return cause.reason + " " + cause.field + ": " + message;
}

// A cause that the real server gives twice is one to us.
std::string sorted(std::vector<std::string> lines) {
  std::sort(lines.begin(), lines.end());
  lines.erase(std::unique(lines.begin(), lines.end()), lines.end());
  return "\n" + join(lines, "\n") + "\n";
}

// One topic's file.
class CaseFile {
 public:
  explicit CaseFile(const std::filesystem::path& path) : in_(path) {}

  void run() {
    std::string line;
    while (std::getline(in_, line)) {
      if (line.starts_with("  ")) {
        expected_.push_back(line.substr(2));
        continue;
      }
      finish();
      if (line.starts_with("base "))
        add_base(line.substr(5));
      else if (line.starts_with("create ") || line.starts_with("update"))
        case_ = line;
    }
    finish();
    EXPECT_GT(count_, 0u);
  }

 private:
  void add_base(std::string_view text) {
    size_t first = text.find(' '), second = text.find(' ', first + 1);
    std::vector<std::string_view> gvr = split(text.substr(first + 1, second - first - 1), '/');
    Base base{.group = gvr.size() == 3 ? std::string(gvr[0]) : "",
              .version = std::string(gvr[gvr.size() - 2]),
              .resource = std::string(gvr.back()),
              .object = parsed(text.substr(second + 1))};
    bases_[std::string(text.substr(0, first))] = std::move(base);
  }

  void finish() {
    std::string text = std::move(case_);
    std::vector<std::string> expected = std::move(expected_);
    case_.clear();
    expected_.clear();
    if (text.empty()) return;
    ++count_;
    size_t first = text.find(' '), second = text.find(' ', first + 1);
    std::string verb = text.substr(0, first), name = text.substr(first + 1, second - first - 1);
    std::string edits = second == std::string::npos ? "" : text.substr(second + 1);
    ASSERT_TRUE(bases_.contains(name)) << text;
    const Base& base = bases_[name];
    std::string subresource = verb.find('/') == std::string::npos ? "" : verb.substr(verb.find('/') + 1);
    const auto& schema = api::Schema::builtin();
    const api::ResourceInfo* main = schema.find_resource(base.group, base.version, base.resource);
    const api::ResourceInfo* info = schema.find_resource(base.group, base.version, base.resource, subresource);
    ASSERT_NE(info, nullptr) << text;
    json::value old = base.object;
    bool create = verb == "create";
    if (!create) apply_defaults(*main, old);
    json::value object = edited(old, edits);
    apply_defaults(*main, object);
    const json::value* before = create ? nullptr : &old;
    std::vector<std::string> actual;
    for (const Cause& c : validate_metadata(*main, object, before)) actual.push_back(shortened(c));
    for (const Cause& c : validate(*info, object, before)) actual.push_back(shortened(c));
    if (actual.empty()) actual.push_back("ok");
    EXPECT_EQ(sorted(actual), sorted(expected)) << text;
  }

  std::ifstream in_;
  std::map<std::string, Base> bases_;
  std::string case_;
  std::vector<std::string> expected_;
  size_t count_ = 0;
};

class ValidationCases : public testing::TestWithParam<std::string> {};

TEST_P(ValidationCases, SayWhatTheRealServerSays) {
  CaseFile(std::filesystem::path(KCUBE_CASES) / (GetParam() + ".txt")).run();
}

std::vector<std::string> topics() {
  std::vector<std::string> out;
  for (const auto& file : std::filesystem::directory_iterator(KCUBE_CASES))
    if (file.path().extension() == ".txt") out.push_back(file.path().stem().string());
  std::sort(out.begin(), out.end());
  return out;
}

INSTANTIATE_TEST_SUITE_P(Topics, ValidationCases, testing::ValuesIn(topics()),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace kcube::machinery
