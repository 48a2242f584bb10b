#include "tests/fuzz/driver/mutate.h"

#include <algorithm>
#include <cctype>

namespace kcube::fuzz {
namespace {

constexpr size_t kMaxTokens = 4000;
constexpr const char* kNumbers[] = {"0", "-1", "1e400", "-0", "0.1", "2147483648", "-9223372036854775808", "9223372036854775808", "18446744073709551616", "1e-400", "0x1f", "00"};

}  // namespace

void Mutator::learn(const std::vector<std::string>& tokens) {
  for (const std::string& token : tokens) {
    if (token.empty()) continue;
    if (tokens_.size() < kMaxTokens) tokens_.push_back(token);
    else tokens_[pick(kMaxTokens)] = token;
  }
}

std::vector<std::string> Mutator::words(const std::string& text) {
  std::vector<std::string> out;
  std::string word;
  for (char c : text) {
    bool part = std::isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '_' || c == '$' || c == '.' || c == '/';
    if (part) word += c;
    if (!part && word.size() > 1 && word.size() < 32) out.push_back(word);
    if (!part) word.clear();
  }
  if (word.size() > 1 && word.size() < 32) out.push_back(word);
  return out;
}

std::string Mutator::mutate(std::string base, const std::string& other, size_t limit) {
  for (size_t n = 1 + pick(4); n > 0; --n) change(base, other);
  if (base.size() > limit) base.resize(limit);
  return base;
}

void Mutator::change(std::string& input, const std::string& other) {
  size_t at = pick(input.size() + 1), length = std::min(pick(pick(4) == 0 ? 256 : 16) + 1, input.size() - std::min(at, input.size()));
  switch (pick(12)) {
    case 0: if (at < input.size()) input[at] = static_cast<char>(input[at] ^ (1 << pick(8))); break;
    case 1: if (at < input.size()) input[at] = static_cast<char>(random_()); break;
    case 2: input.insert(at, 1, static_cast<char>(random_())); break;
    case 3: input.erase(at, length); break;
    case 4: {
      std::string piece = input.substr(at, length);
      input.insert(pick(input.size() + 1), piece);
      break;
    }
    // The same again and again: depth, and lists that are long.
    case 5: {
      std::string piece = input.substr(at, std::min<size_t>(length, 8));
      for (size_t n = pick(pick(8) == 0 ? 600 : 8); n > 0 && input.size() < (1 << 16); --n) input.insert(at, piece);
      break;
    }
    case 6: {
      size_t from = pick(other.size() + 1);
      input.insert(at, other, from, pick(64) + 1);
      break;
    }
    case 7: input = input.substr(0, at) + other.substr(std::min(other.size(), pick(2) ? at : pick(other.size() + 1))); break;
    case 8:
    case 9:
      if (!tokens_.empty()) {
        const std::string& token = tokens_[pick(tokens_.size())];
        if (pick(2)) input.insert(at, token);
        else input.replace(at, std::min(token.size(), input.size() - at), token);
      }
      break;
    case 10: {
      // A number of the text becomes another.
      size_t digit = input.find_first_of("0123456789", at);
      if (digit == std::string::npos) break;
      size_t end = input.find_first_not_of("0123456789.eE+-", digit);
      input.replace(digit, (end == std::string::npos ? input.size() : end) - digit, kNumbers[pick(std::size(kNumbers))]);
      break;
    }
    default:
      if (at < input.size()) input[at] = static_cast<char>(input[at] + static_cast<int>(pick(35)) - 17);
  }
}

}  // namespace kcube::fuzz
