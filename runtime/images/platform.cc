#include <algorithm>

#include "pkg/base/strings.h"
#include "runtime/images/manifest.h"

namespace kcube::runtime::images {
namespace {

// Attestations and the like, which are no images to run.
bool is_attachment(const Descriptor& member) {
  return member.os == "unknown" || !member.annotation("vnd.docker.reference.type").empty();
}

// Higher is better; 0 does not run here.
int rank(const Descriptor& member) {
  if (is_attachment(member)) return 0;
  if (member.os.empty() && member.architecture.empty()) return 1;
  if (member.os != "linux" || member.architecture != host_architecture()) return 0;
  bool plain = member.variant.empty() || (member.architecture == "arm64" && member.variant == "v8");
  return plain ? 3 : 2;  // a variant such as amd64/v3 may need more than this machine has
}

}  // namespace

std::string_view host_architecture() {
#if defined(__aarch64__)
  return "arm64";
#elif defined(__x86_64__)
  return "amd64";
#elif defined(__riscv)
  return "riscv64";
#else
  return "unknown";
#endif
}

Result<Descriptor> choose_platform(const std::vector<Descriptor>& members) {
  auto best = std::ranges::max_element(members, {}, rank);
  if (best != members.end() && rank(*best) > 0) return *best;
  std::vector<std::string> platforms;
  for (const Descriptor& member : members)
    if (!is_attachment(member)) platforms.push_back(member.os + "/" + member.architecture);
  return fail(Status::not_found("no image for linux/" + std::string(host_architecture()) + ", only for " +
                                (platforms.empty() ? "none at all" : join(platforms, ", "))));
}

}  // namespace kcube::runtime::images
