#include "pkg/api/yaml.h"

#include <yaml-cpp/yaml.h>

#include <cmath>
#include <cstdlib>
#include <mutex>
#include <optional>

#include "pkg/base/strings.h"

namespace kcube::api {
namespace {

// A manifest of 3 MiB has fewer nodes than this; an alias bomb has more.
constexpr size_t kMaxNodes = 1'000'000;
constexpr int kMaxDepth = 100;
// yaml-cpp reads a flow collection to its end before it says a word, and holds a kilobyte for each that begins in it.
constexpr size_t kMaxFlows = 50'000, kFewFlows = 2'000;

// How many flow collections may begin in `text`. What is quoted or in a block of text counts as well.
size_t flows_in(std::string_view text) {
  size_t flows = 0;
  for (size_t i = 0; i < text.size(); ++i)
    if ((text[i] == '[' || text[i] == '{') && !(i + 1 < text.size() && (text[i + 1] == ']' || text[i + 1] == '}'))) ++flows;
  return flows;
}

std::optional<json::value> number(const std::string& text) {
  if (text.empty() || (text.size() > 1 && text[0] == '+')) return std::nullopt;
  // A leading zero is octal, as in `defaultMode: 0644`.
  if (text.size() > 1 && text[0] == '0' && text.find_first_not_of("01234567") == std::string::npos)
    return json::value(static_cast<int64_t>(std::strtoll(text.c_str(), nullptr, 8)));
  if (auto i = parse_int<int64_t>(text)) return json::value(*i);
  if (text.starts_with("0x")) {
    char* end = nullptr;
    long long v = std::strtoll(text.c_str() + 2, &end, 16);
    if (end != nullptr && *end == 0 && text.size() > 2) return json::value(static_cast<int64_t>(v));
  }
  if (text.find_first_not_of("0123456789+-.eE") != std::string::npos || text.find_first_of("0123456789") == std::string::npos) return std::nullopt;
  char* end = nullptr;
  double d = std::strtod(text.c_str(), &end);
  if (end == nullptr || *end != 0 || !std::isfinite(d)) return std::nullopt;
  return json::value(d);
}

json::value scalar(const YAML::Node& node) {
  const std::string& text = node.Scalar();
  const std::string& tag = node.Tag();
  json::value as_text(json::key(text));  // braces would make an array
  // "!" is yaml-cpp's tag for quoted scalars.
  if (tag == "!" || tag == "tag:yaml.org,2002:str") return as_text;
  if (text.empty() || text == "~" || text == "null" || text == "Null" || text == "NULL") return nullptr;
  if (text == "true" || text == "True" || text == "TRUE") return true;
  if (text == "false" || text == "False" || text == "FALSE") return false;
  if (auto n = number(text)) return *n;
  return as_text;
}

class Converter {
 public:
  Result<json::value> convert(const YAML::Node& node, int depth = 0) {
    if (++nodes_ > kMaxNodes || depth > kMaxDepth) return fail(Status::bad_request("error converting YAML to JSON: document is too large or too deep"));
    switch (node.Type()) {
      case YAML::NodeType::Undefined:
      case YAML::NodeType::Null: return json::value(nullptr);
      case YAML::NodeType::Scalar: return scalar(node);
      case YAML::NodeType::Sequence: {
        json::array out;
        for (const auto& item : node) {
          auto v = convert(item, depth + 1);
          if (!v) return v;
          out.push_back(std::move(*v));
        }
        return json::value(std::move(out));
      }
      case YAML::NodeType::Map: return map(node, depth);
    }
    return json::value(nullptr);
  }

 private:
  Result<json::value> map(const YAML::Node& node, int depth) {
    json::object out;
    for (const auto& member : node) {
      if (!member.first.IsScalar()) return fail(Status::bad_request("error converting YAML to JSON: a key is not a scalar"));
      const std::string& name = member.first.Scalar();
      auto v = convert(member.second, depth + 1);
      if (!v) return v;
      if (name == "<<" && member.first.Tag() != "!") {
        merge(out, *v);
        continue;
      }
      if (out.contains(json::key(name))) {
        auto mark = member.first.Mark();
        return fail(Status::bad_request("error converting YAML to JSON: yaml: line " + std::to_string(mark.line + 1) + ": key \"" + name +
                                        "\" already set in map"));
      }
      out[json::key(name)] = std::move(*v);
    }
    return json::value(std::move(out));
  }

  static void merge(json::object& out, const json::value& from) {
    if (from.is_array()) {
      for (const json::value& one : from.get_array()) merge(out, one);
      return;
    }
    for (const auto& m : json::get_object(&from))
      if (!out.contains(m.key())) out[m.key()] = m.value();
  }

  size_t nodes_ = 0;
};

}  // namespace

Result<std::vector<json::value>> parse_yaml_stream(std::string_view text) {
  std::vector<json::value> out;
  const size_t flows = flows_in(text);
  if (flows > kMaxFlows) return fail(Status::bad_request("error converting YAML to JSON: yaml: exceeded max depth of 10000"));
  // Those that cost memory come one at a time.
  static std::mutex many;
  std::unique_lock lock(many, std::defer_lock);
  if (flows > kFewFlows) lock.lock();
  try {
    for (const YAML::Node& node : YAML::LoadAll(std::string(text))) {
      if (!node || node.IsNull()) continue;
      auto v = Converter().convert(node);
      if (!v) return fail(v.error());
      out.push_back(std::move(*v));
    }
  } catch (const YAML::Exception& e) {
    std::string where = e.mark.is_null() ? "" : "line " + std::to_string(e.mark.line + 1) + ": ";
    return fail(Status::bad_request("error converting YAML to JSON: yaml: " + where + e.msg));
  }
  return out;
}

Result<json::value> parse_yaml(std::string_view text) {
  // JSON is YAML, and quicker to read; what is wrong with it is said in YAML's words.
  if (trim(text).starts_with('{'))
    if (auto one = json::parse(text)) return one;
  auto all = parse_yaml_stream(text);
  if (!all) return fail(all.error());
  if (all->empty()) return json::value(nullptr);
  if (all->size() > 1) return fail(Status::bad_request("error converting YAML to JSON: more than one document"));
  return std::move(all->front());
}

Result<std::vector<json::value>> parse_documents(std::string_view text) {
  if (std::string_view t = trim(text); t.starts_with("{")) {
    if (auto one = json::parse(t)) {
      std::vector<json::value> out;
      out.push_back(std::move(*one));
      return out;
    }
  }
  return parse_yaml_stream(text);
}

}  // namespace kcube::api
