#include <fcntl.h>

#include <atomic>

#include "pkg/auth/auth.h"
#include "registry.h"

namespace kcube::runtime::images {
namespace {

std::string big_archive(const std::string& name, size_t layers = 5, size_t bytes = 1 << 20) {
  std::vector<std::string> all;
  for (size_t i = 0; i < layers; ++i)
    all.push_back(layer_of({file_entry("file" + std::to_string(i), random_bytes(bytes))}));
  return archive_of(name, all);
}

class PullTest : public StoreTest {
 protected:
  PullTest() { reopen(""); }
  void reopen(const std::string& registries) {
    (void)file::write_atomic(dir.path + "/registries.yaml", registries);
    store =
        open_image_store({.directory = dir.path + "/images", .registries_file = dir.path + "/registries.yaml"}).value();
  }
};

http::Headers challenge(const std::string& text) {
  http::Headers headers;
  headers.set("WWW-Authenticate", text);
  return headers;
}

TEST_F(PullTest, FromDockerRegistry) {
  if (!DockerRegistry::installed()) GTEST_SKIP() << "docker-registry and apache2-utils are not installed";
  DockerRegistry registry;
  ASSERT_TRUE(registry.answers());
  Served image = served(big_archive("x"));
  ASSERT_NO_FATAL_FAILURE(registry.push("team/app", "v1", image));
  std::string name = registry.host() + "/team/app";
  std::vector<std::pair<uint64_t, uint64_t>> steps;
  PullOptions options{.progress = [&](uint64_t done, uint64_t total) { steps.emplace_back(done, total); }};
  auto pulled = store->pull(name + ":v1", options);
  ASSERT_TRUE(pulled) << message(pulled);
  EXPECT_EQ(pulled->tags, std::vector<std::string>{name + ":v1"});
  EXPECT_EQ(pulled->digests, std::vector<std::string>{name + "@" + image.manifest_digest});
  ASSERT_FALSE(steps.empty());
  EXPECT_EQ(steps.back().first, steps.back().second);
  EXPECT_GT(steps.back().second, uint64_t{5} << 20);
  EXPECT_EQ(store->lease_layers(pulled->id, "c")->size(), 5u);
  EXPECT_EQ(store->resolve(name + "@" + image.manifest_digest)->id, pulled->id);
  EXPECT_EQ(count("partial"), 0u);

  auto by_digest = store->pull(name + "@" + image.manifest_digest, {});
  ASSERT_TRUE(by_digest) << message(by_digest);
  EXPECT_EQ(by_digest->id, pulled->id);
  for (const std::string& absent :
       {name + ":v2", registry.host() + "/nobody/nothing", name + "@sha256:" + std::string(64, '1')}) {
    auto none = store->pull(absent, {});
    ASSERT_FALSE(none);
    EXPECT_EQ(none.error().code(), 404) << message(none);
    EXPECT_NE(message(none).find("manifest unknown"), std::string::npos) << message(none);
  }
}

TEST_F(PullTest, OfAManifestListTheMemberForThisMachine) {
  if (!DockerRegistry::installed()) GTEST_SKIP() << "docker-registry and apache2-utils are not installed";
  DockerRegistry registry;
  Served image = served(simple_archive("x"));
  ASSERT_NO_FATAL_FAILURE(registry.push("multi", "plain", image));
  std::string platform = R"(,"platform":{"os":"linux","architecture":")";
#if defined(__aarch64__)
  platform += "arm64";
#else
  platform += "amd64";
#endif
  std::string list =
      R"({"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":")" +
      image.manifest_digest + R"(","size":)" + std::to_string(image.manifest.size()) + platform + "\"}}]}";
  ASSERT_EQ(registry.put_manifest("multi", "v1", list, "application/vnd.oci.image.index.v1+json"), 201);
  auto pulled = store->pull(registry.host() + "/multi:v1", {});
  ASSERT_TRUE(pulled) << message(pulled);
  // The digest that users see is that of the list, as other runtimes report it.
  EXPECT_EQ(pulled->digests, std::vector<std::string>{registry.host() + "/multi@" + digest_of(list)});
}

