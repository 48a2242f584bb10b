// What of the runtime reads strangers' bytes: frames of monitors and records on disk, seccomp profiles, and passwd and
// group files, which belong to the image. The first byte says which.
#include <fcntl.h>
#include <linux/filter.h>
#include <stdlib.h>

#include "pkg/base/file.h"
#include "runtime/protocol.h"
#include "runtime/records.h"
#include "runtime/seccomp.h"
#include "runtime/users.h"
#include "tests/fuzz/driver/fuzz.h"

using namespace kcube;
using namespace kcube::runtime;
using namespace kcube::runtime::protocol;
using kcube::fuzz::require;

namespace {

// What was understood survives a round trip.
template <typename T>
void check(const std::string& payload) {
  T first, second;
  if (!decode(payload, first)) return;
  std::string bytes = encode(first);
  require(decode(bytes, second) && encode(second) == bytes);
}

void frame(char type, const std::string& payload) {
  switch (type) {
    case '0': return check<StartPause>(payload);
    case '1': return check<StartContainer>(payload);
    case '2': return check<StartExec>(payload);
    case '3': return check<Attach>(payload);
    case '4': return check<Signal>(payload);
    case '5': return check<Resize>(payload);
    case '6': return check<HelloReply>(payload);
    case '7': return check<Exited>(payload);
    case '8': return check<SandboxRecord>(payload);
    case '9': return check<ContainerRecord>(payload);
  }
}

struct Root {
  Root() {
    char name[] = "/dev/shm/kcube-fuzz-XXXXXX";
    path = ::mkdtemp(name);
    (void)file::make_dirs(path + "/etc");
  }
  ~Root() { (void)file::remove_tree(path); }
  std::string path;
};

// passwd, a NUL, group, a NUL, the user.
void user(const std::string& input) {
  static const Root made;
  const std::string& root = made.path;
  size_t one = input.find('\0'), two = one == std::string::npos ? one : input.find('\0', one + 1);
  if (two == std::string::npos) return;
  (void)file::write(root + "/etc/passwd", input.substr(0, one));
  (void)file::write(root + "/etc/group", input.substr(one + 1, two - one - 1));
  auto fd = file::open(root, O_PATH | O_DIRECTORY);
  (void)find_user(*fd, input.substr(two + 1), {});
}

}  // namespace

std::vector<std::string> kcube::fuzz::seeds() {
  using namespace std::string_literals;
  std::vector<std::string> all{
      "u" "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/home/user:\n\0root:x:0:\nwheel:x:10:user,other\n\0user:wheel"s,
      "p" R"({"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":1,"architectures":["SCMP_ARCH_X86_64"],"syscalls":[{"names":["read","clone"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":2080505856,"valueTwo":0,"op":"SCMP_CMP_MASKED_EQ"}],"includes":{"caps":["CAP_SYS_ADMIN"]}}]})"};
  auto add = [&](char type, std::string bytes) { all.push_back("f"s + type + std::move(bytes)); };
  add('0', encode(StartPause{}));
  add('1', encode(StartContainer{}));
  add('2', encode(StartExec{}));
  add('3', encode(Attach{}));
  add('6', encode(HelloReply{}));
  add('7', encode(Exited{}));
  add('8', encode(SandboxRecord{}));
  add('9', encode(ContainerRecord{}));
  return all;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  std::string input(kcube::fuzz::text(bytes, size));
  if (input.size() < 2) return 0;
  if (input[0] == 'u') user(input.substr(1));
  if (input[0] == 'f') frame(input[1], input.substr(2));
  if (input[0] != 'p') return 0;
  auto filter = seccomp_filter_from(input.substr(1), 0);
  require(!filter || filter->size() % sizeof(sock_filter) == 0);
  return 0;
}
