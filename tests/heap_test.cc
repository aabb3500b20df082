// heap_test.cc: the entry points of heap.h over everything below, on one and on several nodes.
#include "alloc/heap.h"

#include <gtest/gtest.h>
#include <string.h>

#include <random>
#include <set>
#include <thread>

#include "alloc/arena.h"
#include "alloc/cpu_cache.h"
#include "alloc/ledger.h"
#include "alloc/page_map.h"
#include "alloc/release.h"
#include "tests/fake_os.h"

namespace neap {
namespace {

TEST(Heap, BlocksAreAlignedUsableAndApart) {
  std::set<std::pair<uintptr_t, size_t>> blocks;
  for (size_t size = 0; size < 400'000; size = size < 2000 ? size + 1 : size * 9 / 8) {
    void* block = Allocate(size);
    ASSERT_NE(block, nullptr);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(block) % kMinAlignment, 0u);
    ASSERT_GE(UsableSize(block), std::max<size_t>(size, 1));
    memset(block, 0xee, UsableSize(block));
    blocks.emplace(reinterpret_cast<uintptr_t>(block), UsableSize(block));
  }
  uintptr_t end = 0;
  for (auto [begin, size] : blocks) {
    EXPECT_GE(begin, end);
    end = begin + size;
    Free(reinterpret_cast<void*>(begin));
  }
}

TEST(Heap, NullIsNoBlock) {
  Free(nullptr);
  FreeSized(nullptr, 10, 0);
  EXPECT_EQ(UsableSize(nullptr), 0u);
}

TEST(Heap, EverySizeAtEveryAlignment) {
  for (size_t alignment = 1; alignment <= (4u << 20); alignment *= 2) {
    for (size_t size : {0, 1, 15, 17, 100, 1000, 1025, 5000, 33'000, 70'000, 270'000}) {
      void* block = AllocateAligned(size, alignment);
      ASSERT_NE(block, nullptr);
      EXPECT_EQ(reinterpret_cast<uintptr_t>(block) % alignment, 0u) << size << " at " << alignment;
      EXPECT_GE(UsableSize(block), size);
      memset(block, 1, size);
      FreeSized(block, size, alignment);
    }
  }
}

TEST(Heap, ZeroedMeansZeroed) {
  std::minstd_rand random(2);
  for (int i = 0; i < 3000; ++i) {
    const size_t size = random() % (size_t{1} << (random() % 20));
    auto* block = static_cast<unsigned char*>(AllocateZeroed(size));
    for (size_t at = 0; at < size; ++at) ASSERT_EQ(block[at], 0);
    memset(block, 0xff, UsableSize(block));
    Free(block);
  }
}

TEST(Heap, ReallocateKeepsWhatFits) {
  std::minstd_rand random(4);
  size_t size = 1;
  auto* block = static_cast<unsigned char*>(Allocate(size));
  block[0] = 0;
  for (int i = 0; i < 4000; ++i) {
    const size_t other = random() % (size_t{1} << (random() % 20)) + 1;
    block = static_cast<unsigned char*>(Reallocate(block, other));
    ASSERT_NE(block, nullptr);
    for (size_t at = 0; at < std::min(size, other); at += at < 100 ? 1 : 509) {
      ASSERT_EQ(block[at], static_cast<unsigned char>(at * 7));
    }
    for (size_t at = 0; at < other; ++at) block[at] = static_cast<unsigned char>(at * 7);
    size = other;
  }
  Free(block);
}

TEST(Heap, ReallocateLeavesABlockThatStillFitsWell) {
  void* block = Allocate(1000);
  EXPECT_EQ(Reallocate(block, 1008), block);
  EXPECT_EQ(Reallocate(block, 600), block);
  void* smaller = Reallocate(block, 100);
  EXPECT_NE(smaller, block);
  EXPECT_EQ(UsableSize(smaller), 112u);
}

TEST(Heap, AFreedBlockServesTheNextRequest) {
  void* block = Allocate(100);
  Free(block);
  EXPECT_EQ(Allocate(100), block);
}

// A block whose contents happen to be what marks a free one: the free looks closer and takes it.
TEST(Heap, ACopiedMarkIsNoProofOfADoubleFree) {
  Fake().real_rseq = true;
  auto* block = static_cast<uintptr_t*>(Allocate(64));
  auto* other = static_cast<uintptr_t*>(Allocate(64));
  auto* third = static_cast<uintptr_t*>(Allocate(64));
  other[0] = EntryOf(PageMap::Find(block), 0);
  third[0] = EntryOf(PageMap::Find(block), HeaderOf(ClassOf(64)));
  block[0] = EntryOf(PageMap::Find(block), 0);
  Free(other);
  Free(third);
  block = static_cast<uintptr_t*>(Reallocate(block, 5000));
  EXPECT_NE(block, nullptr);
  Free(block);
  Trim();
  EXPECT_EQ(ReadLedger().live, 0u);
}

// The hit path of free reads the first byte alone, and one of these is the mark's.
TEST(Heap, WhateverABlockBeginsWithItIsFreedOnce) {
  Fake().real_rseq = true;
  for (int first = 0; first < 256; ++first) {
    void* block = memset(Allocate(64), first, 64);
    Free(block);
    EXPECT_DEATH(Free(block), "double free") << first;
  }
  Trim();
  EXPECT_EQ(ReadLedger().live, 0u);
}

// Threads that free each other's blocks, with contents checked.
TEST(Heap, BlocksGoFromThreadToThread) {
  struct Box {
    std::atomic<unsigned char*> slots[64] = {};
  } box;
  auto work = [&](unsigned seed) {
    std::minstd_rand random(seed);
    for (int i = 0; i < 20000; ++i) {
      const size_t size = random() % (random() % 50 == 0 ? 300'000 : 3000) + 16;
      auto* block = static_cast<unsigned char*>(Allocate(size));
      memcpy(block, &size, sizeof(size));
      block[sizeof(size)] = block[size - 1] = static_cast<unsigned char>(size);
      block = box.slots[random() % 64].exchange(block);
      if (block == nullptr) continue;
      size_t its_size;
      memcpy(&its_size, block, sizeof(its_size));
      ASSERT_EQ(block[its_size - 1], static_cast<unsigned char>(its_size));
      Free(block);
    }
  };
  {
    std::thread threads[] = {std::thread(work, 1), std::thread(work, 2), std::thread(work, 3)};
    for (auto& thread : threads) thread.join();
  }
  for (auto& slot : box.slots) Free(slot.load());
  Trim();
  EXPECT_EQ(Arena::Root().charged(), ReadLedger().cached + ReadLedger().live);
}

// ---- Several nodes.

class NodesTest : public ::testing::Test {
 protected:
  void SetUp() override { Fake().nodes = 2; }
  static int HomeOf(void* block) { return PageMap::Find(block)->node; }
  static size_t Out(int node, size_t size) { return RootHeap::Node(node).pools[ClassOf(size)].ledger().taken_blocks; }
};

TEST_F(NodesTest, SpansComeFromTheNodeThatTheThreadRunsOn) {
  for (int node : {0, 1, 0}) {
    Fake().current_node = node;
    CpuCaches::Drain(CpuCaches::Which::kAll);  // locked mode: the cache does not move with the thread
    for (size_t size : {100, 5000, 50'000, 500'000}) {
      void* block = Allocate(size);
      EXPECT_EQ(HomeOf(block), node) << size;
      Free(block);
    }
  }
  // Address space is bound to its node.
  std::set<int> bound;
  for (const auto& binding : Fake().Bindings()) bound.insert(binding.node);
  EXPECT_EQ(bound, (std::set<int>{0, 1}));
}

TEST_F(NodesTest, ABlockFreedElsewhereGoesHome) {
  Fake().current_node = 1;
  std::vector<void*> blocks;
  for (int i = 0; i < 100; ++i) blocks.push_back(Allocate(512));
  CpuCaches::Drain(CpuCaches::Which::kAll);
  EXPECT_EQ(Out(1, 512), 100u);
  Fake().current_node = 0;
  for (void* block : blocks) Free(block);
  EXPECT_EQ(CpuCaches::CachedBytes(), 0u);
  EXPECT_EQ(Out(1, 512), 0u);
  EXPECT_EQ(Out(0, 512), 0u);
  void* block = Allocate(512);
  EXPECT_EQ(HomeOf(block), 0);
  Free(block);
  EXPECT_GT(CpuCaches::CachedBytes(), 0u);
}

TEST_F(NodesTest, ANodeBeyondThoseKnownIsServedByTheFirst) {
  Fake().current_node = 7;
  void* block = Allocate(100);
  EXPECT_EQ(HomeOf(block), 0);
  Free(block);
}

TEST_F(NodesTest, BothNodesAreReleased) {
  for (int node : {0, 1}) {
    Fake().current_node = node;
    std::vector<void*> blocks;
    for (int i = 0; i < 5000; ++i) blocks.push_back(memset(Allocate(2000), 1, 2000));
    for (void* block : blocks) Free(block);
  }
  Trim();
  EXPECT_EQ(FakeOs::ResidentBytesIn(reinterpret_cast<void*>(hot::window), PageMap::Granules() * kGranuleSize), 0u);
}

}  // namespace
}  // namespace neap
