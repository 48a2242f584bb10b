// Frames between kcube and a monitor, and records on disk: no crash, and what was understood survives a round trip.
#include "runtime/protocol.h"
#include "runtime/records.h"

using namespace kcube::runtime;
using namespace kcube::runtime::protocol;

namespace {

template <typename T>
void check(const std::string& payload) {
  T first, second;
  if (!decode(payload, first)) return;
  std::string bytes = encode(first);
  if (!decode(bytes, second) || encode(second) != bytes) __builtin_trap();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  if (size == 0) return 0;
  std::string payload(reinterpret_cast<const char*>(bytes) + 1, size - 1);
  switch (bytes[0] % 10) {
    case 0: check<StartPause>(payload); break;
    case 1: check<StartContainer>(payload); break;
    case 2: check<StartExec>(payload); break;
    case 3: check<Attach>(payload); break;
    case 4: check<Signal>(payload); break;
    case 5: check<Resize>(payload); break;
    case 6: check<HelloReply>(payload); break;
    case 7: check<Exited>(payload); break;
    case 8: check<SandboxRecord>(payload); break;
    case 9: check<ContainerRecord>(payload); break;
  }
  return 0;
}
