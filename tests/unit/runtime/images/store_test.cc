// Load, resolve, tag, remove, leases, save.
#include <sys/mount.h>
#include <sys/xattr.h>
#include <zlib.h>
#include <zstd.h>

#include "fixture.h"
#include "runtime/images/digest.h"

namespace kcube::runtime::images {
namespace {

std::string gzipped(const std::string& bytes) {
  z_stream stream{};
  EXPECT_EQ(deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
  std::string out(deflateBound(&stream, bytes.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  stream.avail_in = static_cast<uInt>(bytes.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

std::string zstd_of(const std::string& bytes) {
  std::string out(ZSTD_compressBound(bytes.size()), '\0');
  out.resize(ZSTD_compress(out.data(), out.size(), bytes.data(), bytes.size(), 3));
  return out;
}

TEST_F(StoreTest, ALoadedImageIsFoundByEveryName) {
  auto loaded = store->load_bytes(simple_archive("nginx:1.25"), false);
  ASSERT_TRUE(loaded) << message(loaded);
  ASSERT_EQ(loaded->size(), 1u);
  std::string id = loaded->front().id;
  for (const std::string& name : {std::string("nginx:1.25"), std::string("docker.io/library/nginx:1.25"), id,
                                  id.substr(7), id.substr(0, 25), id.substr(7, 12)}) {
    auto image = store->resolve(name);
    ASSERT_TRUE(image) << name << ": " << message(image);
    EXPECT_EQ(image->id, id);
  }
  auto image = store->resolve("nginx:1.25").value();
  EXPECT_EQ(image.tags, std::vector<std::string>{"docker.io/library/nginx:1.25"});
  EXPECT_EQ(image.config.entrypoint, std::vector<std::string>{"/app"});
  EXPECT_GT(image.size_bytes, 1024u);
  EXPECT_FALSE(image.pinned);
  for (const char* absent : {"nginx", "nginx:1.26", "sha256:000000000000", "other:1.25"}) {
    auto none = store->resolve(absent);
    ASSERT_FALSE(none) << absent;
    EXPECT_EQ(none.error().code(), 404) << absent;
  }
  EXPECT_EQ(store->resolve("Not A Name").error().reason(), "InvalidImageName");
}

TEST_F(StoreTest, CompressedArchivesAndLayersAreRead) {
  std::string layer = layer_of({file_entry("app", "x", 0755)});
  const std::string archives[] = {gzipped(archive_of("a:1", {layer})), zstd_of(archive_of("b:1", {layer})),
                                  archive_of("c:1", {gzipped(layer)}), archive_of("d:1", {zstd_of(layer)}),
                                  gzipped(archive_of("e:1", {gzipped(layer)}))};
  for (const std::string& archive : archives) EXPECT_OK(store->load_bytes(archive, false));
  EXPECT_EQ(count("layers"), 1u);  // all of them have the same content
}

TEST_F(StoreTest, AFileIsLoadedAndPinned) {
  (void)file::write(dir.path + "/image.tar", simple_archive("app"));
  auto loaded = store->load(dir.path + "/image.tar", true);
  ASSERT_TRUE(loaded) << message(loaded);
  EXPECT_TRUE(store->resolve("app")->pinned);
  auto none = store->load(dir.path + "/absent.tar", true);
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code(), 404);
}

TEST_F(StoreTest, WhatIsNoImageOrDamagedIsRefusedAndLeavesNothing) {
  std::string good = simple_archive("app");
  std::string damaged = good;
  damaged[damaged.find("content")] ^= 1;
  std::string wrong_tar = layer_of({file_entry("README", "hello")});
  std::string cut = good.substr(0, good.size() - 2000);
  std::string cut_gzip = gzipped(good);
  cut_gzip.resize(cut_gzip.size() / 2);
  for (const std::string& archive : {damaged, wrong_tar, cut, cut_gzip, std::string("hello"), std::string()}) {
    auto loaded = store->load_bytes(archive, false);
    ASSERT_FALSE(loaded);
    EXPECT_EQ(loaded.error().code(), 400) << message(loaded);
  }
  EXPECT_NE(message(store->load_bytes(damaged, false)).find("has the digest sha256:"), std::string::npos);
  EXPECT_EQ(count("blobs/sha256"), 0u);
  EXPECT_EQ(count("layers"), 0u);
  EXPECT_EQ(count("tmp"), 0u);
  EXPECT_TRUE(store->list()->empty());
}

TEST_F(StoreTest, ADockerSaveArchiveOfOldGetsDigests) {
  std::string layer = layer_of({file_entry("app", "x", 0755)});
  std::string config =
      R"({"architecture":"amd64","os":"linux","config":{"Cmd":["/app"],"User":"7","StopSignal":"SIGQUIT","Volumes":{"/data":{}}},)"
      R"("rootfs":{"type":"layers","diff_ids":[")" +
      digest_of(layer) + R"(",")" + digest_of(layer) + R"("]}})";
#if defined(__aarch64__)
  config.replace(config.find("amd64"), 5, "arm64");
#endif
  std::string manifest =
      R"([{"Config":"abc.json","RepoTags":["old:1","old:2"],"Layers":["one/layer.tar","two/layer.tar"]}])";
  std::string archive =
      layer_of({file_entry("one/layer.tar", layer), link_entry(TarType::symlink, "two/layer.tar", "../one/layer.tar"),
                file_entry("abc.json", config), file_entry("manifest.json", manifest)});
  auto loaded = store->load_bytes(archive, false);
  ASSERT_TRUE(loaded) << message(loaded);
  auto image = store->resolve("old:2").value();
  EXPECT_EQ(image.id, digest_of(config));
  EXPECT_EQ(image.config.user, "7");
  EXPECT_EQ(image.config.stop_signal, "SIGQUIT");
  EXPECT_EQ(image.config.volumes, std::vector<std::string>{"/data"});
  // overlayfs takes a directory once only.
  EXPECT_EQ(store->lease_layers(image.id, "c")->size(), 1u);
}

TEST_F(StoreTest, OfANestedIndexTheMemberForThisMachineIsTaken) {
  std::string inner = simple_archive("x");
  TempDir other;
  auto scratch = open_image_store({.directory = other.path}).value();
  std::string id = scratch->load_bytes(inner, false)->front().id;
  // The inner index gets members for other machines in front, and the outer one names it.
  std::string own = file::read(other.path + "/index.json").value();
  std::string digest = own.substr(own.find("\"digest\":\"") + 10, 71);
  std::string size = own.substr(own.find("\"size\":") + 7);
  size = size.substr(0, size.find_first_not_of("0123456789"));
  std::string absent = "sha256:" + std::string(64, '0');
  auto host = std::string(
#if defined(__aarch64__)
      "arm64"
#else
      "amd64"
#endif
  );
  std::string nested =
      R"({"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":")" +
      absent +
      R"(","size":1,"platform":{"os":"linux","architecture":"s390x"}},{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":")" +
      digest + R"(","size":)" + size + R"(,"platform":{"os":"linux","architecture":")" + host + R"("}}]})";
  std::string outer =
      R"({"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.index.v1+json","digest":")" +
      digest_of(nested) + R"(","size":)" + std::to_string(nested.size()) +
      R"(,"annotations":{"org.opencontainers.image.ref.name":"quay.io/multi:v1"}}]})";
  std::vector<LayerEntry> files{file_entry("index.json", outer),
                                file_entry("blobs/sha256/" + hex_of(digest_of(nested)), nested)};
  const auto blobs = file::list(other.path + "/blobs/sha256").value();
  for (const std::string& blob : blobs)
    files.push_back(file_entry("blobs/sha256/" + blob, file::read(other.path + "/blobs/sha256/" + blob).value()));
  auto loaded = store->load_bytes(layer_of(files), false);
  ASSERT_TRUE(loaded) << message(loaded);
  EXPECT_EQ(loaded->front().id, id);
  EXPECT_EQ(store->resolve("quay.io/multi:v1")->id, id);
  EXPECT_EQ(store->resolve("quay.io/multi@" + digest_of(nested))->id, id);
  EXPECT_EQ(store->resolve("quay.io/multi@" + digest)->id, id);
}

