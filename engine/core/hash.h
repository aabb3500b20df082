// hash.h: 64-bit hashes of values: which partition a row belongs to, which slot it takes, which filter bits it sets.
// Top bits choose the partition (kPartitionBits a level of recursion), low bits the slot of a table, bits 32 to 47 are
// the salt that a slot keeps beside its pointer.
#pragma once

#include <cstdint>
#include <cstring>

#include "engine/core/column.h"
#include "engine/core/type.h"

namespace neap::engine {

constexpr uint64_t kNullHash = 0x9e3779b97f4a7c15ULL;

constexpr int kPartitionBits = 4;
constexpr uint32_t kPartitions = 1U << kPartitionBits;
constexpr int kPartitionLevels = 8;

inline uint32_t PartitionOf(uint64_t hash, int level) {
  return static_cast<uint32_t>(hash >> (64 - kPartitionBits * (level + 1))) & (kPartitions - 1);
}

// Source: Stafford's Mix13 of the finalizer of MurmurHash3 (as in SplitMix64).
inline uint64_t MixHash(uint64_t x) {
  x ^= x >> 30;
  x *= 0xbf58476d1ce4e5b9ULL;
  x ^= x >> 27;
  x *= 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}
inline uint64_t CombineHash(uint64_t seed, uint64_t hash) { return MixHash(seed * 0x9e3779b97f4a7c15ULL + hash); }

// Multiply and fold. Source: Wang Yi, wyhash (public domain), its inner step.
inline uint64_t FoldHash(uint64_t a, uint64_t b) {
  const auto product = static_cast<unsigned __int128>(a) * b;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

constexpr uint64_t kHashSeed = 0xa0761d6478bd642fULL;
constexpr uint64_t kHashStep = 0xe7037ed1a0b428dbULL;

// Of at least 8 bytes, 8 a step; the last 8 may overlap with those before.
inline uint64_t HashBytes(const char* data, size_t size) {
  uint64_t hash = kHashSeed ^ size, word;
  for (size_t at = 0; at + 8 < size; at += 8) {
    std::memcpy(&word, data + at, 8);
    hash = FoldHash(hash ^ word, kHashStep);
  }
  std::memcpy(&word, data + size - 8, 8);
  return FoldHash(hash ^ word, kHashStep ^ size);
}

inline uint64_t HashValue(uint8_t v) { return MixHash(v + 1); }
inline uint64_t HashValue(int64_t v) { return MixHash(static_cast<uint64_t>(v) + 0x632be59bd9b4e019ULL); }
inline uint64_t HashValue(int8_t v) { return HashValue(static_cast<int64_t>(v)); }
inline uint64_t HashValue(int16_t v) { return HashValue(static_cast<int64_t>(v)); }
inline uint64_t HashValue(int32_t v) { return HashValue(static_cast<int64_t>(v)); }
inline uint64_t HashValue(Int128 v) {
  return CombineHash(HashValue(static_cast<int64_t>(v)), static_cast<uint64_t>(v >> 64));
}
// 0.0 and -0.0 are equal, and so are all NaNs.
inline uint64_t HashValue(double v) {
  if (v == 0) v = 0;
  if (v != v) v = __builtin_nan("");
  int64_t bits;
  std::memcpy(&bits, &v, 8);
  return HashValue(bits);
}
inline uint64_t HashValue(float v) { return HashValue(static_cast<double>(v)); }
inline uint64_t HashValue(const Interval& v) {
  return CombineHash(HashValue(v.micros), CombineHash(HashValue(v.days), static_cast<uint64_t>(v.months)));
}
// A string in place: all 16 bytes at once, as unused ones are zero.
inline uint64_t HashValue(const View& v) {
  if (!v.is_inline()) return HashBytes(v.pointer, v.size);
  uint64_t words[2];
  std::memcpy(words, &v, sizeof words);
  return FoldHash(FoldHash(kHashSeed ^ words[0], kHashStep) ^ words[1], kHashStep);
}

// Equality of keys as GROUP BY and joins have it: NaN equals NaN, 0.0 equals -0.0.
template <class T>
inline bool KeysEqual(const T& a, const T& b) {
  return a == b;
}
inline bool KeysEqual(double a, double b) { return a == b || (a != a && b != b); }
inline bool KeysEqual(float a, float b) { return a == b || (a != a && b != b); }

// Hashes of the rows of `batch` that count, by the columns listed, into hashes[row]. A NULL key hashes to kNullHash.
void HashRows(const Batch& batch, const uint32_t* columns, size_t count, uint64_t* hashes);

}  // namespace neap::engine
