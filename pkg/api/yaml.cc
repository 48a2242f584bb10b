#include "pkg/api/yaml.h"

#include <yaml-cpp/depthguard.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <mutex>
#include <optional>
#include <set>
#include <sstream>

#include "pkg/base/strings.h"

namespace kcube::api {
namespace {

// A manifest of 3 MiB has fewer nodes than this; an alias bomb has more.
constexpr size_t kMaxNodes = 1'000'000;
constexpr int kMaxDepth = 100, kOthersDepth = 10'000;
// yaml-cpp reads a flow collection to its end before it says a word, and holds a kilobyte for each that begins in it.
constexpr size_t kMaxFlows = 50'000, kFewFlows = 2'000;

// How many flow collections may begin in `text`. What is quoted or in a block of text counts as well.
size_t flows_in(std::string_view text) {
  size_t flows = 0;
  for (size_t i = 0; i < text.size(); ++i)
    if ((text[i] == '[' || text[i] == '{') && !(i + 1 < text.size() && (text[i + 1] == ']' || text[i + 1] == '}'))) ++flows;
  return flows;
}

// How deep its flow collections nest, more or less.
int flow_depth(std::string_view text) {
  int depth = 0, deepest = 0;
  for (char c : text) {
    if (c == '[' || c == '{') deepest = std::max(deepest, ++depth);
    if (c == ']' || c == '}') --depth;
  }
  return deepest;
}

std::optional<json::value> integer(std::string_view digits, int base, bool negative) {
  std::string text(digits);
  if (text.empty() || !std::isxdigit(static_cast<unsigned char>(text[0]))) return std::nullopt;
  char* end = nullptr;
  errno = 0;
  unsigned long long v = std::strtoull(text.c_str(), &end, base);
  if (*end != 0 || errno == ERANGE) return std::nullopt;
  constexpr uint64_t kMax = std::numeric_limits<int64_t>::max();
  if (negative && v <= kMax + 1) return json::value(static_cast<int64_t>(0 - v));
  if (negative) return std::nullopt;
  if (v <= kMax) return json::value(static_cast<int64_t>(v));
  return json::value(static_cast<uint64_t>(v));
}

// YAML 1.1's numbers: underscores between digits, 0x, 0b, 0o and a leading zero for octal, as in `defaultMode: 0644`.
std::optional<json::value> number(const std::string& scalar) {
  if (scalar.empty() || !(std::isdigit(static_cast<unsigned char>(scalar[0])) || std::strchr("+-.", scalar[0]) != nullptr)) return std::nullopt;
  std::string text = scalar;
  std::erase(text, '_');
  bool negative = text[0] == '-';
  std::string_view rest = std::string_view(text).substr(negative || text[0] == '+' ? 1 : 0);
  if (rest.starts_with("0x")) return integer(rest.substr(2), 16, negative);
  if (rest.starts_with("0b")) return integer(rest.substr(2), 2, negative);
  if (rest.starts_with("0o")) return integer(rest.substr(2), 8, negative);
  if (rest.size() > 1 && rest[0] == '0' && rest.find_first_not_of("01234567") == std::string_view::npos) return integer(rest.substr(1), 8, negative);
  if (auto i = integer(rest, 10, negative)) return i;
  if (rest.find_first_not_of("0123456789+-.eE") != std::string_view::npos || rest.find_first_of("0123456789") == std::string_view::npos) return std::nullopt;
  char* end = nullptr;
  double d = std::strtod(text.c_str(), &end);
  if (*end != 0 || !std::isfinite(d)) return std::nullopt;
  return json::value(d);
}

json::value plain(const std::string& text) {
  constexpr std::string_view kNull[] = {"", "~", "null", "Null", "NULL"};
  constexpr std::string_view kTrue[] = {"true", "True", "TRUE", "y", "Y", "yes", "Yes", "YES", "on", "On", "ON"};
  constexpr std::string_view kFalse[] = {"false", "False", "FALSE", "n", "N", "no", "No", "NO", "off", "Off", "OFF"};
  auto one_of = [&](const auto& words) { return std::ranges::find(words, text) != std::end(words); };
  if (one_of(kNull)) return nullptr;
  if (one_of(kTrue)) return true;
  if (one_of(kFalse)) return false;
  if (auto n = number(text)) return *n;
  return json::value(json::key(text));   // braces would make an array
}

// yaml-cpp has "\N" and "\_" as the bytes 0x85 and 0xa0 alone. The document is UTF-8, so that such bytes are these.
std::string text_of(const YAML::Node& node) {
  if (is_utf8(node.Scalar())) return node.Scalar();
  std::string out;
  for (std::string_view rest = node.Scalar(); !rest.empty();) {
    const size_t whole = utf8_length(rest), size = std::max<size_t>(whole, 1);
    if (whole == 0 && (rest[0] == '\x85' || rest[0] == '\xa0')) out += '\xc2';
    out += rest.substr(0, size);
    rest.remove_prefix(size);
  }
  return made_utf8(out);
}

Result<json::value> scalar(const YAML::Node& node) {
  const std::string text = text_of(node);
  const std::string& tag = node.Tag();
  constexpr std::string_view kInfinite[] = {".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"}, kNan[] = {".nan", ".NaN", ".NAN"};
  if (tag == "tag:yaml.org,2002:binary") {
    auto bytes = base64_decode(text);
    if (!bytes) return fail(Status::bad_request("yaml: !!binary value contains invalid base64 data"));
    return json::value(json::key(made_utf8(*bytes)));
  }
  // "!" is yaml-cpp's tag for quoted scalars, "?" and nothing for plain ones.
  if (tag == "tag:yaml.org,2002:int" || tag == "tag:yaml.org,2002:float" || tag == "tag:yaml.org,2002:bool" || tag == "tag:yaml.org,2002:null") return plain(text);
  if (!tag.empty() && tag != "?") return json::value(json::key(text));
  if (std::ranges::find(kInfinite, text) != std::end(kInfinite)) return fail(Status::bad_request("json: unsupported value: +Inf"));
  if (text == "-.inf" || text == "-.Inf" || text == "-.INF") return fail(Status::bad_request("json: unsupported value: -Inf"));
  if (std::ranges::find(kNan, text) != std::end(kNan)) return fail(Status::bad_request("json: unsupported value: NaN"));
  return plain(text);
}

// What yaml-cpp finds, in the words of the library that kube-apiserver reads with. Its scanner counts lines from one, its
// parser from zero; neither speaks of the first.
std::string syntax_error(const YAML::Exception& e, std::string_view text) {
  struct Words {
    std::string_view ours, theirs;
    bool of_scanner;
  };
  static constexpr Words kWords[] = {
      {"end of map flow not found", "did not find expected ',' or '}'", false},
      {"end of sequence flow not found", "did not find expected ',' or ']'", false},
      {"end of map not found", "did not find expected key", false},
      {"end of sequence not found", "did not find expected '-' indicator", false},
      {"illegal map value", "mapping values are not allowed in this context", true},
      {"illegal block entry", "block sequence entries are not allowed in this context", true},
      {"illegal flow end", "did not find expected node content", false},
      {"illegal EOF in scalar", "found unexpected end of stream", true},
      {"illegal document indicator in scalar", "found unexpected document indicator", true},
      {"unknown token", "found character that cannot start any token", true},
  };
  const int line = e.mark.is_null() ? 0 : e.mark.line;
  std::string_view at = split(text, '\n')[std::min<size_t>(static_cast<size_t>(std::max(line, 0)), static_cast<size_t>(std::ranges::count(text, '\n')))];
  const size_t indented = std::min(at.find_first_not_of(" \t"), at.size());
  if (at.substr(0, indented).find('\t') != std::string_view::npos) return "yaml: line " + std::to_string(line + 1) + ": found character that cannot start any token";
  for (const Words& words : kWords)
    if (e.msg == words.ours) return "yaml: " + (line == 0 ? "" : "line " + std::to_string(words.of_scanner ? line + 1 : line) + ": ") + std::string(words.theirs);
  return "yaml: " + (e.mark.is_null() ? "" : "line " + std::to_string(line + 1) + ": ") + e.msg;
}

Status too_deep(int line) {
  return Status::bad_request("yaml: line " + std::to_string(line + 1) + ": exceeded max depth of " + std::to_string(kMaxDepth));
}

class Converter {
 public:
  // Of keys that are there twice the last holds; `duplicates` says so.
  explicit Converter(std::vector<std::string>& duplicates) : duplicates_(duplicates) {}

