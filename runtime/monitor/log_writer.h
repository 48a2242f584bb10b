// LogWriter: one container's log in CRI format, `<RFC 3339 with nanoseconds> <stream> <P|F> <text>`, rotated by size.
// Source: kubernetes/community, kubelet-cri-logging.md. A full disk loses lines but never stops the container.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "pkg/base/fd.h"

namespace kcube::monitor {

// Longer lines are split into partial ones, as containerd does.
inline constexpr size_t kMaxLine = 16384;

class LogWriter {
 public:
  // An empty path discards everything.
  LogWriter(std::string path, uint64_t max_bytes, uint32_t max_files);
  bool ok() const { return path_.empty() || fd_.valid(); }

  // Adds one record to the batch; flush() writes it out.
  void line(std::string_view stream, std::string_view text, bool partial);
  void flush();

 private:
  void open();
  void rotate();
  void remove_oldest();

  std::string path_;
  uint64_t max_bytes_;
  uint32_t max_files_;
  Fd fd_;
  uint64_t size_ = 0;
  std::string batch_;
};

}  // namespace kcube::monitor
