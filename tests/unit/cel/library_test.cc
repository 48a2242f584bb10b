#include "tests/unit/cel/case_runner.h"

#include "pkg/cel/authorizer.h"
#include "pkg/cel/mutation.h"

namespace kcube::cel {
namespace {

TEST(CelLibrary, ConvertsTypes) {
  constexpr Case cases[]{
      {"int('42')", "42"}, {"int('-7')", "-7"}, {"int('x')", "error: type conversion error from 'string' to 'int'"}, {"int(1.9)", "1"}, {"int(-1.9)", "-1"}, {"int(3u)", "3"}, {"int(1e19)", "error: integer overflow"},
      {"int(18446744073709551615u)", "error: integer overflow"}, {"int(timestamp(7))", "7"}, {"uint(3)", "3u"}, {"uint(-3)", "error: unsigned integer overflow"}, {"uint('12')", "12u"},
      {"uint(1.5)", "1u"}, {"double(1)", "1d"}, {"double('1.5')", "1.5d"}, {"double('x')", "error: type conversion error from 'string' to 'double'"}, {"string(1)", "1"}, {"string(1u)", "1"},
      {"string(1.5)", "1.5"}, {"string(1e300)", "1e+300"}, {"string(100000.0)", "100000"}, {"string(1234567.0)", "1.234567e+06"}, {"string(0.0001)", "0.0001"}, {"string(true)", "true"}, {"string(b'abc')", "abc"}, {"string(b'\\xff')", "error: invalid UTF-8 in bytes, cannot convert to string"},
      {"bytes('abc')", "b'abc'"}, {"bool('true')", "true"}, {"bool('0')", "false"}, {"bool('yes')", "error: type conversion error from 'string' to 'bool'"},
      {"string(duration('90s'))", "90s"}, {"string(duration('1.5s'))", "1.5s"}, {"duration('1h30m') == duration('90m')", "true"}, {"duration('x')", "compile: invalid duration argument"},
      {"timestamp('x')", "compile: invalid timestamp argument"}, {"duration(string(1))", "error: type conversion error from 'string' to 'google.protobuf.Duration'"},
      {"string(timestamp('2024-02-29T12:00:00.5+01:00'))", "2024-02-29T11:00:00.5Z"}, {"timestamp('2023-02-29T12:00:00Z')", "compile: invalid timestamp argument"}, {"string(timestamp(0))", "1970-01-01T00:00:00Z"},
      {"dyn(1) + 1", "2"}, {"type(dyn('a')) == string", "true"}, {"int(duration('1s'))", "1000000000"},
  };
  run_cases(cases);
}

TEST(CelLibrary, KnowsTimes) {
  constexpr Case cases[]{
      {"t.getFullYear()", "2024"}, {"t.getMonth()", "1"}, {"t.getDate()", "29"}, {"t.getDayOfMonth()", "28"}, {"t.getDayOfWeek()", "4"}, {"t.getDayOfYear()", "59"}, {"t.getHours()", "23"},
      {"t.getMinutes()", "30"}, {"t.getSeconds()", "15"}, {"t.getMilliseconds()", "678"}, {"t.getHours('+02:00')", "1"}, {"t.getDate('+02:00')", "1"}, {"t.getHours('-03:30')", "20"}, {"t.getHours('UTC')", "23"},
      {"t.getHours('Nowhere/Land')", "error: unknown time zone Nowhere/Land"}, {"t + duration('1s') > t", "true"}, {"(t - timestamp('2024-02-29T00:00:00Z')).getHours()", "23"},
      {"duration('3h4m5s').getMinutes()", "184"}, {"duration('1500ms').getSeconds()", "1"}, {"duration('1500ms').getMilliseconds()", "1500"}, {"duration('36h').getHours()", "36"},
      {"timestamp('9999-12-31T23:59:59Z') + duration('1s')", "error: timestamp overflow"}, {"duration('1h') + duration('1m') == duration('61m')", "true"}, {"duration('1h') - duration('90m') < duration('0s')", "true"},
      {"timestamp('2024-01-01T00:00:00Z') - duration('24h') == timestamp('2023-12-31T00:00:00Z')", "true"},
  };
  for (const Case& c : cases) {
    std::string expression(c.expression);
    // `t` stands for a moment in all cases.
    size_t at = 0;
    std::string text;
    for (; at < expression.size(); ++at) {
      bool alone = expression[at] == 't' && (at == 0 || std::string_view(" (").find(expression[at - 1]) != std::string_view::npos) &&
                   (at + 1 == expression.size() || std::string_view(" .)").find(expression[at + 1]) != std::string_view::npos);
      text += alone ? "timestamp('2024-02-29T23:30:15.678Z')" : std::string(1, expression[at]);
    }
    EXPECT_EQ(run_case(text), c.expected) << text;
  }
}

TEST(CelLibrary, FollowsTimeZonesOfTheSystem) {
  if (run_case("timestamp(0).getHours('Europe/Berlin')").starts_with("error")) GTEST_SKIP() << "no zone files here";
  constexpr Case cases[]{
      {"timestamp('2024-07-01T12:00:00Z').getHours('Europe/Berlin')", "14"}, {"timestamp('2024-01-01T12:00:00Z').getHours('Europe/Berlin')", "13"},
      {"timestamp('2045-07-01T12:00:00Z').getHours('Europe/Berlin')", "14"}, {"timestamp('2045-12-01T12:00:00Z').getHours('America/New_York')", "7"},
      {"timestamp('2024-03-31T00:59:59Z').getHours('Europe/Berlin')", "1"}, {"timestamp('2024-03-31T01:00:00Z').getHours('Europe/Berlin')", "3"},
      {"timestamp('2045-07-01T12:00:00Z').getHours('Australia/Sydney')", "22"}, {"timestamp('2045-01-01T12:00:00Z').getHours('Australia/Sydney')", "23"},
      {"timestamp('2024-01-01T00:00:00Z').getMinutes('Asia/Kolkata')", "30"},
  };
  run_cases(cases);
}

TEST(CelLibrary, WorksOnStrings) {
  constexpr Case cases[]{
      {"'hello'.contains('ell')", "true"}, {"'hello'.startsWith('he')", "true"}, {"'hello'.endsWith('lo')", "true"}, {"'hello'.matches('^h.*o$')", "true"}, {"matches('hello', 'l+')", "true"},
      {"'a'.matches('[')", "compile: invalid matches argument"}, {"'a'.matches('[' + '')", "error: error parsing regexp: missing closing ]: `[`"},
      {"'hello'.charAt(1)", "e"}, {"'hello'.charAt(5)", ""}, {"'hello'.charAt(6)", "error: index out of range: 6"}, {"'äöü'.charAt(1)", "ö"}, {"'hello'.indexOf('l')", "2"}, {"'hello'.indexOf('l', 3)", "3"},
      {"'hello'.indexOf('z')", "-1"}, {"'hello'.indexOf('')", "0"}, {"'äöü'.indexOf('ü')", "2"}, {"'hello'.indexOf('l', -1)", "error: index out of range: -1"}, {"'hello'.lastIndexOf('l')", "3"},
      {"'hello'.lastIndexOf('l', 2)", "2"}, {"'hello'.lastIndexOf('')", "5"}, {"'ABC'.lowerAscii()", "abc"}, {"'abcÄ'.upperAscii()", "ABCÄ"}, {"'hello'.replace('l', 'L')", "heLLo"},
      {"'hello'.replace('l', 'L', 1)", "heLlo"}, {"'hello'.replace('l', 'L', 0)", "hello"}, {"'ab'.replace('', '-')", "-a-b-"}, {"'ab'.replace('', '-', 2)", "-a-b"}, {"'a,b,c'.split(',')", R"(["a","b","c"])"},
      {"'a,b,c'.split(',', 2)", R"(["a","b,c"])"}, {"'a,b'.split(',', 0)", "[]"}, {"'abc'.split('')", R"(["a","b","c"])"}, {"'abc'.split('', 2)", R"(["a","bc"])"}, {"''.split(',')", R"([""])"},
      {"'hello'.substring(1)", "ello"}, {"'hello'.substring(1, 3)", "el"}, {"'hello'.substring(9)", "error: index out of range: 9"}, {"'hello'.substring(3, 1)", "error: invalid substring range. start: 3, end: 1"},
      {"'  a b \\n\\t'.trim()", "a b"}, {"['a', 'b'].join('-')", "a-b"}, {"['a', 'b'].join()", "ab"}, {"[].join(',')", ""}, {"strings.quote('a\"b\\n')", "\"a\\\"b\\n\""},
      {"'abc'.reverse()", "compile: found no matching overload for 'reverse' applied to 'string.()'"},
      {"'%s is %d'.format(['a', 1])", "a is 1"}, {"'%.2f|%e|%x|%X|%o|%b|%%'.format([1.239, 1500.0, 255, 255, 8, 5])", "1.24|1.500000×10⁰³|ff|FF|10|101|%"}, {"'%s'.format([[1, 'a', true]])", "[1, \"a\", true]"},
      {"'%s'.format([{'b': 1, 'a': 2}])", "{\"a\":2, \"b\":1}"}, {"'%d'.format(['a'])", "error: error during formatting: decimal clause can only be used on integers, was given string"}, {"'%s'.format([])", "error: index 0 out of range"},
      {"'%s'.format([null])", "null"}, {"'%s'.format([duration('1h')])", "3600s"}, {"'%x'.format(['ab'])", "6162"}, {"'%s'.format([1.0])", "1"},
      {"'foo bar'.find('o+')", "oo"}, {"'abc'.find('x')", ""}, {"'a1b22'.findAll('[0-9]+')", R"(["1","22"])"}, {"'a1b22'.findAll('[0-9]+', 1)", R"(["1"])"}, {"'abc'.findAll('b*')", R"(["","b",""])"},
      {"'a'.find('[')", "error: Illegal regex: error parsing regexp: missing closing ]: `[`"},
  };
  run_cases(cases);
}

TEST(CelLibrary, WorksOnLists) {
  constexpr Case cases[]{
      {"[1, 2, 3].isSorted()", "true"}, {"[2, 1].isSorted()", "false"}, {"[1, 2, 3].sum()", "6"}, {"[1.5, 2.0].sum()", "3.5d"}, {"[duration('1s'), duration('2s')].sum() == duration('3s')", "true"}, {"[3, 1, 2].min()", "1"},
      {"['b', 'c', 'a'].max()", "c"}, {"[].min()", "error: min called on empty list"}, {"[].max()", "error: max called on empty list"}, {"[].sum()", "0"}, {"[1, 2, 1].indexOf(1)", "0"}, {"[1, 2, 1].lastIndexOf(1)", "2"}, {"[1].indexOf(5)", "-1"},
      {"[1, 2, 3, 4].slice(1, 3)", "[2,3]"}, {"[1].slice(0, 2)", "error: cannot slice(0, 2), list is length 1"}, {"[1].slice(-1, 1)", "error: cannot slice(-1, 1), negative indexes not supported"},
      {"[[1], [2, [3]]].flatten()", "compile: expected type 'list(int)' but found 'list(dyn)'"}, {"dyn([[1], [2]]).flatten()", "[1,2]"}, {"dyn([1, 2]).flatten()", "[1,2]"}, {"[[1], [2]].flatten()", "[1,2]"},
      {"[3, 1, 2].sort()", "[1,2,3]"}, {"['b', 'a'].sort()", R"(["a","b"])"}, {"[3, 1, 2].reverse()", "[2,1,3]"}, {"[1, 2, 1].distinct()", "[1,2]"}, {"lists.range(3)", "[0,1,2]"}, {"lists.range(0)", "[]"},
      {"[{'n': 2}, {'n': 1}].sortBy(e, e.n)", R"([{"n":1},{"n":2}])"}, {"['aaa', 'b', 'cc'].sortBy(s, s.size())", R"(["b","cc","aaa"])"}, {"[[1, 2]][0].sort().size()", "2"},
      {"sets.contains([1, 2], [1])", "true"}, {"sets.contains([1], [2])", "false"}, {"sets.equivalent([1, 2, 2], [2, 1])", "true"}, {"sets.intersects([1, 2], [2, 3])", "true"}, {"sets.intersects([], [2, 3])", "false"},
      {"lists.range(2000000000)", "error: operation cancelled: actual cost limit exceeded"},
  };
  run_cases(cases);
}

TEST(CelLibrary, ReadsUrls) {
  constexpr Case cases[]{
      {"url('https://user@example.com:80/path%20x/y?a=1&b=2&a=3#frag').getHost()", "example.com:80"}, {"url('https://example.com:80/').getHostname()", "example.com"}, {"url('https://[::1]:80/').getHostname()", "::1"},
      {"url('https://[::1]:80/').getPort()", "80"}, {"url('https://example.com/').getPort()", ""}, {"url('HTTPS://example.com/').getScheme()", "https"}, {"url('https://e.com/path with spaces').getEscapedPath()", "/path%20with%20spaces"},
      {"url('https://e.com/?a=1&b=2&a=3').getQuery()", R"({"a":["1","3"],"b":["2"]})"}, {"url('/absolute/path').getEscapedPath()", "/absolute/path"}, {"isURL('https://e.com')", "true"}, {"isURL('../relative')", "false"}, {"isURL('/x')", "true"},
      {"isURL('mailto:a@b')", "true"}, {"url('//host/path').getHost()", "host"}, {"isURL('https://e.com:x/')", "false"}, {"url('../r')", "error: URL parse error during conversion from string: parse \"../r\": invalid URI for request"}, {"url('https://e.com/') == url('https://e.com/')", "true"},
      {"isURL('')", "false"}, {"isURL('https://e.com/%zz')", "false"},
  };
  run_cases(cases);
}

TEST(CelLibrary, ReadsAddresses) {
  constexpr Case cases[]{
      {"ip('127.0.0.1').family()", "4"}, {"ip('::1').family()", "6"}, {"isIP('1.2.3.4')", "true"}, {"isIP('1.2.3')", "false"}, {"isIP('::ffff:1.2.3.4')", "false"}, {"isIP('fe80::1%eth0')", "false"}, {"isIP('01.2.3.4')", "false"},
      {"ip('x')", "error: IP Address \"x\" parse error during conversion from string: ParseAddr(\"x\"): unable to parse IP"}, {"ip('fe80::1%eth0')", "error: IP address \"fe80::1%eth0\" with zone value is not allowed"},
      {"ip('::ffff:1.2.3.4')", "error: IPv4-mapped IPv6 address \"::ffff:1.2.3.4\" is not allowed"}, {"ip.isCanonical('2001:db8::1')", "true"}, {"ip.isCanonical('2001:DB8::1')", "false"}, {"string(ip('2001:DB8:0:0:0:0:0:1'))", "2001:db8::1"},
      {"ip('127.0.0.1').isLoopback()", "true"}, {"ip('0.0.0.0').isUnspecified()", "true"}, {"ip('224.0.0.1').isLinkLocalMulticast()", "true"}, {"ip('169.254.0.1').isLinkLocalUnicast()", "true"}, {"ip('8.8.8.8').isGlobalUnicast()", "true"},
      {"ip('255.255.255.255').isGlobalUnicast()", "false"}, {"cidr('192.168.0.0/24').containsIP('192.168.0.5')", "true"}, {"cidr('192.168.0.0/24').containsIP(ip('192.168.1.5'))", "false"}, {"cidr('10.0.0.0/8').containsCIDR('10.1.0.0/16')", "true"},
      {"cidr('10.0.0.0/8').containsCIDR(cidr('10.0.0.0/4'))", "false"}, {"cidr('10.1.2.3/8').masked() == cidr('10.0.0.0/8')", "true"}, {"cidr('10.0.0.0/8').prefixLength()", "8"}, {"string(cidr('10.0.0.0/8').ip())", "10.0.0.0"},
      {"isCIDR('10.0.0.0/33')", "false"}, {"isCIDR('10.0.0.0')", "false"}, {"string(cidr('2001:db8::/32'))", "2001:db8::/32"}, {"cidr('x')", "error: network address parse error during conversion from string: netip.ParsePrefix(\"x\"): no '/'"},
      {"ip('1.2.3.4') == ip('1.2.3.4')", "true"}, {"type(ip('1.2.3.4')) == net.IP", "true"},
  };
  run_cases(cases);
}

TEST(CelLibrary, KnowsFormatsQuantitiesAndVersions) {
  constexpr Case cases[]{
      {"format.dns1123Label().validate('a-b')", "none"}, {"format.dns1123Label().validate('A').hasValue()", "true"}, {"!format.dns1123Subdomain().validate('a.b').hasValue()", "true"}, {"format.dns1123LabelPrefix().validate('a-').hasValue()", "false"},
      {"format.uuid().validate('123e4567-e89b-12d3-a456-426614174000')", "none"}, {"format.uuid().validate('x').value()", R"(["does not match the UUID format"])"}, {"format.byte().validate('aGk=')", "none"}, {"format.byte().validate('*').value()[0]", "invalid base64"},
      {"format.date().validate('2024-01-31')", "none"}, {"format.date().validate('2024-13-31').value()[0]", "invalid date"}, {"format.datetime().validate('2024-01-31T00:00:00Z')", "none"}, {"format.uri().validate('https://e.com')", "none"},
      {"format.named('dns1123Label').hasValue()", "true"}, {"format.named('x')", "none"}, {"format.labelValue().validate('ok')", "none"}, {"format.qualifiedName().validate('a/b')", "none"},
      {"quantity('1.5Gi').isGreaterThan(quantity('1Gi'))", "true"}, {"quantity('100m').isLessThan(quantity('1'))", "true"}, {"quantity('1Gi').compareTo(quantity('1024Mi'))", "0"}, {"isQuantity('1Gx')", "false"}, {"quantity('5').asInteger()", "5"},
      {"quantity('5k').add(quantity('1')).asInteger()", "5001"}, {"quantity('5').sub(7).sign()", "-1"}, {"quantity('100m').isInteger()", "false"}, {"quantity('1000m').isInteger()", "false"}, {"quantity('1.0').isInteger()", "false"}, {"quantity('100m').asInteger()", "error: cannot convert value to integer"}, {"quantity('1500m').asApproximateFloat()", "1.5d"},
      {"quantity('x')", "error: quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"}, {"quantity('1k') == quantity('1000')", "true"},
      {"semver('1.2.3').major()", "1"}, {"semver('1.2.3').isLessThan(semver('1.10.0'))", "true"}, {"semver('1.0.0-alpha').isLessThan(semver('1.0.0'))", "true"}, {"isSemver('1.2')", "false"}, {"isSemver('v1.2', true)", "true"},
      {"semver('v1.02', true) == semver('1.2.0')", "true"}, {"semver('1.0.0-alpha.1').compareTo(semver('1.0.0-alpha.beta'))", "-1"}, {"semver('1.2')", "error: No Major.Minor.Patch elements found"}, {"semver('1.2.3+b') == semver('1.2.3')", "true"},
  };
  run_cases(cases);
}

class Recorder final : public AccessSource {
 public:
  AccessAnswer check(const AccessQuestion& question) const override {
    last = question;
    return {question.verb == "get", "because", std::nullopt};
  }
  mutable AccessQuestion last;
};

TEST(CelLibrary, AsksTheAuthorizer) {
  Recorder source;
  Environment environment;
  environment.declare("authorizer", authorizer_type());
  Activation activation;
  activation.set("authorizer", authorizer_value(source));
  auto run = [&](std::string_view expression) {
    auto program = compile(expression, environment);
    EXPECT_TRUE(program) << program.error().message();
    auto result = (*program)->evaluate(activation);
    EXPECT_TRUE(result) << result.error().message();
    return result && result->is_true();
  };
  EXPECT_TRUE(run("authorizer.group('apps').resource('deployments').subresource('scale').namespace('ns').name('n').check('get').allowed()"));
  EXPECT_EQ(source.last.group + source.last.resource + source.last.subresource + source.last.namespace_ + source.last.name, "appsdeploymentsscalensn");
  EXPECT_TRUE(source.last.resource_request);
  EXPECT_FALSE(run("authorizer.path('/healthz').check('post').allowed()"));
  EXPECT_EQ(source.last.path, "/healthz");
  EXPECT_TRUE(run("authorizer.serviceAccount('default', 'sa').group('').resource('pods').check('get').reason() == 'because'"));
  EXPECT_EQ(source.last.service_account_name, "sa");
  EXPECT_TRUE(run("authorizer.group('').resource('pods').labelSelector('a=b').fieldSelector('metadata.name=x').check('get').allowed()"));
  ASSERT_EQ(source.last.label_requirements.size(), 1u);
  EXPECT_EQ(source.last.label_requirements[0].op, "In");
  EXPECT_EQ(source.last.field_requirements[0].values[0], "x");
}

TEST(CelLibrary, MakesObjectsAndPatches) {
  Environment environment;
  environment.enable_mutations();
  auto run = [&](std::string_view expression) -> std::string {
    auto program = compile(expression, environment);
    if (!program) return program.error().message();
    auto result = (*program)->evaluate({});
    if (!result) return result.error().message();
    if (auto ok = check_object_types(*result); !ok && result->is(Kind::map)) return ok.error().message();
    return json::serialize(*to_json(*result));
  };
  EXPECT_EQ(run("Object{spec: Object.spec{replicas: 3, ?paused: optional.none()}}"), R"({"spec":{"replicas":3}})");
  EXPECT_EQ(run("Object{metadata: Object.metadata{labels: {'a': 'b'}}}"), R"({"metadata":{"labels":{"a":"b"}}})");
  EXPECT_EQ(run("Object{spec: Object.other{}}"), "unexpected type name \"Object.other\", expected \"Object.spec\", which matches field name path from root Object type");
  EXPECT_EQ(run("[JSONPatch{op: 'add', path: '/metadata/labels/' + jsonpatch.escapeKey('a/b~c'), value: 1}]"), R"([{"op":"add","path":"/metadata/labels/a~1b~0c","value":1}])");
  EXPECT_EQ(run("JSONPatch{op: 1}"), "ERROR: <input>:1:13: expected type of field 'op' is 'string' but provided type is 'int'\n | JSONPatch{op: 1}\n | ............^");
  EXPECT_EQ(run_case("Object{}"), "compile: undeclared reference to 'Object' (in container '')");
  EXPECT_EQ(run_case("jsonpatch.escapeKey('a')").substr(0, 29), "compile: undeclared reference");
}

}  // namespace
}  // namespace kcube::cel
