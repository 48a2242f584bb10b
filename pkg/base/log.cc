#include "pkg/base/log.h"

#define FMT_HEADER_ONLY 1
#define SPDLOG_HEADER_ONLY 1
#undef SPDLOG_COMPILED_LIB
#undef SPDLOG_SHARED_LIB
#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <memory>

namespace kcube::log {
namespace {

spdlog::level::level_enum to_spdlog(Level level) {
  switch (level) {
    case Level::debug: return spdlog::level::debug;
    case Level::info: return spdlog::level::info;
    case Level::warn: return spdlog::level::warn;
    case Level::error: return spdlog::level::err;
    case Level::off: return spdlog::level::off;
  }
  return spdlog::level::info;
}

constexpr const char* kPattern = "%Y-%m-%dT%H:%M:%S.%e %L %v";

std::shared_ptr<spdlog::logger>& logger() {
  static std::shared_ptr<spdlog::logger> instance = [] {
    auto made = std::make_shared<spdlog::logger>("kcube", std::make_shared<spdlog::sinks::stderr_sink_mt>());
    made->set_pattern(kPattern);
    made->set_level(spdlog::level::warn);
    return made;
  }();
  return instance;
}

bool needs_quotes(std::string_view text) {
  if (text.empty()) return true;
  for (unsigned char c : text)
    if (c <= ' ' || c == '"' || c == '=' || c == 0x7f) return true;
  return false;
}

// Control characters are escaped, so that a stranger's text cannot forge a line of its own.
void append_value(std::string& line, std::string_view text) {
  if (!needs_quotes(text)) {
    line += text;
    return;
  }
  line += '"';
  for (unsigned char c : text) {
    if (c == '"' || c == '\\') {
      line += '\\';
      line += static_cast<char>(c);
    } else if (c == '\n') {
      line += "\\n";
    } else if (c < ' ' || c == 0x7f) {
      constexpr char kHex[] = "0123456789abcdef";
      line += "\\x";
      line += kHex[c >> 4];
      line += kHex[c & 15];
    } else {
      line += static_cast<char>(c);
    }
  }
  line += '"';
}

}  // namespace

Result<void> open(const std::string& path, Level level) {
  if (path.empty()) {
    set_level(level);
    return {};
  }
  try {
    auto made = std::make_shared<spdlog::logger>("kcube", std::make_shared<spdlog::sinks::basic_file_sink_mt>(path));
    made->set_pattern(kPattern);
    made->set_level(to_spdlog(level));
    made->flush_on(spdlog::level::info);
    logger() = std::move(made);
  } catch (const spdlog::spdlog_ex& e) {
    return fail(Status::internal("open log " + path + ": " + e.what()));
  }
  return {};
}

void set_level(Level level) { logger()->set_level(to_spdlog(level)); }
bool enabled(Level level) { return logger()->should_log(to_spdlog(level)); }

void write(Level level, std::string_view room, std::string_view message, Fields fields) {
  if (!enabled(level)) return;
  std::string line;
  line.reserve(room.size() + message.size() + 64);
  line.append(room).append(": ").append(message);
  for (const Field& field : fields) {
    line.append(" ").append(field.key).append("=");
    append_value(line, field.value.text());
  }
  logger()->log(to_spdlog(level), spdlog::string_view_t(line.data(), line.size()));
}

}  // namespace kcube::log
