#include "pkg/dns/resolv_conf.h"

#include <algorithm>

#include "pkg/base/file.h"
#include "pkg/base/log.h"
#include "pkg/base/strings.h"
#include "pkg/dns/message.h"

namespace kcube::dns {
namespace {

constexpr size_t kMaxServers = 8;
constexpr uint64_t kMaxBytes = 64 << 10;

std::vector<std::string_view> words_of(std::string_view line) {
  std::vector<std::string_view> out;
  line = line.substr(0, line.find_first_of("#;"));
  while (true) {
    size_t start = line.find_first_not_of(" \t\r");
    if (start == std::string_view::npos) return out;
    line.remove_prefix(start);
    size_t end = std::min(line.find_first_of(" \t\r"), line.size());
    out.push_back(line.substr(0, end));
    line.remove_prefix(end);
  }
}

void read_option(std::string_view word, ResolvConf& conf) {
  size_t colon = word.find(':');
  if (colon == std::string_view::npos) return;
  auto n = parse_int<int>(word.substr(colon + 1));
  if (!n || *n < 1) return;
  if (word.starts_with("timeout:")) conf.timeout_seconds = std::min(*n, 5);
  if (word.starts_with("attempts:")) conf.attempts = std::min(*n, 5);
}

}  // namespace

ResolvConf parse_resolv_conf(std::string_view text, const std::vector<std::string>& skip) {
  ResolvConf conf;
  for (std::string_view line : split(text, '\n')) {
    auto words = words_of(line);
    if (words.size() < 2) continue;
    if (words[0] == "options")
      for (size_t i = 1; i < words.size(); ++i) read_option(words[i], conf);
    if (words[0] != "nameserver" || conf.servers.size() == kMaxServers) continue;
    std::string ip(words[1].substr(0, words[1].find('%')));
    if (address_record({}, ip, 0) && std::ranges::find(skip, ip) == skip.end()) conf.servers.push_back(ip);
  }
  return conf;
}

const ResolvConf& ResolvConfFile::current() {
  struct stat now {};
  if (::stat(path_.c_str(), &now) != 0) now = {};
  if (now.st_ino == seen_.st_ino && now.st_dev == seen_.st_dev && now.st_size == seen_.st_size &&
      now.st_mtim.tv_sec == seen_.st_mtim.tv_sec && now.st_mtim.tv_nsec == seen_.st_mtim.tv_nsec)
    return conf_;
  seen_ = now;
  auto text = file::read(path_, kMaxBytes);
  conf_ = text ? parse_resolv_conf(*text, skip_) : ResolvConf{};
  log::info("dns", "resolvers", {{"path", path_}, {"servers", join(conf_.servers, ",")}});
  return conf_;
}

}  // namespace kcube::dns
