// plain_decoding.h: the kernels that turn values as Parquet's PLAIN encoding has them into values in memory.
#pragma once

#include <cstdint>
#include <string>

#include "engine/core/type.h"
#include "engine/scan/parquet_schema.h"

namespace neap::engine {

// PLAIN values one after the other. Reading past the end throws std::runtime_error.
struct PlainValues {
  const uint8_t* data = nullptr;
  const uint8_t* end = nullptr;
  uint32_t bit = 0;  // of booleans, within *data
};

// Reads `count` values to `out` (of the leaf's type). Views point into what was read.
using PlainDecoder = void (*)(const Leaf& leaf, PlainValues& values, uint32_t count, void* out);
using PlainSkipper = void (*)(const Leaf& leaf, PlainValues& values, uint32_t count);

PlainDecoder FindPlainDecoder(Conversion conversion);
PlainSkipper FindPlainSkipper(Conversion conversion);

// out[i] = values[indices[i]] for values of `width` bytes.
void Gather(const void* values, uint32_t width, const uint32_t* indices, uint32_t count, void* out);

// The `filled` values that lie densely at the start of `values` to the rows that are valid, from the back on, and
// `missing` (null: zeros) to the rest.
void Spread(void* values, uint32_t width, const uint8_t* valid, uint32_t rows, uint32_t filled, const void* missing);

}  // namespace neap::engine
