// large_test.cc: blocks of whole pages: growth and shrinking in place, by moving pages, and by copying; what stays
// resident behind a block; zeros; what a refusal leaves.
#include "alloc/large.h"

#include <gtest/gtest.h>
#include <string.h>

#include "alloc/arena.h"
#include "alloc/heap.h"
#include "alloc/ledger.h"
#include "alloc/neap.h"
#include "alloc/release.h"
#include "tests/page_picture.h"

namespace neap {
namespace {

constexpr size_t kMiB = 1u << 20;

class LargeTest : public ::testing::Test {
 protected:
  static char* Take(size_t size) {
    auto* block = static_cast<char*>(Allocate(size));
    EXPECT_NE(block, nullptr);
    Write(block, 0, size);
    return block;
  }
  static void Write(char* block, size_t from, size_t to) {
    for (size_t i = from; i < to; i += 8) {
      const uint64_t word = i;
      memcpy(block + i, &word, std::min<size_t>(8, to - i));
    }
  }
  static bool Holds(const char* block, size_t bytes) {
    for (size_t i = 0; i + 8 <= bytes; i += 8) {
      uint64_t word;
      memcpy(&word, block + i, 8);
      if (word != i) return false;
    }
    return true;
  }
  static size_t Window() {
    return FakeOs::ResidentBytesIn(reinterpret_cast<void*>(hot::window), PageMap::Granules() * kGranuleSize);
  }
  static void ExpectExact() {
    const Ledger ledger = ReadLedger();
    EXPECT_EQ(ledger.live + ledger.cached + ledger.dirty, Window());
  }
};

TEST_F(LargeTest, UntouchedBlocksCostNothing) {
  Free(Allocate(kMiB));
  Trim();
  const size_t before = Fake().ResidentBytes();
  void* block = AllocateZeroed(2048 * kMiB);
  ASSERT_NE(block, nullptr);
  EXPECT_LT(Fake().ResidentBytes() - before, kMiB);
  Free(block);
}

TEST_F(LargeTest, AFreedBlockIsGoneAtOnce) {
  char* block = Take(16 * kMiB);
  Free(block);
  EXPECT_EQ(Window(), 0u);
  EXPECT_EQ(Fake().Released().size(), 1u);
}

TEST_F(LargeTest, ShrinksInPlaceAndGivesBackTheRest) {
  char* block = Take(8 * kMiB);
  EXPECT_EQ(Reallocate(block, 5 * kMiB), block);
  EXPECT_TRUE(Holds(block, 5 * kMiB));
  EXPECT_EQ(UsableSize(block), 5 * kMiB);
  ExpectExact();
  Trim();
  EXPECT_EQ(Window(), 5 * kMiB);
  // A little less is not worth it.
  EXPECT_EQ(Reallocate(block, 5 * kMiB - 40'000), block);
  EXPECT_EQ(UsableSize(block), 5 * kMiB);
  Free(block);
}

TEST_F(LargeTest, GrowsInPlaceWhereThereIsRoom) {
  char* block = Take(2 * kMiB);
  EXPECT_EQ(Reallocate(block, 3 * kMiB), block);
  Write(block, 0, 3 * kMiB);
  ExpectExact();
  EXPECT_EQ(Fake().move_pages.calls(), 0);
  Free(block);
}

TEST_F(LargeTest, GrowsByMovingPagesWhereThereIsNot) {
  char* block = Take(2 * kMiB);
  char* wall = Take(300'000);
  ASSERT_EQ(PageMap::GranuleOf(reinterpret_cast<uintptr_t>(wall)),
            PageMap::GranuleOf(reinterpret_cast<uintptr_t>(block)) + 32);
  char* moved = static_cast<char*>(Reallocate(block, 6 * kMiB));
  ASSERT_NE(moved, block);
  EXPECT_EQ(Fake().move_pages.calls(), 1);
  EXPECT_TRUE(Holds(moved, 2 * kMiB));
  Write(moved, 0, 6 * kMiB);
  ExpectExact();
  // It has been given address space to grow into.
  EXPECT_EQ(Reallocate(moved, 8 * kMiB), moved);
  Write(moved, 0, 8 * kMiB);
  ExpectExact();
  Free(moved);
  Free(wall);
  Trim();
  EXPECT_EQ(Window(), 0u);
  EXPECT_EQ(Arena::Root().charged(), 0u);
}

TEST_F(LargeTest, WhereTheKernelMovesNothingTheBytesAreCopied) {
  Fake().move_pages.Always();
  char* block = Take(2 * kMiB);
  Take(300'000);
  char* moved = static_cast<char*>(Reallocate(block, 6 * kMiB));
  ASSERT_NE(moved, nullptr);
  EXPECT_TRUE(Holds(moved, 2 * kMiB));
  Write(moved, 0, 6 * kMiB);
  ExpectExact();
  Free(moved);
}

// Every size to every other, with something in the way and without.
TEST_F(LargeTest, ReallocKeepsTheContentsWhateverTheWay) {
  const size_t sizes[] = {1, 5000, 40'000, 262'144, 262'145, 300'000, 327'680, kMiB, 3 * kMiB - 4096, 9 * kMiB};
  for (size_t from : sizes) {
    for (size_t to : sizes) {
      for (bool walled : {false, true}) {
        char* block = Take(from);
        char* wall = walled ? Take(400'000) : nullptr;
        auto* other = static_cast<char*>(Reallocate(block, to));
        ASSERT_NE(other, nullptr);
        ASSERT_TRUE(Holds(other, std::min(from, to))) << from << " to " << to;
        ASSERT_GE(UsableSize(other), to);
        Write(other, 0, UsableSize(other));
        ExpectExact();
        Free(other);
        Free(wall);
      }
    }
  }
  Trim();
  EXPECT_EQ(Window(), 0u);
  EXPECT_EQ(Arena::Root().charged(), 0u);
}

TEST_F(LargeTest, ZeroedBlocksAreZeroWhateverWasThere) {
  for (size_t size : {50'000u, 270'000u, 700'000u, 900'001u}) {
    for (int i = 0; i < 8; ++i) {
      char* dirty = Take(size);
      Free(dirty);
      auto* block = static_cast<char*>(AllocateZeroed(size + static_cast<size_t>(i) * 1000));
      for (size_t at = 0; at < size; at += 64) ASSERT_EQ(block[at], 0) << size << " at " << at;
      Free(block);
    }
  }
}

// Pages of the last granule behind the block that were dirty: slack, which goes with age like all that is dirty.
TEST_F(LargeTest, SlackBehindABlockIsDirtyAndGoes) {
  Take(300'000);
  char* block = Take(5 * kGranuleSize + 3 * kPageSize);
  const LiveBlocks before = {{reinterpret_cast<uintptr_t>(block), 5 * kGranuleSize + 3 * kPageSize}};
  EXPECT_EQ(Picture(block + 5 * kGranuleSize, 1, before), "LLL.............");
  Take(300'000);
  char* larger = block;
  ASSERT_EQ(Reallocate(larger, 5 * kGranuleSize + 9 * kPageSize), larger);
  Write(larger, 0, 5 * kGranuleSize + 9 * kPageSize);
  ASSERT_EQ(Reallocate(larger, 4 * kGranuleSize + 2 * kPageSize), larger);
  const LiveBlocks after = {{reinterpret_cast<uintptr_t>(block), 4 * kGranuleSize + 2 * kPageSize}};
  EXPECT_EQ(Picture(block + 4 * kGranuleSize, 2, after), "LLDDDDDDDDDDDDDD|DDDDDDDDD.......");
  EXPECT_EQ(ReadLedger().dirty, 23 * kPageSize);
  ExpectExact();
  Releaser::ReleaseAt(Fake().monotonic_ns / 1'000'000 + 1);
  EXPECT_EQ(Picture(block + 4 * kGranuleSize, 2, after), "LL..............|................");
}

TEST_F(LargeTest, EveryAlignmentUpToAGiB) {
  for (size_t alignment = 4096; alignment <= 1024 * kMiB; alignment *= 4) {
    for (size_t size : {1u, 5000u, 300'000u, 3'000'000u}) {
      char* block = static_cast<char*>(AllocateAligned(size, alignment));
      ASSERT_NE(block, nullptr) << alignment;
      EXPECT_EQ(reinterpret_cast<uintptr_t>(block) % alignment, 0u);
      Write(block, 0, size);
      Free(block);
    }
  }
}

TEST_F(LargeTest, ImpossibleSizesAreRefusedAtNoCost) {
  Free(Allocate(1));
  const size_t mapped = Fake().MappedBytes();
  for (size_t size : {size_t{1} << 60, static_cast<size_t>(PTRDIFF_MAX), static_cast<size_t>(PTRDIFF_MAX) - 4096,
                      size_t{1} << 47, SIZE_MAX / 4}) {
    EXPECT_EQ(Allocate(size), nullptr) << size;
    EXPECT_EQ(AllocateZeroed(size), nullptr);
    EXPECT_EQ(AllocateAligned(size, 4096), nullptr);
  }
  EXPECT_EQ(AllocateAligned(1, size_t{1} << 62), nullptr);
  char* block = Take(kMiB);
  for (size_t size : {size_t{1} << 60, static_cast<size_t>(PTRDIFF_MAX)}) EXPECT_EQ(Reallocate(block, size), nullptr);
  EXPECT_TRUE(Holds(block, kMiB));
  EXPECT_LT(Fake().MappedBytes(), mapped + 64 * kMiB);
  ExpectExact();
}

TEST_F(LargeTest, HugePagesOnlyForLiveBlocksThatAreLargeAndWhileThereIsHeadroom) {
  auto advised = [] {
    size_t on = 0;
    for (const auto& advice : Fake().Advice()) on += advice.huge;
    return on;
  };
  Free(Take(kMiB));
  EXPECT_EQ(advised(), 0u);
  char* block = Take(16 * kMiB);
  EXPECT_EQ(advised(), 1u);
  Free(block);
  ASSERT_FALSE(Fake().Advice().empty());
  EXPECT_FALSE(Fake().Advice().back().huge);
}

}  // namespace
}  // namespace neap
