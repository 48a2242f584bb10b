#include "runtime/images/store.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>

#include "pkg/base/file.h"
#include "pkg/base/strings.h"
#include "runtime/images/archive_loader.h"
#include "runtime/images/archive_writer.h"
#include "runtime/images/leases.h"
#include "runtime/images/puller.h"

namespace kcube::runtime::images {
namespace {

bool same_file(const struct stat& a, const struct stat& b) {
  return a.st_ino == b.st_ino && a.st_size == b.st_size && a.st_mtim.tv_sec == b.st_mtim.tv_sec &&
         a.st_mtim.tv_nsec == b.st_mtim.tv_nsec && a.st_ctim.tv_nsec == b.st_ctim.tv_nsec;
}

// Shared activity that ends, and collects if somebody waits for that, whichever way the function returns.
class Activity {
 public:
  static Result<Activity> begin(const Blobs& blobs) {
    auto fd = blobs.share_activity();
    if (!fd) return fail(fd.error());
    return Activity(blobs, std::move(*fd));
  }
  Activity(Activity&& other) noexcept = default;
  ~Activity() {
    if (fd_) finish_activity(*blobs_, std::move(fd_));
  }

 private:
  Activity(const Blobs& blobs, Fd fd) : blobs_(&blobs), fd_(std::move(fd)) {}
  const Blobs* blobs_;
  Fd fd_;
};

Result<void> check_platform(const Record& record) {
  if (record.architecture.empty() || record.architecture == host_architecture()) return {};
  return fail(Status::not_found("the image is for linux/" + record.architecture + ", and this machine is linux/" +
                                std::string(host_architecture())));
}

}  // namespace

Store::Store(Blobs blobs, std::unique_ptr<Registries> registries)
    : blobs_(std::move(blobs)), layers_(blobs_), registries_(std::move(registries)) {}
Store::~Store() = default;

Result<std::shared_ptr<const Index>> Store::index() {
  std::lock_guard lock(mutex_);
  std::string path = blobs_.path("index.json");
  struct stat now {};
  if (::stat(path.c_str(), &now) != 0) return fail(Status::from_errno("stat " + path));
  if (index_ && same_file(now, seen_)) return index_;
  // Looked at before it is read: when it is replaced in between, the next call reads it once more.
  auto fresh = Index::read(blobs_, index_.get());
  if (!fresh) return fresh;
  index_ = std::move(*fresh);
  seen_ = now;
  return index_;
}

Result<Image> Store::resolve(const std::string& reference) {
  auto now = index();
  if (!now) return fail(now.error());
  auto record = (*now)->resolve(reference);
  if (!record) return fail(record.error());
  return (*record)->image;
}

Result<std::vector<Image>> Store::list() {
  auto now = index();
  if (!now) return fail(now.error());
  std::vector<Image> images;
  for (const auto& [id, record] : (*now)->by_id()) images.push_back(record->image);
  return images;
}

Result<std::vector<Image>> Store::load(const std::string& path, bool pin) {
  if (path == "-") return load_source(from_fd(Fd(::fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3)), "standard input"), pin);
  auto fd = file::open(path, O_RDONLY);
  if (!fd) return fail(fd.error());
  auto images = load_source(from_fd(std::move(*fd), path), pin);
  if (!images) return fail(images.error().with_context("load " + path));
  return images;
}

Result<std::vector<Image>> Store::load_bytes(std::string_view archive, bool pin) {
  return load_source(from_memory(archive), pin);
}

Result<std::vector<Image>> Store::load_source(std::unique_ptr<ByteSource> source, bool pin) {
  auto activity = Activity::begin(blobs_);
  if (!activity) return fail(activity.error());
  auto entries = load_archive(std::move(source), blobs_);
  if (!entries) {
    (void)collect(blobs_);  // what the damaged archive left, once this activity ends
    return fail(entries.error());
  }
  for (IndexEntry& entry : *entries) entry.pinned = pin;
  return commit(*entries);
}

Result<std::vector<Image>> Store::commit(const std::vector<IndexEntry>& entries) {
  std::vector<std::string> ids;
  auto done = [&]() -> Result<void> {
    for (const IndexEntry& entry : entries) {
      auto record = read_record(blobs_, entry);
      if (!record) return fail(record.error());
      if (auto r = check_platform(*record); !r) return r;
      if (auto directories = layers_.ensure(*record); !directories) return fail(directories.error());
      ids.push_back(record->image.id);
    }
    if (auto r = blobs_.sync_directory("blobs/sha256"); !r) return r;
    return change([&](std::vector<IndexEntry>& all) -> Result<void> {
      for (const IndexEntry& entry : entries) merge_entry(all, entry);
      return {};
    });
  }();
  if (!done) {
    (void)collect(blobs_);
    return fail(done.error());
  }
  std::vector<Image> images;
  for (const std::string& id : ids) {
    auto image = resolve(id);
    if (!image) return fail(image.error());
    images.push_back(std::move(*image));
  }
  return images;
}

Result<void> Store::change(const std::function<Result<void>(std::vector<IndexEntry>&)>& change) {
  auto lock = blobs_.lock_index();
  if (!lock) return fail(lock.error());
  auto entries = read_entries(blobs_);
  if (!entries) return fail(entries.error());
  if (auto r = change(*entries); !r) return r;
  return write_entries(blobs_, *entries);
}

