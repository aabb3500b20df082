// bit_packing.h: Parquet's hybrid of runs and bit-packed groups, in which dictionary indices and definition levels lie.
#pragma once

#include <cstdint>

namespace neap::engine {

// Bits from `bit` on, low bits of a byte first, to one byte each; returns how many are set.
uint32_t UnpackBits(const uint8_t* data, uint64_t bit, uint32_t count, uint8_t* out);

// Reads values of up to 32 bits in order. What is wrong in the data throws std::runtime_error; nothing is read beyond
// `end`.
class HybridDecoder {
 public:
  void Start(const uint8_t* data, const uint8_t* end, uint32_t width);

  void Decode(uint32_t count, uint32_t* out);
  void Skip(uint32_t count);

  // For width 1: one byte each; returns how many are 1.
  uint32_t DecodeBits(uint32_t count, uint8_t* out);
  uint32_t SkipBits(uint32_t count);

 private:
  void NextRun();
  void Unpack(uint32_t count, uint32_t* out);
  uint32_t UnpackOne(uint64_t index) const;

  const uint8_t* data_ = nullptr;  // the next run
  const uint8_t* end_ = nullptr;
  uint32_t width_ = 0;
  uint32_t left_ = 0;  // values of this run
  bool packed_ = false;
  uint32_t value_ = 0;              // of a run
  const uint8_t* group_ = nullptr;  // the run's first packed byte
  uint32_t position_ = 0;           // within the packed values
};

}  // namespace neap::engine
