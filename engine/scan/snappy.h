// snappy.h: decompression of Snappy's raw format, about twice as fast as the library in Arrow's package.
#pragma once

#include <cstddef>
#include <cstdint>

namespace neap::engine {

// The size that the data says it has decompressed; both throw std::runtime_error where the data is wrong.
size_t SnappySize(const uint8_t* data, size_t bytes);

// Decompresses to `out`, which has room for SnappySize.
void SnappyDecompress(const uint8_t* data, size_t bytes, uint8_t* out);

}  // namespace neap::engine
