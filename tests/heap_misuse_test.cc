// heap_misuse_test.cc: how a program ends that misuses the heap: one line that names the address and what is known of
// it. tests/misuse asks the same of the library as a whole.
#include <gtest/gtest.h>
#include <string.h>

#include <thread>

#include "alloc/cpu_cache.h"
#include "alloc/heap.h"
#include "alloc/misuse.h"
#include "alloc/neap.h"
#include "tests/fake_os.h"

namespace neap {
namespace {

TEST(MisuseDeathTest, DoubleFreeOfEverySize) {
  for (size_t size : {1, 16, 100, 1000, 5000, 40'000, 250'000}) {
    void* block = Allocate(size);
    void* neighbour = Allocate(size);
    Free(block);
    EXPECT_DEATH(Free(block), "neap: double free of 0x[0-9a-f]+, a block of [0-9]+ bytes") << size;
    Free(neighbour);
  }
  void* large = Allocate(1 << 20);
  Free(large);
  EXPECT_DEATH(Free(large), "where no block starts: freed already");
}

TEST(MisuseDeathTest, DoubleFreeOfABlockThatAnotherThreadFreed) {
  void* block = Allocate(64);
  void* neighbour = Allocate(64);
  std::thread([&] { Free(block); }).join();
  EXPECT_DEATH(Free(block), "double free");
  Free(neighbour);
}

TEST(MisuseDeathTest, DoubleFreeAfterItsPageWasGivenBack) {
  std::vector<void*> blocks;
  for (int i = 0; i < 200; ++i) blocks.push_back(Allocate(64));
  for (int i = 0; i < 199; ++i) Free(blocks[static_cast<size_t>(i)]);
  Trim();
  EXPECT_DEATH(Free(blocks[3]), "double free|no block starts");
}

TEST(MisuseDeathTest, DoubleFreeInAnArena) {
  neap_arena* arena = neap_arena_create(nullptr, "misused", NEAP_UNBOUNDED);
  void* keep = neap_arena_malloc(arena, 64, 0);
  void* block = neap_arena_malloc(arena, 64, 0);
  Free(block);
  EXPECT_DEATH(Free(block), "double free");
  Free(keep);
}

TEST(MisuseDeathTest, InteriorPointers) {
  for (size_t size : {64, 1000, 5000, 40'000}) {
    auto* block = static_cast<char*>(Allocate(size));
    EXPECT_DEATH(Free(block + 16), "which is 16 bytes inside a block of") << size;
    EXPECT_DEATH(Free(block + 1), "which is 1 bytes inside a block of") << size;
    EXPECT_DEATH((void)Reallocate(block + 16, 10), "inside a block of");
    EXPECT_DEATH((void)UsableSize(block + 16), "inside a block of");
  }
  auto* large = static_cast<char*>(Allocate(1 << 20));
  EXPECT_DEATH(Free(large + 16), "which is inside a large block that starts at 0x");
  EXPECT_DEATH(Free(large + 300'000), "no block starts");
}

TEST(MisuseDeathTest, ForeignPointers) {
  Free(Allocate(1));
  static char in_data[64];
  char on_stack[64];
  EXPECT_DEATH(Free(in_data), "which no allocation of this process returned");
  EXPECT_DEATH(Free(on_stack), "which no allocation of this process returned");
  EXPECT_DEATH(Free(reinterpret_cast<void*>(16)), "0x10, which no allocation");
  EXPECT_DEATH(Free(reinterpret_cast<void*>(UINTPTR_MAX - 15)), "which no allocation");
}

TEST(MisuseDeathTest, ReallocOfAFreedBlock) {
  void* block = Allocate(100);
  Free(block);
  EXPECT_DEATH((void)Reallocate(block, 100), "double free|free or realloc");
  EXPECT_DEATH((void)Reallocate(block, 5000), "double free|free or realloc");
  EXPECT_DEATH((void)UsableSize(block), "double free|free or realloc");
}

TEST(MisuseDeathTest, SizedFreeOfAnotherSize) {
  Allocate(100);
  void* block = Allocate(100);
  EXPECT_DEATH(FreeSized(block, 5000, 0), "sized free of 0x[0-9a-f]+ as 5000 bytes, but it is a block of 112 bytes");
  EXPECT_DEATH(FreeSized(block, 40, 0), "sized free");
  EXPECT_DEATH(FreeSized(block, 100, 4096), "sized free of 0x[0-9a-f]+ as 100 bytes aligned to 4096");
  FreeSized(block, 100, 0);
  void* large = Allocate(1 << 20);
  EXPECT_DEATH(FreeSized(large, 100, 0), "sized free");
  FreeSized(large, 1 << 20, 0);
}

TEST(MisuseDeathTest, AFreeAfterItsArenaWasDestroyed) {
  neap_arena* arena = neap_arena_create(nullptr, "gone", NEAP_UNBOUNDED);
  void* small = neap_arena_malloc(arena, 64, 0);
  void* large = neap_arena_malloc(arena, 1 << 20, 0);
  EXPECT_EQ(neap_arena_destroy(arena), 0);
  EXPECT_DEATH(Free(small), "no block starts");
  EXPECT_DEATH(Free(large), "no block starts");
}

}  // namespace
}  // namespace neap
