// Structured logging: one line an event, `LEVEL room: message key=value …`, to standard error or a file.
// Thread-safe. spdlog does the work and stays behind this header, because it costs seconds in every file that sees it.
#pragma once

#include <concepts>
#include <initializer_list>
#include <string>
#include <string_view>

#include "pkg/base/status.h"

namespace kcube::log {

enum class Level { debug, info, warn, error, off };

// The value of a key: text, a number, a bool or a Status (its message).
class Value {
 public:
  Value(std::string_view text) : text_(text) {}
  Value(const std::string& text) : text_(text) {}
  Value(const char* text) : text_(text) {}
  Value(bool value) : text_(value ? "true" : "false") {}
  Value(const Status& status) : text_(status.message()) {}
  template <typename Number>
    requires(std::integral<Number> || std::floating_point<Number>)
  Value(Number value) : text_(std::to_string(value)) {}
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

struct Field {
  std::string_view key;
  Value value;
};
using Fields = std::initializer_list<Field>;

// Sends the log to `path` (appended) instead of standard error, from `level` up. Call once, before other threads run.
Result<void> open(const std::string& path, Level level);
void set_level(Level level);
bool enabled(Level level);

// `room` is the part that speaks ("kubelet", "scheduler"), `message` a constant phrase; what varies goes in fields.
void write(Level level, std::string_view room, std::string_view message, Fields fields = {});

inline void debug(std::string_view room, std::string_view message, Fields fields = {}) {
  write(Level::debug, room, message, fields);
}
inline void info(std::string_view room, std::string_view message, Fields fields = {}) {
  write(Level::info, room, message, fields);
}
inline void warn(std::string_view room, std::string_view message, Fields fields = {}) {
  write(Level::warn, room, message, fields);
}
inline void error(std::string_view room, std::string_view message, Fields fields = {}) {
  write(Level::error, room, message, fields);
}

}  // namespace kcube::log
