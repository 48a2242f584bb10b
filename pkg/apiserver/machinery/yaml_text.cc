#include "pkg/apiserver/machinery/yaml_text.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <map>

#include "pkg/api/yaml.h"
#include "pkg/base/go_quoted.h"
#include "pkg/base/strings.h"

namespace kcube::machinery {
namespace {

// A line is broken at the first space behind this column.
constexpr size_t kBestWidth = 80;

bool is_control(unsigned char c) { return (c < 0x20 && c != '\n' && c != '\t') || c == 0x7f; }

// What would be read as something else than a string when it stood there without quotes.
bool reads_otherwise(const std::string& text) {
  static const auto kWords = {"", "~", "null", "Null", "NULL", "<<", "y", "Y", "yes", "Yes", "YES", "on", "On", "ON", "n", "N", "no", "No", "NO", "off", "Off", "OFF",
                              "true", "True", "TRUE", "false", "False", "FALSE", ".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF", "-.inf", "-.Inf", "-.INF", ".nan", ".NaN", ".NAN"};
  if (std::ranges::find(kWords, text) != kWords.end()) return true;
  const char first = text[0];
  const bool digit = first >= '0' && first <= '9';
  const bool sign = first == '+' || first == '-';
  if (!digit && first != '.' && !(sign && text.size() > 1 && (std::isdigit(static_cast<unsigned char>(text[1])) || text[1] == '.'))) return false;
  // Dates are times; numbers have bases, underscores and parts of sixty.
  if (digit && text.size() >= 8 && text.find('-') == 4) return true;
  if (digit && text.find(':') != std::string::npos && text.find_first_not_of("0123456789_:.") == std::string::npos) return true;
  auto read = api::parse_yaml("v: " + text);
  return !read || json::find(&*read, "v") == nullptr || !json::find(&*read, "v")->is_string();
}

// Characters that mean something in this place.
bool is_plain(std::string_view text) {
  if (text.empty() || text.front() == ' ' || text.back() == ' ') return false;
  if (text.starts_with("---") || text.starts_with("...")) return false;
  constexpr std::string_view kNeverFirst = "#,[]{}&*!|>'\"%@`";
  if (kNeverFirst.find(text[0]) != std::string_view::npos) return false;
  if ((text[0] == '-' || text[0] == '?' || text[0] == ':') && (text.size() == 1 || text[1] == ' ')) return false;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == ':' && (i + 1 == text.size() || text[i + 1] == ' ')) return false;
    if (text[i] == '#' && i > 0 && text[i - 1] == ' ') return false;
  }
  return true;
}

class Writer {
 public:
  std::string run(const json::value& value) {
    if (is_block(value)) block(value, 0, false);
    else scalar(value, 0), out_ += '\n';
    return std::move(out_);
  }

 private:
  static bool is_block(const json::value& v) { return (v.is_object() && !v.get_object().empty()) || (v.is_array() && !v.get_array().empty()); }

  void indent(size_t depth) { out_.append(2 * depth, ' '), column_ = 2 * depth; }
  void put(std::string_view text) { out_ += text, column_ += text.size(); }

  // `begun`: the first line has its indentation already, behind a dash.
  void block(const json::value& value, size_t depth, bool begun) {
    if (value.is_array()) return list(value.get_array(), depth, begun);
    std::map<std::string_view, const json::value*> members;
    for (const auto& m : value.get_object()) members.emplace(json::view(m.key()), &m.value());
    for (const auto& [name, v] : members) {
      if (!begun) indent(depth);
      begun = false;
      string(name, depth, false);
      put(":");
      member(*v, depth);
    }
  }
  void member(const json::value& v, size_t depth) {
    if (!is_block(v)) {
      put(" ");
      scalar(v, depth + 1);
      out_ += '\n';
      return;
    }
    out_ += '\n';
    block(v, v.is_array() ? depth : depth + 1, false);
  }
  void list(const json::array& items, size_t depth, bool begun) {
    for (const json::value& item : items) {
      if (!begun) indent(depth);
      begun = false;
      put("- ");
      if (is_block(item)) {
        block(item, depth + 1, true);
        continue;
      }
      scalar(item, depth + 1);
      out_ += '\n';
    }
  }

  void scalar(const json::value& v, size_t depth) {
    if (v.is_object()) put("{}");
    else if (v.is_array()) put("[]");
    else if (v.is_string()) string(json::view(v.get_string()), depth, true);
    else put(v.is_double() ? number(v.get_double()) : json::serialize(v));
  }
  static std::string number(double d) {
    char buffer[64];
    return {buffer, std::to_chars(buffer, buffer + sizeof buffer, d).ptr};
  }

  // `long_lines`: not a key, which stays on its line.
  void string(std::string_view text, size_t depth, bool long_lines) {
    const std::string copy(text);
    if (std::ranges::any_of(copy, [](char c) { return is_control(static_cast<unsigned char>(c)); }) || !is_utf8(text)) return put(go_quoted(text));
    if (reads_otherwise(copy)) return put(go_quoted(text));
    if (text.find('\n') != std::string_view::npos) return long_lines && literal_fits(text) ? literal(text, depth) : put(go_quoted(text));
    if (text.find('\t') != std::string_view::npos) return put(go_quoted(text));
    const bool quotes = !is_plain(text);
    folded(quotes ? "'" + replace_all(copy, "'", "''") + "'" : copy, depth, long_lines);
  }
  static bool literal_fits(std::string_view text) { return text.find(" \n") == std::string_view::npos && !text.ends_with(' ') && text.find('\t') == std::string_view::npos; }

  void folded(std::string_view text, size_t depth, bool long_lines) {
    for (size_t i = 0; i < text.size(); ++i) {
      const bool inside = i > 0 && i + 1 < text.size() && text[i - 1] != ' ' && text[i + 1] != ' ';
      if (long_lines && text[i] == ' ' && inside && column_ > kBestWidth) {
        out_ += '\n';
        indent(depth);
        continue;
      }
      out_ += text[i];
      if ((static_cast<unsigned char>(text[i]) & 0xc0) != 0x80) ++column_;
    }
  }
  void literal(std::string_view text, size_t depth) {
    put("|");
    if (text[0] == ' ' || text[0] == '\n') put("2");
    if (!text.ends_with('\n')) put("-");
    else if (text == "\n" || text.ends_with("\n\n")) put("+");
    if (text.ends_with('\n')) text.remove_suffix(1);
    for (std::string_view line : split(text, '\n')) {
      out_ += '\n';
      if (!line.empty()) indent(depth);
      put(line);
    }
  }

  std::string out_;
  size_t column_ = 0;
};

}  // namespace

std::string yaml_text(const json::value& value) { return Writer().run(value); }

}  // namespace kcube::machinery
