#include "runtime/images/blobs.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <ctime>

#include "pkg/base/file.h"
#include "pkg/base/strings.h"

namespace kcube::runtime::images {
namespace {

constexpr time_t kPartialLifetime = 7 * 24 * 3600;

Result<Fd> flocked(const std::string& path, int operation) {
  auto fd = file::open(path, O_RDWR | O_CREAT, 0600);
  if (!fd) return fd;
  while (::flock(fd->get(), operation) != 0)
    if (errno != EINTR) return fail(Status::from_errno("lock " + path));
  return fd;
}

Result<void> empty_scratch(const Blobs& blobs) {
  auto names = file::list(blobs.path("tmp"));
  if (!names) return fail(names.error());
  for (const std::string& name : *names)
    if (auto r = file::remove_tree(blobs.path("tmp/") + name); !r) return r;
  auto partials = file::list(blobs.path("partial"));
  if (!partials) return fail(partials.error());
  for (const std::string& name : *partials) {
    struct stat st {};
    std::string path = blobs.path("partial/") + name;
    if (::stat(path.c_str(), &st) == 0 && st.st_mtime + kPartialLifetime < ::time(nullptr)) ::unlink(path.c_str());
  }
  return {};
}

}  // namespace

Result<Blobs> Blobs::open(const std::string& directory) {
  Blobs blobs(directory);
  for (const char* part : {"blobs/sha256", "leases", "partial"})
    if (auto r = file::make_dirs(blobs.path(part)); !r) return fail(r.error());
  // Unpacked layers hold set-user-id programs of strangers: out of reach for other users of the machine.
  for (const char* part : {"layers", "tmp"})
    if (auto r = file::make_dirs(blobs.path(part), 0700); !r) return fail(r.error());
  if (Fd alone = blobs.try_own_activity())
    if (auto r = empty_scratch(blobs); !r) return fail(r.error());
  auto lock = blobs.lock_index();
  if (!lock) return fail(lock.error());
  if (!file::exists(blobs.path("oci-layout")))
    if (auto r = file::write_atomic(blobs.path("oci-layout"), R"({"imageLayoutVersion":"1.0.0"})"); !r)
      return fail(r.error());
  if (!file::exists(blobs.path("index.json")))
    if (auto r = file::write_atomic(blobs.path("index.json"), R"({"schemaVersion":2,"manifests":[]})"); !r)
      return fail(r.error());
  return blobs;
}

bool Blobs::has(std::string_view digest) const { return file::exists(blob_path(digest)); }

std::string Blobs::temporary() const {
  static std::atomic<uint64_t> counter{0};
  return path("tmp/") + std::to_string(::getpid()) + "-" + std::to_string(++counter) + "-" + random_suffix(8);
}

Result<std::string> Blobs::read(std::string_view digest, uint64_t max_bytes) const {
  auto content = file::read(blob_path(digest), max_bytes);
  if (!content) return fail(content.error().with_context("blob " + std::string(digest)));
  return content;
}

Result<std::string> Blobs::write(std::string_view bytes, std::string_view expected) const {
  std::string digest = digest_of(bytes);
  if (!expected.empty() && digest != expected)
    return fail(
        Status::bad_request("the blob " + std::string(expected) + " has the digest " + digest + ": it is damaged"));
  if (has(digest)) return digest;
  std::string temporary_path = temporary();
  if (auto r = file::write(temporary_path, bytes); !r) return fail(r.error());
  if (auto r = adopt(temporary_path, digest); !r) return fail(r.error());
  return digest;
}

Result<void> Blobs::adopt(const std::string& path, std::string_view digest) const {
  auto fd = file::open(path, O_RDONLY);
  if (!fd) return fail(fd.error());
  if (::fdatasync(fd->get()) != 0) return fail(Status::from_errno("sync " + path));
  return file::rename(path, blob_path(digest));
}

Result<void> Blobs::sync_directory(std::string_view name) const {
  auto fd = file::open(path(name), O_RDONLY | O_DIRECTORY);
  if (!fd) return fail(fd.error());
  if (::fsync(fd->get()) != 0) return fail(Status::from_errno("sync " + path(name)));
  return {};
}

Result<Fd> Blobs::lock_index() const { return flocked(path("lock"), LOCK_EX); }
Result<Fd> Blobs::share_activity() const { return flocked(path("activity"), LOCK_SH); }

Fd Blobs::try_own_activity() const {
  auto fd = flocked(path("activity"), LOCK_EX | LOCK_NB);
  return fd ? std::move(*fd) : Fd();
}

}  // namespace kcube::runtime::images
