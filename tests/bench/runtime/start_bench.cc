// How long a pod takes from run_sandbox to a started container, and how long its parts take. Prints medians in ms.
//   runtime_bench [rounds]
#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "tests/unit/runtime/lab.h"

using namespace kcube;
using namespace kcube::runtime;
using Watch = std::chrono::steady_clock;

namespace {

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values.empty() ? 0 : values[values.size() / 2];
}

struct Series {
  const char* name;
  std::vector<double> values;
};

}  // namespace

int main(int argc, char** argv) {
  int rounds = argc > 1 ? std::atoi(argv[1]) : 30;
  runtime::test::Lab lab;
  Series series[] = {{"run_sandbox", {}},    {"create", {}},         {"start", {}},         {"total", {}},
                     {"exec_sync true", {}}, {"stop (SIGKILL)", {}}, {"remove_sandbox", {}}};
  for (int i = 0; i < rounds; ++i) {
    Watch::time_point t[8];
    t[0] = Watch::now();
    auto sandbox = lab.runtime->run_sandbox(lab.pod());
    t[1] = Watch::now();
    auto container = lab.runtime->create_container(sandbox->id, runtime::test::Lab::shell("exec sleep 1000"));
    t[2] = Watch::now();
    auto started = lab.runtime->start_container(*container);
    t[3] = Watch::now();
    if (!started) return std::fprintf(stderr, "%s\n", started.error().message().c_str()), 1;
    (void)lab.runtime->exec_sync(*container, {"true"}, {});
    t[4] = Watch::now();
    (void)lab.runtime->stop_container(*container, {});
    t[5] = Watch::now();
    (void)lab.runtime->remove_sandbox(sandbox->id);
    t[6] = Watch::now();
    auto ms = [&](int a, int b) { return std::chrono::duration<double, std::milli>(t[b] - t[a]).count(); };
    double parts[] = {ms(0, 1), ms(1, 2), ms(2, 3), ms(0, 3), ms(3, 4), ms(4, 5), ms(5, 6)};
    for (int s = 0; s < 7; ++s) series[s].values.push_back(parts[s]);
  }
  for (const auto& s : series)
    std::printf("%-16s %7.2f ms (first %.2f, worst %.2f)\n", s.name, median(s.values), s.values[0],
                *std::ranges::max_element(s.values));
}
