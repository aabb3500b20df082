// runtime_filter.cc: the size of a Bloom filter.
#include "engine/scan/runtime_filter.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace neap::engine {

size_t RuntimeFilter::BytesFor(uint64_t keys) {
  const size_t bytes = std::bit_ceil(std::max<uint64_t>(keys, 32) * 2);
  return bytes > kMaxBytes ? 0 : bytes;
}

void RuntimeFilter::Start(uint64_t keys, Memory& memory) {
  const size_t bytes = BytesFor(keys);
  if (bytes == 0) return;
  words_ = Array<uint64_t>(memory, bytes / sizeof(uint64_t));
  std::memset(words_.data(), 0, bytes);
}

}  // namespace neap::engine