TEST_F(PullTest, WithAPassword) {
  if (!DockerRegistry::installed()) GTEST_SKIP() << "docker-registry and apache2-utils are not installed";
  DockerRegistry registry("alice", "secret");
  ASSERT_NO_FATAL_FAILURE(registry.push("app", "v1", served(simple_archive("x"))));
  std::string name = registry.host() + "/app:v1";
  auto refused = store->pull(name, {});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), 401);
  EXPECT_EQ(refused.error().reason(), "ErrImagePull");
  EXPECT_NE(message(refused).find("UNAUTHORIZED: authentication required"), std::string::npos) << message(refused);
  EXPECT_EQ(store->pull(name, {.auths = {{.username = "alice", .password = "wrong"}}}).error().code(), 401);
  EXPECT_OK(store->pull(
      name, {.auths = {{.username = "bob", .password = "x"}, {.username = "alice", .password = "secret"}}}));
  EXPECT_OK(store->remove(name));
  // The same from registries.yaml, read when it changes.
  (void)file::write_atomic(dir.path + "/registries.yaml",
                           "configs:\n  \"" + registry.host() + "\":\n    auth: {username: alice, password: secret}\n");
  EXPECT_OK(store->pull(name, {}));
}

TEST_F(PullTest, WithATokenOfAnotherServer) {
  FakeRegistry tokens(Served{}, [](http::Request& request, std::unique_ptr<http::Responder>& responder) {
    bool known = request.headers.get("Authorization") == "Basic " + base64_encode("alice:secret") &&
                 request.query.get("service") == "the registry" && request.query.get("scope") == "repository:app:pull";
    std::exchange(responder, nullptr)
        ->respond(known ? 200 : 401, {},
                  known ? R"({"token":"t0ken","expires_in":60})" : R"({"details":"incorrect username or password"})");
  });
  FakeRegistry registry(served(simple_archive("x")),
                        [&](http::Request& request, std::unique_ptr<http::Responder>& responder) {
                          if (request.headers.get("Authorization") == "Bearer t0ken") return;
                          std::exchange(responder, nullptr)
                              ->respond(401,
                                        challenge("Bearer realm=\"http://" + tokens.host() +
                                                  "/token\",service=\"the registry\",scope=\"repository:app:pull\""),
                                        "");
                        });
  std::string name = registry.host() + "/app:v1";
  auto refused = store->pull(name, {});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), 401);
  EXPECT_NE(message(refused).find("incorrect username or password"), std::string::npos) << message(refused);
  EXPECT_OK(store->pull(name, {.auths = {{.username = "alice", .password = "secret"}}}));
}

TEST_F(PullTest, ADamagedLayerIsRefusedAndNotKept) {
  FakeRegistry registry(served(simple_archive("x")));
  std::string& layer = registry.image().blobs[registry.image().layers[0]];
  std::string good = layer;
  layer[600] ^= 1;
  auto pulled = store->pull(registry.host() + "/app:v1", {});
  ASSERT_FALSE(pulled);
  EXPECT_NE(message(pulled).find("arrived with the digest sha256:"), std::string::npos) << message(pulled);
  EXPECT_FALSE(file::exists(path("partial/") + hex_of(registry.image().layers[0])));
  EXPECT_FALSE(file::exists(path("blobs/sha256/") + hex_of(registry.image().layers[0])));
  layer = good;
  EXPECT_OK(store->pull(registry.host() + "/app:v1", {}));
}

TEST_F(PullTest, ADamagedManifestIsRefused) {
  FakeRegistry registry(served(simple_archive("x")));
  std::string digest = registry.image().manifest_digest;
  registry.image().manifest += " ";
  auto pulled = store->pull(registry.host() + "/app@" + digest, {});
  ASSERT_FALSE(pulled);
  EXPECT_NE(message(pulled).find("the manifest " + digest + " arrived with the digest"), std::string::npos)
      << message(pulled);
}

TEST_F(PullTest, AnInterruptedLayerIsResumed) {
  std::atomic<int> cut{0};
  FakeRegistry registry(
      served(big_archive("x", 2)), [&](http::Request& request, std::unique_ptr<http::Responder>& responder) {
        if (request.path.find("/blobs/") == std::string::npos || request.headers.has("Range") || cut.fetch_add(1) > 2)
          return;
        std::string digest = request.path.substr(request.path.rfind('/') + 1);
        const std::string& blob = registry.image().blobs.at(digest);
        std::exchange(responder, nullptr)->respond(200, {}, blob.substr(0, blob.size() / 2));
      });
  auto pulled = store->pull(registry.host() + "/app:v1", {});
  ASSERT_TRUE(pulled) << message(pulled);
  EXPECT_TRUE(registry.was_asked("range=bytes="));
}

TEST_F(PullTest, WhatAnEarlierAttemptLeftIsUsed) {
  FakeRegistry registry(served(simple_archive("x")));
  std::string digest = registry.image().layers[0], layer = registry.image().blobs.at(digest);
  (void)file::write(path("partial/") + hex_of(digest), layer.substr(0, 700));
  EXPECT_OK(store->pull(registry.host() + "/app:v1", {}));
  EXPECT_TRUE(registry.was_asked("range=bytes=700- "));
}

