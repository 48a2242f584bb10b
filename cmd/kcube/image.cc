// `kcube image`: the images of this machine's node.
#include <cstdio>

#include "cmd/kcube/verbs.h"
#include "pkg/api/json.h"
#include "pkg/base/file.h"
#include "runtime/image_store.h"

namespace kcube::cli {
namespace {

using runtime::Image;

std::string size_text(uint64_t bytes) {
  char text[32];
  if (bytes >= 1000 * 1000) std::snprintf(text, sizeof text, "%.1f MB", static_cast<double>(bytes) / 1e6);
  else std::snprintf(text, sizeof text, "%.1f kB", static_cast<double>(bytes) / 1e3);
  return text;
}

std::string short_id(const std::string& id) { return id.starts_with("sha256:") ? id.substr(7, 12) : id.substr(0, 12); }

json::value to_json(const Image& i) {
  json::array tags, digests;
  for (const std::string& t : i.tags) tags.push_back(json::value(t));
  for (const std::string& d : i.digests) digests.push_back(json::value(d));
  return json::object{{"id", i.id}, {"repoTags", std::move(tags)}, {"repoDigests", std::move(digests)}, {"size", i.size_bytes}, {"pinned", i.pinned}};
}

int list(runtime::ImageStore& store, const ImageFlags& flags) {
  auto images = store.list();
  if (!images) return report(images.error());
  if (flags.output == "json") {
    json::array out;
    for (const Image& i : *images) out.push_back(to_json(i));
    std::printf("%s\n", json::serialize(json::object{{"images", std::move(out)}}).c_str());
    return 0;
  }
  if (!flags.quiet) std::printf("%-60s %-14s %s\n", "IMAGE", "ID", "SIZE");
  for (const Image& i : *images) {
    if (flags.quiet) {
      std::printf("%s\n", i.id.c_str());
      continue;
    }
    auto names = i.tags.empty() ? i.digests : i.tags;
    if (names.empty()) names.push_back("<none>");
    for (const std::string& name : names) std::printf("%-60s %-14s %s\n", name.c_str(), short_id(i.id).c_str(), size_text(i.size_bytes).c_str());
  }
  return 0;
}

int load(runtime::ImageStore& store, const ImageFlags& flags) {
  for (const std::string& path : flags.arguments) {
    // No registry is known to have it: it is kept, and `imagePullPolicy: Always` uses it.
    auto loaded = store.load(path, true);
    if (!loaded) return report(loaded.error());
    for (const Image& i : *loaded)
      for (const std::string& tag : i.tags) std::printf("loaded %s\n", tag.c_str());
  }
  return 0;
}

int pull(runtime::ImageStore& store, const ImageFlags& flags) {
  for (const std::string& reference : flags.arguments) {
    runtime::PullOptions options;
    bool show = !flags.quiet;
    bool shown = false;
    if (show) options.progress = [&](uint64_t done, uint64_t total) { shown = true; std::fprintf(stderr, "\r%s of %s   ", size_text(done).c_str(), size_text(total).c_str()); };
    auto pulled = store.pull(reference, options);
    if (shown) std::fprintf(stderr, "\n");
    if (!pulled) return report(pulled.error());
    std::printf("%s\n", pulled->id.c_str());
  }
  return 0;
}

}  // namespace

int image(const ClusterFlags& cluster_flags, const ImageFlags& flags) {
  auto cluster = find_cluster(cluster_flags, false);
  if (!cluster) return report(cluster.error());
  agent::Options node = node_options(*cluster, 1);
  if (auto made = file::make_dirs(node.data_dir, 0700); !made) return report(made.error());
  auto store = runtime::open_image_store({node.data_dir + "/images", node.registries_file});
  if (!store) return report(store.error());
  if (flags.action == "ls") return list(**store, flags);
  if (flags.action == "load") return load(**store, flags);
  if (flags.action == "pull") return pull(**store, flags);
  if (flags.action == "tag") {
    auto tagged = (*store)->tag(flags.arguments[0], flags.arguments[1]);
    return tagged ? 0 : report(tagged.error());
  }
  if (flags.action == "save") {
    auto saved = (*store)->save(flags.arguments, flags.output);
    return saved ? 0 : report(saved.error());
  }
  for (const std::string& reference : flags.arguments) {
    if (auto removed = (*store)->remove(reference); !removed) return report(removed.error());
    std::printf("removed %s\n", reference.c_str());
  }
  return 0;
}

}  // namespace kcube::cli
