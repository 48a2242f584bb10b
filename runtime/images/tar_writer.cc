#include "runtime/images/tar_writer.h"

#include <cstdio>
#include <cstring>

namespace kcube::runtime::images {
namespace {

constexpr size_t kBlock = 512;
constexpr uint64_t kMaxSize = 077777777777, kMaxId = 07777777;

char flag_of(TarType type) {
  switch (type) {
    case TarType::file: return '0';
    case TarType::hard_link: return '1';
    case TarType::symlink: return '2';
    case TarType::char_device: return '3';
    case TarType::block_device: return '4';
    case TarType::directory: return '5';
    case TarType::fifo: return '6';
  }
  return '0';
}

void put_octal(char* at, size_t size, uint64_t value) {
  char text[32];
  std::snprintf(text, sizeof text, "%0*llo", static_cast<int>(size) - 1, static_cast<unsigned long long>(value));
  std::memcpy(at, text, size);
}

void put_text(char* at, size_t size, std::string_view text) {
  std::memcpy(at, text.data(), std::min(size, text.size()));
}

std::string record(const std::string& key, std::string_view value) {
  size_t rest = key.size() + value.size() + 3, length = rest + 1;
  while (std::to_string(length).size() + rest != length) length = std::to_string(length).size() + rest;
  return std::to_string(length) + " " + key + "=" + std::string(value) + "\n";
}

// What does not fit into the ustar header.
std::string records_for(const TarEntry& entry) {
  std::string records;
  if (entry.path.size() > 100) records += record("path", entry.path);
  if (entry.link.size() > 100) records += record("linkpath", entry.link);
  if (entry.size > kMaxSize) records += record("size", std::to_string(entry.size));
  if (entry.uid > kMaxId) records += record("uid", std::to_string(entry.uid));
  if (entry.gid > kMaxId) records += record("gid", std::to_string(entry.gid));
  if (entry.mtime < 0) records += record("mtime", std::to_string(entry.mtime));
  for (const auto& [name, value] : entry.xattrs) records += record("SCHILY.xattr." + name, value);
  return records;
}

}  // namespace

Result<void> TarWriter::pad() {
  if (left_ != 0) return fail(Status::internal("a file of the archive has fewer bytes than its header says"));
  std::string zeros(std::exchange(padding_, 0), '\0');
  return zeros.empty() ? Result<void>() : sink_(zeros);
}

Result<void> TarWriter::header(const TarEntry& entry, char flag) {
  char block[kBlock] = {};
  put_text(block, 100, entry.path);
  put_octal(block + 100, 8, entry.mode & 07777);
  put_octal(block + 108, 8, entry.uid > kMaxId ? 0 : entry.uid);
  put_octal(block + 116, 8, entry.gid > kMaxId ? 0 : entry.gid);
  put_octal(block + 124, 12, entry.size > kMaxSize ? 0 : entry.size);
  put_octal(block + 136, 12, entry.mtime < 0 ? 0 : static_cast<uint64_t>(entry.mtime));
  std::memset(block + 148, ' ', 8);
  block[156] = flag;
  put_text(block + 157, 100, entry.link);
  std::memcpy(block + 257, "ustar\00000", 8);
  put_octal(block + 329, 8, entry.major);
  put_octal(block + 337, 8, entry.minor);
  unsigned sum = 0;
  for (char c : block) sum += static_cast<unsigned char>(c);
  std::snprintf(block + 148, 8, "%06o", sum);
  left_ = entry.size;
  padding_ = (kBlock - entry.size % kBlock) % kBlock;
  return sink_({block, kBlock});
}

Result<void> TarWriter::add(const TarEntry& entry) {
  if (auto r = pad(); !r) return r;
  if (std::string records = records_for(entry); !records.empty()) {
    TarEntry extension{.path = "pax", .mode = 0644, .size = records.size()};
    if (auto r = header(extension, 'x'); !r) return r;
    if (auto r = data(records); !r) return r;
    if (auto r = pad(); !r) return r;
  }
  TarEntry plain = entry;
  if (plain.type != TarType::file) plain.size = 0;
  return header(plain, flag_of(plain.type));
}

Result<void> TarWriter::data(std::string_view bytes) {
  if (bytes.size() > left_) return fail(Status::internal("a file of the archive has more bytes than its header says"));
  left_ -= bytes.size();
  return sink_(bytes);
}

Result<void> TarWriter::add_file(const std::string& path, std::string_view content, uint32_t mode) {
  if (auto r = add({.path = path, .mode = mode, .size = content.size()}); !r) return r;
  return data(content);
}

Result<void> TarWriter::finish() {
  if (auto r = pad(); !r) return r;
  return sink_(std::string(2 * kBlock, '\0'));
}

}  // namespace kcube::runtime::images
