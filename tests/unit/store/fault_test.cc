// The store on a disk that fails: full, syncs that fail, short writes, reads that fail, a process killed or the power cut
// at any call. What was acknowledged is there afterwards, what was not acknowledged is there whole or not at all, and
// revisions never go back. Everything follows from a seed, which is in the message of a failure;
// KCUBE_FAULT_SEED=N runs that one alone, KCUBE_FAULT_SEEDS=N runs as many.
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <optional>

#include "pkg/base/file.h"
#include "pkg/base/log.h"
#include "tests/unit/store/fault_disk.h"
#include "tests/unit/store/fault_model.h"

namespace kcube::store::testing {
namespace {

// Sanitizers take several times as long for each.
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr uint64_t kShare = 5;
#else
constexpr uint64_t kShare = 1;
#endif

uint64_t pick(Random& random, uint64_t bound) { return random() % bound; }

// One commit: mostly one write, sometimes several at once. Keys differ within it.
std::vector<ModelWrite> make_writes(Random& random, const Model& model) {
  std::vector<ModelWrite> writes;
  size_t count = pick(random, 6) == 0 ? 2 + pick(random, 3) : 1;
  uint64_t first = pick(random, 8);
  for (size_t i = 0; i < count; ++i) {
    std::string key = "/k/" + std::to_string((first + i) % 8);
    bool remove = model.revision_of(key) != 0 && pick(random, 4) == 0;
    // Beyond a page now and then, so that a commit is many frames.
    size_t size = pick(random, 5) == 0 ? 3000 + pick(random, 20000) : pick(random, 300);
    writes.push_back({key, remove, remove ? "" : std::string(size, static_cast<char>('a' + pick(random, 26)))});
  }
  return writes;
}

class FaultTest : public ::testing::Test {
 protected:
  FaultTest() {
    char name[] = "/tmp/kcube-fault-XXXXXX";
    directory_ = mkdtemp(name);
    log::set_level(log::Level::off);
  }
  ~FaultTest() override { log::set_level(log::Level::info); (void)file::remove_tree(directory_); }
  Result<std::unique_ptr<Store>> open() { return open_sqlite({.path = directory_ + "/db", .wal_limit_bytes = 96 << 10}); }
  // The disk's own view: whole by SQLite's check.
  std::string check_database() {
    sqlite3* raw = nullptr;
    std::string said;
    sqlite3_open((directory_ + "/db").c_str(), &raw);
    sqlite3_exec(raw, "PRAGMA integrity_check", [](void* out, int, char** row, char**) { *static_cast<std::string*>(out) += row[0]; return 0; }, &said, nullptr);
    sqlite3_close(raw);
    return said;
  }
  template <typename Body>
  void each_seed(uint64_t count, Body body) {
    if (const char* more = getenv("KCUBE_FAULT_SEEDS")) count = strtoull(more, nullptr, 10);
    if (const char* one = getenv("KCUBE_FAULT_SEED")) {
      SCOPED_TRACE("seed " + std::string(one));
      return body(strtoull(one, nullptr, 10));
    }
    for (uint64_t seed = 1; seed <= count; ++seed) {
      SCOPED_TRACE("seed " + std::to_string(seed) + " (KCUBE_FAULT_SEED)");
      body(seed);
      if (HasFailure()) return;
    }
  }

