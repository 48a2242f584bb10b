#include "tests/unit/cel/case_runner.h"

namespace kcube::cel {
namespace {

TEST(CelLanguage, ReadsLiterals) {
  constexpr Case cases[]{
      {"1", "1"}, {"-1", "-1"}, {"0x1F", "31"}, {"-0x10", "-16"}, {"1u", "1u"}, {"0xFFu", "255u"}, {"1.5", "1.5d"}, {"1e3", "1000d"}, {".5", "0.5d"}, {"-2.5e-1", "-0.25d"},
      {"-9223372036854775808", "-9223372036854775808"}, {"9223372036854775807", "9223372036854775807"}, {"18446744073709551615u", "18446744073709551615u"},
      {"true", "true"}, {"false", "false"}, {"null", "null"},
      {"'a'", "a"}, {"\"a\"", "a"}, {"'''a'b'''", "a'b"}, {"\"\"\"a\nb\"\"\"", "a\nb"}, {"r'a\\n'", "a\\n"}, {"R\"\\d\"", "\\d"}, {"'\\n\\t\\\\'", "\n\t\\"},
      {"'\\x41\\u0042\\U00000043\\104'", "ABCD"}, {"b'abc'", "b'abc'"}, {"b'\\x41\\102'", "b'AB'"},
      {"br'\\x'", "b'\\x'"}, {"'äö'.size()", "2"}, {"b'äö'.size()", "4"}, {"'\\u00e4' == 'ä'", "true"},
      {"[1, 2, 3]", "[1,2,3]"}, {"[]", "[]"}, {"{}", "{}"}, {"{'a': 1, 'b': 2}", R"({"a":1,"b":2})"}, {"[1, 2,]", "[1,2]"}, {"{'a': 1,}", R"({"a":1})"},
      {"1 // comment", "1"}, {"1 +\n // comment\n 2", "3"},
  };
  run_cases(cases);
}

TEST(CelLanguage, Calculates) {
  constexpr Case cases[]{
      {"1 + 2 * 3", "7"}, {"(1 + 2) * 3", "9"}, {"7 / 2", "3"}, {"-7 / 2", "-3"}, {"7 % 3", "1"}, {"-7 % 3", "-1"}, {"10 - 3 - 2", "5"}, {"2u + 3u", "5u"}, {"3u - 2u", "1u"},
      {"1.5 + 2.0", "3.5d"}, {"1.0 / 0.0", "+Infd"}, {"{1.5: 'a'}[1.5]", "a"}, {"-(-3)", "3"}, {"--3", "3"}, {"!true", "false"}, {"!!true", "true"}, {"-(2)", "-2"},
      {"1 / 0", "error: division by zero"}, {"1 % 0", "error: modulus by zero"}, {"1u / 0u", "error: division by zero"}, {"1u % 0u", "error: modulus by zero"},
      {"9223372036854775807 + 1", "error: integer overflow"}, {"-9223372036854775808 - 1", "error: integer overflow"},
      {"9223372036854775807 * 2", "error: integer overflow"}, {"-9223372036854775808 / -1", "error: integer overflow"}, {"-(-9223372036854775808)", "error: integer overflow"},
      {"1u - 2u", "error: unsigned integer overflow"}, {"18446744073709551615u + 1u", "error: unsigned integer overflow"},
      {"'a' + 'b'", "ab"}, {"b'a' + b'b'", "b'ab'"}, {"[1] + [2, 3]", "[1,2,3]"},
      {"true ? 1 : 2", "1"}, {"false ? 1 : 2", "2"}, {"false ? 1 : true ? 2 : 3", "2"},
  };
  run_cases(cases);
}

TEST(CelLanguage, ComparesOverTypes) {
  constexpr Case cases[]{
      {"1 == 1", "true"}, {"1 != 2", "true"}, {"dyn(1) == 1.0", "true"}, {"dyn(1) == 1u", "true"}, {"dyn(1) == 'a'", "false"}, {"dyn(null) == 1", "false"}, {"null == null", "true"},
      {"1 < 2", "true"}, {"1 < 1.5", "true"}, {"1u < 2", "true"}, {"2.5 > 2u", "true"}, {"-1 < 0u", "true"}, {"18446744073709551615u > 9223372036854775807", "true"},
      {"'a' < 'b'", "true"}, {"b'a' <= b'a'", "true"}, {"false < true", "true"}, {"'a' >= 'b'", "false"},
      {"double('NaN') == double('NaN')", "false"}, {"double('NaN') != double('NaN')", "true"}, {"double('NaN') < 1.0", "error: NaN values cannot be ordered"},
      {"[1, 2] == [1, 2]", "true"}, {"[1, 2] == [2, 1]", "false"}, {"[1] == [1.0]", "compile: found no matching overload for '_==_' applied to '(list(int), list(double))'"},
      {"dyn([1]) == [1.0]", "true"}, {"{'a': 1} == {'a': 1}", "true"}, {"{'a': 1} == {'b': 1}", "false"}, {"{'a': [1]} != {'a': [2]}", "true"},
      {"9223372036854775807 == 9223372036854775808.0", "compile: found no matching overload for '_==_' applied to '(int, double)'"},
      {"dyn(9223372036854775807) == 9223372036854775808.0", "true"}, {"dyn(9007199254740993) < 9007199254740992.0", "false"},
      {"duration('1h') > duration('59m')", "true"}, {"timestamp('2024-01-01T00:00:00Z') < timestamp('2024-01-01T00:00:00.1Z')", "true"},
      {"type(1) == int", "true"}, {"type('a') == string", "true"}, {"type(type(1)) == type", "true"}, {"type([]) == list", "true"}, {"type({}) == map", "true"},
      {"type(null) == null_type", "true"}, {"type(1.0) == double", "true"}, {"type(timestamp(0)) == google.protobuf.Timestamp", "true"}, {"type(1) == uint", "false"},
      {"type(duration('1s')) == google.protobuf.Duration", "true"},
  };
  run_cases(cases);
}

TEST(CelLanguage, AbsorbsErrorsInLogic) {
  constexpr Case cases[]{
      {"true || 1 / 0 == 1", "true"}, {"1 / 0 == 1 || true", "true"}, {"false && 1 / 0 == 1", "false"}, {"1 / 0 == 1 && false", "false"},
      {"true && 1 / 0 == 1", "error: division by zero"}, {"1 / 0 == 1 || false", "error: division by zero"}, {"1 / 0 == 1 ? 1 : 2", "error: division by zero"},
      {"true || x.y", "true"}, {"x.y || true", "true"}, {"x.text && true", "error: no such overload"}, {"x.text && false", "false"},
      {"true && true && false || true", "true"}, {"x.a.b.c == 1 || x.n == 1", "true"}, {"x.n ? 1 : 2", "error: no such overload"},
  };
  run_cases(cases, R"({"x": {"text": "t", "n": 1}})");
}

TEST(CelLanguage, ReadsDocuments) {
  constexpr Case cases[]{
      {"object.metadata.name", "web"}, {"object['metadata']['name']", "web"}, {"object.spec.replicas", "3"}, {"object.spec.replicas + 1", "4"},
      {"object.spec.containers[0].name", "a"}, {"object.spec.containers[1].ports[0]", "80"}, {"object.spec.containers.size()", "2"}, {"size(object.metadata.labels)", "2"},
      {"object.missing", "error: no such key: missing"}, {"object.spec.missing.deeper", "error: no such key: missing"}, {"object.spec.containers[2]", "error: index out of bounds: 2"},
      {"object.spec.containers[-1]", "error: index out of bounds: -1"}, {"object.spec.containers['a']", "error: unsupported index type 'string' in list"},
      {"object.metadata.labels['app']", "x"}, {"object.metadata.labels['k8s.io/name']", "y"}, {"object.metadata.labels['none']", "error: no such key: none"},
      {"'app' in object.metadata.labels", "true"}, {"'none' in object.metadata.labels", "false"}, {"80 in object.spec.containers[1].ports", "true"},
      {"80.0 in object.spec.containers[1].ports", "true"}, {"'x' in ['x', 'y']", "true"}, {"3 in {1: 'a', 3: 'b'}", "true"}, {"dyn(3u) in {3: 'b'}", "true"},
      {"has(object.metadata)", "true"}, {"has(object.metadata.name)", "true"}, {"has(object.metadata.none)", "false"}, {"has(object.none.deeper)", "error: no such key: none"},
      {"has(object.spec.nothing)", "true"}, {"object.spec.nothing == null", "true"}, {"has(object.spec.nothing.deeper)", "false"}, {"object.spec.nothing.deeper", "error: no such key: deeper"},
      {"object.spec.ratio", "0.5d"}, {"object.spec.ratio > 0", "true"}, {"object.spec.enabled", "true"}, {"!object.spec.enabled", "false"},
      {"object.spec.replicas + 'a'", "error: no such overload"}, {"object.spec.replicas == 'a'", "false"}, {"object.metadata.name + 1", "error: no such overload"},
      {"object.metadata.name.size()", "3"}, {"object.spec.replicas.size()", "error: no such overload: size"},
      {"object.spec.containers.map(c, c.name)", R"(["a","b"])"}, {"object.spec == object.spec", "true"}, {"object.spec == object.metadata", "false"},
      {"type(object) == map", "true"}, {"type(object.spec.containers) == list", "true"}, {"object.spec.containers[0]", R"({"name":"a"})"},
      {"object.spec.containers[0] == {'name': 'a'}", "true"}, {"object.metadata.labels", R"({"app":"x","k8s.io/name":"y"})"}, {"{'a': object.spec.replicas}", R"({"a":3})"},
      {"{1: 'a'}[1]", "a"}, {"{1: 'a'}[2]", "error: no such key: 2"}, {"{true: 1}[true]", "1"}, {"[1, 2][1u]", "compile: found no matching overload for '_[_]' applied to '(list(int), uint)'"},
      {"[1, 2][dyn(1.0)]", "2"}, {"[1, 2][dyn(1.5)]", "error: unsupported index type 'double' in list"},
      {"{'a': 1, 'a': 2}", "error: Failed with repeated key: a"}, {"gone", "compile: undeclared reference to 'gone' (in container '')"},
  };
  run_cases(cases, R"({"object": {"metadata": {"name": "web", "labels": {"app": "x", "k8s.io/name": "y"}},
      "spec": {"replicas": 3, "ratio": 0.5, "enabled": true, "nothing": null, "containers": [{"name": "a"}, {"name": "b", "ports": [80, 443]}]}}})");
}

