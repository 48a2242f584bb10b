// The audit policy: at which level a request is recorded, by the first rule that fits it. Immutable; thread-safe.
// Source: the Kubernetes docs on auditing; audit.k8s.io/v1 Policy.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "pkg/auth/auth.h"

namespace kcube::apiserver::audit {

enum class Level { none, metadata, request, request_response };
enum class Stage { request_received, response_started, response_complete, panic };
const char* level_name(Level level);
const char* stage_name(Stage stage);

struct Decision {
  Level level = Level::none;
  unsigned omitted = 0;                  // a bit for each Stage that is not recorded
  bool omit_managed_fields = false;
  bool records(Stage stage) const { return level != Level::none && !(omitted >> static_cast<int>(stage) & 1); }
};

class Policy {
 public:
  // YAML or JSON. 400 with what is wrong.
  static Result<std::shared_ptr<const Policy>> parse(std::string_view text);
  Decision decide(const auth::Attributes& attributes) const;

 private:
  struct Resources {
    std::string group;
    std::vector<std::string> resources, names;
  };
  struct Rule {
    Decision decision;
    std::vector<std::string> users, groups, verbs, namespaces, urls;
    std::vector<Resources> resources;
  };
  static Result<void> validate(const Rule& rule, const std::string& where);
  static bool matches(const Rule& rule, const auth::Attributes& a);
  std::vector<Rule> rules_;
};

}  // namespace kcube::apiserver::audit
