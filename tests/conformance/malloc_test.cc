// malloc, calloc, free and their kin: what C23, POSIX and glibc's manual say of blocks that can be had.
#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include <set>
#include <vector>

#include "outside.h"

namespace outside {
namespace {

TEST(Malloc, OfZeroBytesGivesBlocksOfTheirOwn) {
  std::set<void*> blocks;
  for (int i = 0; i < 1000; ++i) {
    void* block = Hidden(malloc(Hidden(size_t{0})));
    ASSERT_NE(block, nullptr);
    ASSERT_TRUE(blocks.insert(block).second);
  }
  for (void* block : blocks) free(block);
}

TEST(Malloc, ABlockThatIsFreedServesAgain) {
  size_t before = Resident();
  for (int i = 0; i < 2'000'000; ++i) {
    auto* block = static_cast<char*>(Hidden(malloc(100)));
    block[0] = 1;
    free(block);
  }
  EXPECT_LT(Resident(), before + kMiB);
}

// A block of 16 bytes or more holds any type; a smaller one any type that fits into it.
TEST(Malloc, IsAlignedForWhatFitsIn) {
  std::vector<size_t> sizes;
  for (size_t size = 1; size <= 5000; ++size) sizes.push_back(size);
  for (size_t size = 8192; size <= 64 * kMiB; size *= 2) {
    for (size_t delta : {0, 1, 8, 15, 16}) sizes.insert(sizes.end(), {size - delta, size + delta});
  }
  for (size_t size : sizes) {
    Block first(malloc(size)), second(malloc(size)), third(calloc(1, size)), fourth(realloc(nullptr, size));
    size_t alignment = size >= 16 ? 16 : size >= 8 ? 8 : size >= 4 ? 4 : size >= 2 ? 2 : 1;
    for (const Block* block : {&first, &second, &third, &fourth}) {
      ASSERT_TRUE(IsAligned(block->get(), alignment)) << size;
    }
  }
}

TEST(Malloc, BlocksKeepWhatIsWrittenAndDoNotOverlap) {
  struct Held {
    void* block;
    size_t size;
  };
  Random random(1);
  std::vector<Held> held;
  for (size_t i = 0; i < 20000; ++i) {
    size_t size = random.Size(64 * kKiB);
    held.push_back({malloc(size), size});
    Fill(held.back().block, size, i);
  }
  for (size_t i = 0; i < held.size(); ++i) {
    ASSERT_TRUE(Holds(held[i].block, held[i].size, i));
    if (i % 3 == 0) {
      free(held[i].block);
      size_t size = random.Size(8 * kKiB);
      held[i] = {malloc(size), size};
      Fill(held[i].block, size, i);
    }
  }
  for (size_t i = 0; i < held.size(); ++i) {
    ASSERT_TRUE(Holds(held[i].block, held[i].size, i));
    free(held[i].block);
  }
}

TEST(Malloc, LargeBlocksAreWhole) {
  for (size_t size : {kMiB, 2 * kMiB - 1, 2 * kMiB, 2 * kMiB + 1, 33 * kMiB + 5, 100 * kMiB, 1000 * kMiB, 3 * kGiB}) {
    auto* block = static_cast<char*>(malloc(size));
    ASSERT_NE(block, nullptr) << size;
    block[0] = block[size / 2] = block[size - 1] = 42;
    EXPECT_GE(malloc_usable_size(block), size);
    free(block);
  }
}

TEST(Malloc, EverySizeUpTo70000CanBeHadAndFilled) {
  for (size_t size = 0; size < 70000; size += 1 + size / 500) {
    Block block(malloc(size));
    ASSERT_NE(block.get(), nullptr);
    memset(block.get(), 0xa5, size);
  }
}

TEST(UsableSize, IsAtLeastWhatWasAskedForAndAllOfItIsTheCallers) {
  for (size_t size = 0; size <= 300 * kKiB; size += 1 + size / 100) {
    Block left(malloc(size)), block(malloc(size)), right(malloc(size));
    size_t usable = malloc_usable_size(block.get());
    ASSERT_GE(usable, size);
    Fill(left.get(), malloc_usable_size(left.get()), 1);
    Fill(right.get(), malloc_usable_size(right.get()), 2);
    Fill(block.get(), usable, 3);
    ASSERT_TRUE(Holds(left.get(), malloc_usable_size(left.get()), 1));
    ASSERT_TRUE(Holds(right.get(), malloc_usable_size(right.get()), 2));
    ASSERT_TRUE(Holds(block.get(), usable, 3));
  }
}

TEST(UsableSize, OfNullIsZero) { EXPECT_EQ(malloc_usable_size(Hidden(static_cast<void*>(nullptr))), 0u); }

TEST(UsableSize, StaysAsItIsWhileTheBlockLives) {
  std::vector<std::pair<void*, size_t>> blocks;
  for (size_t size = 1; size < kMiB; size += 1 + size / 20) {
    void* block = malloc(size);
    blocks.emplace_back(block, malloc_usable_size(block));
  }
  for (auto [block, usable] : blocks) EXPECT_EQ(malloc_usable_size(block), usable);
  for (auto [block, usable] : blocks) free(block);
}

TEST(Calloc, IsZeroAlsoWhereDirtyBlocksWereFreed) {
  for (size_t size = 1; size <= 4 * kMiB; size += 1 + size / 7) {
    std::vector<void*> dirty;
    for (size_t i = 0; i < 1 + 64 * kKiB / size; ++i) {
      dirty.push_back(malloc(size));
      memset(dirty.back(), 0xff, malloc_usable_size(dirty.back()));
    }
    for (void* block : dirty) free(block);
    for (void*& block : dirty) {
      block = calloc(size % 3 == 0 ? 3 : 1, size % 3 == 0 ? size / 3 : size);
      ASSERT_TRUE(IsZero(block, size)) << size;
    }
    for (void* block : dirty) free(block);
  }
}

TEST(Calloc, OfNothingGivesABlock) {
  Block none(calloc(Hidden(size_t{0}), 8)), of_none(calloc(8, Hidden(size_t{0}))), both(calloc(Hidden(size_t{0}), 0));
  EXPECT_TRUE(none && of_none && both);
  EXPECT_NE(none.get(), of_none.get());
  EXPECT_NE(none.get(), both.get());
}

TEST(Calloc, OfNothingTimesTheMostIsNoOverflow) {
  Block none(calloc(Hidden(size_t{0}), SIZE_MAX)), of_none(calloc(SIZE_MAX, Hidden(size_t{0})));
  EXPECT_TRUE(none && of_none);
}

TEST(Free, OfNullDoesNothing) {
  errno = 1234;
  for (int i = 0; i < 1000; ++i) free(Hidden(static_cast<void*>(nullptr)));
  EXPECT_EQ(errno, 1234);
}

TEST(Free, LeavesErrnoAlone) {
  for (size_t size = 0; size <= 512 * kMiB; size = size * 4 + 1) {
    void* block = malloc(size);
    memset(block, 1, size < kMiB ? size : kMiB);
    errno = 1234;
    free(block);
    ASSERT_EQ(errno, 1234) << size;
  }
}

TEST(Malloc, LeavesErrnoAloneWhereItSucceeds) {
  for (size_t size = 0; size <= 512 * kMiB; size = size * 4 + 1) {
    errno = 1234;
    Block block(malloc(size)), zeroed(calloc(1, size)), aligned(memalign(256, size));
    ASSERT_TRUE(block && zeroed && aligned);
    ASSERT_EQ(errno, 1234) << size;
  }
}

TEST(Cfree, FreesABlock) {
  auto cfree = Find<void(void*)>("cfree");
  if (cfree == nullptr && !OnNeap()) GTEST_SKIP() << "no cfree here";
  ASSERT_NE(cfree, nullptr);
  size_t before = Resident();
  for (int i = 0; i < 1000; ++i) {
    void* block = malloc(kMiB);
    memset(block, 1, kMiB);
    cfree(block);
  }
  cfree(nullptr);
  EXPECT_LT(Resident(), before + 64 * kMiB);
}

TEST(FreeSized, FreesWhatMallocCallocAndReallocGave) {
  auto free_sized = Find<void(void*, size_t)>("free_sized");
  if (free_sized == nullptr && !OnNeap()) GTEST_SKIP() << "no free_sized here";
  ASSERT_NE(free_sized, nullptr);
  free_sized(nullptr, 0);
  free_sized(nullptr, 100);
  for (size_t size = 0; size < 64 * kMiB; size += 1 + size / 3) {
    errno = 1234;
    free_sized(malloc(size), size);
    free_sized(calloc(1, size), size);
    free_sized(realloc(nullptr, size), size);
    free_sized(realloc(malloc(1 + size / 2), size + 1), size + 1);
    free_sized(realloc(malloc(2 + size * 2), size + 1), size + 1);
    ASSERT_EQ(errno, 1234);
  }
}

TEST(FreeAlignedSized, FreesWhatAlignedAllocGave) {
  auto free_aligned_sized = Find<void(void*, size_t, size_t)>("free_aligned_sized");
  if (free_aligned_sized == nullptr && !OnNeap()) GTEST_SKIP() << "no free_aligned_sized here";
  ASSERT_NE(free_aligned_sized, nullptr);
  free_aligned_sized(nullptr, 64, 100);
  for (size_t alignment = 1; alignment <= kMiB; alignment *= 2) {
    for (size_t size = 0; size < 4 * kMiB; size += 1 + size * 2) {
      free_aligned_sized(aligned_alloc(alignment, size), alignment, size);
    }
  }
}

TEST(CLibrary, GivesBlocksThatFreeTakes) {
  for (int i = 0; i < 100; ++i) {
    char* copy = strdup("a string of the C library's making");
    char* part = strndup(copy, 8);
    char* text = nullptr;
    ASSERT_GT(asprintf(&text, "%s %d", part, i), 0);
    EXPECT_EQ(std::string(text), "a string " + std::to_string(i));
    char* path = realpath("/proc/../proc", nullptr);
    char* line = nullptr;
    size_t capacity = 0;
    FILE* file = fmemopen(copy, strlen(copy), "r");
    EXPECT_GT(getline(&line, &capacity, file), 0);
    fclose(file);
    EXPECT_GE(malloc_usable_size(line), capacity);
    for (char* block : {copy, part, text, path, line}) free(block);
    char* buffer = nullptr;
    size_t size = 0;
    FILE* stream = open_memstream(&buffer, &size);
    for (int j = 0; j < 3000; ++j) fputs("growing ", stream);
    fclose(stream);
    EXPECT_EQ(size, 24000u);
    free(buffer);
  }
}

}  // namespace
}  // namespace outside