  std::string directory_;
  Disk left_;   // a copy of the disk at the moment of a crash
  Disk disk_;   // SQLite's default: installed last
};

// --- A process that dies ----------------------------------------------------------------------------------------------

struct Acknowledgement {
  uint64_t number = 0, revision = 0;   // of the commit
};

// Does seeded commits and compactions until killed, telling the pipe of each that was acknowledged. The same seed makes
// the same commits as long as all succeed, so that the parent can follow.
[[noreturn]] void work(Result<std::unique_ptr<Store>> store, Model model, uint64_t seed, size_t commits, int pipe) {
  if (!store) _exit(9);
  Random random(seed);
  for (uint64_t number = 1; number <= commits; ++number) {
    Acknowledgement said{number, 0};
    if (pick(random, 12) == 0) {
      said.revision = std::max<uint64_t>(model.revision() - std::min<uint64_t>(pick(random, 10), model.revision() - 1), 1);
      if (!(*store)->compact(said.revision)) _exit(8);
      model.compacted(said.revision);
    } else {
      auto writes = make_writes(random, model);
      auto done = (*store)->commit_all(conditional(model, writes));
      if (!done) _exit(7);
      said.revision = *done;
      model.apply(writes, said.revision);
    }
    if (::write(pipe, &said, sizeof said) != sizeof said) _exit(6);
  }
  store->reset();
  _exit(0);
}

// Follows what the child did: `model` becomes what was acknowledged, `next` that and the step that was under way.
void follow(Model& model, Model& next, uint64_t seed, uint64_t acknowledged, uint64_t last_revision) {
  Random random(seed);
  for (uint64_t number = 1; number <= acknowledged + 1; ++number) {
    Model& target = number <= acknowledged ? model : next;
    if (number == acknowledged + 1) next = model;
    if (pick(random, 12) == 0) {
      target.compacted(std::max<uint64_t>(target.revision() - std::min<uint64_t>(pick(random, 10), target.revision() - 1), 1));
    } else {
      auto writes = make_writes(random, target);
      target.apply(writes, target.revision() + writes.size());
    }
  }
  EXPECT_TRUE(acknowledged == 0 || model.revision() == last_revision || model.compacted() >= last_revision);
}

TEST_F(FaultTest, NothingAcknowledgedIsLostWhenTheProcessDiesOrThePowerFails) {
  constexpr size_t kCommits = 25;
  uint64_t kills = 0;
  each_seed(250 / kShare, [&](uint64_t seed) {
    Random random(seed);
    disk_.format();
    disk_.state().powersafe = seed % 2 == 0;
    Model model;
    // Lives of one database: each child begins with what the one before left.
    for (int life = 0; life < 3; ++life) {
      uint64_t child_seed = random();
      disk_.state().step = 0;
      disk_.state().kill_at = 1 + pick(random, life == 0 ? 400 : 250);
      int pipes[2];
      ASSERT_EQ(pipe(pipes), 0);
      pid_t child = fork();
      if (child == 0) {
        ::close(pipes[0]);
        work(open(), model, child_seed, kCommits, pipes[1]);
      }
      ::close(pipes[1]);
      Acknowledgement last, one;
      while (::read(pipes[0], &one, sizeof one) == sizeof one) last = one;
      ::close(pipes[0]);
      int status = 0;
      ASSERT_EQ(waitpid(child, &status, 0), child);
      ASSERT_TRUE(WIFSIGNALED(status) ? WTERMSIG(status) == SIGKILL : WEXITSTATUS(status) == 0) << "status " << status;
      kills += WIFSIGNALED(status);
      bool power_cut = pick(random, 2) == 0;
      if (power_cut) disk_.cut_power(random);
      disk_.state().kill_at = 0;
      disk_.forget_processes();

      Model next = model;
      follow(model, next, child_seed, last.number, last.revision);
      bool ended = !WIFSIGNALED(status);
      auto store = open();
      ASSERT_TRUE(store) << store.error().message();
      std::string without = model.compare(**store), with = ended ? "-" : next.compare(**store);
      ASSERT_TRUE(without.empty() || with.empty()) << "life " << life << (power_cut ? ", power cut" : ", killed") << " after commit " << last.number << ": "
                                                    << without << "; with the commit under way: " << with;
      if (!without.empty()) model = next;
      // It goes on from there.
      std::vector<ModelWrite> more{{"/k/more", false, "x"}};
      auto done = (*store)->commit_all(conditional(model, more));
      ASSERT_TRUE(done) << done.error().message();
      ASSERT_EQ(*done, model.revision() + 1);
      model.apply(more, *done);
      store->reset();
      ASSERT_EQ(check_database(), "ok");
    }
  });
  EXPECT_TRUE(kills > 500 / kShare || getenv("KCUBE_FAULT_SEED") != nullptr) << kills;
}

// --- A disk that fails under a process that lives ---------------------------------------------------------------------

// Works on a disk that fails now and then; `model` follows what the store says.
class Worker {
 public:
  Worker(Store& store, Disk& disk, Random& random, Model& model) : store_(store), disk_(disk), random_(random), model_(model), told_(model) {}

