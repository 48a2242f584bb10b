// x-kubernetes-validations: CEL rules in the schemas of custom resources, compiled once for each version of a definition.
// Source: the Kubernetes docs on validation rules (KEP-2876).
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "pkg/apiserver/extension/structural.h"
#include "pkg/cel/program.h"

namespace kcube::apiserver::extension {

// The type of values of `schema` as expressions see them. `resource`: it has apiVersion, kind and metadata too.
cel::TypeRef cel_type(const Structural& schema, bool resource);

// The rules of one schema and of those beneath it. Immutable, so any thread may use it.
class Rules {
 public:
  // Null when there are none. Rules that do not compile are left out; check() says why.
  static std::unique_ptr<const Rules> compile(const Structural& schema, bool resource);
  // What is wrong with the rules of `schema`, which stands at `path`.
  static void check(const Structural& schema, const std::string& path, std::vector<Cause>& causes);

  // What `value` violates; `old` is null where there is nothing to compare with.
  void evaluate(const json::value& value, const json::value* old, std::vector<Cause>& causes) const;

 private:
  struct Rule {
    std::shared_ptr<const cel::Program> program, message_program;
    std::string source, message, reason, field_path;
    bool transition = false, optional_old = false;
  };
  using Path = std::string;
  void evaluate_at(const json::value& value, const json::value* old, const Path& path, uint64_t& budget, std::vector<Cause>& causes) const;
  void evaluate_rule(const Rule& rule, const json::value& value, const json::value* old, const Path& path, uint64_t& budget, std::vector<Cause>& causes) const;

  const Structural* schema_ = nullptr;
  cel::TypeRef type_;
  std::vector<Rule> rules_;
  std::map<std::string, std::unique_ptr<const Rules>, std::less<>> properties_;
  std::unique_ptr<const Rules> additional_, items_;
};

}  // namespace kcube::apiserver::extension
