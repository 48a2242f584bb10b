#include <gtest/gtest.h>

#include "runtime/image_store.h"

namespace kcube::runtime {
namespace {

const std::string kDigest = "sha256:" + std::string(64, 'a');

TEST(ImageReference, IsNormalisedAsDockerDoes) {
  const std::pair<std::string, std::string> cases[] = {
      {"nginx", "docker.io/library/nginx:latest"},
      {"nginx:1.25", "docker.io/library/nginx:1.25"},
      {"grafana/grafana", "docker.io/grafana/grafana:latest"},
      {"docker.io/nginx", "docker.io/library/nginx:latest"},
      {"index.docker.io/nginx", "docker.io/library/nginx:latest"},
      {"localhost/app", "localhost/app:latest"},
      {"localhost:5000/app:v1", "localhost:5000/app:v1"},
      {"registry.k8s.io/e2e-test-images/agnhost:2.53", "registry.k8s.io/e2e-test-images/agnhost:2.53"},
      {"[fd00::1]:5000/a/b_c/d--e:V.1_2-3", "[fd00::1]:5000/a/b_c/d--e:V.1_2-3"},
      {"Registry/app", "Registry/app:latest"},
      {"nginx@" + kDigest, "docker.io/library/nginx@" + kDigest},
      {"quay.io/a/b:tag@" + kDigest, "quay.io/a/b@" + kDigest},
      {"a.b/c__d.e", "a.b/c__d.e:latest"},
  };
  for (const auto& [text, expected] : cases) {
    auto reference = ImageReference::parse(text);
    ASSERT_TRUE(reference) << text << ": " << reference.error().message();
    EXPECT_EQ(reference->to_string(), expected);
  }
}

TEST(ImageReference, RefusesWhatDockerRefuses) {
  const std::string cases[] = {"",
                               "Nginx",
                               "nginx:",
                               ":tag",
                               "a//b",
                               "/a",
                               "a/",
                               "nginx@sha256:abc",
                               "nginx@md5:" + std::string(32, 'a'),
                               std::string(64, 'a'),
                               "a b",
                               "nginx:-x",
                               "nginx:" + std::string(129, 'a'),
                               "a..b",
                               "a._b",
                               "-a",
                               "a-",
                               "http://nginx",
                               "host:port/x",
                               "host:123456/x",
                               "x/" + std::string(256, 'a'),
                               std::string(250, 'a'),
                               "nginx:a:b",
                               "..",
                               "../x",
                               "nginx@" + kDigest + "@" + kDigest};
  for (const std::string& text : cases) {
    auto reference = ImageReference::parse(text);
    ASSERT_FALSE(reference) << text;
    EXPECT_EQ(reference.error().code(), 400) << text;
    EXPECT_EQ(reference.error().reason(), "InvalidImageName") << text;
  }
}

}  // namespace
}  // namespace kcube::runtime