TEST_F(StoreTest, AnImageForAnotherMachineIsRefused) {
  auto loaded =
      store->load_bytes(archive_of("alien", {layer_of({file_entry("app", "x")})}, {.architecture = "s390x"}), false);
  ASSERT_FALSE(loaded);
  EXPECT_NE(loaded.error().message().find("linux/s390x"), std::string::npos) << message(loaded);
  EXPECT_EQ(count("blobs/sha256"), 0u);
}

TEST_F(StoreTest, AMovedTagLeavesTheOldImageToItsId) {
  std::string before = store->load_bytes(simple_archive("app:1", "old"), false)->front().id;
  std::string after = store->load_bytes(simple_archive("app:1", "new"), false)->front().id;
  EXPECT_NE(before, after);
  EXPECT_EQ(store->resolve("app:1")->id, after);
  EXPECT_TRUE(store->resolve(before)->tags.empty());
  EXPECT_EQ(store->list()->size(), 2u);
}

TEST_F(StoreTest, TagsAreAddedAndTakenAwayOneByOne) {
  std::string id = store->load_bytes(simple_archive("app:1"), false)->front().id;
  EXPECT_OK(store->tag("app:1", "quay.io/team/app:stable"));
  EXPECT_OK(store->remove("app:1"));
  EXPECT_FALSE(store->resolve("app:1"));
  EXPECT_EQ(store->resolve("quay.io/team/app:stable")->id, id);
  EXPECT_EQ(store->tag("absent", "x").error().code(), 404);
  EXPECT_EQ(store->tag("quay.io/team/app:stable", "Bad Name").error().code(), 400);
  EXPECT_OK(store->remove("quay.io/team/app:stable"));
  EXPECT_EQ(store->resolve(id).error().code(), 404);
  EXPECT_EQ(count("blobs/sha256"), 0u);
  EXPECT_EQ(count("layers"), 0u);
}

