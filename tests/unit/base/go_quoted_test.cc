#include "pkg/base/go_quoted.h"

#include <gtest/gtest.h>

namespace kcube {
namespace {

TEST(GoQuoted, EscapesWhatIsNotToBeSeen) {
  EXPECT_EQ(go_quoted("a\"b\\c"), "\"a\\\"b\\\\c\"");
  EXPECT_EQ(go_quoted(std::string_view("a\0\n\x7f", 4)), "\"a\\x00\\n\\x7f\"");
  EXPECT_EQ(go_quoted("\xc3\xa9\xff"), "\"\xc3\xa9\\xff\"");
  EXPECT_EQ(go_quoted("\xc2\x85\xe2\x80\x8b"), "\"\\u0085\\u200b\"");
}

}  // namespace
}  // namespace kcube
