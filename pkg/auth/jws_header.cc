#include "pkg/auth/jws_header.h"

namespace kcube::auth {
namespace {

// Reads a JWS header: a flat JSON object. Escapes, arrays and objects have no place in ours and are refused.
class HeaderReader {
 public:
  explicit HeaderReader(std::string_view text) : text_(text) {}
  // False when malformed.
  bool read(std::map<std::string, std::string>& members) {
    if (!take('{')) return false;
    if (take('}')) return at_end();
    do {
      std::string name, value;
      if (!string(name) || !take(':') || !scalar(value)) return false;
      if (!members.emplace(std::move(name), std::move(value)).second) return false;  // twice: which one counts?
    } while (take(','));
    return take('}') && at_end();
  }

 private:
  void skip() {
    while (!text_.empty() && std::string_view(" \t\r\n").find(text_[0]) != std::string_view::npos)
      text_.remove_prefix(1);
  }
  bool take(char c) {
    skip();
    if (!text_.starts_with(c)) return false;
    text_.remove_prefix(1);
    return true;
  }
  bool at_end() {
    skip();
    return text_.empty();
  }
  bool string(std::string& out) {
    if (!take('"')) return false;
    auto end = text_.find_first_of("\"\\");
    if (end == std::string_view::npos || text_[end] == '\\') return false;
    out = text_.substr(0, end);
    text_.remove_prefix(end + 1);
    return true;
  }
  bool scalar(std::string& out) {
    skip();
    if (text_.starts_with('"')) return string(out);
    auto end = text_.find_first_of(",} \t\r\n");
    out = text_.substr(0, end);
    if (out.empty() || out.find_first_of("[{\"") != std::string::npos) return false;
    text_.remove_prefix(out.size());
    return true;
  }
  std::string_view text_;
};

}  // namespace

bool read_jws_header(std::string_view text, std::map<std::string, std::string>& members) { return HeaderReader(text).read(members); }

}  // namespace kcube::auth
