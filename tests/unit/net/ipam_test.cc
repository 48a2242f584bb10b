#include "net/ipam.h"

#include <gtest/gtest.h>

#include <fstream>

#include "tests/unit/net/lab.h"

namespace kcube::net {
namespace {

Ipam open_at(const std::string& directory, const std::string& range) {
  auto ipam = Ipam::open(directory, *parse_prefix(range));
  EXPECT_TRUE(ipam);
  return std::move(*ipam);
}

TEST(Ipam, GivesEachOwnerOneAddressAndRemembersIt) {
  lab::ScratchDirectory scratch;
  uint32_t a, b;
  {
    Ipam ipam = open_at(scratch.path, "10.42.3.0/24");
    EXPECT_EQ(format_ipv4(ipam.gateway()), "10.42.3.1");
    a = ipam.allocate("a").value();
    b = ipam.allocate("b").value();
    EXPECT_NE(a, b);
    EXPECT_EQ(ipam.allocate("a").value(), a);
  }
  Ipam again = open_at(scratch.path, "10.42.3.0/24");
  EXPECT_EQ(again.address_of("a"), a);
  EXPECT_EQ(again.allocate("b").value(), b);
  EXPECT_EQ(again.owners(), (std::vector<std::string>{"a", "b"}));
}

TEST(Ipam, ReusesAnAddressLastAndSaysWhenNoneIsLeft) {
  lab::ScratchDirectory scratch;
  Ipam ipam = open_at(scratch.path, "10.42.3.0/29");  // .2 to .6
  uint32_t first = ipam.allocate("a").value();
  ASSERT_TRUE(ipam.release("a"));
  EXPECT_NE(ipam.allocate("b").value(), first);
  for (const char* id : {"c", "d", "e", "f"}) ASSERT_TRUE(ipam.allocate(id)) << id;
  auto full = ipam.allocate("g");
  ASSERT_FALSE(full);
  EXPECT_EQ(full.error().code(), 507);
  ASSERT_TRUE(ipam.release("c"));
  EXPECT_TRUE(ipam.allocate("g"));
}

TEST(Ipam, ForgetsWhatBelongsToAnotherRangeOrWasCutOff) {
  lab::ScratchDirectory scratch;
  std::ofstream(scratch.path + "/10.99.0.2") << "old";
  std::ofstream(scratch.path + "/10.42.3.9").flush();
  Ipam ipam = open_at(scratch.path, "10.42.3.0/24");
  EXPECT_TRUE(ipam.owners().empty());
}

}  // namespace
}  // namespace kcube::net
