#include "pkg/apiserver/machinery/yaml_text.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cstdio>
#include <map>

#include "pkg/api/yaml.h"
#include "pkg/base/strings.h"

namespace kcube::machinery {
namespace {

// A line is broken at the first space behind this column.
constexpr size_t kBestWidth = 80;
// Longer keys stand behind a question mark: readers look for a key's colon in 1024 characters only.
constexpr size_t kLongestKey = 128;

// What is never written as it is: controls but for line feed and tab, other line ends, byte order marks, and everything
// beyond the first plane, as the original's writer has it. Its bytes at the start of `text`, which is UTF-8, or 0.
size_t unseen(std::string_view text) {
  const auto c = static_cast<unsigned char>(text[0]);
  if (c < 0x20) return c != '\n' && c != '\t';
  if (c < 0x7f) return 0;
  if (c == 0x7f) return 1;
  const size_t size = utf8_length(text);
  if (size == 4) return size;
  const std::string_view one = text.substr(0, size);
  const bool c1 = size == 2 && one < "\u00a0";
  return c1 || one == "\u2028" || one == "\u2029" || one == "\ufeff" || one == "\ufffe" || one == "\uffff" ? size : 0;
}

bool has_unseen(std::string_view text) {
  for (size_t i = 0; i < text.size(); ++i)
    if (unseen(text.substr(i)) != 0) return true;
  return false;
}

// A character of double quotes that stands behind a backslash there.
std::string escaped(std::string_view one) {
  switch (one[0]) {
    case '\0': return "\\0";
    case '\a': return "\\a";
    case '\b': return "\\b";
    case '\t': return "\\t";
    case '\n': return "\\n";
    case '\v': return "\\v";
    case '\f': return "\\f";
    case '\r': return "\\r";
    case 0x1b: return "\\e";
    case '"': return "\\\"";
    case '\\': return "\\\\";
  }
  if (one == "\u0085") return "\\N";
  if (one == "\u2028") return "\\L";
  if (one == "\u2029") return "\\P";
  const auto first = static_cast<unsigned char>(one[0]);
  uint32_t code = one.size() == 1 ? first : first & (0x7f >> one.size());
  for (char c : one.substr(1)) code = code << 6 | (static_cast<unsigned char>(c) & 0x3f);
  char out[16];
  std::snprintf(out, sizeof out, code <= 0xff ? "\\x%02X" : code <= 0xffff ? "\\u%04X" : "\\U%08X", code);
  return out;
}

// What would be read as something else than a string when it stood there without quotes.
bool reads_otherwise(const std::string& text) {
  static const auto kWords = {"", "~", "null", "Null", "NULL", "<<", "y", "Y", "yes", "Yes", "YES", "on", "On", "ON", "n", "N", "no", "No", "NO", "off", "Off", "OFF",
                              "true", "True", "TRUE", "false", "False", "FALSE", ".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF", "-.inf", "-.Inf", "-.INF", ".nan", ".NaN", ".NAN"};
  if (std::ranges::find(kWords, text) != kWords.end()) return true;
  const char first = text[0];
  const bool digit = first >= '0' && first <= '9';
  const bool sign = first == '+' || first == '-';
  if (!digit && first != '.' && !(sign && text.size() > 1 && (std::isdigit(static_cast<unsigned char>(text[1])) || text[1] == '.' || text[1] == '_'))) return false;
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
      if (name.size() > kLongestKey) {
        long_member(name, *v, depth);
        continue;
      }
      string(name, depth, false);
      put(":");
      member(*v, depth);
    }
  }
  void long_member(std::string_view name, const json::value& v, size_t depth) {
    put("? ");
    string(name, depth + 1, true);
    out_ += '\n';
    indent(depth);
    put(": ");
    item(v, depth + 1);
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
    for (const json::value& one : items) {
      if (!begun) indent(depth);
      begun = false;
      put("- ");
      item(one, depth + 1);
    }
  }
  // Behind a mark on its line.
  void item(const json::value& v, size_t depth) {
    if (is_block(v)) return block(v, depth, true);
    scalar(v, depth);
    out_ += '\n';
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
    if (has_unseen(text) || reads_otherwise(copy)) return quoted(text, depth, long_lines);
    if (text.find('\n') != std::string_view::npos) return long_lines && literal_fits(text) ? literal(text, depth) : quoted(text, depth, long_lines);
    if (text.find('\t') != std::string_view::npos) return quoted(text, depth, long_lines);
    const bool quotes = !is_plain(text);
    folded(quotes ? "'" + replace_all(copy, "'", "''") + "'" : copy, depth, long_lines);
  }
  static bool literal_fits(std::string_view text) { return text.find(" \n") == std::string_view::npos && !text.ends_with(' ') && text.find('\t') == std::string_view::npos; }

  void quoted(std::string_view text, size_t depth, bool long_lines) {
    put("\"");
    bool behind_space = false;
    for (size_t i = 0; i < text.size(); ++i) {
      const size_t size = unseen(text.substr(i));
      const bool last = i + 1 >= text.size();
      if (size != 0 || text[i] == '\n' || text[i] == '\t' || text[i] == '"' || text[i] == '\\') {
        put(escaped(text.substr(i, std::max<size_t>(size, 1))));
        i += std::max<size_t>(size, 1) - 1;
      } else if (text[i] == ' ' && long_lines && !behind_space && column_ > kBestWidth && i > 0 && !last) {
        // A space that follows would be taken for indentation.
        out_ += '\n';
        indent(depth);
        if (text[i + 1] == ' ') put("\\");
        behind_space = true;
        continue;
      } else {
        out_ += text[i];
        if ((static_cast<unsigned char>(text[i]) & 0xc0) != 0x80) ++column_;
      }
      behind_space = text[i] == ' ';
    }
    put("\"");
  }

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