TEST(CelLanguage, HasOptionals) {
  constexpr Case cases[]{
      {"optional.of(1)", "optional(1)"}, {"optional.none()", "none"}, {"optional.of(1).value()", "1"}, {"optional.none().value()", "error: optional.none() dereference"},
      {"optional.of(1).hasValue()", "true"}, {"optional.ofNonZeroValue('')", "none"}, {"optional.ofNonZeroValue('a')", "optional(a)"}, {"optional.ofNonZeroValue(0).hasValue()", "false"},
      {"object.?a", "optional(1)"}, {"object.?none", "none"}, {"object.?none.?deeper", "none"}, {"object.?b.c", "optional(2)"}, {"object.?none.orValue(5)", "5"},
      {"object.?none.deeper.orValue(5)", "5"}, {"object.?a.orValue(5)", "1"}, {"object[?'a'].value()", "1"}, {"object[?'x'].hasValue()", "false"}, {"object.list[?0]", "optional(7)"}, {"object.list[?9]", "none"},
      {"optional.none().or(optional.of(3))", "optional(3)"}, {"optional.of(1).or(optional.of(1 / 0))", "optional(1)"}, {"optional.of(1).orValue(1 / 0)", "1"},
      {"optional.of(2).optMap(x, x * 2)", "optional(4)"}, {"optional.none().optMap(x, x)", "none"}, {"optional.of(2).optFlatMap(x, optional.of(x + 1))", "optional(3)"},
      {"object.?a.optMap(v, v + 1).orValue(0)", "2"}, {"[?object.?a, ?object.?none]", "[1]"}, {"{?'k': object.?a, ?'n': object.?none}", R"({"k":1})"},
      {"[?1]", "compile: expected type 'optional_type(int)' but found 'int'"}, {"[1, 2].first()", "optional(1)"}, {"[1, 2].last().value()", "2"}, {"[].first()", "none"},
      {"[optional.of(1), optional.none()].unwrapOpt()", "[1]"}, {"optional.unwrap([optional.of(1)])", "[1]"}, {"has(object.?b.c)", "true"}, {"optional.of(1) == optional.of(1)", "true"},
      {"optional.of([1, 2])[0]", "optional(1)"}, {"object.?text.optMap(t, t.size() > 2).orValue(false)", "true"},
  };
  run_cases(cases, R"({"object": {"a": 1, "b": {"c": 2}, "list": [7], "text": "abc"}})");
}

}  // namespace
}  // namespace kcube::cel