TEST_F(PullTest, ARegistryWithoutRangesSendsTheLayerAnew) {
  FakeRegistry registry(served(simple_archive("x")),
                        [&](http::Request& request, std::unique_ptr<http::Responder>& responder) {
                          std::string digest = request.path.substr(request.path.rfind('/') + 1);
                          if (!request.headers.has("Range")) return;
                          std::exchange(responder, nullptr)->respond(200, {}, registry.image().blobs.at(digest));
                        });
  (void)file::write(path("partial/") + hex_of(registry.image().layers[0]), "garbage");
  EXPECT_OK(store->pull(registry.host() + "/app:v1", {}));
}

TEST_F(PullTest, CredentialsAreNotSentWhereALayerIsRedirected) {
  Served image = served(simple_archive("x"));
  FakeRegistry storage(image);
  FakeRegistry registry(image, [&](http::Request& request, std::unique_ptr<http::Responder>& responder) {
    if (request.headers.get("Authorization").empty())
      return std::exchange(responder, nullptr)->respond(401, challenge("Basic realm=\"x\""), "");
    if (request.path.find("/blobs/") == std::string::npos) return;
    http::Headers headers;
    headers.set("Location", "http://" + storage.host() + request.path);
    std::exchange(responder, nullptr)->respond(307, headers, "");
  });
  EXPECT_OK(store->pull(registry.host() + "/app:v1", {.auths = {{.username = "a", .password = "b"}}}));
  EXPECT_TRUE(storage.was_asked("/blobs/"));
  EXPECT_FALSE(storage.was_asked("auth=Basic"));
}

TEST_F(PullTest, AMirrorIsAskedFirstWithTheNameRewritten) {
  FakeRegistry mirror(served(simple_archive("x")));
  reopen("mirrors:\n  docker.io:\n    endpoint: [\"http://127.0.0.1:" + std::to_string(free_port()) + "\", \"http://" +
         mirror.host() + "\"]\n    rewrite:\n      \"^library/(.*)\": \"mirrored/$1\"\n");
  auto pulled = store->pull("nginx:v1", {.auths = {{.username = "for", .password = "the hub only"}}});
  ASSERT_TRUE(pulled) << message(pulled);
  EXPECT_EQ(pulled->tags, std::vector<std::string>{"docker.io/library/nginx:v1"});
  EXPECT_TRUE(mirror.was_asked("GET /v2/mirrored/nginx/manifests/v1?ns=docker.io"));
  EXPECT_FALSE(mirror.was_asked("auth=Basic"));
}

TEST_F(PullTest, CertificatesAreChecked) {
  auto ca = auth::make_ca("registry-ca", std::chrono::hours(1)).value();
  auto pair = auth::issue(ca, {.common_name = "registry", .ip_addresses = {"127.0.0.1"}, .server = true}).value();
  FakeRegistry registry(served(simple_archive("x")), {}, {.tls_options = {pair.certificate_pem, pair.key_pem, ""}},
                        true);
  (void)file::write(dir.path + "/ca.pem", ca.certificate_pem);
  std::string name = registry.host() + "/app:v1";
  auto refused = store->pull(name, {});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), 503) << message(refused);
  reopen("configs:\n  \"" + registry.host() + "\": {tls: {ca_file: " + dir.path + "/ca.pem}}\n");
  EXPECT_OK(store->pull(name, {}));
  EXPECT_OK(store->remove(name));
  reopen("configs:\n  \"" + registry.host() + "\": {tls: {insecure_skip_verify: true}}\n");
  EXPECT_OK(store->pull(name, {}));
}

TEST_F(PullTest, TwoPullsOfTheSameImageShareTheWork) {
  FakeRegistry registry(served(big_archive("x", 3)));
  auto other = open();
  Result<Image> a, b;
  {
    std::jthread first([&] { a = store->pull(registry.host() + "/app:v1", {}); });
    std::jthread second([&] { b = other->pull(registry.host() + "/app:v1", {}); });
  }
  EXPECT_TRUE(a) << message(a);
  EXPECT_TRUE(b) << message(b);
  size_t layers = 0;
  for (const std::string& line : registry.asked()) layers += line.find("/blobs/") != std::string::npos ? 1 : 0;
  EXPECT_EQ(layers, 4u);
}

TEST_F(PullTest, MalformedRegistriesAreReported) {
  reopen("mirrors: [\n");
  auto pulled = store->pull("127.0.0.1:1/app", {});
  ASSERT_FALSE(pulled);
  EXPECT_NE(message(pulled).find("registries.yaml"), std::string::npos) << message(pulled);
}

}  // namespace
}  // namespace kcube::runtime::images
