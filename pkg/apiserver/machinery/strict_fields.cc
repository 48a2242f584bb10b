// What the text of a body says that its value does not: fields that are there twice, and in which order what is wrong comes.
#include <cctype>
#include <set>

#include "pkg/apiserver/machinery/decode.h"

namespace kcube::machinery {
namespace {

using api::Field;
using api::FieldKind;
using api::Shape;
using api::Type;

// More are not named.
constexpr size_t kMostNamed = 100;
constexpr size_t kDeepest = 512;

// Walks JSON text that has parsed already, so that no syntax needs checking; beside a type when there is one.
class FieldFinder {
 public:
  explicit FieldFinder(std::string_view text) : text_(text) {}

  std::vector<std::string> duplicates() {
    value({});
    return std::move(found_);
  }
  std::vector<std::string> problems(const Type& type) {
    phrases_ = true;
    value({&type, nullptr, false});
    return std::move(found_);
  }

 private:
  // What is known of a value: its type, or the field whose values (`items`: elements) it is one of.
  struct Known {
    const Type* type = nullptr;
    const Field* field = nullptr;
    bool items = false;
  };

  // Of an element of a list or map, or of a field that holds one value.
  static Known single(const Field& field) {
    if (field.kind == FieldKind::message) return {field.type, nullptr, false};
    return {nullptr, &field, true};
  }
  static Known of(const Field* field) {
    if (field == nullptr) return {};
    return field->shape == Shape::single ? single(*field) : Known{nullptr, field, false};
  }
  static Known inside(const Known& known) {
    if (known.field == nullptr) return {};
    if (known.field->shape == Shape::map_of_list && !known.items) return {nullptr, nullptr, false};
    return single(*known.field);
  }
  // Values that have decoders of their own, which look for nothing of the kind.
  static bool opaque(const Known& known) {
    return known.field != nullptr && known.items && (known.field->kind == FieldKind::raw || known.field->kind == FieldKind::any);
  }

  void space() {
    while (at_ < text_.size() && std::isspace(static_cast<unsigned char>(text_[at_]))) ++at_;
  }
  std::string string() {
    std::string out;
    bool escaped = false;
    const size_t begin = at_;
    for (++at_; at_ < text_.size() && text_[at_] != '"'; ++at_) {
      escaped |= text_[at_] == '\\';
      if (text_[at_] == '\\' && at_ + 1 < text_.size()) out += text_[at_++];
      out += text_[at_];
    }
    ++at_;
    if (!escaped) return out;
    auto parsed = json::parse(text_.substr(begin, at_ - begin));
    return parsed ? std::string(json::get_string(&*parsed)) : out;
  }
  // Over a value, whatever is in it.
  void skip() {
    for (int open = 0; at_ < text_.size(); ++at_) {
      const char c = text_[at_];
      if (c == '"') string(), --at_;
      else if (c == '{' || c == '[') ++open;
      else if ((c == '}' || c == ']') && --open <= 0) return static_cast<void>(++at_);
    }
  }
  void value(const Known& known) {
    space();
    if (at_ >= text_.size()) return;
    const bool quiet = quiet_;
    quiet_ |= opaque(known);
    if (text_[at_] == '{' || text_[at_] == '[') {
      // As deep as paths are of use to anybody.
      if (path_.size() >= kDeepest) skip();
      else if (text_[at_] == '{') object(known);
      else array(known);
    } else if (text_[at_] == '"') {
      string();
    } else {
      while (at_ < text_.size() && std::string_view(",]} \t\r\n").find(text_[at_]) == std::string_view::npos) ++at_;
    }
    quiet_ = quiet;
  }
  // Paths are put together when they are told: a body of strangers has long names, and many within each other.
  void tell(const char* what) {
    if (quiet_ || found_.size() >= kMostNamed) return;
    std::string path;
    for (const std::string& part : path_) path += (path.empty() || part.starts_with('[') ? "" : ".") + part;
    if (!told_.insert(what + path).second) return;
    found_.push_back(phrases_ ? std::string(what) + " field \"" + path + "\"" : path);
  }
  void object(const Known& known) {
    std::set<std::string> names;
    ++at_;
    for (space(); at_ < text_.size() && text_[at_] != '}'; space()) {
      if (text_[at_] == ',') {
        ++at_;
        continue;
      }
      std::string name = string();
      const Field* field = known.type == nullptr ? nullptr : known.type->field(name);
      const bool unknown = known.type != nullptr && field == nullptr && !known.type->open;
      path_.push_back(name);
      if (unknown) tell("unknown");
      else if (!names.insert(std::move(name)).second) tell("duplicate");
      space();
      ++at_;  // ':'
      const bool quiet = quiet_;
      quiet_ |= unknown;
      value(known.type != nullptr ? of(field) : inside(known));
      quiet_ = quiet;
      path_.pop_back();
    }
    ++at_;
  }
  void array(const Known& known) {
    ++at_;
    size_t i = 0;
    for (space(); at_ < text_.size() && text_[at_] != ']'; space()) {
      if (text_[at_] == ',') {
        ++at_;
        continue;
      }
      path_.push_back("[" + std::to_string(i++) + "]");
      value(inside(known));
      path_.pop_back();
    }
    ++at_;
  }

  std::string_view text_;
  size_t at_ = 0;
  bool phrases_ = false, quiet_ = false;
  std::vector<std::string> found_;
  std::set<std::string> told_;
  std::vector<std::string> path_;
};

}  // namespace

std::vector<std::string> duplicate_fields(std::string_view json_text) { return FieldFinder(json_text).duplicates(); }
std::vector<std::string> strict_problems(std::string_view json_text, const api::Type& type) { return FieldFinder(json_text).problems(type); }

}  // namespace kcube::machinery
