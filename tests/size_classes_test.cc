// size_classes_test.cc: the table of block sizes at run time: every size finds the smallest class that holds it, and
// the arithmetic of the hit path agrees with division.
#include "alloc/size_classes.h"

#include <gtest/gtest.h>

#include <random>

#include "alloc/cache_header.h"
#include "alloc/heap.h"

namespace neap {
namespace {

TEST(SizeClasses, EverySizeGetsTheSmallestClassThatHoldsIt) {
  size_t expected = 0;
  for (size_t size = 1; size <= kSlabMax; ++size) {
    if (size > kSizeClasses[expected].size) ++expected;
    ASSERT_EQ(ClassOf(size), expected) << size;
  }
  EXPECT_EQ(expected, kClasses - 1);
  EXPECT_EQ(ClassOf(0), 0u);
}

TEST(SizeClasses, NoMoreThanAnEighthIsWastedAbove128Bytes) {
  for (size_t size = 113; size <= kSlabMax; ++size) {
    const size_t waste = kSizeClasses[ClassOf(size)].size - size;
    ASSERT_LE(waste * 8, kSizeClasses[ClassOf(size)].size) << size;
  }
}

TEST(SizeClasses, AlignmentsAreMetByTheSmallestClassThatIsAMultiple) {
  for (size_t alignment = 16; alignment <= kGranuleSize; alignment *= 2) {
    for (size_t size = 1; size <= kSlabMax; size += size < 5000 ? 1 : 97) {
      const size_t found = AlignedClassOf(size, alignment);
      size_t expected = ClassOf(size);
      while (expected < kClasses && kSizeClasses[expected].size % alignment != 0) ++expected;
      ASSERT_EQ(found, expected) << size << " aligned to " << alignment;
    }
  }
  EXPECT_EQ(AlignedClassOf(kSlabMax + 1, 16), kClasses);
  EXPECT_EQ(AlignedClassOf(1, 2 * kGranuleSize), kClasses);
}

// The magic multiplication against division, for every offset of a granule and every class of the hit path.
TEST(SizeClasses, TheMagicDividesExactly) {
  for (size_t c = 0; c < kCachedClasses; ++c) {
    const SizeClass& row = kSizeClasses[c];
    for (uint32_t offset = 0; offset < kGranuleSize; ++offset) {
      ASSERT_EQ(uint64_t{offset} * row.magic >> 32, offset / row.size);
      ASSERT_EQ(offset * row.magic < row.magic, offset % row.size == 0) << offset << " of " << row.size;
    }
  }
}

TEST(SizeClasses, SlabsHoldWholeBlocks) {
  for (const SizeClass& row : kSizeClasses) {
    const size_t bytes = row.slab_granules * kGranuleSize;
    EXPECT_LE(row.blocks * size_t{row.size}, bytes);
    EXPECT_GT((row.blocks + 1) * size_t{row.size}, bytes);
    EXPECT_LE(bytes / row.unit_bytes, kUnits);
    EXPECT_EQ(bytes % row.unit_bytes, 0u);
    EXPECT_EQ(row.unit_bytes % kPageSize, 0u);
  }
}

}  // namespace
}  // namespace neap
