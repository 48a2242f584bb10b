#include "runtime/seccomp_compile.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>

#include "pkg/base/fd.h"

namespace kcube::runtime {

Result<SeccompBuilder> SeccompBuilder::create(uint32_t default_action) {
  SeccompBuilder out;
  out.default_action_ = default_action;
  out.context_.reset(seccomp_init(default_action));
  if (!out.context_) return fail(Status::internal("libseccomp cannot make a filter"));
  auto* context = out.context_.get();
#if defined(__x86_64__)
  for (uint32_t arch : {SCMP_ARCH_X86, SCMP_ARCH_X32})
#elif defined(__aarch64__)
  for (uint32_t arch : {SCMP_ARCH_ARM})
#else
  for (uint32_t arch : {})
#endif
    if (int error = seccomp_arch_add(context, arch); error != 0 && error != -EEXIST)
      return fail(Status::from_errno("add an architecture to the seccomp filter", -error));
  // The kernel sets no_new_privs aside for us: the monitor decides, with its capabilities.
  seccomp_attr_set(context, SCMP_FLTATR_CTL_NNP, 0);
  // A binary tree instead of a list: a third of the instructions for a rare call.
  seccomp_attr_set(context, SCMP_FLTATR_CTL_OPTIMIZE, 2);
  return out;
}

Result<void> SeccompBuilder::add(uint32_t action, const std::string& name, const std::vector<scmp_arg_cmp>& arguments) {
  if (action == default_action_) return {};
  int call = seccomp_syscall_resolve_name(name.c_str());
  if (call == __NR_SCMP_ERROR) return {};
  int error =
      seccomp_rule_add_array(context_.get(), action, call, static_cast<unsigned>(arguments.size()), arguments.data());
  // -EDOM: this architecture has no such call. -EEXIST: said before.
  if (error != 0 && error != -EDOM && error != -EEXIST)
    return fail(Status::from_errno("seccomp rule for " + name, -error));
  return {};
}

Result<std::string> SeccompBuilder::compile() {
  Fd memory(::memfd_create("seccomp", MFD_CLOEXEC));
  if (!memory.valid()) return fail(Status::from_errno("memfd_create"));
  if (int error = seccomp_export_bpf(context_.get(), memory.get()); error != 0)
    return fail(Status::from_errno("compile the seccomp filter", -error));
  off_t size = ::lseek(memory.get(), 0, SEEK_END);
  std::string bytes(static_cast<size_t>(size), 0);
  if (::pread(memory.get(), bytes.data(), bytes.size(), 0) != size)
    return fail(Status::from_errno("read the seccomp filter"));
  return bytes;
}

}  // namespace kcube::runtime
