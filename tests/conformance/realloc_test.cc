// realloc and reallocarray: contents, failure, size 0 as in glibc, and large blocks that move no bytes.
#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include <vector>

#include "outside.h"

namespace outside {
namespace {

TEST(Realloc, OfNullAllocates) {
  Block block(realloc(Hidden(static_cast<void*>(nullptr)), 100)), none(realloc(Hidden(static_cast<void*>(nullptr)), 0));
  ASSERT_TRUE(block && none);
  memset(block.get(), 1, 100);
}

TEST(Realloc, ToZeroFreesAndGivesNull) {
  size_t before = Resident();
  for (size_t size : {size_t{0}, size_t{1}, size_t{100}, 64 * kKiB, kMiB}) {
    for (int i = 0; i < 500; ++i) {
      void* block = malloc(size);
      memset(block, 1, size);
      errno = 1234;
      ASSERT_EQ(realloc(block, Hidden(size_t{0})), nullptr);
      ASSERT_EQ(errno, 1234);
    }
  }
  EXPECT_LT(Resident(), before + 16 * kMiB);
}

TEST(Reallocarray, ToZeroFreesAndGivesNull) {
  EXPECT_EQ(reallocarray(malloc(100), Hidden(size_t{0}), 8), nullptr);
  EXPECT_EQ(reallocarray(malloc(100), 8, Hidden(size_t{0})), nullptr);
  Block none(reallocarray(Hidden(static_cast<void*>(nullptr)), 0, 8));
  EXPECT_NE(none.get(), nullptr);
}

TEST(Reallocarray, GrowsAndKeepsContents) {
  void* block = nullptr;
  for (size_t before = 0, count = 1; count < 20000; before = count, count += 1 + count / 4) {
    block = reallocarray(block, count, 12);
    ASSERT_NE(block, nullptr);
    if (before > 0) {
      ASSERT_TRUE(Holds(block, before * 12, 1));
    }
    Fill(block, count * 12, 1);
  }
  free(block);
}

TEST(Realloc, KeepsContentsFromEverySizeToEverySize) {
  std::vector<size_t> sizes;
  for (size_t size = 1; size <= 8 * kMiB; size = size * 5 / 2 + 3) sizes.push_back(size);
  for (size_t from : sizes) {
    for (size_t to : sizes) {
      void* block = malloc(from);
      Fill(block, from, from);
      block = realloc(block, to);
      ASSERT_NE(block, nullptr);
      ASSERT_TRUE(Holds(block, from < to ? from : to, from)) << from << " to " << to;
      ASSERT_GE(malloc_usable_size(block), to);
      Fill(block, to, to);
      free(block);
    }
  }
}

TEST(Realloc, KeepsContentsStepByStep) {
  for (size_t step : {size_t{1}, size_t{7}, size_t{100}, 4 * kKiB, 100 * kKiB}) {
    void* block = malloc(step);
    Fill(block, step, step);
    size_t size = step;
    for (int i = 0; i < (step > kKiB ? 60 : 500); ++i, size += step) {
      block = realloc(block, size + step);
      ASSERT_NE(block, nullptr);
      if (i % 50 == 0) {
        ASSERT_TRUE(Holds(block, size, step));
      }
      Fill(static_cast<char*>(block), size + step, step);
    }
    for (; size > step; size -= step) {
      block = realloc(block, size);
      if (size / step % 50 == 0) {
        ASSERT_TRUE(Holds(block, size, step));
      }
    }
    free(block);
  }
}

TEST(Realloc, ToTheSameSizeMovesNothing) {
  for (size_t size = 1; size <= 64 * kMiB; size *= 3) {
    void* block = malloc(size);
    EXPECT_EQ(Hidden(realloc(block, size)), block) << size;
    free(block);
  }
}

TEST(Realloc, OfLargeBlocksHoldsThemOnce) {
  size_t before = Resident();
  void* block = malloc(128 * kMiB);
  memset(block, 1, 128 * kMiB);
  for (size_t size = 160 * kMiB; size <= 320 * kMiB; size += 32 * kMiB) {
    block = realloc(block, size);
    ASSERT_NE(block, nullptr);
    memset(static_cast<char*>(block) + size - 32 * kMiB, 1, 32 * kMiB);
  }
  EXPECT_LT(PeakResident(), before + (320 + 64) * kMiB);
  free(block);
}

TEST(Realloc, OfALargeBlockToASmallerGivesTheRestBack) {
  size_t before = Resident();
  void* block = malloc(256 * kMiB);
  memset(block, 7, 256 * kMiB);
  block = realloc(block, 16 * kMiB);
  ASSERT_NE(block, nullptr);
  EXPECT_LT(Resident(), before + 24 * kMiB);
  auto* bytes = static_cast<char*>(block);
  EXPECT_TRUE(bytes[0] == 7 && memcmp(bytes, bytes + 1, 16 * kMiB - 1) == 0);
  block = realloc(block, 100);
  EXPECT_LT(Resident(), before + 8 * kMiB);
  EXPECT_EQ(static_cast<char*>(block)[99], 7);
  free(block);
}

TEST(Realloc, ManyBlocksAtOnce) {
  struct Held {
    void* block = nullptr;
    size_t size = 0;
  };
  Random random(4);
  std::vector<Held> held(1000);
  for (int step = 0; step < 100000; ++step) {
    size_t i = random.Below(held.size());
    size_t size = random.Below(20) == 0 ? random.Size(kMiB) : random.Size(2 * kKiB);
    void* block = realloc(held[i].block, size);
    ASSERT_NE(block, nullptr);
    ASSERT_TRUE(Holds(block, size < held[i].size ? size : held[i].size, i));
    held[i] = {block, size};
    Fill(block, size, i);
  }
  for (Held& each : held) free(each.block);
}

}  // namespace
}  // namespace outside
