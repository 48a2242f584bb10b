#include "pkg/dns/message.h"

#include <gtest/gtest.h>

namespace kcube::dns {
namespace {

std::string n(const char* text) { return to_name(text).value(); }

Message sample() {
  Message m;
  m.id = 0x1234;
  m.response = m.authoritative = m.recursion_desired = m.recursion_available = true;
  m.questions = {{n("Web.example.org"), type::kAny, kClassIn}};
  m.answers = {{n("web.example.org"), type::kCname, kClassIn, 60, n("a.web.example.org")},
               {n("a.web.example.org"), type::kA, kClassIn, 30, std::string("\1\2\3\4", 4)},
               {n("_http._tcp.example.org"), type::kSrv, kClassIn, 5,
                u16_bytes(0) + u16_bytes(100) + u16_bytes(80) + n("a.web.example.org")},
               {n("example.org"), type::kMx, kClassIn, 5, u16_bytes(10) + n("mail.example.org")},
               {n("example.org"), type::kTxt, kClassIn, 5, std::string("\5hello")}};
  m.authorities = {
      {n("example.org"), type::kSoa, kClassIn, 5, n("ns.example.org") + n("root.example.org") + std::string(20, '\1')}};
  m.additionals = {{n("ns.example.org"), type::kAaaa, kClassIn, 5, std::string(16, '\2')}};
  m.edns = Edns{1232, 0, true};
  return m;
}

TEST(Message, SurvivesWritingAndReading) {
  Message m = sample();
  std::string bytes = encode(m);
  auto back = parse(bytes);
  ASSERT_TRUE(back) << back.error().message();
  EXPECT_EQ(back->id, m.id);
  EXPECT_TRUE(back->response && back->authoritative && back->recursion_desired && back->recursion_available);
  EXPECT_FALSE(back->truncated);
  EXPECT_EQ(back->questions[0].name, n("Web.example.org")) << "letter case is the client's";
  EXPECT_EQ(lower(back->answers[0].name), m.answers[0].name);
  EXPECT_EQ(back->answers[1].data, m.answers[1].data);
  EXPECT_EQ(lower(back->answers[2].data.substr(6)), n("a.web.example.org"));
  EXPECT_EQ(back->answers[4].data, m.answers[4].data);
  EXPECT_EQ(back->authorities[0].data.size(), m.authorities[0].data.size());
  EXPECT_EQ(back->additionals.size(), 1u);
  ASSERT_TRUE(back->edns);
  EXPECT_TRUE(back->edns->dnssec_ok);
  EXPECT_EQ(back->edns->udp_size, 1232);
}

TEST(Message, CompressesNames) {
  Message m;
  m.questions = {{n("a.very.long.name.example.org"), type::kA, kClassIn}};
  for (int i = 0; i < 10; ++i)
    m.answers.push_back({m.questions[0].name, type::kA, kClassIn, 5, std::string(4, static_cast<char>(i))});
  EXPECT_EQ(encode(m).size(), kHeaderBytes + m.questions[0].name.size() + 4 + 10 * 16);
}

TEST(Message, LeavesOutWhatDoesNotFit) {
  Message m = sample();
  m.additionals.clear();
  m.authorities.clear();
  m.answers.clear();
  for (int i = 0; i < 200; ++i)
    m.answers.push_back({n("web.example.org"), type::kA, kClassIn, 5, u32_bytes(static_cast<uint32_t>(i))});
  for (size_t limit : {512u, 513u, 600u, 1232u}) {
    std::string bytes = encode(m, limit);
    EXPECT_LE(bytes.size(), limit);
    auto back = parse(bytes);
    ASSERT_TRUE(back);
    EXPECT_TRUE(back->truncated);
    EXPECT_GT(back->answers.size(), 20u);
    EXPECT_TRUE(back->edns);
  }
  EXPECT_FALSE(parse(encode(m))->truncated);
  Message extras = sample();
  extras.additionals.assign(100, {n("x.example.org"), type::kA, kClassIn, 5, std::string(4, '\1')});
  auto back = parse(encode(extras, 512));
  ASSERT_TRUE(back);
  EXPECT_FALSE(back->truncated) << "additional records are a courtesy";
  EXPECT_EQ(back->answers.size(), extras.answers.size());
}

TEST(Message, ReadsNothingBeyondItsBounds) {
  std::string good = encode(sample());
  for (size_t i = 0; i < good.size(); ++i) EXPECT_FALSE(parse(good.substr(0, i))) << i;
  std::string head("\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00", 12);
  EXPECT_FALSE(parse(head + std::string("\xc0\x0c\0\1\0\1", 6))) << "a name that points to itself";
  EXPECT_FALSE(parse(head + std::string("\xc0\x20\0\1\0\1", 6))) << "forwards";
  EXPECT_FALSE(parse(head + std::string("\x40", 1) + std::string(64, 'x') + std::string("\0\0\1\0\1", 5)))
      << "a label of 64 bytes";
  std::string endless;
  for (int i = 0; i < 5; ++i) endless += '\x3f' + std::string(63, 'x');
  EXPECT_FALSE(parse(head + endless + std::string("\0\0\1\0\1", 5))) << "a name of more than 255 bytes";
  EXPECT_FALSE(parse(""));
}

TEST(Names, ConvertBothWays) {
  EXPECT_EQ(to_text(n("web.default.svc.cluster.local.")), "web.default.svc.cluster.local.");
  EXPECT_EQ(to_text(n("")), ".");
  EXPECT_EQ(to_text(std::string("\3a.b\0", 5)), "a\\046b.");
  for (const char* bad : {".", "a..b", ".a", "a.."})
    EXPECT_EQ(to_name(bad).has_value(), std::string_view(bad) == ".") << bad;
  EXPECT_FALSE(to_name(std::string(64, 'x')));
  EXPECT_TRUE(is_within(n("a.b.c"), n("b.c")));
  EXPECT_TRUE(is_within(n("b.c"), n("b.c")));
  EXPECT_FALSE(is_within(n("ab.c"), n("b.c")));
  EXPECT_FALSE(is_within(n("c"), n("b.c")));
  EXPECT_EQ(to_text(reverse_name("10.43.0.1")), "1.0.43.10.in-addr.arpa.");
  EXPECT_EQ(to_text(reverse_name("2001:db8::1")),
            "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa.");
  EXPECT_EQ(reverse_name("x"), "");
}

}  // namespace
}  // namespace kcube::dns
