// How new inputs are made of old ones.
#pragma once

#include <random>
#include <string>
#include <vector>

namespace kcube::fuzz {

using Random = std::mt19937_64;

class Mutator {
 public:
  explicit Mutator(uint64_t seed) : random_(seed) {}
  // Tokens that are put into inputs: what was seen in seeds and in comparisons.
  void learn(const std::vector<std::string>& tokens);
  // The words and numbers of a text, for learn().
  static std::vector<std::string> words(const std::string& text);
  // One to some changes of `base`; `other` is for crossing. At most `limit` bytes.
  std::string mutate(std::string base, const std::string& other, size_t limit);
  size_t pick(size_t bound) { return bound == 0 ? 0 : random_() % bound; }

 private:
  void change(std::string& input, const std::string& other);
  Random random_;
  std::vector<std::string> tokens_;
};

}  // namespace kcube::fuzz
