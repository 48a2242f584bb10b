// /logs: the files below /var/log, as a file server shows them.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "pkg/apiserver/diagnostics.h"
#include "pkg/apiserver/output.h"
#include "pkg/base/file.h"

namespace kcube::apiserver {
namespace {

constexpr const char* kRoot = "/var/log";
constexpr off_t kMostBytes = 64 << 20;   // the end of a longer file

std::string escaped(std::string_view text) {
  std::string out;
  for (char c : text) {
    if (c == '<') out += "&lt;";
    else if (c == '>') out += "&gt;";
    else if (c == '&') out += "&amp;";
    else if (c == '"') out += "&#34;";
    else out += c;
  }
  return out;
}

// Names of a folder that is open, those of folders with a slash behind.
std::string index_of(const Fd& folder) {
  auto names = file::list("/proc/self/fd/" + std::to_string(folder.get()));
  std::string out = "<!doctype html>\n<meta name=\"viewport\" content=\"width=device-width\">\n<pre>\n";
  if (names) {
    for (std::string name : *names) {
      struct stat info{};
      if (::fstatat(folder.get(), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(info.st_mode)) name += '/';
      out += "<a href=\"" + escaped(name) + "\">" + escaped(name) + "</a>\n";
    }
  }
  return out + "</pre>\n";
}

}  // namespace

bool serve_logs(const http::Request& request, http::Responder& responder) {
  std::string path = request.path.substr(sizeof("/logs") - 1);
  auto redirect = [&](std::string to) {
    http::Headers headers;
    headers.add("Location", std::move(to));
    responder.respond(301, std::move(headers), "");
    return true;
  };
  if (path.empty()) return redirect("/logs/");
  auto root = file::open(kRoot, O_PATH | O_DIRECTORY);
  if (!root) return false;
  auto fd = file::open_beneath(*root, path == "/" ? "." : path.substr(1), O_RDONLY | O_NONBLOCK);
  struct stat info{};
  if (!fd || ::fstat(fd->get(), &info) != 0) return false;
  http::Headers headers;
  if (S_ISDIR(info.st_mode)) {
    if (!path.ends_with('/')) return redirect(request.path + "/");
    headers.add("Content-Type", "text/html; charset=utf-8");
    responder.respond(200, std::move(headers), index_of(*fd));
    return true;
  }
  if (!S_ISREG(info.st_mode)) return false;
  std::string text(static_cast<size_t>(std::min(info.st_size, kMostBytes)), '\0');
  ssize_t got = ::pread(fd->get(), text.data(), text.size(), std::max<off_t>(0, info.st_size - kMostBytes));
  text.resize(static_cast<size_t>(std::max<ssize_t>(0, got)));
  headers.add("Content-Type", "text/plain; charset=utf-8");
  responder.respond(200, std::move(headers), std::move(text));
  return true;
}

}  // namespace kcube::apiserver
