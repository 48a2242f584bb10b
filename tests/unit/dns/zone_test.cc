#include "pkg/dns/zone.h"

#include <gtest/gtest.h>

#include <set>

#include "pkg/dns/service_records.h"

namespace kcube::dns {
namespace {

std::string n(const std::string& text) { return to_name(text).value(); }

api::ObjectPtr object(const std::string& text) {
  auto value = json::parse(text);
  EXPECT_TRUE(value) << text;
  return api::Object::make(api::encode(*value), 1);
}

api::ObjectPtr service(const std::string& name, const std::string& spec) {
  return object(R"({"kind":"Service","apiVersion":"v1","metadata":{"name":")" + name +
                R"(","namespace":"default"},"spec":)" + spec + "}");
}

api::ObjectPtr slice(const std::string& endpoints, const std::string& family = "IPv4") {
  return object(
      R"({"kind":"EndpointSlice","apiVersion":"discovery.k8s.io/v1","metadata":{"name":"s","namespace":"default"},"addressType":")" +
      family + R"(","ports":[{"name":"http","protocol":"TCP","port":8080}],"endpoints":)" + endpoints + "}");
}

class ZoneTest : public testing::Test {
 protected:
  void set(const api::ObjectPtr& s, const std::vector<api::ObjectPtr>& slices = {}) {
    zone.set(s->key(), service_records(*s, slices, zone.domain()));
  }
  // "A 10.43.0.5", "SRV 8080 web…", sorted; or "NODATA", "NXDOMAIN", "elsewhere", "-> name".
  std::set<std::string> ask(const std::string& name, uint16_t type) {
    ZoneAnswer a = zone.lookup(lower(n(name)), type);
    if (a.kind == ZoneAnswer::Kind::no_data) return {"NODATA"};
    if (a.kind == ZoneAnswer::Kind::no_name) return {"NXDOMAIN"};
    std::set<std::string> out;
    for (const Record& r : a.answers) {
      EXPECT_EQ(r.ttl, 5u);
      out.insert(show(r));
    }
    if (!a.continue_at.empty()) out.insert("-> " + to_text(a.continue_at));
    if (out.empty()) return {"elsewhere"};
    return out;
  }
  static std::string show(const Record& r) {
    if (r.type == type::kA || r.type == type::kAaaa) {
      std::string out;
      for (char c : r.data) out += (out.empty() ? "" : ".") + std::to_string(static_cast<uint8_t>(c));
      return out;
    }
    if (r.type == type::kSrv)
      return std::to_string(static_cast<uint8_t>(r.data[4]) << 8 | static_cast<uint8_t>(r.data[5])) + " " +
             to_text(r.data.substr(6));
    if (r.type == type::kTxt) return r.data.substr(1);
    if (r.type == type::kSoa) return "SOA";
    return to_text(r.data);
  }
  Zone zone{"cluster.local", {"10.43.0.10"}, "198.51.100.1"};
};

using Set = std::set<std::string>;