Result<void> Store::save(const std::vector<std::string>& references, const std::string& path) {
  auto activity = Activity::begin(blobs_);
  if (!activity) return fail(activity.error());
  auto now = index();
  if (!now) return fail(now.error());
  return save_archive(blobs_, **now, references, path);
}

Result<Image> Store::pull(const std::string& reference, const PullOptions& options) {
  auto parsed = ImageReference::parse(reference);
  if (!parsed) return fail(parsed.error());
  auto activity = Activity::begin(blobs_);
  if (!activity) return fail(activity.error());
  auto entry = pull_image(*registries_, *parsed, options, blobs_);
  if (!entry) return fail(entry.error());
  auto images = commit({*entry});
  if (!images) return fail(images.error().with_context("pull " + parsed->to_string()));
  return images->front();
}

Result<void> Store::tag(const std::string& reference, const std::string& new_tag) {
  auto name = ImageReference::parse(new_tag);
  if (!name) return fail(name.error());
  if (!name->digest.empty())
    return fail(Status::bad_request("\"" + new_tag + "\" is a digest; give a name with a tag"));
  auto now = index();
  if (!now) return fail(now.error());
  auto record = (*now)->resolve(reference);
  if (!record) return fail(record.error());
  return change([&](std::vector<IndexEntry>& entries) -> Result<void> {
    const std::string& digest = (*record)->manifest_descriptor.digest;
    auto same = [&](const IndexEntry& entry) { return entry.manifest.digest == digest; };
    if (std::ranges::none_of(entries, same))
      return fail(Status::not_found("image \"" + reference + "\": removed meanwhile"));
    merge_entry(entries, {.manifest = (*record)->manifest_descriptor, .tags = {name->to_string()}});
    return {};
  });
}

Result<void> Store::refuse_leased(const std::string& image_id) {
  auto leases = list_leases(blobs_);
  if (!leases) return fail(leases.error());
  for (const Lease& lease : *leases)
    if (lease.image_id == image_id)
      return fail(Status(409, "Conflict", "image " + image_id.substr(0, 19) + " is used by container " + lease.name));
  return {};
}

Result<void> Store::remove(const std::string& reference) {
  auto removed = change([&](std::vector<IndexEntry>& entries) -> Result<void> {
    auto now = index();
    if (!now) return fail(now.error());
    auto record = (*now)->resolve(reference);
    if (!record) return fail(record.error());
    const Image& image = (*record)->image;
    auto parsed = ImageReference::parse(reference);
    std::string name = parsed ? parsed->to_string() : "";
    bool by_tag = parsed && parsed->digest.empty() && std::ranges::find(image.tags, name) != image.tags.end();
    bool by_digest = parsed && !parsed->digest.empty();
    auto names_it = [&](const std::string& known) {
      return by_tag ? known == name
                    : known.starts_with(parsed->name() + (known.find('@') != std::string::npos ? "@" : ":"));
    };
    bool named_otherwise = (by_tag || by_digest) && !std::ranges::all_of(image.tags, names_it);
    if (named_otherwise) {
      for (IndexEntry& entry : entries) {
        std::erase_if(entry.tags, names_it);
        if (by_digest) std::erase_if(entry.digests, names_it);
      }
      return {};
    }
    // Under the lock of the index: lease_layers() looks into it only afterwards, or has left its lease before.
    if (auto r = refuse_leased(image.id); !r) return r;
    std::erase_if(entries, [&](const IndexEntry& entry) {
      auto own = read_record(blobs_, entry);
      return own && own->image.id == image.id;
    });
    return {};
  });
  if (!removed) return removed;
  return collect(blobs_);
}

Result<std::vector<std::string>> Store::lease_layers(const std::string& image_id, const std::string& lease) {
  if (lease.empty()) return fail(Status::bad_request("a lease needs a name"));
  auto activity = Activity::begin(blobs_);
  if (!activity) return fail(activity.error());
  auto now = index();
  if (!now) return fail(now.error());
  auto record = (*now)->resolve(image_id);
  if (!record) return fail(record.error());
  Lease held{.name = lease, .image_id = (*record)->image.id, .layers = Layers::names((*record)->diff_ids)};
  if (auto r = write_lease(blobs_, held); !r) return fail(r.error());
  auto directories = [&]() -> Result<std::vector<std::string>> {
    // The image may have gone between the look and the lease; from here on it cannot.
    auto again = index();
    if (!again) return fail(again.error());
    if (auto still = (*again)->resolve(held.image_id); !still) return fail(still.error());
    return layers_.ensure(**record);
  }();
  if (!directories) remove_lease(blobs_, lease);
  return directories;
}

void Store::unlease(const std::string& lease) { remove_lease(blobs_, lease); }

}  // namespace kcube::runtime::images

namespace kcube::runtime {

Result<std::unique_ptr<ImageStore>> open_image_store(const ImageStoreOptions& options) {
  if (options.directory.empty()) return fail(Status::bad_request("the image store needs a directory"));
  auto blobs = images::Blobs::open(options.directory);
  if (!blobs) return fail(blobs.error().with_context("open the image store"));
  return std::make_unique<images::Store>(std::move(*blobs),
                                         std::make_unique<images::Registries>(options.registries_file));
}

}  // namespace kcube::runtime
