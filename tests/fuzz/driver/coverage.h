// What an execution went through: edges between basic blocks, and the operands of comparisons.
//
// The rooms are compiled with -fsanitize-coverage=trace-pc,trace-cmp (option KCUBE_FUZZ), which calls coverage.cc. Nothing
// is recorded until start(), so that other programs built that way run as always. One thread records: the fuzzer's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace kcube::fuzz::coverage {

constexpr size_t kMapSize = 1 << 16;

void start();
void stop();
// How often each edge was taken since start().
const uint8_t* map();
// Values that were compared with others, as bytes: numbers of 2 to 8 bytes, text. A bounded sample of the last execution.
std::vector<std::string> operands();

}  // namespace kcube::fuzz::coverage
