// Alignments: every power of two with every kind of size, kept whole, resized and freed in any order.
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include <vector>

#include "outside.h"

namespace outside {
namespace {

enum class Way { kPosixMemalign, kAlignedAlloc, kMemalign };

void* Aligned(Way way, size_t alignment, size_t size) {
  void* block = nullptr;
  switch (way) {
    case Way::kPosixMemalign:
      return posix_memalign(&block, alignment, size) == 0 ? block : nullptr;
    case Way::kAlignedAlloc:
      return aligned_alloc(alignment, size);
    case Way::kMemalign:
      return memalign(alignment, size);
  }
  return nullptr;
}

class AlignedBlocks : public testing::TestWithParam<Way> {};
INSTANTIATE_TEST_SUITE_P(, AlignedBlocks, testing::Values(Way::kPosixMemalign, Way::kAlignedAlloc, Way::kMemalign),
                         [](const auto& parameter) {
                           switch (parameter.param) {
                             case Way::kPosixMemalign:
                               return "posix_memalign";
                             case Way::kAlignedAlloc:
                               return "aligned_alloc";
                             case Way::kMemalign:
                               return "memalign";
                           }
                           return "";
                         });

TEST_P(AlignedBlocks, AreAlignedWholeAndApart) {
  for (size_t alignment = sizeof(void*); alignment <= 64 * kMiB; alignment *= 2) {
    for (size_t base = 1; base <= (alignment > 64 * kKiB ? 64 * kKiB : 2 * kMiB); base *= 4) {
      for (size_t size : {base - 1, base, base + 1, base + base / 2}) {
        Block first(Aligned(GetParam(), alignment, size)), second(Aligned(GetParam(), alignment, size));
        ASSERT_TRUE(first && second) << alignment << " " << size;
        ASSERT_TRUE(IsAligned(first.get(), alignment) && IsAligned(second.get(), alignment))
            << alignment << " " << size;
        ASSERT_GE(malloc_usable_size(first.get()), size);
        size_t usable = malloc_usable_size(first.get()) < 8 * kMiB ? malloc_usable_size(first.get()) : size;
        Fill(first.get(), usable, 1);
        Fill(second.get(), size, 2);
        ASSERT_TRUE(Holds(first.get(), usable, 1));
        ASSERT_TRUE(Holds(second.get(), size, 2));
      }
    }
  }
}

TEST_P(AlignedBlocks, LiveTogetherInAnyOrder) {
  struct Held {
    void* block = nullptr;
    size_t size = 0;
  };
  Random random(3);
  std::vector<Held> held(500);
  for (size_t step = 0; step < 20000; ++step) {
    size_t i = random.Below(held.size());
    if (held[i].block != nullptr) {
      ASSERT_TRUE(Holds(held[i].block, held[i].size, i));
      free(held[i].block);
    }
    size_t alignment = size_t{8} << random.Below(14);
    held[i].size = random.Size(32 * kKiB);
    held[i].block = Aligned(GetParam(), alignment, held[i].size);
    ASSERT_TRUE(held[i].block != nullptr && IsAligned(held[i].block, alignment));
    Fill(held[i].block, held[i].size, i);
  }
  for (Held& each : held) free(each.block);
}

TEST_P(AlignedBlocks, CanBeResized) {
  for (size_t alignment = sizeof(void*); alignment <= 4 * kMiB; alignment *= 2) {
    for (size_t size : {size_t{1}, size_t{100}, 5 * kKiB, 300 * kKiB}) {
      void* block = Aligned(GetParam(), alignment, size);
      Fill(block, size, 9);
      block = realloc(block, size * 3);
      ASSERT_TRUE(block != nullptr && Holds(block, size, 9));
      block = realloc(block, size / 2 + 1);
      ASSERT_TRUE(block != nullptr && Holds(block, size / 2 + 1, 9));
      free(block);
    }
  }
}

TEST_P(AlignedBlocks, DoNotHoldTheirAlignmentResident) {
  size_t before = Resident();
  std::vector<void*> blocks;
  for (int i = 0; i < 200; ++i) {
    blocks.push_back(Aligned(GetParam(), kMiB, 64));
    memset(blocks.back(), 1, 64);
  }
  EXPECT_LT(Resident(), before + 4 * kMiB);
  for (void* block : blocks) free(block);
}

TEST_P(AlignedBlocks, AreZeroFromCallocAfterThem) {
  for (size_t size = 64; size <= 64 * kKiB; size *= 2) {
    for (int i = 0; i < 20; ++i) {
      void* block = Aligned(GetParam(), size, size);
      memset(block, 0xff, size);
      free(block);
      Block zeroed(calloc(1, size));
      ASSERT_TRUE(IsZero(zeroed.get(), size));
    }
  }
}

}  // namespace
}  // namespace outside