TEST_F(StoreTest, SharedLayersStayUntilTheLastImageGoes) {
  std::string base = layer_of({file_entry("base", "b")}), a = layer_of({file_entry("a", "a")}),
              b = layer_of({file_entry("b", "b")});
  ASSERT_TRUE(store->load_bytes(archive_of("a", {base, a}), false));
  ASSERT_TRUE(store->load_bytes(archive_of("b", {base, b}), false));
  EXPECT_EQ(count("layers"), 3u);
  EXPECT_OK(store->remove("a"));
  EXPECT_EQ(count("layers"), 2u);
  EXPECT_EQ(count("blobs/sha256"), 4u);
  EXPECT_OK(store->lease_layers(store->resolve("b")->id, "c"));
  store->unlease("c");
  EXPECT_OK(store->remove(store->resolve("b")->id));
  EXPECT_EQ(count("layers"), 0u);
}

TEST_F(StoreTest, AnImageInUseIsNotRemoved) {
  std::string id = store->load_bytes(simple_archive("app:1"), false)->front().id;
  EXPECT_OK(store->tag("app:1", "app:2"));
  auto layers = store->lease_layers(id, "pod/with strange:name");
  ASSERT_TRUE(layers) << message(layers);
  ASSERT_EQ(layers->size(), 1u);
  EXPECT_EQ(file::read(layers->front() + "/app").value(), "content");
  EXPECT_OK(store->remove("app:2"));  // the name only
  for (const std::string& name : {std::string("app:1"), id}) {
    auto removed = store->remove(name);
    ASSERT_FALSE(removed);
    EXPECT_EQ(removed.error().code(), 409);
    EXPECT_NE(removed.error().message().find("strange:name"), std::string::npos);
  }
  // Another process, and this one after a restart, know of it.
  auto other = open();
  EXPECT_EQ(other->remove(id).error().code(), 409);
  store->unlease("pod/with strange:name");
  EXPECT_OK(other->remove(id));
  EXPECT_EQ(store->resolve("app:1").error().code(), 404);
  EXPECT_EQ(store->lease_layers(id, "late").error().code(), 404);
  EXPECT_EQ(count("leases"), 0u);
}

