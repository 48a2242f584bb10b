// Group commit: writes a second from several threads, the longest of them, and what they are of the limit, the disk's own
// syncs of as many bytes. `store_bench [FOLDER [WRITES [LOG_LIMIT_MIB]]]`; the folder is on the disk that is to be measured.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <thread>
#include <vector>

#include "pkg/base/fd.h"
#include "pkg/store/store.h"

using namespace kcube;
using Clock_ = std::chrono::steady_clock;

namespace {

constexpr size_t kValueBytes = 1400, kSyncs = 500, kSyncBytes = 24 << 10;

double ms_since(Clock_::time_point start) { return std::chrono::duration<double, std::milli>(Clock_::now() - start).count(); }

// Syncs a second of a file that is long enough already.
double syncs_per_second(const std::string& folder) {
  const std::string path = folder + "/sync", block(kSyncBytes, 'x');
  Fd file(::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  for (size_t i = 0; i < kSyncs; ++i) (void)!::write(file.get(), block.data(), block.size());
  ::fsync(file.get());
  auto start = Clock_::now();
  for (size_t i = 0; i < kSyncs; ++i) {
    (void)!::pwrite(file.get(), block.data(), block.size(), static_cast<off_t>(i * kSyncBytes));
    ::fdatasync(file.get());
  }
  return kSyncs / ms_since(start) * 1000;
}

void run(const std::string& folder, size_t threads, size_t writes, uint64_t log_limit) {
  const std::string path = folder + "/db-" + std::to_string(threads);
  auto store = store::open_sqlite({.path = path, .wal_limit_bytes = log_limit});
  if (!store) {
    std::fprintf(stderr, "store_bench: %s\n", store.error().message().c_str());
    std::exit(1);
  }
  std::vector<std::vector<double>> took(threads);
  auto write = [&](size_t me) {
    uint64_t revision = 0;
    for (size_t i = 0; i < writes / threads; ++i) {
      // Nine updates after each creation, as objects live.
      if (i % 10 == 0) revision = 0;
      const std::string key = "/registry/configmaps/bench/" + std::to_string(me) + "-" + std::to_string(i / 10);
      auto start = Clock_::now();
      auto done = (*store)->commit({key, revision, false, std::make_shared<const std::string>(kValueBytes, 'v')});
      took[me].push_back(ms_since(start));
      if (!done) std::exit(1);
      revision = *done;
    }
  };
  auto start = Clock_::now();
  std::vector<std::thread> all;
  for (size_t i = 0; i < threads; ++i) all.emplace_back(write, i);
  for (auto& one : all) one.join();
  const double seconds = ms_since(start) / 1000, syncs = syncs_per_second(folder);
  std::vector<double> sorted;
  for (const auto& some : took) sorted.insert(sorted.end(), some.begin(), some.end());
  std::sort(sorted.begin(), sorted.end());
  const double rate = static_cast<double>(sorted.size()) / seconds;
  std::printf("%3zu writers: %.0f writes/s, p50 %.2f ms, p99 %.2f ms, max %.1f ms; %.1f writes for each of the disk's %.0f syncs/s\n", threads, rate,
              sorted[sorted.size() / 2], sorted[sorted.size() * 99 / 100], sorted.back(), rate / syncs, syncs);
}

}  // namespace

int main(int argc, char** argv) {
  const size_t writes = argc > 2 ? std::strtoul(argv[2], nullptr, 10) : 20000;
  const uint64_t log_limit = argc > 3 ? std::strtoul(argv[3], nullptr, 10) << 20 : store::SqliteOptions{}.wal_limit_bytes;
  std::string folder = (argc > 1 ? std::string(argv[1]) : std::filesystem::temp_directory_path().string()) + "/kcube-store-bench-XXXXXX";
  if (::mkdtemp(folder.data()) == nullptr) {
    std::perror(folder.c_str());
    return 1;
  }
  for (size_t threads : {1, 16, 128}) run(folder, threads, writes, log_limit);
  std::filesystem::remove_all(folder);
}
