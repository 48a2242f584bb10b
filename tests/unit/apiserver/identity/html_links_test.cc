#include "pkg/apiserver/html_links.h"

#include <gtest/gtest.h>

namespace kcube::apiserver {
namespace {

constexpr const char* kPrefix = "/api/v1/namespaces/a/pods/b/proxy";

std::string rewrite(std::string_view page, size_t step = 1000) {
  HtmlLinks links(kPrefix, "cluster:6443");
  std::string out;
  for (size_t at = 0; at < page.size(); at += step) out += links.feed(page.substr(at, step));
  return out + links.finish();
}

TEST(HtmlLinks, PathsOfThisHostComeBackThroughTheProxy) {
  EXPECT_EQ(rewrite_link("/x?y=1#z", kPrefix, "h"), std::string(kPrefix) + "/x?y=1#z");
  EXPECT_EQ(rewrite_link("https://h/x/", kPrefix, "h"), std::string(kPrefix) + "/x/");
  for (const char* kept : {"x/y", "../x", "", "#top", "https://other/x", "//other/x", "/api/v1/namespaces/a/pods/b/proxy/x", "mailto:a@b", "http://[::1"})
    EXPECT_EQ(rewrite_link(kept, kPrefix, "h"), kept);
}

TEST(HtmlLinks, RewritesLinksOfTagsHoweverThePageIsCut) {
  const std::string page = "<!DOCTYPE html><p title=\"/no\">/no <a class=c href=\"/rewriteme\">test</a><IMG SRC='/i.png'/><a href=/plain>"
                           "<script src=\"/s.js\">x = '<a href=\"/no\">'</script><!-- <a href=\"/no\"> --><a href = \"/last\">< <a";
  const std::string p = kPrefix;
  const std::string wanted = "<!DOCTYPE html><p title=\"/no\">/no <a class=c href=\"" + p + "/rewriteme\">test</a><IMG SRC='" + p + "/i.png'/><a href=" + p +
                             "/plain><script src=\"" + p + "/s.js\">x = '<a href=\"/no\">'</script><!-- <a href=\"/no\"> --><a href=\"" + p + "/last\">< <a";
  for (size_t step = 1; step < page.size() + 1; ++step) EXPECT_EQ(rewrite(page, step), wanted) << step;
}

TEST(HtmlLinks, PassesATagThatNeverEnds) {
  std::string page = "<a href=\"" + std::string(200000, 'x');
  EXPECT_EQ(rewrite(page).size(), page.size());
}

}  // namespace
}  // namespace kcube::apiserver