TEST_F(ZoneTest, ServicesWithAnAddress) {
  set(service(
      "web",
      R"({"clusterIP":"10.43.0.5","clusterIPs":["10.43.0.5","fd00::5"],"ports":[{"name":"http","protocol":"TCP","port":80},{"name":"dns","protocol":"UDP","port":53}]})"));
  EXPECT_EQ(ask("web.default.svc.cluster.local", type::kA), Set{"10.43.0.5"});
  EXPECT_EQ(ask("WEB.Default.svc.cluster.LOCAL", type::kA), Set{"10.43.0.5"});
  EXPECT_EQ(ask("web.default.svc.cluster.local", type::kAaaa), Set{"253.0.0.0.0.0.0.0.0.0.0.0.0.0.0.5"});
  EXPECT_EQ(ask("web.default.svc.cluster.local", type::kTxt), Set{"NODATA"});
  EXPECT_EQ(ask("_http._tcp.web.default.svc.cluster.local", type::kSrv), Set{"80 web.default.svc.cluster.local."});
  EXPECT_EQ(ask("_dns._udp.web.default.svc.cluster.local", type::kSrv), Set{"53 web.default.svc.cluster.local."});
  EXPECT_EQ(ask("web.default.svc.cluster.local", type::kSrv).size(), 2u);
  EXPECT_EQ(ask("5.0.43.10.in-addr.arpa", type::kPtr), Set{"web.default.svc.cluster.local."});
  EXPECT_EQ(ask("5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa", type::kPtr),
            Set{"web.default.svc.cluster.local."});
  EXPECT_EQ(ask("other.default.svc.cluster.local", type::kA), Set{"NXDOMAIN"});
  EXPECT_EQ(ask("x.web.default.svc.cluster.local", type::kA), Set{"NXDOMAIN"});
  for (const char* between : {"_tcp.web.default.svc.cluster.local", "default.svc.cluster.local", "svc.cluster.local",
                              "cluster.local", "pod.cluster.local"})
    EXPECT_EQ(ask(between, type::kA), Set{"NODATA"}) << between;
  ZoneAnswer srv = zone.lookup(n("_http._tcp.web.default.svc.cluster.local"), type::kSrv);
  EXPECT_EQ(srv.additionals.size(), 2u);
  zone.set("default/web", {});
  EXPECT_EQ(ask("web.default.svc.cluster.local", type::kA), Set{"NXDOMAIN"});
  EXPECT_EQ(ask("default.svc.cluster.local", type::kA), Set{"NXDOMAIN"});
  EXPECT_EQ(ask("5.0.43.10.in-addr.arpa", type::kPtr), Set{"elsewhere"});
}

TEST_F(ZoneTest, HeadlessServicesNameTheirEndpoints) {
  auto s = service("db", R"({"clusterIP":"None","ports":[{"name":"http","port":80}]})");
  set(s,
      {slice(
          R"([{"addresses":["10.42.0.5"],"hostname":"db-0","conditions":{"ready":true}},{"addresses":["10.42.0.6"],"conditions":{}},{"addresses":["10.42.0.7"],"hostname":"db-2","conditions":{"ready":false}}])")});
  EXPECT_EQ(ask("db.default.svc.cluster.local", type::kA), (Set{"10.42.0.5", "10.42.0.6"}));
  EXPECT_EQ(ask("db-0.db.default.svc.cluster.local", type::kA), Set{"10.42.0.5"});
  EXPECT_EQ(ask("10-42-0-6.db.default.svc.cluster.local", type::kA), Set{"10.42.0.6"});
  EXPECT_EQ(ask("db-2.db.default.svc.cluster.local", type::kA), Set{"NXDOMAIN"});
  EXPECT_EQ(ask("_http._tcp.db.default.svc.cluster.local", type::kSrv),
            (Set{"8080 db-0.db.default.svc.cluster.local.", "8080 10-42-0-6.db.default.svc.cluster.local."}));
  EXPECT_EQ(ask("5.0.42.10.in-addr.arpa", type::kPtr), Set{"db-0.db.default.svc.cluster.local."});
  // First addresses differ from time to time.
  Set first;
  for (int i = 0; i < 10; ++i) first.insert(show(zone.lookup(n("db.default.svc.cluster.local"), type::kA).answers[0]));
  EXPECT_EQ(first.size(), 2u);
  // Changes go by difference.
  set(s,
      {slice(R"([{"addresses":["10.42.0.7"],"hostname":"db-2"}])"), slice(R"([{"addresses":["fd00::7"]}])", "IPv6")});
  EXPECT_EQ(ask("db.default.svc.cluster.local", type::kA), Set{"10.42.0.7"});
  EXPECT_EQ(ask("db-0.db.default.svc.cluster.local", type::kA), Set{"NXDOMAIN"});
  EXPECT_EQ(ask("fd00--7.db.default.svc.cluster.local", type::kAaaa).size(), 1u);
  set(s, {});
  EXPECT_EQ(ask("db.default.svc.cluster.local", type::kA), Set{"NXDOMAIN"});
}

TEST_F(ZoneTest, UnreadyEndpointsArePublishedWhenAskedFor) {
  set(service("db", R"({"clusterIP":"None","publishNotReadyAddresses":true})"),
      {slice(R"([{"addresses":["10.42.0.7"],"hostname":"db-2","conditions":{"ready":false}}])")});
  EXPECT_EQ(ask("db-2.db.default.svc.cluster.local", type::kA), Set{"10.42.0.7"});
}

