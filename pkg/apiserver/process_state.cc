// The process as proc(5) and malloc_info(3) show it: process_* metrics and what is behind /debug/pprof.
#include <dirent.h>
#include <malloc.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdlib>
#include <limits>

#include "pkg/apiserver/diagnostics.h"
#include "pkg/apiserver/output.h"
#include "pkg/base/file.h"
#include "pkg/base/strings.h"

namespace kcube::apiserver {
namespace {

size_t entries(const char* directory) {
  auto names = file::list(directory);
  return names ? names->size() : 0;
}

// Field `number` of /proc/self/stat, as proc(5) counts them; those from the third on, behind the name in parentheses.
double stat_field(std::string_view stat, size_t number) {
  size_t end = stat.rfind(')');
  if (end == std::string_view::npos || end + 2 > stat.size()) return 0;
  auto fields = split(trim(stat.substr(end + 2)), ' ');
  return number - 3 < fields.size() ? std::strtod(std::string(fields[number - 3]).c_str(), nullptr) : 0;
}

double boot_time() {
  auto stat = file::read("/proc/stat");
  if (!stat) return 0;
  size_t at = stat->find("btime ");
  return at == std::string::npos ? 0 : std::strtod(stat->c_str() + at + 6, nullptr);
}

// Received and sent, summed over the interfaces of our network namespace.
std::pair<double, double> traffic() {
  std::pair<double, double> sum;
  auto text = file::read("/proc/self/net/netstat");
  if (!text) return sum;
  std::vector<std::string_view> names;
  for (std::string_view line : split(*text, '\n')) {
    if (!line.starts_with("IpExt:")) continue;
    auto words = split(line, ' ');
    if (names.empty()) {
      names = std::move(words);
      continue;
    }
    for (size_t i = 0; i < words.size() && i < names.size(); ++i) {
      if (names[i] == "InOctets") sum.first = std::strtod(std::string(words[i]).c_str(), nullptr);
      if (names[i] == "OutOctets") sum.second = std::strtod(std::string(words[i]).c_str(), nullptr);
    }
  }
  return sum;
}

std::string threads_text() {
  std::string out = "thread profile: total " + std::to_string(entries("/proc/self/task")) + "\n";
  auto tasks = file::list("/proc/self/task");
  if (!tasks) return out;
  for (const std::string& id : *tasks) {
    const std::string base = "/proc/self/task/" + id;
    auto name = file::read(base + "/comm"), stat = file::read(base + "/stat"), wait = file::read(base + "/wchan");
    if (!name || !stat) continue;
    size_t end = stat->rfind(')');
    std::string state = end == std::string::npos ? "?" : stat->substr(end + 2, 1);
    double ticks = stat_field(*stat, 14) + stat_field(*stat, 15);
    out += id + " " + std::string(trim(*name)) + " state=" + state + " cpu=" + metric_number(ticks / static_cast<double>(::sysconf(_SC_CLK_TCK))) + "s wait=" + (wait ? *wait : "") + "\n";
  }
  return out;
}

std::string heap_text() {
  char* buffer = nullptr;
  size_t size = 0;
  FILE* memory = ::open_memstream(&buffer, &size);
  if (memory == nullptr) return "";
  ::malloc_info(0, memory);
  std::fclose(memory);
  std::string out(buffer, size);
  std::free(buffer);
  return out;
}

struct Profile {
  std::string_view name, what;
  std::string (*text)();
};
constexpr Profile kProfiles[] = {
    {"heap", "arenas of malloc, by malloc_info(3)", heap_text},
    {"smaps", "mappings of the process, by proc(5)", [] { return file::read("/proc/self/smaps").value_or(""); }},
    {"status", "memory and switches of the process, by proc(5)", [] { return file::read("/proc/self/status").value_or(""); }},
    {"threads", "threads: what each is called, does and waits in", threads_text},
};

}  // namespace

void write_process_metrics(MetricsText& out) {
  const std::string stat = file::read("/proc/self/stat").value_or("");
  const double ticks = static_cast<double>(::sysconf(_SC_CLK_TCK));
  rlimit files{}, memory{};
  ::getrlimit(RLIMIT_NOFILE, &files);
  ::getrlimit(RLIMIT_AS, &memory);
  auto [received, sent] = traffic();
  out.single("process_cpu_seconds_total", "counter", "Total user and system CPU time spent in seconds.", (stat_field(stat, 14) + stat_field(stat, 15)) / ticks);
  out.single("process_max_fds", "gauge", "Maximum number of open file descriptors.", static_cast<double>(files.rlim_cur));
  out.single("process_network_receive_bytes_total", "counter", "Number of bytes received by the process over the network.", received);
  out.single("process_network_transmit_bytes_total", "counter", "Number of bytes sent by the process over the network.", sent);
  out.single("process_open_fds", "gauge", "Number of open file descriptors.", static_cast<double>(entries("/proc/self/fd")));
  out.single("process_resident_memory_bytes", "gauge", "Resident memory size in bytes.", stat_field(stat, 24) * static_cast<double>(::sysconf(_SC_PAGESIZE)));
  out.single("process_start_time_seconds", "gauge", "Start time of the process since unix epoch in seconds.", boot_time() + stat_field(stat, 22) / ticks);
  out.single("process_virtual_memory_bytes", "gauge", "Virtual memory size in bytes.", stat_field(stat, 23));
  out.single("process_virtual_memory_max_bytes", "gauge", "Maximum amount of virtual memory available in bytes.", static_cast<double>(memory.rlim_cur));
}

bool serve_profile(const http::Request& request, http::Responder& responder) {
  constexpr std::string_view kRoot = "/debug/pprof";
  std::string_view name = std::string_view(request.path).substr(kRoot.size());
  if (name.empty()) {
    http::Headers headers;
    headers.add("Location", std::string(kRoot) + "/");
    headers.add("Content-Type", "text/html; charset=utf-8");
    responder.respond(302, std::move(headers), "<a href=\"/debug/pprof/\">Found</a>.\n\n");
    return true;
  }
  name.remove_prefix(1);
  std::string index = "Profiles of this process:\n";
  for (const Profile& profile : kProfiles) {
    if (profile.name == name) return respond_text(responder, 200, profile.text()), true;
    index.append(kRoot).append("/").append(profile.name).append("  ").append(profile.what).append("\n");
  }
  if (!name.empty()) return false;
  respond_text(responder, 200, std::move(index));
  return true;
}

}  // namespace kcube::apiserver
