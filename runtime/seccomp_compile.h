// SeccompBuilder: libseccomp's context with this machine's architectures. Private to the seccomp files.
#pragma once

#include <seccomp.h>

#include <memory>
#include <string>
#include <vector>

#include "pkg/base/status.h"

namespace kcube::runtime {

class SeccompBuilder {
 public:
  static Result<SeccompBuilder> create(uint32_t default_action);
  // Names the architecture does not have are skipped. All of `arguments` must match.
  Result<void> add(uint32_t action, const std::string& name, const std::vector<scmp_arg_cmp>& arguments);
  // struct sock_filter[].
  Result<std::string> compile();

 private:
  struct Release {
    void operator()(void* context) const { seccomp_release(context); }
  };
  std::unique_ptr<void, Release> context_;
  uint32_t default_action_ = 0;
};

}  // namespace kcube::runtime
