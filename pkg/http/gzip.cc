#include "pkg/http/gzip.h"

#include <zlib.h>

#include "pkg/base/status.h"

namespace kcube::http {

std::string gzip(const std::vector<std::shared_ptr<const std::string>>& pieces) {
  constexpr int kLevel = 1, kGzip = 16 + MAX_WBITS, kMemory = 8;
  z_stream z{};
  KCUBE_CHECK(deflateInit2(&z, kLevel, Z_DEFLATED, kGzip, kMemory, Z_DEFAULT_STRATEGY) == Z_OK);
  std::string out;
  size_t size = 0;
  auto run = [&](int flush) {
    do {
      if (out.size() - size < 65536) out.resize(out.size() + 262144);
      z.next_out = reinterpret_cast<Bytef*>(out.data() + size);
      z.avail_out = static_cast<uInt>(out.size() - size);
      deflate(&z, flush);
      size = out.size() - z.avail_out;
    } while (z.avail_out == 0);
  };
  for (const auto& piece : pieces) {
    z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(piece->data()));
    z.avail_in = static_cast<uInt>(piece->size());
    run(Z_NO_FLUSH);
  }
  run(Z_FINISH);
  deflateEnd(&z);
  out.resize(size);
  out.shrink_to_fit();
  return out;
}

}  // namespace kcube::http
