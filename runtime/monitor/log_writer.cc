#include "runtime/monitor/log_writer.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <vector>

namespace kcube::monitor {
namespace {

// The date part of a time changes once a second; most lines only pay for the fraction.
void append_time(std::string& out) {
  static time_t cached = -1;
  static char date[80];  // as long as the compiler believes six integers can get
  timespec now;
  ::clock_gettime(CLOCK_REALTIME, &now);
  if (now.tv_sec != cached) {
    tm utc;
    ::gmtime_r(&now.tv_sec, &utc);
    ::snprintf(date, sizeof date, "%04d-%02d-%02dT%02d:%02d:%02d.", utc.tm_year + 1900, utc.tm_mon + 1, utc.tm_mday,
               utc.tm_hour, utc.tm_min, utc.tm_sec);
    cached = now.tv_sec;
  }
  out.append(date);
  char digits[10];
  long rest = now.tv_nsec;
  for (int i = 8; i >= 0; --i, rest /= 10) digits[i] = static_cast<char>('0' + rest % 10);
  digits[9] = 'Z';
  out.append(digits, 10);
}

std::string rotation_suffix() {
  timespec now;
  ::clock_gettime(CLOCK_REALTIME, &now);
  tm utc;
  ::gmtime_r(&now.tv_sec, &utc);
  char text[48];
  ::snprintf(text, sizeof text, ".%04d%02d%02d-%02d%02d%02d.%09ld", utc.tm_year + 1900, utc.tm_mon + 1, utc.tm_mday,
             utc.tm_hour, utc.tm_min, utc.tm_sec, now.tv_nsec);
  return text;
}

}  // namespace

LogWriter::LogWriter(std::string path, uint64_t max_bytes, uint32_t max_files)
    : path_(std::move(path)), max_bytes_(max_bytes), max_files_(max_files < 2 ? 2 : max_files) {
  if (!path_.empty()) open();
}

void LogWriter::open() {
  fd_.reset(::open(path_.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640));
  struct stat info;
  size_ = fd_.valid() && ::fstat(fd_.get(), &info) == 0 ? static_cast<uint64_t>(info.st_size) : 0;
}

void LogWriter::line(std::string_view stream, std::string_view text, bool partial) {
  if (path_.empty()) return;
  append_time(batch_);
  batch_.append(" ").append(stream).append(partial ? " P " : " F ").append(text).append("\n");
  if (batch_.size() >= 4 * kMaxLine) flush();
}

void LogWriter::flush() {
  if (batch_.empty()) return;
  if (max_bytes_ > 0 && size_ > 0 && size_ + batch_.size() > max_bytes_) rotate();
  if (!fd_.valid()) open();
  std::string_view left = batch_;
  while (!left.empty() && fd_.valid()) {
    ssize_t n = ::write(fd_.get(), left.data(), left.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    size_ += static_cast<uint64_t>(n);
    left.remove_prefix(static_cast<size_t>(n));
  }
  batch_.clear();
}

void LogWriter::rotate() {
  if (::rename(path_.c_str(), (path_ + rotation_suffix()).c_str()) != 0 && errno != ENOENT) return;
  open();
  remove_oldest();
}

// The suffixes sort by age. The current file counts as one of max_files_.
void LogWriter::remove_oldest() {
  size_t slash = path_.rfind('/');
  std::string directory = path_.substr(0, slash + 1), base = path_.substr(slash + 1) + ".";
  std::vector<std::string> rotated;
  DIR* dir = ::opendir(directory.c_str());
  if (dir == nullptr) return;
  while (dirent* entry = ::readdir(dir)) {
    std::string_view name = entry->d_name;
    if (name.starts_with(base)) rotated.emplace_back(name);
  }
  ::closedir(dir);
  std::sort(rotated.begin(), rotated.end());
  for (size_t i = 0; i + max_files_ <= rotated.size(); ++i) ::unlink((directory + rotated[i]).c_str());
}

}  // namespace kcube::monitor
