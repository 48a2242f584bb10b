// Reading containers' logs in CRI format: "<RFC 3339 time> stdout|stderr P|F <text>" a line.
#pragma once

#include <atomic>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "pkg/base/clock.h"
#include "pkg/base/status.h"

namespace kcube::kubelet {

struct LogOptions {
  bool follow = false;
  bool timestamps = false;
  std::optional<int64_t> tail_lines;
  std::optional<int64_t> limit_bytes;
  std::optional<SystemTime> since;
  std::string stream;                        // "Stdout", "Stderr" or "" and "All"
};

// Hands the text to `sink` until it returns false. With follow, goes on until `finished()` says that the container is
// over and everything written was read; woken by inotify. Handles rotation (the file is renamed and made anew).
Result<void> read_log(const std::string& path, const LogOptions& options, const std::function<bool(std::string_view)>& sink,
                      const std::function<bool()>& finished);

}  // namespace kcube::kubelet
