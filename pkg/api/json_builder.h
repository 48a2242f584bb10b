// Makes a value of what Boost.JSON's parser tells, with numbers as exact as Go reads them: Boost's own conversion is off by
// a bit for one in ten of the doubles that need 17 digits, so that a stored object would not be read as it was written.
// Private to pkg/api.
#pragma once

#include <boost/json/basic_parser_impl.hpp>
#include <boost/json/error.hpp>
#include <boost/json/value_stack.hpp>

#include <charconv>
#include <limits>
#include <string>

#include "pkg/api/json.h"

namespace kcube::json {

// The handler of a basic_parser that gets the whole text in one piece.
struct Builder {
  using Text = boost::json::string_view;
  using Error = boost::json::error_code;
  static constexpr std::size_t max_object_size = std::numeric_limits<std::size_t>::max(), max_array_size = max_object_size, max_key_size = max_object_size,
                               max_string_size = max_object_size;

  boost::json::value_stack stack;
  std::string number;     // the parts of one that came in several
  std::string overflow;   // the number that made it fail

  bool on_document_begin(Error&) { return true; }
  bool on_document_end(Error&) { return true; }
  bool on_object_begin(Error&) { return true; }
  bool on_object_end(std::size_t n, Error&) { return stack.push_object(n), true; }
  bool on_array_begin(Error&) { return true; }
  bool on_array_end(std::size_t n, Error&) { return stack.push_array(n), true; }
  bool on_key_part(Text s, std::size_t, Error&) { return stack.push_chars(s), true; }
  bool on_key(Text s, std::size_t, Error&) { return stack.push_key(s), true; }
  bool on_string_part(Text s, std::size_t, Error&) { return stack.push_chars(s), true; }
  bool on_string(Text s, std::size_t, Error&) { return stack.push_string(s), true; }
  bool on_number_part(Text s, Error&) { return number.append(s.data(), s.size()), true; }
  bool on_int64(std::int64_t i, Text, Error&) { return number.clear(), stack.push_int64(i), true; }
  bool on_uint64(std::uint64_t u, Text, Error&) { return number.clear(), stack.push_uint64(u), true; }
  // What a double cannot hold would become an infinity, which no JSON can say.
  bool on_double(double d, Text s, Error& error) {
    if (!number.empty()) s = number.append(s.data(), s.size());
    double exact = 0;
    auto read = std::from_chars(s.data(), s.data() + s.size(), exact);
    if (read.ec != std::errc()) exact = d;   // too small
    if (exact > std::numeric_limits<double>::max() || exact < std::numeric_limits<double>::lowest()) {
      overflow.assign(s.data(), s.size());
      error = boost::json::error::not_number;
      return false;
    }
    stack.push_double(exact);
    number.clear();
    return true;
  }
  bool on_bool(bool b, Error&) { return stack.push_bool(b), true; }
  bool on_null(Error&) { return stack.push_null(), true; }
  bool on_comment_part(Text, Error&) { return true; }
  bool on_comment(Text, Error&) { return true; }
};

}  // namespace kcube::json
