#include "runtime/images/tar_reader.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>

#include "pkg/base/strings.h"

namespace kcube::runtime::images {
namespace {

constexpr size_t kBlock = 512;
constexpr uint64_t kMaxExtension = 4 << 20;  // pax headers and long names: xattrs may be large, names never
constexpr std::string_view kXattr = "SCHILY.xattr.";

struct Header {
  std::array<char, kBlock> bytes;

  std::string_view field(size_t at, size_t size) const {
    std::string_view text(bytes.data() + at, size);
    return text.substr(0, text.find('\0'));
  }
  bool zero() const {
    return std::ranges::all_of(bytes, [](char c) { return c == '\0'; });
  }
  char type() const { return bytes[156]; }
  bool ustar() const { return std::string_view(bytes.data() + 257, 5) == "ustar"; }
  bool gnu() const { return std::string_view(bytes.data() + 257, 8) == std::string_view("ustar  \0", 8); }
};

std::unexpected<Status> damaged(std::string_view why) {
  return fail(Status::bad_request("the tar data is damaged: " + std::string(why)));
}

// Octal digits amid blanks, or base 256 when the first bit is set (GNU).
std::optional<int64_t> number(const Header& header, size_t at, size_t size) {
  const auto* bytes = reinterpret_cast<const unsigned char*>(header.bytes.data() + at);
  if ((bytes[0] & 0x80) != 0) {
    bool negative = (bytes[0] & 0x40) != 0;
    uint64_t value = negative ? ~uint64_t{0} : 0;
    for (size_t i = 0; i < size; ++i) {
      unsigned char byte = bytes[i];
      if (i == 0) byte = negative ? byte : byte & 0x7f;
      unsigned char filler = negative ? 0xff : 0;
      if (i + 8 < size && byte != filler) return std::nullopt;
      value = (value << 8) | byte;
    }
    auto result = static_cast<int64_t>(value);
    if ((result < 0) != negative) return std::nullopt;
    return result;
  }
  std::string_view text = header.field(at, size);
  text = trim(text);
  int64_t value = 0;
  for (char c : text) {
    if (c < '0' || c > '7' || value > (INT64_MAX >> 3)) return std::nullopt;
    value = value * 8 + (c - '0');
  }
  return value;
}

bool checksum_matches(const Header& header) {
  auto stored = number(header, 148, 8);
  if (!stored) return false;
  int64_t sum = 0, signed_sum = 0;  // old tars summed signed characters
  for (size_t i = 0; i < kBlock; ++i) {
    char c = i >= 148 && i < 156 ? ' ' : header.bytes[i];
    sum += static_cast<unsigned char>(c);
    signed_sum += static_cast<signed char>(c);
  }
  return *stored == sum || *stored == signed_sum;
}

std::optional<TarType> type_of(char flag) {
  switch (flag) {
    case '0':
    case '\0':
    case '7': return TarType::file;
    case '1': return TarType::hard_link;
    case '2': return TarType::symlink;
    case '3': return TarType::char_device;
    case '4': return TarType::block_device;
    case '5': return TarType::directory;
    case '6': return TarType::fifo;
    default: return std::nullopt;
  }
}

Result<void> fill(const Header& header, TarEntry& entry) {
  auto mode = number(header, 100, 8), uid = number(header, 108, 8), gid = number(header, 116, 8);
  auto size = number(header, 124, 12), mtime = number(header, 136, 12);
  if (!mode || !uid || !gid || !size || !mtime || *size < 0 || *uid < 0 || *gid < 0)
    return damaged("a number in a header is none");
  entry.mode = static_cast<uint32_t>(*mode & 07777);
  entry.uid = static_cast<uint32_t>(*uid);
  entry.gid = static_cast<uint32_t>(*gid);
  entry.size = static_cast<uint64_t>(*size);
  entry.mtime = *mtime;
  entry.path = header.field(0, 100);
  entry.link = header.field(157, 100);
  if (header.ustar()) {
    if (std::string_view prefix = header.field(345, 155); !prefix.empty() && !header.gnu())
      entry.path = std::string(prefix) + "/" + entry.path;
    if (header.type() == '3' || header.type() == '4') {
      auto major = number(header, 329, 8), minor = number(header, 337, 8);
      if (!major || !minor) return damaged("a device number is none");
      entry.major = static_cast<uint32_t>(*major);
      entry.minor = static_cast<uint32_t>(*minor);
    }
  }
  return {};
}

// "1700000000.123456789", also negative.
bool parse_time(std::string_view text, TarEntry& entry) {
  size_t dot = text.find('.');
  auto seconds = parse_int<int64_t>(text.substr(0, dot));
  if (!seconds) return false;
  entry.mtime = *seconds;
  entry.mtime_nanoseconds = 0;
  if (dot == std::string_view::npos) return true;
  std::string fraction(text.substr(dot + 1, 9));
  fraction.resize(9, '0');
  auto nanoseconds = parse_int<uint32_t>(fraction);
  if (!nanoseconds) return false;
  entry.mtime_nanoseconds = *nanoseconds;
  if (text.starts_with('-') && entry.mtime_nanoseconds > 0) {
    entry.mtime -= 1;
    entry.mtime_nanoseconds = 1'000'000'000 - entry.mtime_nanoseconds;
  }
  return true;
}

Result<void> apply_record(const std::string& key, const std::string& value, TarEntry& entry) {
  bool good = true;
  auto parse_id = [&](uint32_t& id) {
    auto parsed = parse_int<uint32_t>(value);
    good = parsed.has_value();
    id = parsed.value_or(0);
  };
  if (key == "path") {
    entry.path = value;
  } else if (key == "linkpath") {
    entry.link = value;
  } else if (key == "uid") {
    parse_id(entry.uid);
  } else if (key == "gid") {
    parse_id(entry.gid);
  } else if (key == "mtime") {
    good = parse_time(value, entry);
  } else if (key == "size") {
    auto parsed = parse_int<uint64_t>(value);
    good = parsed.has_value() && *parsed <= INT64_MAX;
    entry.size = parsed.value_or(0);
  } else if (key.starts_with(kXattr)) {
    entry.xattrs.emplace_back(key.substr(kXattr.size()), value);
  } else if (key.starts_with("GNU.sparse.")) {
    return fail(Status::bad_request("the tar data has sparse files; write it again without them"));
  }
  if (!good) return damaged("the pax record " + key + " is none");
  return {};
}

}  // namespace

Result<size_t> TarReader::read_full(char* buffer, size_t size) {
  size_t done = 0;
  while (done < size) {
    auto n = source_.read(buffer + done, size - done);
    if (!n) return n;
    if (*n == 0) break;
    done += *n;
  }
  return done;
}

Result<void> TarReader::skip_rest() {
  char buffer[16 * 1024];
  left_ += padding_;
  padding_ = 0;
  while (left_ > 0) {
    auto n = source_.read(buffer, static_cast<size_t>(std::min<uint64_t>(left_, sizeof buffer)));
    if (!n) return fail(n.error());
    if (*n == 0) return damaged("it ends inside a file");
    left_ -= *n;
  }
  return {};
}

Result<size_t> TarReader::read(char* buffer, size_t size) {
  size = static_cast<size_t>(std::min<uint64_t>(left_, size));
  if (size == 0) return 0;
  auto n = source_.read(buffer, size);
  if (!n) return n;
  if (*n == 0) return damaged("it ends inside a file");
  left_ -= *n;
  return n;
}

Result<std::string> TarReader::read_all(uint64_t max_bytes) {
  if (left_ > max_bytes)
    return fail(Status(413, "RequestEntityTooLarge",
                       "a file of the archive has " + std::to_string(left_) + " bytes; at most " +
                           std::to_string(max_bytes) + " are accepted there"));
  // Grown while reading: a header may promise more than there is.
  std::string content;
  char buffer[16 * 1024];
  while (true) {
    auto n = read(buffer, sizeof buffer);
    if (!n) return fail(n.error());
    if (*n == 0) return content;
    content.append(buffer, *n);
  }
}

Result<std::string> TarReader::read_extension() {
  auto content = read_all(kMaxExtension);
  if (!content) return content;
  if (auto r = skip_rest(); !r) return fail(r.error());
  return content;
}

// Records are "<decimal length> <key>=<value>\n", the length counting itself.
Result<void> TarReader::parse_records(Records& into) {
  auto content = read_extension();
  if (!content) return fail(content.error());
  std::string_view rest = *content;
  while (!rest.empty() && rest[0] != '\0') {
    size_t blank = rest.find(' ');
    auto length = blank == std::string_view::npos ? std::nullopt : parse_int<uint64_t>(rest.substr(0, blank));
    if (!length || *length <= blank + 1 || *length > rest.size() || rest[*length - 1] != '\n')
      return damaged("a pax record has a wrong length");
    std::string_view record = rest.substr(blank + 1, *length - blank - 2);
    size_t equals = record.find('=');
    if (equals == std::string_view::npos || equals == 0) return damaged("a pax record has no key");
    std::string key(record.substr(0, equals));
    std::erase_if(into, [&](const auto& known) { return known.first == key; });
    into.emplace_back(std::move(key), record.substr(equals + 1));
    rest.remove_prefix(*length);
  }
  return {};
}

Result<bool> TarReader::next(TarEntry& entry) {
  if (auto r = skip_rest(); !r) return fail(r.error());
  Records local;
  std::string long_path, long_link;
  while (true) {
    Header header;
    auto n = read_full(header.bytes.data(), kBlock);
    if (!n) return fail(n.error());
    if (*n == 0 || (*n == kBlock && header.zero())) return false;
    if (*n < kBlock) return damaged("it ends inside a header");
    if (!checksum_matches(header)) return damaged("a header has a wrong checksum");
    entry = {};
    if (auto r = fill(header, entry); !r) return fail(r.error());
    left_ = entry.size;
    padding_ = (kBlock - left_ % kBlock) % kBlock;
    char flag = header.type();
    if (flag == 'x' || flag == 'g') {
      if (auto r = parse_records(flag == 'x' ? local : global_); !r) return fail(r.error());
      continue;
    }
    if (flag == 'L' || flag == 'K') {
      auto name = read_extension();
      if (!name) return fail(name.error());
      (flag == 'L' ? long_path : long_link) = name->substr(0, name->find('\0'));
      continue;
    }
    if (flag == 'S') return fail(Status::bad_request("the tar data has sparse files; write it again without them"));
    auto type = type_of(flag);
    if (!type) {  // volume labels and vendors' own: skipped, as POSIX allows for unknown flags without meaning here
      if (auto r = skip_rest(); !r) return fail(r.error());
      local.clear();
      continue;
    }
    entry.type = *type;
    if (!long_path.empty()) entry.path = long_path;
    if (!long_link.empty()) entry.link = long_link;
    for (const Records* records : {&global_, &local})
      for (const auto& [key, value] : *records)
        if (auto r = apply_record(key, value, entry); !r) return fail(r.error());
    // Only files have data; GNU tar and Go write a size of zero for the others, older ones a meaningless one.
    if (entry.type != TarType::file) entry.size = 0;
    if (entry.type == TarType::file && entry.path.ends_with('/')) entry.type = TarType::directory, entry.size = 0;
    left_ = entry.size;
    padding_ = (kBlock - left_ % kBlock) % kBlock;
    if (entry.path.find('\0') != std::string::npos || entry.link.find('\0') != std::string::npos)
      return damaged("a name has a zero byte");
    return true;
  }
}

}  // namespace kcube::runtime::images