TEST_F(ZoneTest, TwoServicesMayShareAnEndpoint) {
  for (const char* name : {"one", "two"})
    set(service(name, R"({"clusterIP":"None"})"), {slice(R"([{"addresses":["10.42.0.5"],"hostname":"h"}])")});
  EXPECT_EQ(ask("5.0.42.10.in-addr.arpa", type::kPtr).size(), 2u);
  zone.set("default/one", {});
  EXPECT_EQ(ask("5.0.42.10.in-addr.arpa", type::kPtr), Set{"h.two.default.svc.cluster.local."});
}

TEST_F(ZoneTest, ExternalNamesAreAliases) {
  set(service("web", R"({"clusterIP":"10.43.0.5"})"));
  set(service("inside", R"({"type":"ExternalName","externalName":"Web.default.svc.cluster.local"})"));
  set(service("outside", R"({"type":"ExternalName","externalName":"example.org"})"));
  set(service("loop", R"({"type":"ExternalName","externalName":"loop.default.svc.cluster.local"})"));
  set(service("lost", R"({"type":"ExternalName","externalName":"nobody.default.svc.cluster.local"})"));
  EXPECT_EQ(ask("inside.default.svc.cluster.local", type::kA), (Set{"web.default.svc.cluster.local.", "10.43.0.5"}));
  EXPECT_EQ(ask("outside.default.svc.cluster.local", type::kA), (Set{"example.org.", "-> example.org."}));
  EXPECT_EQ(ask("outside.default.svc.cluster.local", type::kCname), Set{"example.org."});
  EXPECT_EQ(ask("loop.default.svc.cluster.local", type::kA), Set{"loop.default.svc.cluster.local."});
  EXPECT_EQ(ask("lost.default.svc.cluster.local", type::kA), Set{"NXDOMAIN"});
}

TEST_F(ZoneTest, PodsTheVersionTheServerAndTheHost) {
  EXPECT_EQ(ask("1-2-3-4.default.pod.cluster.local", type::kA), Set{"1.2.3.4"});
  EXPECT_EQ(ask("1-2-3-4.default.pod.cluster.local", type::kAaaa), Set{"NODATA"});
  EXPECT_EQ(ask("2001-db8--1.default.pod.cluster.local", type::kAaaa).size(), 1u);
  EXPECT_EQ(ask("1-2-3-400.default.pod.cluster.local", type::kA), Set{"NXDOMAIN"});
  EXPECT_EQ(ask("a.1-2-3-4.default.pod.cluster.local", type::kA), Set{"NXDOMAIN"});
  EXPECT_EQ(ask("default.pod.cluster.local", type::kA), Set{"NODATA"});
  EXPECT_EQ(ask("dns-version.cluster.local", type::kTxt), Set{"1.1.0"});
  EXPECT_EQ(ask("cluster.local", type::kSoa), Set{"SOA"});
  EXPECT_EQ(ask("cluster.local", type::kNs), Set{"ns.dns.cluster.local."});
  EXPECT_EQ(ask("ns.dns.cluster.local", type::kA), Set{"10.43.0.10"});
  EXPECT_EQ(ask("host.kcube.internal", type::kA), Set{"198.51.100.1"});
  EXPECT_EQ(ask("host.kcube.internal", type::kAaaa), Set{"NODATA"});
  EXPECT_EQ(ask("other.kcube.internal", type::kA), Set{"NXDOMAIN"});
  EXPECT_EQ(ask("example.org", type::kA), Set{"elsewhere"});
  EXPECT_EQ(ask("xcluster.local", type::kA), Set{"elsewhere"});
}

TEST_F(ZoneTest, ForgetsEverythingThatIsRemoved) {
  size_t before = zone.names();
  set(service("db", R"({"clusterIP":"None","ports":[{"name":"http","port":80}]})"),
      {slice(R"([{"addresses":["10.42.0.5"],"hostname":"db-0"},{"addresses":["10.42.0.6"]}])")});
  set(service("web", R"({"clusterIP":"10.43.0.5","ports":[{"name":"http","port":80}]})"));
  EXPECT_GT(zone.names(), before);
  zone.set("default/db", {});
  zone.set("default/web", {});
  EXPECT_EQ(zone.names(), before);
}

}  // namespace
}  // namespace kcube::dns