  Result<json::value> convert(const YAML::Node& node, int depth = 0) {
    if (++nodes_ > kMaxNodes) return fail(Status::bad_request("yaml: document contains excessive aliasing"));
    if (depth > kMaxDepth) return fail(too_deep(node.Mark().line));
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
    std::set<std::string> own;   // without what is merged, which may be overwritten
    for (const auto& member : node) {
      if (!member.first.IsScalar()) return fail(Status::bad_request("yaml: line " + std::to_string(member.first.Mark().line + 1) + ": invalid map key"));
      const std::string name = text_of(member.first);
      auto v = convert(member.second, depth + 1);
      if (!v) return v;
      if (name == "<<" && member.first.Tag() != "!") {
        merge(out, *v);
        continue;
      }
      if (!own.insert(name).second) duplicates_.push_back("line " + std::to_string(member.first.Mark().line + 1) + ": key \"" + name + "\" already set in map");
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

  std::vector<std::string>& duplicates_;
  size_t nodes_ = 0;
};

class Ignored final : public YAML::EventHandler {
  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark&, YAML::anchor_t) override {}
  void OnAlias(const YAML::Mark&, YAML::anchor_t) override {}
  void OnScalar(const YAML::Mark&, const std::string&, YAML::anchor_t, const std::string&) override {}
  void OnSequenceStart(const YAML::Mark&, const std::string&, YAML::anchor_t, YAML::EmitterStyle::value) override {}
  void OnSequenceEnd() override {}
  void OnMapStart(const YAML::Mark&, const std::string&, YAML::anchor_t, YAML::EmitterStyle::value) override {}
  void OnMapEnd() override {}
};

// yaml-cpp finds documents without end in ",": it does not go on over what can begin no document. Every one but the first
// takes three characters at least.
bool ends(const std::string& text) {
  std::istringstream in(text);
  YAML::Parser parser(in);
  Ignored handler;
  for (size_t documents = 0; documents <= text.size() / 3 + 1; ++documents)
    if (!parser.HandleNextDocument(handler)) return true;
  return false;
}

// The documents of a stream or the first alone, empty ones among them.
Result<std::vector<json::value>> read(std::string_view text, bool first_only, std::vector<std::string>& duplicates) {
  // yaml-cpp passes such bytes on.
  if (!is_utf8(text)) return fail(Status::bad_request("yaml: invalid leading UTF-8 octet"));
  // Nor does it end soon with a few NULs.
  auto control = [](unsigned char c) { return (c < 0x20 && c != '\t' && c != '\n' && c != '\r') || c == 0x7f; };
  if (std::ranges::any_of(text, control)) return fail(Status::bad_request("yaml: control characters are not allowed"));
  const size_t flows = flows_in(text);
  if (flows > kMaxFlows) return fail(Status::bad_request("yaml: exceeded max depth of 10000"));
  // Those that cost memory come one at a time.
  static std::mutex many;
  std::unique_lock lock(many, std::defer_lock);
  if (flows > kFewFlows) lock.lock();
  std::vector<json::value> out;
  try {
    std::string copy(text);
    if (!first_only && !ends(copy)) return fail(Status::bad_request("yaml: did not find expected node content"));
    for (const YAML::Node& node : first_only ? std::vector<YAML::Node>{YAML::Load(copy)} : YAML::LoadAll(copy)) {
      auto v = Converter(duplicates).convert(node);
      if (!v) return fail(v.error());
      out.push_back(std::move(*v));
    }
  } catch (const YAML::DeepRecursion& e) {
    // Beyond the limit that others have too, it is said as they do.
    return fail(flow_depth(text) > kOthersDepth ? Status::bad_request("yaml: exceeded max depth of " + std::to_string(kOthersDepth)) : too_deep(e.mark.line));
  } catch (const YAML::Exception& e) {
    return fail(Status::bad_request(syntax_error(e, text)));
  }
  return out;
}

}  // namespace

Result<std::vector<json::value>> parse_yaml_stream(std::string_view text) {
  std::vector<std::string> duplicates;
  auto all = read(text, false, duplicates);
  if (!all || !duplicates.empty()) return fail(Status::bad_request("error converting YAML to JSON: " + (all ? "yaml: " + duplicates[0] : all.error().message())));
  std::erase_if(*all, [](const json::value& v) { return v.is_null(); });
  return all;
}

Result<json::value> parse_yaml_body(std::string_view text, std::vector<std::string>& duplicates) {
  auto first = read(text, true, duplicates);
  // JSON is YAML that may nest deeper.
  if (!first && trim(text).starts_with('{') && first.error().message().find("exceeded max depth") != std::string::npos)
    if (auto one = json::parse(text)) return one;
  if (!first) return fail(first.error());
  return first->empty() ? json::value(nullptr) : std::move(first->front());
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
