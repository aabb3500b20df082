// size_classes.h: the one table of block sizes. Constexpr; every row's waste is computed and asserted here.
//
// 16 to 1024 by 16, so that a size is its class without a table, then eight steps to each doubling up to 256 KiB;
// larger requests are rounded to pages (large.cc). Up to 32 KiB a CPU's cache holds free blocks, and a slab is one
// granule of 64 KiB: what is behind its last whole block is address space, not memory, beyond the page in which that
// block ends. Above, a slab is 16, 8 or 4 blocks of whole pages, up to 1 MiB.
//
// The parts of a slab that are given back one by one are its units: 16 pages, or above 32 KiB its blocks.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <array>

namespace neap {

inline constexpr size_t kPageSize = 4096;
inline constexpr size_t kPageShift = 12;
inline constexpr size_t kGranuleSize = 65536;  // the unit of address space: a slab, or a part of a run
inline constexpr size_t kGranuleShift = 16;
inline constexpr size_t kPagesPerGranule = kGranuleSize / kPageSize;

inline constexpr size_t kSmallMax = 1024;    // up to here the classes lie 16 bytes apart: the hit path
inline constexpr size_t kCachedMax = 32768;  // the largest block that a CPU's cache holds
inline constexpr size_t kSlabMax = 262144;   // the largest block that lives in a slab
inline constexpr size_t kFineClasses = kSmallMax / 16;
inline constexpr size_t kStepsPerDoubling = 8;                                  // 1152, 1280, .. 2048, 2304, ..
inline constexpr size_t kCachedClasses = kFineClasses + kStepsPerDoubling * 5;  // 1 Ki to 32 Ki
inline constexpr size_t kClasses = kCachedClasses + kStepsPerDoubling * 3;      // 32 Ki to 256 Ki
inline constexpr size_t kUnits = 16;                                            // most of a slab

struct SizeClass {
  uint32_t size;    // bytes of a block
  uint32_t blocks;  // in a slab
  // ceil(2^32 / size). For an offset below 2^16, offset * magic has the block's index in its high 32 bits, and its low
  // 32 bits are below magic exactly when the offset is a multiple of size: with e = magic * size - 2^32 < size and
  // offset = q * size + r, the low bits are q * e + r * magic, where q * e < 2^16 < magic.
  uint32_t magic;
  uint32_t unit_bytes;
  uint16_t slab_granules;
  uint16_t cache_slots;  // most blocks that one CPU's cache holds
  uint16_t batch;        // blocks moved between a CPU's cache and the slabs at a time
};

namespace size_class_detail {

constexpr uint32_t SizeOf(size_t index) {
  if (index < kFineClasses) return static_cast<uint32_t>((index + 1) * 16);
  const size_t doubling = (index - kFineClasses) / kStepsPerDoubling;
  const size_t step = (index - kFineClasses) % kStepsPerDoubling + 1;
  const size_t base = kSmallMax << doubling;
  return static_cast<uint32_t>(base + step * (base / kStepsPerDoubling));
}

constexpr size_t Clamp(size_t value, size_t low, size_t high) {
  return value < low ? low : value > high ? high : value;
}

constexpr std::array<SizeClass, kClasses> MakeTable() {
  std::array<SizeClass, kClasses> table{};
  for (size_t i = 0; i < kClasses; ++i) {
    const uint32_t size = SizeOf(i);
    table[i].size = size;
    const bool cached = i < kCachedClasses;
    const size_t units = cached ? kUnits : kUnits >> (i - kCachedClasses) / kStepsPerDoubling;
    table[i].unit_bytes = cached ? kPageSize : size;
    table[i].slab_granules = static_cast<uint16_t>(table[i].unit_bytes * units / kGranuleSize);
    table[i].blocks = static_cast<uint32_t>(table[i].slab_granules * kGranuleSize / size);
    table[i].magic = static_cast<uint32_t>(((uint64_t{1} << 32) + size - 1) / size);
    table[i].cache_slots = static_cast<uint16_t>(cached ? Clamp(262144 / size, 4, 2048) : 0);
    table[i].batch = static_cast<uint16_t>(cached ? Clamp(16384 / size, 2, 64) : 1);
  }
  return table;
}

}  // namespace size_class_detail

inline constexpr std::array<SizeClass, kClasses> kSizeClasses = size_class_detail::MakeTable();

// size: above kSmallMax, to kSlabMax.
constexpr size_t ClassOfMedium(size_t size) {
  const size_t shift = 63 - static_cast<size_t>(__builtin_clzll(size - 1)) - 3;  // of one step within the doubling
  return kFineClasses + (shift - 7) * kStepsPerDoubling + ((size - 1) >> shift) - kStepsPerDoubling;
}

// size: 1 to kSlabMax (0 counts as 1).
constexpr size_t ClassOf(size_t size) {
  if (size <= kSmallMax) return size == 0 ? 0 : (size - 1) / 16;
  return ClassOfMedium(size);
}

// Which block of a slab starts at `offset` bytes from its beginning; row.blocks: none.
constexpr size_t BlockAt(const SizeClass& row, size_t offset) {
  size_t index = offset / kGranuleSize == 0 ? offset * row.magic >> 32 : offset / row.size;
  return index < row.blocks && index * row.size == offset ? index : row.blocks;
}

// The smallest class whose blocks hold `size` bytes at multiples of `alignment` (a power of two): a slab begins at a
// multiple of a granule, so that a class does if its size is one. kClasses: none, the block is large.
constexpr size_t AlignedClassOf(size_t size, size_t alignment) {
  if (size > kSlabMax || alignment > kGranuleSize) return kClasses;
  size_t index = ClassOf(size);
  while (index < kClasses && (kSizeClasses[index].size & (alignment - 1)) != 0) ++index;
  return index;
}

namespace size_class_detail {

constexpr bool TableHolds() {
  for (size_t i = 0; i < kClasses; ++i) {
    const uint64_t size = kSizeClasses[i].size;
    const uint64_t smallest = i == 0 ? 1 : kSizeClasses[i - 1].size + 1;
    if (ClassOf(size) != i || ClassOf(smallest) != i) return false;
    if (size % 16 != 0) return false;
    // Inside a block at most 12.5 %, or the 15 bytes that an alignment of 16 costs.
    if (size - smallest > 15 && (size - smallest) * 8 > size) return false;
    const uint64_t error = kSizeClasses[i].magic * size - (uint64_t{1} << 32);
    if (i < kCachedClasses) {
      if (error >= size || kSizeClasses[i].magic <= kGranuleSize + size) return false;
      if (kSizeClasses[i].batch > kSizeClasses[i].cache_slots / 2) return false;
    } else {
      if (kSizeClasses[i].blocks * size != kSizeClasses[i].slab_granules * kGranuleSize) return false;
      if (kSizeClasses[i].blocks > kUnits || size % kPageSize != 0) return false;
    }
  }
  return kSizeClasses[kCachedClasses - 1].size == kCachedMax && kSizeClasses[kClasses - 1].size == kSlabMax;
}
static_assert(TableHolds());

}  // namespace size_class_detail
}  // namespace neap