TEST_F(StoreTest, AnotherProcessSeesChangesAtOnce) {
  auto other = open();
  EXPECT_EQ(other->resolve("app").error().code(), 404);
  ASSERT_TRUE(store->load_bytes(simple_archive("app"), false));
  EXPECT_TRUE(other->resolve("app"));
  EXPECT_OK(other->remove("app"));
  EXPECT_EQ(store->resolve("app").error().code(), 404);
}

TEST_F(StoreTest, LostLayersAreUnpackedAgain) {
  std::string id = store->load_bytes(simple_archive("app"), false)->front().id;
  (void)file::remove_tree(path("layers"));
  (void)file::make_dirs(path("layers"));
  auto layers = store->lease_layers(id, "c");
  ASSERT_TRUE(layers) << message(layers);
  EXPECT_TRUE(file::exists(layers->front() + "/app"));
}

TEST_F(StoreTest, ADirectoryNamedOnlyBelowKeepsItsMode) {
  std::string base = layer_of({directory_entry("tmp", 01777), directory_entry("srv", 0700)});
  std::string upper = layer_of({file_entry("tmp/x", "x"), file_entry("srv/y", "y")});
  std::string id = store->load_bytes(archive_of("app", {base, upper}), false)->front().id;
  auto layers = store->lease_layers(id, "c").value();
  ASSERT_EQ(layers.size(), 2u);
  struct stat st {};
  ASSERT_EQ(::stat((layers[1] + "/tmp").c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 07777, mode_t{01777});
  ASSERT_EQ(::stat((layers[1] + "/srv").c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 07777, mode_t{0700});
  EXPECT_OK(store->load_bytes(archive_of("other", {upper}), false));
  EXPECT_EQ(count("layers"), 3u);  // that upper layer looks different on nothing
}

TEST_F(StoreTest, OverlayfsStacksTheLayers) {
  std::string base = layer_of({directory_entry("etc"), file_entry("etc/gone", "1"), file_entry("etc/kept", "2"),
                               directory_entry("var"), file_entry("var/old", "3")});
  std::string upper = layer_of({directory_entry("etc"), file_entry("etc/.wh.gone", ""), directory_entry("var"),
                                file_entry("var/.wh..wh..opq", ""), file_entry("var/new", "4")});
  std::string id = store->load_bytes(archive_of("app", {base, upper}), false)->front().id;
  auto layers = store->lease_layers(id, "c").value();
  std::string merged = dir.path + "/merged";
  (void)file::make_dirs(merged);
  std::string options = "lowerdir=" + layers[1] + ":" + layers[0];
  if (::mount("overlay", merged.c_str(), "overlay", MS_RDONLY, options.c_str()) != 0)
    GTEST_SKIP() << "overlayfs cannot be mounted here";
  EXPECT_EQ(file::list(merged + "/etc").value(), std::vector<std::string>{"kept"});
  EXPECT_EQ(file::list(merged + "/var").value(), std::vector<std::string>{"new"});
  EXPECT_EQ(::umount2(merged.c_str(), MNT_DETACH), 0);
}

TEST_F(StoreTest, ASavedArchiveLoadsElsewhere) {
  std::string a = store->load_bytes(simple_archive("a:1", "a"), false)->front().id;
  std::string b = store->load_bytes(simple_archive("quay.io/b:2", "b"), false)->front().id;
  EXPECT_OK(store->tag("a:1", "a:other"));
  std::string out = dir.path + "/out.tar";
  EXPECT_OK(store->save({"a:1", b}, out));
  EXPECT_EQ(store->save({"absent"}, out).error().code(), 404);
  TempDir other;
  auto copy = open_image_store({.directory = other.path}).value();
  auto loaded = copy->load(out, false);
  ASSERT_TRUE(loaded) << message(loaded);
  EXPECT_EQ(copy->resolve("a:1")->id, a);
  EXPECT_EQ(copy->resolve("quay.io/b:2")->id, b);
  EXPECT_FALSE(copy->resolve("a:other"));  // it was not asked for
}

TEST_F(StoreTest, LeftoversOfACrashAreCleanedUp) {
  (void)file::make_dirs(path("tmp/half-a-layer/etc"));
  store = nullptr;
  store = open();
  EXPECT_EQ(count("tmp"), 0u);
}

}  // namespace
}  // namespace kcube::runtime::images
