// hardened_test.cc: NEAP_HARDENED=1. What it catches, that a freed block in the quarantine is cached and not live, that
// the quarantine is bounded and goes when memory is short, and that without the setting none of it is there.
#include "alloc/hardened.h"

#include <gtest/gtest.h>
#include <string.h>

#include <thread>
#include <vector>

#include "alloc/arena.h"
#include "alloc/cpu_cache.h"
#include "alloc/heap.h"
#include "alloc/ledger.h"
#include "alloc/limit_gate.h"
#include "alloc/neap.h"
#include "alloc/release.h"
#include "tests/page_picture.h"

namespace neap {
namespace {

constexpr size_t kMiB = 1u << 20;
// Blocks of every kind: hit path's classes, cached, uncached, of whole pages, large.
constexpr size_t kSizes[] = {0, 1, 16, 100, 112, 1000, 5000, 30'000, 40'000, 65'000, 262'128, 300'000, 5'000'000};

size_t WindowBytes() {
  return FakeOs::ResidentBytesIn(reinterpret_cast<void*>(hot::window), PageMap::Granules() * kGranuleSize);
}

bool Waits(size_t size) { return size + Hardened::kGuardBytes <= Hardened::kQuarantinedMax; }

class HardenedTest : public ::testing::Test {
 public:
  HardenedTest() { Fake().SetEnvironment("NEAP_HARDENED", "1"); }
};
using HardenedDeathTest = HardenedTest;

char* Bytes(size_t size) { return static_cast<char*>(memset(Allocate(size), 0x5a, size)); }

// ---- What it catches.

TEST_F(HardenedDeathTest, AWriteBehindTheRequestedEnd) {
  for (size_t size : kSizes) {
    char* block = Bytes(size);
    EXPECT_EQ(UsableSize(block), size);
    for (size_t behind : {0, 1, 7}) {
      auto write = [&] { block[size + behind] = static_cast<char>(block[size + behind] ^ 0x10); };
      EXPECT_DEATH((write(), Free(block)), "neap: write behind the end of 0x[0-9a-f]+, a block of [0-9]+ bytes")
          << size;
    }
    EXPECT_DEATH((block[size] = 0, Free(block)), "write behind the end") << "a string's end at " << size;
    EXPECT_DEATH((block[size] = '7', (void)Reallocate(block, size + 100)), "write behind the end") << size;
    EXPECT_DEATH((block[size] = '7', (void)UsableSize(block)), "write behind the end") << size;
    Free(block);
  }
}

TEST_F(HardenedDeathTest, AnOverwrittenSize) {
  char* block = Bytes(100);  // of 128 bytes, the last 8 of which are the size
  char* other = Bytes(100);
  EXPECT_DEATH((memset(block + 120, 0, 8), Free(block)), "the requested size is overwritten");
  // Another block's is not valid here.
  EXPECT_DEATH((memcpy(block + 120, other + 120, 8), Free(block)), "the requested size is overwritten");
  EXPECT_DEATH((memcpy(block + 100, other + 100, 28), Free(block)), "write behind the end");
}

TEST_F(HardenedDeathTest, ADoubleFree) {
  for (size_t size : kSizes) {
    char* block = Bytes(size);
    Free(block);
    EXPECT_DEATH(Free(block), "double free|no block starts") << size;
    EXPECT_DEATH((void)Reallocate(block, 10), "double free|no block starts") << size;
    EXPECT_DEATH((void)UsableSize(block), "double free|no block starts") << size;
  }
}

TEST_F(HardenedDeathTest, ADoubleFreeManyCallsLater) {
  char* block = Bytes(100);
  Free(block);
  for (int i = 0; i < 500; ++i) Free(Bytes(100));  // without the quarantine one of these would be it
  EXPECT_DEATH(Free(block), "double free of 0x[0-9a-f]+, a block of 128 bytes");
}

TEST_F(HardenedDeathTest, AWriteAfterFreeWhenTheBlockLeavesTheQuarantine) {
  for (size_t size : {16, 100, 5000, 40'000}) {
    for (size_t at : {size_t{0}, size / 2, size - 1}) {
      auto write_late = [&] {
        char* block = Bytes(size);
        Free(block);
        block[at] = 'x';
        for (size_t i = 0; i < Hardened::kQuarantineBlocks; ++i) Free(Bytes(size));
      };
      EXPECT_DEATH(write_late(), "neap: write to 0x[0-9a-f]+ after it was freed") << size << " at " << at;
    }
    auto write_and_trim = [&] {
      char* block = Bytes(size);
      Free(block);
      block[1] = 'x';
      Trim();
    };
    EXPECT_DEATH(write_and_trim(), "after it was freed");
  }
}

TEST_F(HardenedDeathTest, ASizedFreeOfAnySizeButTheRequested) {
  char* block = Bytes(100);
  EXPECT_DEATH(FreeSized(block, 101, 0), "sized free of 0x[0-9a-f]+ as 101 bytes, but it is a block of 100 bytes");
  EXPECT_DEATH(FreeSized(block, 99, 0), "sized free");
  FreeSized(block, 100, 0);
}

TEST_F(HardenedDeathTest, InABoundedArenaToo) {
  neap_arena* arena = neap_arena_create(nullptr, "guarded", NEAP_UNBOUNDED);
  auto* block = static_cast<char*>(neap_arena_malloc(arena, 100, 0));
  void* neighbour = neap_arena_malloc(arena, 100, 0);
  EXPECT_DEATH((block[100] = 1, Free(block)), "write behind the end");
  Free(block);
  EXPECT_EQ(Hardened::QuarantinedBytes(), 0u);  // its account is exact: nothing waits
  EXPECT_DEATH(Free(block), "double free");
  Free(neighbour);
}

// ---- That programs run on it as on any other.

TEST_F(HardenedTest, EverySizeAndAlignmentServes) {
  for (size_t size : kSizes) {
    for (size_t alignment = 16; alignment <= 2 * kMiB; alignment *= 8) {
      auto* block = static_cast<char*>(AllocateAligned(size, alignment));
      ASSERT_NE(block, nullptr);
      EXPECT_EQ(reinterpret_cast<uintptr_t>(block) % alignment, 0u);
      memset(block, 1, UsableSize(block));
      FreeSized(block, size, alignment);
    }
    auto* zeroed = static_cast<char*>(AllocateZeroed(size));
    for (size_t i = 0; i < size; ++i) ASSERT_EQ(zeroed[i], 0) << size;
    Free(zeroed);
  }
  EXPECT_EQ(Allocate(PTRDIFF_MAX), nullptr);
  EXPECT_EQ(Allocate(SIZE_MAX - 7), nullptr);
}

TEST_F(HardenedTest, ReallocKeepsContentsAndMovesTheGuard) {
  for (size_t from : kSizes) {
    for (size_t to : kSizes) {
      if (to == 0) continue;
      auto* block = static_cast<unsigned char*>(Allocate(from));
      for (size_t i = 0; i < from; ++i) block[i] = static_cast<unsigned char>(i * 7);
      auto* moved = static_cast<unsigned char*>(Reallocate(block, to));
      ASSERT_EQ(UsableSize(moved), to);
      for (size_t i = 0; i < from && i < to; ++i) ASSERT_EQ(moved[i], static_cast<unsigned char>(i * 7));
      memset(moved, 2, to);
      Free(moved);
    }
  }
}

TEST_F(HardenedTest, ThreadsThatFreeEachOthersBlocks) {
  std::vector<void*> blocks(4000);
  for (void*& block : blocks) block = Bytes(static_cast<size_t>(&block - blocks.data()) % 3000);
  std::vector<std::thread> threads;
  for (size_t part = 0; part < 4; ++part) {
    threads.emplace_back([&, part] {
      for (size_t i = part; i < blocks.size(); i += 4) {
        Free(blocks[i]);
        Free(Bytes(i % 500));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(ReadLedger().live, 0u);
  Trim();
  EXPECT_EQ(WindowBytes(), 0u);
}

// ---- The quarantine.

TEST_F(HardenedTest, WhatWaitsIsCachedNotLive) {
  size_t live = 0;
  for (size_t size : kSizes) {
    if (!Waits(size)) continue;
    char* kept = Bytes(size);
    const Ledger before = ReadLedger();
    const size_t waited = Hardened::QuarantinedBytes();
    char* block = Bytes(size);
    const size_t block_size = ReadLedger().live - before.live;
    EXPECT_GE(block_size, size + Hardened::kGuardBytes);
    Free(block);
    const Ledger after = ReadLedger();
    EXPECT_EQ(Hardened::QuarantinedBytes() - waited, block_size);
    EXPECT_EQ(after.live, before.live);
    EXPECT_GE(after.cached, Hardened::QuarantinedBytes());
    EXPECT_GE(after.live + after.cached + after.dirty, WindowBytes());
    neap_arena_stats_t root;
    neap_arena_stats(neap_arena_root(), &root);
    EXPECT_EQ(root.live, after.live);
    static StatsTables tables;
    ReadTables(tables);
    uint64_t of_classes = 0;
    for (const StatsClass& row : tables.size_class) of_classes += row.live;
    EXPECT_EQ(of_classes, after.live);
    live += block_size;
    EXPECT_EQ(after.live, live);
    (void)kept;
  }
}

TEST_F(HardenedTest, TheQuarantineIsBoundedInBlocksAndBytes) {
  for (size_t size : {16, 100, 5000, 40'000, 60'000}) {
    for (size_t i = 0; i < 3 * Hardened::kQuarantineBlocks; ++i) {
      Free(Bytes(size));
      ASSERT_LE(Hardened::QuarantinedBytes(), Hardened::kQuarantineBytes);
    }
    const size_t block_size = size < 1000 ? (size + Hardened::kGuardBytes + 15) / 16 * 16 : size;
    EXPECT_GE(Hardened::QuarantinedBytes(), std::min(Hardened::kQuarantineBlocks * block_size,
                                                     Hardened::kQuarantineBytes - Hardened::kQuarantinedMax));
    EXPECT_EQ(ReadLedger().live, 0u);
  }
  Free(Bytes(Hardened::kQuarantinedMax));  // with its guard too large
  const size_t waiting = Hardened::QuarantinedBytes();
  Free(Bytes(200'000));
  Free(Bytes(3 * kMiB));
  EXPECT_EQ(Hardened::QuarantinedBytes(), waiting);
}

TEST_F(HardenedTest, TrimAndPurgeEmptyIt) {
  for (const bool trim : {true, false}) {
    for (size_t i = 0; i < 500; ++i) Free(Bytes(5000));
    EXPECT_GT(Hardened::QuarantinedBytes(), 2 * kMiB);
    EXPECT_GT(trim ? size_t{Trim()} : neap_purge(), 0u);
    EXPECT_EQ(Hardened::QuarantinedBytes(), 0u);
    const Ledger ledger = ReadLedger();
    EXPECT_EQ(ledger.live + ledger.cached + ledger.dirty, 0u);
    EXPECT_EQ(WindowBytes(), 0u);
  }
}

TEST_F(HardenedTest, ItIsGivenBackWhenHeadroomIsShort) {
  Fake().SetContainer(256 * kMiB, 0);
  char* kept = Bytes(16 * kMiB);
  for (size_t i = 0; i < 500; ++i) Free(Bytes(5000));
  Fake().AdvanceMs(1000);
  Releaser::Tick();
  EXPECT_EQ(LimitGate::Level(), 0u);
  EXPECT_GT(Hardened::QuarantinedBytes(), 2 * kMiB);  // there is room for it
  Fake().SetContainer(24 * kMiB, 0);
  Fake().AdvanceMs(1000);
  Releaser::Tick();
  EXPECT_GT(LimitGate::Level(), 0u);
  EXPECT_EQ(Hardened::QuarantinedBytes(), 0u);
  EXPECT_EQ(WindowBytes(), 16 * kMiB + kPageSize);  // the guard of the block that is kept needs a page
  Free(kept);
}

TEST_F(HardenedTest, GrowthIntoALowLimitGivesItBackFirst) {
  Fake().SetContainer(32 * kMiB, 0);
  for (size_t i = 0; i < 500; ++i) Free(Bytes(5000));
  std::vector<char*> blocks;
  while (LimitGate::Level() == 0 && blocks.size() < 64) blocks.push_back(Bytes(kMiB));
  EXPECT_GT(LimitGate::Level(), 0u);
  EXPECT_EQ(Hardened::QuarantinedBytes(), 0u);
}

TEST_F(HardenedTest, WhatWaitsServesWhenAddressSpaceRunsOut) {
  Fake().address_space = 32 * kMiB;
  size_t first = 0;
  for (int round = 0; round < 3; ++round) {
    for (size_t size : {5000, 300'000}) {
      std::vector<char*> blocks;
      while (auto* block = static_cast<char*>(Allocate(size))) blocks.push_back(block);
      // One that is freed is there at once for another.
      Free(blocks.back());
      EXPECT_NE(blocks.back() = static_cast<char*>(Allocate(size)), nullptr);
      if (size == 5000) {
        if (round == 0) first = blocks.size();
        EXPECT_GT(blocks.size(), first * 9 / 10) << "round " << round;
      }
      for (char* block : blocks) Free(block);
    }
  }
  EXPECT_GT(first * 5000, 16 * kMiB);
}

// Elsewhere a scope's end opens malloc's hit path, which knows no guards.
TEST_F(HardenedTest, BlocksInAndAfterAScopeAreGuarded) {
  Fake().real_rseq = true;
  neap_arena* arena = neap_arena_create(nullptr, "scope", NEAP_UNBOUNDED);
  ASSERT_NE(arena, nullptr);
  const auto expect_guarded = [] {
    Free(Bytes(128 - Hardened::kGuardBytes));  // and others of 128 bytes lie in the CPU's cache
    char* block = Bytes(128);
    EXPECT_EQ(UsableSize(block), 128u);
    Free(block);
  };
  const auto use_scopes = [&] {
    {
      neap::Scope scope(arena);
      expect_guarded();
      neap::Scope root_again(neap_arena_root());
      expect_guarded();
    }
    expect_guarded();
  };
  use_scopes();
  std::thread(use_scopes).join();
  EXPECT_EQ(neap_arena_destroy(arena), 0);
}

// ---- Off.

TEST(NotHardened, NothingOfItIsThere) {
  Free(Allocate(1));
  EXPECT_FALSE(Hardened::On());
  EXPECT_EQ(hot::fast_limit, kSmallMax + 1);
  for (size_t size : {16, 112, 5120, 40'960}) {
    Free(Allocate(size));  // opens the stack of its class
    void* block = Allocate(size);
    EXPECT_EQ(UsableSize(block), size);  // no guard in it
    EXPECT_EQ(OnHitPath(block), size <= kCachedMax);
    const size_t in_caches = CpuCaches::CachedBytes();
    Free(block);
    EXPECT_EQ(Hardened::QuarantinedBytes(), 0u);
    if (size > kCachedMax) continue;
    EXPECT_EQ(CpuCaches::CachedBytes(), in_caches + size);
    EXPECT_EQ(Allocate(size), block);  // it is the next of its size
  }
  EXPECT_EQ(Hardened::EmptyQuarantine(), 0u);
}

}  // namespace
}  // namespace neap
