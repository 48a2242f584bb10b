#include "runtime/images/unpack.h"

#include <fcntl.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "fixture.h"

namespace kcube::runtime::images {
namespace {

class Unpack : public ::testing::Test {
 protected:
  Result<Unpacked> unpack(const std::vector<LayerEntry>& entries) {
    std::string layer = layer_of(entries);
    (void)file::make_dirs(root());
    auto fd = file::open(root(), O_RDONLY | O_DIRECTORY);
    auto source = from_memory(layer);
    return unpack_layer(*source, *fd);
  }
  std::string root() const { return dir.path + "/root"; }
  struct stat stat_of(const std::string& name) const {
    struct stat st {};
    EXPECT_EQ(::lstat((root() + "/" + name).c_str(), &st), 0) << name;
    return st;
  }
  std::string xattr(const std::string& name, const char* key) const {
    char value[64];
    ssize_t n = ::lgetxattr((root() + "/" + name).c_str(), key, value, sizeof value);
    return n < 0 ? "" : std::string(value, static_cast<size_t>(n));
  }
  TempDir dir;
};

TEST_F(Unpack, KeepsOwnersModesTimesLinksAndDevices) {
  LayerEntry program = file_entry("bin/su", "program", 04755);
  program.entry.uid = 12;
  program.entry.gid = 34;
  // VFS_CAP_REVISION_2 with CAP_NET_BIND_SERVICE permitted and effective.
  std::string capability("\x01\0\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20);
  program.entry.xattrs = {{"security.capability", capability}};
  LayerEntry device{.entry = {.type = TarType::char_device, .path = "null", .mode = 0666, .major = 1, .minor = 3}};
  ASSERT_TRUE(unpack({directory_entry("bin", 0751), program, link_entry(TarType::hard_link, "bin/same", "bin/su"),
                      link_entry(TarType::symlink, "bin/sh", "/bin/su"), device,
                      LayerEntry{.entry = {.type = TarType::fifo, .path = "pipe", .mode = 0600}}}));
  EXPECT_EQ(stat_of("bin/su").st_mode, mode_t{S_IFREG | 04755});
  EXPECT_EQ(stat_of("bin/su").st_uid, 12u);
  EXPECT_EQ(stat_of("bin/su").st_gid, 34u);
  EXPECT_EQ(stat_of("bin/su").st_mtime, 1'600'000'000);
  EXPECT_EQ(xattr("bin/su", "security.capability"), capability);
  EXPECT_EQ(stat_of("bin/same").st_ino, stat_of("bin/su").st_ino);
  EXPECT_EQ(stat_of("bin").st_mode, mode_t{S_IFDIR | 0751});
  EXPECT_EQ(stat_of("bin").st_mtime, 1'600'000'000);
  EXPECT_EQ(std::filesystem::read_symlink(root() + "/bin/sh"), "/bin/su");
  EXPECT_EQ(stat_of("null").st_rdev, makedev(1, 3));
  EXPECT_TRUE(S_ISFIFO(stat_of("pipe").st_mode));
}

TEST_F(Unpack, TurnsWhiteoutsIntoThoseOfOverlayfs) {
  ASSERT_TRUE(unpack({directory_entry("etc"), file_entry("etc/.wh.passwd", ""), directory_entry("var"),
                      file_entry("var/.wh..wh..opq", ""), file_entry(".wh..wh.plnk", "")}));
  EXPECT_TRUE(S_ISCHR(stat_of("etc/passwd").st_mode));
  EXPECT_EQ(stat_of("etc/passwd").st_rdev, makedev(0, 0));
  EXPECT_EQ(xattr("var", "trusted.overlay.opaque"), "y");
  EXPECT_EQ(xattr("etc", "trusted.overlay.opaque"), "");
  EXPECT_FALSE(file::exists(root() + "/.wh..wh.plnk"));
}

TEST_F(Unpack, AWhiteoutHidesOnlyWhatIsBelow) {
  ASSERT_TRUE(unpack({file_entry("kept", "mine"), file_entry(".wh.kept", ""), file_entry(".wh.dir", ""),
                      directory_entry("dir"), file_entry("dir/new", "x")}));
  EXPECT_EQ(file::read(root() + "/kept").value(), "mine");
  EXPECT_EQ(xattr("dir", "trusted.overlay.opaque"), "y");
}

TEST_F(Unpack, ALaterEntryReplacesAnEarlierOne) {
  ASSERT_TRUE(
      unpack({directory_entry("a"), file_entry("a/b", "x"), file_entry("a", "file"), file_entry("c", "long content"),
              file_entry("c", "short"), link_entry(TarType::symlink, "d", "c"), file_entry("d", "own")}));
  EXPECT_EQ(file::read(root() + "/a").value(), "file");
  EXPECT_EQ(file::read(root() + "/c").value(), "short");
  EXPECT_EQ(file::read(root() + "/d").value(), "own");
}

TEST_F(Unpack, SaysWhichDirectoriesAreOnlyImplied) {
  auto unpacked = unpack({file_entry("a/b/c", "x"), directory_entry("a")});
  ASSERT_TRUE(unpacked);
  EXPECT_EQ(unpacked->implied_directories, std::vector<std::string>{"a/b"});
}

TEST_F(Unpack, IgnoresAttributesThatSteerOverlayfs) {
  LayerEntry evil = directory_entry("dir");
  evil.entry.xattrs = {{"trusted.overlay.redirect", "/elsewhere"}, {"user.kept", "yes"}};
  ASSERT_TRUE(unpack({evil}));
  EXPECT_EQ(xattr("dir", "trusted.overlay.redirect"), "");
  EXPECT_EQ(xattr("dir", "user.kept"), "yes");
}

TEST_F(Unpack, FollowsLinksThatStayInside) {
  ASSERT_TRUE(unpack({directory_entry("usr"), directory_entry("usr/lib"),
                      link_entry(TarType::symlink, "lib", "usr/lib"), file_entry("lib/x", "x")}));
  EXPECT_EQ(file::read(root() + "/usr/lib/x").value(), "x");
}

TEST_F(Unpack, NothingIsWrittenOutside) {
  (void)file::write(dir.path + "/victim", "innocent");
  std::string outside = dir.path;
  const std::vector<std::vector<LayerEntry>> attacks = {
      {file_entry("../victim", "evil")},
      {file_entry("a/../../victim", "evil")},
      {link_entry(TarType::symlink, "out", ".."), file_entry("out/victim", "evil")},
      {link_entry(TarType::symlink, "out", outside), file_entry("out/victim", "evil")},
      {link_entry(TarType::symlink, "out", outside), file_entry("out/new/victim", "evil")},
      {link_entry(TarType::hard_link, "out", "../victim"), file_entry("out", "evil")},
      {link_entry(TarType::symlink, "out", outside), link_entry(TarType::hard_link, "in", "out/victim")},
      {link_entry(TarType::symlink, "out", ".."), file_entry("out/.wh.victim", "")},
      {link_entry(TarType::symlink, "out", ".."), directory_entry("out/made", 0777)},
      {file_entry(".wh...", "")},
      {file_entry("..", "evil")},
      {file_entry(".", "evil")},
  };
  for (size_t i = 0; i < attacks.size(); ++i) {
    (void)file::remove_tree(root());
    auto unpacked = unpack(attacks[i]);
    ASSERT_FALSE(unpacked) << i;
    EXPECT_EQ(unpacked.error().code(), 400) << i << ": " << unpacked.error().message();
    EXPECT_EQ(file::read(dir.path + "/victim").value(), "innocent") << i;
    EXPECT_FALSE(file::exists(dir.path + "/made")) << i;
  }
}

TEST_F(Unpack, ALinkThatLeadsOutIsNotFollowedByAFileOfItsName) {
  (void)file::write(dir.path + "/victim", "innocent");
  ASSERT_TRUE(unpack({link_entry(TarType::symlink, "out", "../victim"), file_entry("out", "own", 0777)}));
  EXPECT_EQ(file::read(dir.path + "/victim").value(), "innocent");
  EXPECT_TRUE(S_ISREG(stat_of("out").st_mode));
}

}  // namespace
}  // namespace kcube::runtime::images