  void run(int steps) {
    ASSERT_TRUE(store_.follow(store_.revision(), [this](const std::vector<Change>& changes) {
      for (const Change& c : changes) told_.apply({{c.key, c.removed, c.removed ? "" : *c.value}}, c.revision);
    }));
    for (int step = 0; step < steps && !::testing::Test::HasFatalFailure(); ++step) {
      constexpr Fault kFaults[] = {Fault::full, Fault::failed_sync, Fault::failed_read, Fault::short_write, Fault::failed_write};
      Fault fault = pick(random_, 4) == 0 ? kFaults[pick(random_, std::size(kFaults))] : Fault::none;
      SCOPED_TRACE("step " + std::to_string(step) + ", fault " + std::to_string(static_cast<int>(fault)));
      disk_.state().fault = fault;
      if (pick(random_, 15) == 0) compact(fault);
      else commit(fault);
      if (pick(random_, 4) == 0) (void)store_.range("/", "", 0, 0);
      disk_.state().fault = Fault::none;
      EXPECT_EQ(model_.compare(store_), "");
      EXPECT_EQ(told_.now(), model_.now());
      if (::testing::Test::HasFailure()) return;
    }
  }

  // What a crash may leave instead of the model: a commit that failed may surface until another one succeeds, a compaction too.
  std::vector<Model> maybe;
  uint64_t maybe_compacted = 0, failures = 0;

 private:
  void commit(Fault fault) {
    auto writes = make_writes(random_, model_);
    auto done = store_.commit_all(conditional(model_, writes));
    if (done) {
      EXPECT_EQ(*done, model_.revision() + writes.size());
      model_.apply(writes, *done);
      maybe.clear();
      return;
    }
    ++failures;
    EXPECT_NE(fault, Fault::none) << "on a healthy disk: " << done.error().message();
    EXPECT_GE(done.error().code(), 500);
    EXPECT_TRUE(fault != Fault::full || done.error().code() == 507) << done.error().message();
    maybe.push_back(model_);
    maybe.back().apply(writes, model_.revision() + writes.size());
  }
  void compact(Fault fault) {
    uint64_t target = 1 + pick(random_, model_.revision());
    auto done = store_.compact(target);
    EXPECT_TRUE(done || fault != Fault::none) << "on a healthy disk: " << done.error().message();
    model_.compacted(store_.compacted_revision());
    if (!done) maybe_compacted = std::max(maybe_compacted, target);
  }

  Store& store_;
  Disk& disk_;
  Random& random_;
  Model& model_;
  Model told_;
};

TEST_F(FaultTest, AFailedWriteIsNotThereAndTheStoreRecoversWithTheDisk) {
  uint64_t failures = 0;
  each_seed(200 / kShare, [&](uint64_t seed) {
    Random random(seed);
    disk_.format();
    disk_.state().powersafe = seed % 2 == 0;
    Model model;
    for (int life = 0; life < 3; ++life) {
      auto store = open();
      ASSERT_TRUE(store) << store.error().message();
      Worker worker(**store, disk_, random, model);
      worker.run(15);
      if (HasFailure()) return;
      failures += worker.failures;
      // Here the process dies or the power fails: what the disk has at this moment is what is found.
      bool power_cut = pick(random, 2) == 0;
      left_.copy_from(disk_);
      if (power_cut) left_.cut_power(random);
      store->reset();
      disk_.copy_from(left_);
      auto again = open();
      ASSERT_TRUE(again) << again.error().message();
      if ((*again)->compacted_revision() <= worker.maybe_compacted) model.compacted((*again)->compacted_revision());
      std::string without = model.compare(**again), with;
      for (Model& surfaced : worker.maybe) {
        surfaced.compacted(model.compacted());
        std::string differs = surfaced.compare(**again);
        with += differs + "; ";
        if (without.empty() || !differs.empty()) continue;
        without.clear();
        model = surfaced;
      }
      ASSERT_EQ(without, "") << "life " << life << (power_cut ? ", power cut" : ", killed") << "; with a failed commit: " << with;
      // Half of the time the next life begins with what this look has left, else with the log as it was.
      again->reset();
      ASSERT_EQ(check_database(), "ok");
      if (pick(random, 2) == 0) disk_.copy_from(left_);
    }
  });
  EXPECT_TRUE(failures > 300 / kShare || getenv("KCUBE_FAULT_SEED") != nullptr) << failures;
}

}  // namespace
}  // namespace kcube::store::testing
