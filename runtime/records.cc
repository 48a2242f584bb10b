#include "runtime/records.h"

#include <cstdio>

#include "pkg/base/file.h"

namespace kcube::runtime {
namespace {

std::string heading(std::string_view kind) {
  return "kcube " + std::string(kind) + " " + std::to_string(protocol::kProtocolVersion) + "\n";
}

// Renamed into place but not synced: the state directory does not survive a crash of the machine anyway.
template <typename T>
Result<void> write_as(std::string_view kind, const std::string& path, const T& record) {
  std::string scratch = path + ".new";
  if (auto r = file::write(scratch, heading(kind) + protocol::encode(record), 0600); !r) return r;
  return file::rename(scratch, path);
}

template <typename T>
Result<T> read_as(std::string_view kind, const std::string& path) {
  auto text = file::read(path);
  if (!text) return fail(text.error());
  std::string head = heading(kind);
  T record;
  if (!text->starts_with(head) || !protocol::decode(text->substr(head.size()), record))
    return fail(Status::internal(path + " is not a " + std::string(kind) + " record of this version of kcube"));
  return record;
}

}  // namespace

std::vector<Pair> to_pairs(const Labels& labels) {
  std::vector<Pair> out;
  for (const auto& [key, value] : labels) out.push_back({key, value});
  return out;
}

Labels to_labels(const std::vector<Pair>& pairs) {
  Labels out;
  for (const auto& pair : pairs) out[pair.key] = pair.value;
  return out;
}

int64_t to_ns(SystemTime time) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(time.time_since_epoch()).count();
}
SystemTime from_ns(int64_t ns) {
  return SystemTime(std::chrono::duration_cast<SystemTime::duration>(std::chrono::nanoseconds(ns)));
}

Result<void> write_record(const std::string& path, const SandboxRecord& record) {
  return write_as("sandbox", path, record);
}
Result<void> write_record(const std::string& path, const ContainerRecord& record) {
  return write_as("container", path, record);
}
Result<SandboxRecord> read_sandbox_record(const std::string& path) { return read_as<SandboxRecord>("sandbox", path); }
Result<ContainerRecord> read_container_record(const std::string& path) {
  return read_as<ContainerRecord>("container", path);
}

Result<protocol::Exited> read_exit(const std::string& path) {
  auto text = file::read(path);
  if (!text) return fail(text.error());
  protocol::Exited out;
  int oom = 0;
  long long finished = 0;
  if (std::sscanf(text->c_str(), "%d %d %d %lld", &out.code, &out.signal, &oom, &finished) != 4)
    return fail(Status::internal(path + " is malformed"));
  out.oom_killed = oom != 0;
  out.finished_at_ns = finished;
  return out;
}

}  // namespace kcube::runtime
