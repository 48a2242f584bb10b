#include "pkg/http/netns_socket.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/socket.h>

#include <thread>

#include "pkg/base/file.h"

namespace kcube::http {

Result<Fd> socket_in(const std::string& netns_path, int family, int type, int protocol) {
  Result<Fd> made = Fd();
  auto make = [&] {
    made = Fd(::socket(family, type | SOCK_CLOEXEC, protocol));
    if (!*made) made = fail(Status::from_errno("socket"));
  };
  if (netns_path.empty()) {
    make();
    return made;
  }
  auto netns = file::open(netns_path, O_RDONLY | O_CLOEXEC);
  if (!netns) return fail(netns.error());
  std::thread([&] {
    if (::setns(netns->get(), CLONE_NEWNET) != 0)
      made = fail(Status::from_errno("setns " + netns_path));
    else
      make();
  }).join();
  return made;
}

}  // namespace kcube::http
