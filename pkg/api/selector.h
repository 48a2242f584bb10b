// Label and field selectors. Source: the Kubernetes docs on labels and field selectors; set-based requirements.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "pkg/api/json.h"
#include "pkg/base/status.h"

namespace kcube::api {

using LabelPairs = std::vector<std::pair<std::string, std::string>>;   // sorted by key

class LabelSelector {
 public:
  enum class Op { in, not_in, exists, not_exists, greater, less };
  struct Requirement {
    std::string key;
    Op op;
    std::vector<std::string> values;   // sorted
  };

  LabelSelector() = default;           // matches everything
  static LabelSelector nothing();
  // The text of ?labelSelector=: "a=b,c!=d,e in (f,g),!h,i>5". 400 when malformed.
  static Result<LabelSelector> parse(std::string_view text);
  // metav1.LabelSelector: {} matches everything, null nothing. 422-like causes are the caller's; fails on unknown operators.
  static Result<LabelSelector> from_json(const json::value* selector);
  // A plain map (Service spec.selector, ReplicationController): empty or null matches everything.
  static LabelSelector from_map(const json::value* map);

  bool matches(const LabelPairs& labels) const;
  bool matches(const json::value* labels_object) const;
  bool everything() const { return requirements_.empty() && !nothing_; }
  const std::vector<Requirement>& requirements() const { return requirements_; }
  std::string to_string() const;

 private:
  std::vector<Requirement> requirements_;
  bool nothing_ = false;
};

// ?fieldSelector=: terms of "path=value", "path==value", "path!=value"; backslash escapes as the real server.
class FieldSelector {
 public:
  struct Term {
    std::string path, value;
    bool negated = false;
  };
  static Result<FieldSelector> parse(std::string_view text);
  // True when every term holds; a path is looked up in the object, a missing value is "".
  bool matches(const json::value& object) const;
  const std::vector<Term>& terms() const { return terms_; }
  bool everything() const { return terms_.empty(); }
  // The value that `path` must equal, or empty optional-like null pointer.
  const std::string* required_value(std::string_view path) const;

 private:
  std::vector<Term> terms_;
};

}  // namespace kcube::api
