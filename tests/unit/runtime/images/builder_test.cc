#include "runtime/images/builder.h"

#include "fixture.h"
#include "pkg/base/process.h"

namespace kcube::runtime::images {
namespace {

TEST_F(StoreTest, ABuiltImageHasItsFilesAndConfig) {
  BuildOptions options{.entrypoint = {"/bin/app", "-v"},
                       .cmd = {"serve"},
                       .env = {"A=B"},
                       .exposed = {"8080", "53/udp"},
                       .user = "65534:65534"};
  auto archive = build_archive("sample:1", {{"/bin/app", {"program", 0755}}, {"etc/app/config", {"x", 0600}}}, options);
  ASSERT_TRUE(archive) << message(archive);
  EXPECT_EQ(
      *archive,
      build_archive("sample:1", {{"/bin/app", {"program", 0755}}, {"etc/app/config", {"x", 0600}}}, options).value());
  EXPECT_OK(store->load_bytes(*archive, true));
  Image image = store->resolve("sample:1").value();
  EXPECT_EQ(image.config.entrypoint, options.entrypoint);
  EXPECT_EQ(image.config.cmd, options.cmd);
  EXPECT_EQ(image.config.user, "65534:65534");
  EXPECT_EQ(image.config.env.back(), "A=B");
  EXPECT_TRUE(image.config.env.front().starts_with("PATH="));
  std::string root = store->lease_layers(image.id, "c")->front();
  EXPECT_EQ(file::read(root + "/bin/app").value(), "program");
  struct stat st {};
  ASSERT_EQ(::stat((root + "/bin/app").c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 07777, mode_t{0755});
  ASSERT_EQ(::stat((root + "/etc/app").c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 07777, mode_t{0755});
  EXPECT_EQ(build_archive("Bad Name", {}, {}).error().code(), 400);
}

TEST_F(StoreTest, MkimagePacksADirectory) {
  std::string root = dir.path + "/root", out = dir.path + "/out.tar";
  std::filesystem::create_directories(root + "/bin");
  (void)file::write(root + "/bin/tool", "tool", 0755);
  std::filesystem::create_symlink("tool", root + "/bin/sh");
  std::filesystem::create_hard_link(root + "/bin/tool", root + "/bin/twin");
  auto made = process::run({MKIMAGE, "--name", "tools:1", "--entrypoint", "/bin/sh", "--cmd=-c", "--env", "K=V=W",
                            "--user", "7", root, out});
  ASSERT_TRUE(made);
  ASSERT_EQ(made->exit_code, 0) << made->err;
  auto loaded = store->load(out, false);
  ASSERT_TRUE(loaded) << message(loaded);
  EXPECT_EQ(loaded->front().config.cmd, std::vector<std::string>{"-c"});
  EXPECT_EQ(loaded->front().config.env.back(), "K=V=W");
  std::string layer = store->lease_layers(loaded->front().id, "c")->front();
  EXPECT_EQ(std::filesystem::read_symlink(layer + "/bin/sh"), "tool");
  EXPECT_EQ(std::filesystem::hard_link_count(layer + "/bin/twin"), 2u);
  auto refused = process::run({MKIMAGE, "--env", "K", root, out});
  ASSERT_TRUE(refused);
  EXPECT_EQ(refused->exit_code, 1);
  EXPECT_NE(refused->err.find("give K=V"), std::string::npos) << refused->err;
}

}  // namespace
}  // namespace kcube::runtime::images
