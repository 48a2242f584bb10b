// The fuzzer: a child runs inputs and keeps those that reach something new; its parent sees it die or hang, saves the input
// and starts another. See fuzz.h.
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <thread>

#include "tests/fuzz/driver/coverage.h"
#include "tests/fuzz/driver/fuzz.h"
#include "tests/fuzz/driver/mutate.h"

// Sanitizers: a finding ends the process, and so does one that takes too much memory.
extern "C" const char* __asan_default_options() {
  return "abort_on_error=1:detect_leaks=0:allocator_may_return_null=0:max_allocation_size_mb=1024:hard_rss_limit_mb=2500:detect_stack_use_after_return=0";
}
extern "C" const char* __ubsan_default_options() { return "print_stacktrace=1:abort_on_error=1"; }

namespace kcube::fuzz {
namespace {

using Clock = std::chrono::steady_clock;
namespace fs = std::filesystem;

constexpr size_t kMaxInput = 1 << 16, kUsualInput = 4096;
constexpr auto kHang = std::chrono::seconds(10);
constexpr size_t kMaxFindings = 5;

// What child and parent share.
struct Shared {
  std::atomic<uint64_t> executions, edges, corpus;
  std::atomic<uint64_t> size;            // of the input that runs now
  unsigned char input[kMaxInput];
};

struct Options {
  double seconds = 60;
  uint64_t seed = std::random_device()();
  std::string findings = ".", corpus, name;
};

std::string read_file(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

// Counts are told apart by powers of two: a loop that runs once more is nothing new.
uint8_t bucket(uint8_t count) {
  if (count <= 3) return count;
  if (count <= 7) return 4;
  if (count <= 15) return 5;
  return count <= 127 ? 6 : 7;
}

class Fuzzer {
 public:
  Fuzzer(const Options& options, Shared& shared, uint64_t round) : options_(options), shared_(shared), mutator_(options.seed + round) {}

  [[noreturn]] void run(Clock::time_point end) {
    for (std::string& seed : seeds()) {
      mutator_.learn(Mutator::words(seed));
      if (execute(seed)) corpus_.push_back(std::move(seed));
    }
    std::error_code ignored;
    for (const auto& entry : fs::directory_iterator(options_.corpus.empty() ? "/nonexistent" : options_.corpus, ignored))
      if (std::string input = read_file(entry.path()); execute(input)) corpus_.push_back(std::move(input));
    if (corpus_.empty()) corpus_.emplace_back();
    while (Clock::now() < end)
      for (int i = 0; i < 64; ++i) step();
    std::exit(0);   // targets remove what they made at exit
  }

 private:
  void step() {
    // Later finds are tried more often.
    size_t at = mutator_.pick(3) == 0 ? mutator_.pick(corpus_.size()) : corpus_.size() - 1 - mutator_.pick(std::min<size_t>(corpus_.size(), 64));
    size_t limit = std::max(kUsualInput, corpus_[at].size());
    std::string input = mutator_.mutate(corpus_[at], corpus_[mutator_.pick(corpus_.size())], mutator_.pick(200) == 0 ? kMaxInput : limit);
    if (!execute(input)) return;
    keep(input);
    corpus_.push_back(std::move(input));
    shared_.corpus = corpus_.size();
  }

  // True when it went where no input has been.
  bool execute(const std::string& input) {
    size_t size = std::min(input.size(), kMaxInput);
    std::memcpy(shared_.input, input.data(), size);
    shared_.size = size;
    // A copy of its own, so that a read beyond the end is seen.
    std::vector<uint8_t> bytes(input.begin(), input.begin() + static_cast<std::ptrdiff_t>(size));
    coverage::start();
    (void)LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
    coverage::stop();
    ++shared_.executions;
    if (mutator_.pick(50) == 0) mutator_.learn(coverage::operands());
    bool fresh = false;
    const uint8_t* map = coverage::map();
    for (size_t i = 0; i < coverage::kMapSize; i += 8) {
      uint64_t eight;
      std::memcpy(&eight, map + i, 8);
      if (eight == 0) continue;
      for (size_t j = i; j < i + 8; ++j) {
        auto bit = static_cast<uint8_t>(map[j] == 0 ? 0 : 1 << bucket(map[j]));
        if ((seen_[j] | bit) == seen_[j]) continue;
        if (seen_[j] == 0) ++shared_.edges;
        seen_[j] |= bit;
        fresh = true;
      }
    }
    if (fresh) mutator_.learn(coverage::operands());
    return fresh;
  }

  void keep(const std::string& input) const {
    if (options_.corpus.empty()) return;
    char name[32];
    std::snprintf(name, sizeof name, "%016zx", std::hash<std::string>()(input));
    std::ofstream(fs::path(options_.corpus) / name, std::ios::binary) << input;
  }

  const Options& options_;
  Shared& shared_;
  Mutator mutator_;
  std::vector<std::string> corpus_;
  uint8_t seen_[coverage::kMapSize] = {};
};

std::string save(const Options& options, const Shared& shared, const char* what) {
  std::string_view input(reinterpret_cast<const char*>(shared.input), shared.size);
  char name[64];
  std::snprintf(name, sizeof name, "-%s-%016zx", what, std::hash<std::string_view>()(input));
  fs::create_directories(options.findings);
  std::string path = (fs::path(options.findings) / (options.name + name)).string();
  std::ofstream(path, std::ios::binary) << input;
  return path;
}

// Loads the program where it is loaded each time: coverage goes by addresses, so only then does a seed tell the whole run.
void stay_in_place(char** argv) {
  int now = ::personality(0xffffffff);
  if (now == -1 || (now & ADDR_NO_RANDOMIZE) != 0 || ::personality(static_cast<unsigned>(now) | ADDR_NO_RANDOMIZE) == -1) return;
  ::execv("/proc/self/exe", argv);
}

// Waits for the child; kills it when one input takes too long, by looking 50 times a second whether its count moves. What
// ended it, or null.
const char* watch(pid_t child, const Shared& shared, Clock::time_point end) {
  uint64_t last = 0;
  auto since = Clock::now();
  while (true) {
    int status = 0;
    if (::waitpid(child, &status, WNOHANG) == child) {
      if (WIFSIGNALED(status)) std::fprintf(stderr, "ended by %s\n", ::strsignal(WTERMSIG(status)));
      return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? nullptr : "crash";
    }
    if (uint64_t now = shared.executions; now != last || Clock::now() > end + 2 * kHang) {
      last = now;
      since = Clock::now();
    }
    if (Clock::now() - since > kHang) {
      ::kill(child, SIGKILL);
      ::waitpid(child, &status, 0);
      return "hang";
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
}

int fuzz(const Options& options) {
  void* memory = ::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return 2;
  auto& shared = *new (memory) Shared;
  if (!options.corpus.empty()) fs::create_directories(options.corpus);
  auto begin = Clock::now(), end = begin + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(options.seconds));
  size_t findings = 0;
  for (uint64_t round = 0; Clock::now() < end && findings < kMaxFindings; ++round) {
    shared.edges = 0;
    std::fflush(nullptr);
    pid_t child = ::fork();
    if (child == 0) std::make_unique<Fuzzer>(options, shared, round)->run(end);
    const char* ended = watch(child, shared, end);
    if (ended == nullptr) break;
    ++findings;
    std::printf("%s: %s, input in %s\n", options.name.c_str(), ended, save(options, shared, ended).c_str());
  }
  double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  std::printf("%s: %llu executions, %.0f a second, %llu edges, %llu inputs kept, %zu findings (seed %llu)\n", options.name.c_str(),
              static_cast<unsigned long long>(shared.executions), static_cast<double>(shared.executions) / seconds, static_cast<unsigned long long>(shared.edges),
              static_cast<unsigned long long>(shared.corpus), findings, static_cast<unsigned long long>(options.seed));
  return findings == 0 ? 0 : 1;
}

}  // namespace
}  // namespace kcube::fuzz

int main(int argc, char** argv) {
  using namespace kcube::fuzz;
  stay_in_place(argv);
  Options options;
  options.name = std::filesystem::path(argv[0]).filename().string();
  if (argc > 1 && std::strcmp(argv[1], "-r") == 0) {
    for (int i = 2; i < argc; ++i) {
      std::string input = read_file(argv[i]);
      (void)LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(input.data()), input.size());
    }
    return 0;
  }
  for (int option; (option = ::getopt(argc, argv, "t:s:o:c:")) != -1;) {
    switch (option) {
      case 't': options.seconds = std::atof(optarg); break;
      case 's': options.seed = std::strtoull(optarg, nullptr, 10); break;
      case 'o': options.findings = optarg; break;
      case 'c': options.corpus = optarg; break;
      default: std::fprintf(stderr, "usage: %s [-t SECONDS] [-s SEED] [-o FINDINGS] [-c CORPUS] | -r FILE...\n", argv[0]); return 2;
    }
  }
  return fuzz(options);
}
