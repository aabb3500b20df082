// What cannot be had: NULL with ENOMEM, EINVAL where the text says so, and everything else as it was.
#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <vector>

#include "outside.h"

namespace outside {
namespace {

const size_t kPage = static_cast<size_t>(sysconf(_SC_PAGESIZE));

// Sizes that no malloc can give: each lies so near SIZE_MAX or above PTRDIFF_MAX that rounding up would wrap it.
std::vector<size_t> TooLarge() {
  std::vector<size_t> sizes;
  for (size_t below : {size_t{0},  size_t{1},    size_t{7},  size_t{8},    size_t{15},   size_t{16},   size_t{17},
                       size_t{31}, size_t{32},   size_t{63}, size_t{64},   size_t{4095}, size_t{4096}, size_t{4097},
                       64 * kKiB,  2 * kMiB - 1, 2 * kMiB,   4 * kMiB + 1, kGiB,         kGiB + 1}) {
    sizes.push_back(SIZE_MAX - below);
    sizes.push_back(static_cast<size_t>(PTRDIFF_MAX) + 1 + below);
    sizes.push_back(static_cast<size_t>(PTRDIFF_MAX) - below);
  }
  for (int bit = 48; bit < 64; ++bit) sizes.push_back(size_t{1} << bit);
  for (size_t size : sizes) EXPECT_GT(size, size_t{1} << 47);
  return sizes;
}

// NULL and ENOMEM is what `call` must give.
#define EXPECT_NO_MEMORY(call)                                                    \
  do {                                                                            \
    errno = 0;                                                                    \
    EXPECT_EQ(Hidden(static_cast<void*>(call)), nullptr) << #call << " " << size; \
    EXPECT_EQ(errno, ENOMEM) << #call << " " << size;                             \
  } while (false)

TEST(TooLarge, GivesEnomemFromEveryFunction) {
  for (size_t size : TooLarge()) {
    size = Hidden(size);
    EXPECT_NO_MEMORY(malloc(size));
    EXPECT_NO_MEMORY(calloc(1, size));
    EXPECT_NO_MEMORY(calloc(size, 1));
    EXPECT_NO_MEMORY(realloc(nullptr, size));
    EXPECT_NO_MEMORY(reallocarray(nullptr, size, 1));
    EXPECT_NO_MEMORY(reallocarray(nullptr, 1, size));
    EXPECT_NO_MEMORY(valloc(size));
    EXPECT_NO_MEMORY(pvalloc(size));
  }
}

TEST(TooLarge, GivesEnomemAtEveryAlignment) {
  for (size_t size : TooLarge()) {
    size = Hidden(size);
    for (size_t alignment = 1; alignment != 0; alignment *= 2) {
      EXPECT_NO_MEMORY(memalign(alignment, size));
      EXPECT_NO_MEMORY(aligned_alloc(alignment, size));
      if (alignment < sizeof(void*)) continue;
      void* block = &block;
      errno = 0;
      EXPECT_EQ(posix_memalign(&block, alignment, size), ENOMEM);
      EXPECT_EQ(block, &block);
      EXPECT_EQ(errno, ENOMEM);  // POSIX leaves it open; programs written for glibc look at it
    }
  }
}

TEST(TooLarge, LeavesTheBlockOfReallocAsItWas) {
  for (size_t kept : {size_t{1}, size_t{100}, 5 * kKiB, kMiB}) {
    Block block(malloc(kept));
    Fill(block.get(), kept, 5);
    for (size_t size : TooLarge()) {
      EXPECT_NO_MEMORY(realloc(block.get(), Hidden(size)));
      EXPECT_NO_MEMORY(reallocarray(block.get(), Hidden(size), 1));
      EXPECT_NO_MEMORY(reallocarray(block.get(), 16, Hidden(size)));
    }
    EXPECT_TRUE(Holds(block.get(), kept, 5));
  }
}

TEST(TooLarge, LeavesTheHeapUsable) {
  for (size_t size : TooLarge()) {
    EXPECT_NO_MEMORY(malloc(Hidden(size)));
    Block block(malloc(100)), large(malloc(kMiB));
    ASSERT_TRUE(block && large);
    Fill(block.get(), 100, size);
    Fill(large.get(), kMiB, size);
    EXPECT_TRUE(Holds(block.get(), 100, size));
    EXPECT_TRUE(Holds(large.get(), kMiB, size));
  }
}

TEST(Products, ThatOverflowGiveEnomem) {
  size_t size = 0;
  for (size_t a : {size_t{2}, size_t{3}, size_t{16}, size_t{1} << 16, size_t{1} << 32, (size_t{1} << 32) + 1,
                   SIZE_MAX / 2, SIZE_MAX / 2 + 1, SIZE_MAX - 1, SIZE_MAX}) {
    for (size_t b : {SIZE_MAX, SIZE_MAX - 1, SIZE_MAX / a + 1, SIZE_MAX / a, SIZE_MAX / a - 1}) {
      EXPECT_NO_MEMORY(calloc(Hidden(a), Hidden(b < 1 ? SIZE_MAX : b)));
      EXPECT_NO_MEMORY(reallocarray(nullptr, Hidden(a), Hidden(b < 1 ? SIZE_MAX : b)));
    }
  }
  EXPECT_NO_MEMORY(calloc(Hidden(size_t{1} << 32), Hidden(size_t{1} << 32)));  // wraps to 0
  EXPECT_NO_MEMORY(calloc(Hidden((size_t{1} << 63) + 1), 2));                  // wraps to 2
  EXPECT_NO_MEMORY(reallocarray(nullptr, Hidden((size_t{1} << 63) + 1), 2));
}

TEST(AlignedAlloc, RefusesWhatIsNoPowerOfTwo) {
  if (OnGlibc()) GTEST_SKIP() << "glibc refuses them from 2.38 on";
  for (size_t alignment : {size_t{0}, size_t{3}, size_t{5}, size_t{6}, size_t{7}, size_t{9}, size_t{12}, size_t{24},
                           size_t{48}, size_t{100}, size_t{4095}, size_t{4097}, (size_t{1} << 63) + 1, SIZE_MAX}) {
    for (size_t size : {size_t{0}, size_t{1}, size_t{100}, 100 * kKiB}) {
      errno = 0;
      EXPECT_EQ(aligned_alloc(Hidden(alignment), size), nullptr) << alignment;
      EXPECT_EQ(errno, EINVAL) << alignment;
    }
  }
}

TEST(AlignedAlloc, TakesSizesThatAreNoMultiple) {
  for (size_t size : {0, 1, 63, 65, 100, 4097}) {
    Block block(aligned_alloc(64, size));
    EXPECT_TRUE(block && IsAligned(block.get(), 64));
  }
}

TEST(PosixMemalign, RefusesBadAlignmentsAndTouchesNothingElse) {
  for (size_t alignment : {size_t{0}, size_t{1}, size_t{2}, size_t{3}, size_t{4}, size_t{5}, size_t{7}, size_t{9},
                           size_t{12}, size_t{17}, size_t{24}, size_t{40}, size_t{48}, size_t{4097}, size_t{12288},
                           (size_t{1} << 63) + 8, SIZE_MAX, SIZE_MAX - 7}) {
    for (size_t size : {size_t{0}, size_t{1}, size_t{100}, SIZE_MAX}) {
      void* block = &block;
      errno = 1234;
      EXPECT_EQ(posix_memalign(&block, Hidden(alignment), size), EINVAL) << alignment;
      EXPECT_EQ(block, &block);
      EXPECT_EQ(errno, 1234);
    }
  }
}

TEST(PosixMemalign, LeavesErrnoAloneWhereItSucceeds) {
  for (size_t alignment = sizeof(void*); alignment <= kMiB; alignment *= 2) {
    void* block = nullptr;
    errno = 1234;
    ASSERT_EQ(posix_memalign(&block, alignment, 100), 0);
    EXPECT_EQ(errno, 1234);
    free(block);
  }
}

TEST(PosixMemalign, OfZeroBytesGivesABlock) {
  void* block = nullptr;
  ASSERT_EQ(posix_memalign(&block, 64, Hidden(size_t{0})), 0);
  EXPECT_TRUE(block != nullptr && IsAligned(block, 64));
  free(block);
}

TEST(Memalign, RoundsAlignmentsUpToPowersOfTwo) {
  for (size_t alignment : {0, 1, 2, 3, 5, 7, 9, 17, 24, 31, 33, 48, 65, 100, 1000, 4095, 4097, 12288, 100000}) {
    size_t rounded = 1;
    while (rounded < alignment) rounded *= 2;
    for (size_t size : {0, 1, 100, 5000, 300000}) {
      Block block(memalign(Hidden(alignment), size));
      ASSERT_NE(block.get(), nullptr) << alignment;
      EXPECT_TRUE(IsAligned(block.get(), rounded)) << alignment;
      memset(block.get(), 1, size);
    }
  }
}

TEST(Memalign, RefusesAlignmentsThatNoPowerOfTwoCovers) {
  for (size_t alignment : {SIZE_MAX, SIZE_MAX - 1, SIZE_MAX / 2 + 2, SIZE_MAX / 2 + 4096}) {
    for (size_t size : {size_t{0}, size_t{1}, size_t{4096}}) {
      errno = 0;
      EXPECT_EQ(memalign(Hidden(alignment), size), nullptr);
      EXPECT_EQ(errno, EINVAL);
    }
  }
}

TEST(HugeAlignments, GiveEnomemWhereTheAddressSpaceHasNone) {
  for (int bit = 47; bit < 64; ++bit) {
    size_t size = 1, alignment = size_t{1} << bit;
    EXPECT_NO_MEMORY(memalign(alignment, size));
    EXPECT_NO_MEMORY(aligned_alloc(alignment, size));
    void* block = &block;
    EXPECT_EQ(posix_memalign(&block, alignment, size), ENOMEM);
    EXPECT_EQ(block, &block);
  }
}

TEST(HugeAlignments, AreGivenOrRefusedCleanly) {
  for (int bit = 21; bit < 47; ++bit) {
    for (size_t size : {size_t{0}, size_t{1}, size_t{5000}, 3 * kMiB}) {
      errno = 0;
      Block block(aligned_alloc(size_t{1} << bit, size));
      if (block) {
        EXPECT_TRUE(IsAligned(block.get(), size_t{1} << bit));
        memset(block.get(), 1, size);
      } else {
        EXPECT_EQ(errno, ENOMEM);
        EXPECT_GT(bit, 30);
      }
    }
  }
}

TEST(Valloc, IsAlignedToPages) {
  for (size_t size : {size_t{0}, size_t{1}, kPage - 1, kPage, kPage + 1, 10 * kPage, kMiB, 10 * kMiB + 1}) {
    Block block(valloc(Hidden(size)));
    ASSERT_TRUE(block && IsAligned(block.get(), kPage));
    EXPECT_GE(malloc_usable_size(block.get()), size);
    memset(block.get(), 1, size);
  }
}

TEST(Pvalloc, IsOfWholePages) {
  for (size_t size : {size_t{1}, kPage - 1, kPage, kPage + 1, 10 * kPage, kMiB + 1, 10 * kMiB + 1}) {
    Block block(pvalloc(Hidden(size)));
    ASSERT_TRUE(block && IsAligned(block.get(), kPage));
    size_t whole = (size + kPage - 1) / kPage * kPage;
    ASSERT_GE(malloc_usable_size(block.get()), whole);
    memset(block.get(), 1, whole);
  }
  Block none(pvalloc(Hidden(size_t{0})));
  EXPECT_TRUE(none && IsAligned(none.get(), kPage));
}

TEST(Pvalloc, DoesNotWrapAtTheEdge) {
  for (size_t below = 0; below <= 2 * kPage; below += 1 + below / 8) {
    size_t size = Hidden(SIZE_MAX - below);
    EXPECT_NO_MEMORY(pvalloc(size));
    EXPECT_NO_MEMORY(valloc(size));
    size = Hidden(static_cast<size_t>(PTRDIFF_MAX) - below);
    EXPECT_NO_MEMORY(pvalloc(size));
    EXPECT_NO_MEMORY(valloc(size));
  }
}

}  // namespace
}  // namespace outside
