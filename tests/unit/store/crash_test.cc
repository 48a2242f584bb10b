// What was acknowledged survives kill -9 at any moment.
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <map>
#include <thread>

#include "pkg/base/file.h"
#include "pkg/base/strings.h"
#include "pkg/store/store.h"

namespace kcube::store {
namespace {

// The child: four writers, each telling the pipe "writer revision\n" after every acknowledgement.
[[noreturn]] void write_until_killed(const std::string& path, int acknowledgements) {
  auto store = open_sqlite({.path = path, .keep_revisions = 50, .wal_limit_bytes = 256 << 10});
  if (!store) _exit(9);
  std::vector<std::thread> writers;
  for (int w = 0; w < 4; ++w) {
    writers.emplace_back([&, w] {
      std::string key = "/w/" + std::to_string(w);
      auto now = (*store)->range(key, "", 1, 0);
      uint64_t revision = now && !now->items.empty() ? now->items[0].mod_revision : 0;
      while (true) {
        auto next = (*store)->commit({key, revision, false, std::make_shared<const std::string>(std::string(500, 'v'))});
        if (!next) _exit(8);
        revision = *next;
        std::string line = std::to_string(w) + " " + std::to_string(revision) + "\n";
        if (::write(acknowledgements, line.data(), line.size()) < 0) _exit(7);
      }
    });
  }
  for (auto& writer : writers) writer.join();
  _exit(0);
}

TEST(StoreCrash, LosesNothingAcknowledged) {
  char name[] = "/tmp/kcube-crash-XXXXXX";
  std::string directory = mkdtemp(name);
  std::map<int, uint64_t> acknowledged;
  for (int round = 0; round < 12; ++round) {
    int pipes[2];
    ASSERT_EQ(pipe(pipes), 0);
    pid_t child = fork();
    if (child == 0) {
      close(pipes[0]);
      write_until_killed(directory + "/db", pipes[1]);
    }
    close(pipes[1]);
    std::string text;
    char buffer[4096];
    // Killed after a random number of acknowledgements.
    size_t wanted = 200 + random_u64() % 20000;
    ssize_t n;
    while (text.size() < wanted && (n = read(pipes[0], buffer, sizeof buffer)) > 0) text.append(buffer, static_cast<size_t>(n));
    kill(child, SIGKILL);
    while ((n = read(pipes[0], buffer, sizeof buffer)) > 0) text.append(buffer, static_cast<size_t>(n));
    close(pipes[0]);
    int status = 0;
    waitpid(child, &status, 0);
    ASSERT_TRUE(WIFSIGNALED(status)) << "child ended by itself: " << WEXITSTATUS(status);
    for (std::string_view line : split(text, '\n')) {
      auto parts = split(line, ' ');
      if (parts.size() != 2) continue;
      acknowledged[static_cast<int>(*parse_int<int64_t>(parts[0]))] = *parse_int<uint64_t>(parts[1]);
    }
    auto store = open_sqlite({.path = directory + "/db"});
    ASSERT_TRUE(store) << store.error().message();
    for (auto [writer, revision] : acknowledged) {
      auto now = (*store)->range("/w/" + std::to_string(writer), "", 0, 0);
      ASSERT_TRUE(now);
      ASSERT_EQ(now->items.size(), 1u);
      EXPECT_GE(now->items[0].mod_revision, revision) << "writer " << writer << " round " << round;
      EXPECT_EQ(now->items[0].value->size(), 500u);
    }
  }
  (void)file::remove_tree(directory);
}

}  // namespace
}  // namespace kcube::store
