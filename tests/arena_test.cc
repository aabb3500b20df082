// arena_test.cc: bounded arenas: exact accounts whoever frees, bounds of a subtree, reservations, both modes, and
// destroy.
#include "alloc/arena.h"

#include <gtest/gtest.h>
#include <string.h>

#include <random>
#include <thread>

#include "alloc/cpu_cache.h"
#include "alloc/heap.h"
#include "alloc/ledger.h"
#include "alloc/neap.h"
#include "alloc/release.h"
#include "tests/page_picture.h"

namespace neap {
namespace {

constexpr size_t kMiB = 1u << 20;

class ArenaTest : public ::testing::Test {
 protected:
  void SetUp() override { root_ = neap_arena_root(); }

  static neap_arena* Create(neap_arena* parent, size_t bound, neap_arena_mode mode = NEAP_ARENA_SOFT) {
    neap_arena* arena = neap_arena_create(parent, "test", bound);
    EXPECT_NE(arena, nullptr);
    EXPECT_EQ(neap_arena_set_mode(arena, mode), 0);
    return arena;
  }
  static neap_arena_stats_t Stats(neap_arena* arena) {
    neap_arena_stats_t stats;
    EXPECT_EQ(neap_arena_stats(arena, &stats), 0);
    EXPECT_EQ(stats.resident, stats.live + stats.cached + stats.dirty);
    EXPECT_GE(stats.charged, stats.resident + stats.reserved);
    EXPECT_GE(stats.peak, stats.charged);
    return stats;
  }
  // Allocates in the arena and touches it.
  static void* Take(neap_arena* arena, size_t size, size_t alignment = 0) {
    void* block = neap_arena_malloc(arena, size, alignment);
    if (block != nullptr) memset(block, 0x77, UsableSize(block));
    return block;
  }
  // The kernel's word on what the arena's spans hold.
  static size_t ResidentOf(neap_arena* arena) {
    size_t bytes = 0;
    for (size_t g = 0; g < PageMap::Granules(); ++g) {
      const Span* span = PageMap::At(g);
      const void* owner = nullptr;
      size_t granules = 1;
      if (span->kind == SpanKind::kSlab) owner = static_cast<const Slab*>(span)->pool->arena();
      if (span->kind == SpanKind::kLarge) {
        owner = static_cast<const LargeSpan*>(span)->arena;
        granules = static_cast<const LargeSpan*>(span)->granules;
      }
      if (owner == arena) {
        bytes += FakeOs::ResidentBytesIn(reinterpret_cast<void*>(PageMap::AddressOf(g)), granules * kGranuleSize);
      }
    }
    return bytes;
  }

  neap_arena* root_ = nullptr;
};

TEST_F(ArenaTest, TheRootIsThereAndStays) {
  EXPECT_NE(root_, nullptr);
  EXPECT_EQ(neap_arena_root(), root_);
  EXPECT_EQ(neap_arena_destroy(root_), EINVAL);
  EXPECT_EQ(Stats(root_).bound, NEAP_UNBOUNDED);
}

TEST_F(ArenaTest, TheAccountIsTheKernelsWhateverTheSize) {
  neap_arena* arena = Create(nullptr, 64 * kMiB);
  std::vector<void*> blocks;
  for (size_t size = 1; size < 3 * kMiB; size = size * 3 / 2 + 1) {
    blocks.push_back(Take(arena, size));
    ASSERT_EQ(Stats(arena).resident, ResidentOf(arena)) << size;
  }
  const size_t root = Stats(root_).charged;
  EXPECT_EQ(root, Stats(root_).resident + Stats(arena).resident);
  for (void* block : blocks) {
    Free(block);
    ASSERT_EQ(Stats(arena).resident, ResidentOf(arena));
  }
  EXPECT_EQ(Stats(arena).live, 0u);
  EXPECT_EQ(Stats(arena).charged, 0u);
  EXPECT_GT(Stats(arena).peak, 6 * kMiB);
}

TEST_F(ArenaTest, BlocksAreAlignedAndCountTheirSize) {
  neap_arena* arena = Create(nullptr, NEAP_UNBOUNDED);
  for (size_t alignment = 16; alignment <= 4 * kMiB; alignment *= 2) {
    void* block = Take(arena, 100, alignment);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(block) % alignment, 0u);
  }
  EXPECT_EQ(neap_arena_malloc(arena, 100, 48), nullptr);
  EXPECT_EQ(errno, ENOMEM);
  EXPECT_EQ(neap_arena_malloc(arena, SIZE_MAX, 0), nullptr);
  EXPECT_EQ(neap_arena_malloc(nullptr, 1, 0), nullptr);
  neap_arena* other = Create(nullptr, NEAP_UNBOUNDED);
  Take(other, 100);
  EXPECT_EQ(Stats(other).live, 112u);
}

TEST_F(ArenaTest, AFreeByAnotherThreadIsTheOwnersGain) {
  neap_arena* arena = Create(nullptr, 8 * kMiB);
  std::vector<void*> blocks;
  for (int i = 0; i < 2000; ++i) blocks.push_back(Take(arena, 1 + i % 3000));
  EXPECT_GT(Stats(arena).resident, 2 * kMiB);
  const size_t in_root = Stats(root_).resident;
  std::thread([&] {
    for (void* block : blocks) Free(block);
  }).join();
  EXPECT_EQ(Stats(arena).live, 0u);
  EXPECT_EQ(Stats(arena).charged, 0u);
  EXPECT_EQ(Stats(root_).resident, in_root);
}

// With a hit path, which a scope has to close.
class ScopeTest : public ArenaTest {
 protected:
  void SetUp() override {
    Fake().real_rseq = true;
    ArenaTest::SetUp();
  }
};

TEST_F(ScopeTest, TakesEveryAllocationOfItsThread) {
  neap_arena* arena = Create(nullptr, NEAP_UNBOUNDED);
  neap_arena* inner = Create(arena, NEAP_UNBOUNDED);
  auto owner = [](void* block) -> void* {
    Span* span = PageMap::Find(block);
    return span->kind == SpanKind::kLarge ? static_cast<LargeSpan*>(span)->arena
                                          : static_cast<Slab*>(span)->pool->arena();
  };
  EXPECT_EQ(owner(Allocate(100)), root_);
  ASSERT_EQ(neap_scope_push(arena), 0);
  EXPECT_EQ(owner(Allocate(100)), arena);
  EXPECT_EQ(owner(AllocateZeroed(100)), arena);
  EXPECT_EQ(owner(AllocateZeroed(kMiB)), arena);
  EXPECT_EQ(owner(AllocateAligned(100, 256)), arena);
  ASSERT_EQ(neap_scope_push(inner), 0);
  EXPECT_EQ(owner(Allocate(100)), inner);
  ASSERT_EQ(neap_scope_push(root_), 0);
  EXPECT_EQ(owner(Allocate(100)), root_);
  neap_scope_pop();
  EXPECT_EQ(owner(Allocate(100)), inner);
  std::thread([&] { EXPECT_EQ(owner(Allocate(100)), root_); }).join();
  neap_scope_pop();
  void* block = Allocate(100);
  EXPECT_EQ(owner(block), arena);
  neap_scope_pop();
  // A block stays with its owner when it moves.
  EXPECT_EQ(owner(Reallocate(block, 5000)), arena);
  EXPECT_EQ(owner(Allocate(100)), root_);
  neap_scope_pop();  // one too many is no harm
  EXPECT_EQ(owner(Allocate(100)), root_);
}

TEST_F(ScopeTest, FifteenNest) {
  neap_arena* arena = Create(nullptr, NEAP_UNBOUNDED);
  for (int i = 0; i < 15; ++i) ASSERT_EQ(neap_scope_push(arena), 0);
  EXPECT_EQ(neap_scope_push(arena), EAGAIN);
  for (int i = 0; i < 15; ++i) neap_scope_pop();
  EXPECT_EQ(neap_scope_push(arena), 0);
  neap_scope_pop();
  EXPECT_EQ(neap_scope_push(nullptr), EINVAL);
}

TEST_F(ArenaTest, SoftGrantsPastTheBoundAndCounts) {
  neap_arena* arena = Create(nullptr, kMiB);
  EXPECT_NE(Take(arena, kMiB / 2), nullptr);
  EXPECT_EQ(Stats(arena).overruns, 0u);
  EXPECT_NE(Take(arena, kMiB), nullptr);
  EXPECT_EQ(Stats(arena).overruns, 1u);
  EXPECT_GT(Stats(arena).charged, Stats(arena).bound);
}

TEST_F(ArenaTest, StrictNeverPassesTheBound) {
  neap_arena* arena = Create(nullptr, kMiB, NEAP_ARENA_STRICT);
  std::minstd_rand random(3);
  std::vector<void*> blocks;
  size_t refused = 0;
  for (int i = 0; i < 20000; ++i) {
    void* block = Take(arena, random() % (random() % 8 == 0 ? 200'000 : 2000) + 1);
    if (block == nullptr) {
      ++refused;
      EXPECT_EQ(errno, ENOMEM);
    } else {
      blocks.push_back(block);
    }
    ASSERT_LE(Stats(arena).charged, kMiB);
    while (!blocks.empty() && random() % (block == nullptr ? 2 : 20) != 0 && random() % 3 == 0) {
      std::swap(blocks[random() % blocks.size()], blocks.back());
      Free(blocks.back());
      blocks.pop_back();
    }
    if (i % 100 == 0) {
      ASSERT_EQ(Stats(arena).resident, ResidentOf(arena));
    }
  }
  EXPECT_GT(refused, 100u);
  EXPECT_EQ(Stats(arena).overruns, 0u);
  EXPECT_LE(Stats(arena).peak, kMiB);
  for (void* block : blocks) Free(block);
  EXPECT_EQ(Stats(arena).charged, 0u);
}

TEST_F(ArenaTest, StrictRefusesAReallocAndLeavesTheBlockAsItWas) {
  neap_arena* arena = Create(nullptr, kMiB, NEAP_ARENA_STRICT);
  char* block = static_cast<char*>(Take(arena, 200'000));
  memset(block, 0x42, 200'000);
  const auto before = Stats(arena);
  EXPECT_EQ(Reallocate(block, 2 * kMiB), nullptr);
  EXPECT_EQ(block[199'999], 0x42);
  EXPECT_EQ(Stats(arena).charged, before.charged);
  EXPECT_EQ(Stats(arena).live, before.live);
  EXPECT_EQ(Stats(arena).peak, before.peak);
}

// Room in the arena's own dirty pages is room.
TEST_F(ArenaTest, StrictUsesItsOwnDirtyPagesBeforeItRefuses) {
  neap_arena* arena = Create(nullptr, 32 * kPageSize, NEAP_ARENA_STRICT);
  std::vector<void*> blocks;
  while (void* block = Take(arena, 1024)) blocks.push_back(block);
  EXPECT_EQ(Stats(arena).charged, 32 * kPageSize);
  // One block in each slab stays; the pages around it are dirty.
  for (size_t i = 0; i < blocks.size(); ++i) {
    if (i % 64 != 0) Free(blocks[i]);
  }
  EXPECT_GE(Stats(arena).dirty, 30 * kPageSize);
  EXPECT_NE(Take(arena, 64), nullptr);
  EXPECT_NE(Take(arena, 50'000), nullptr);
}

TEST_F(ArenaTest, ABoundHoldsForTheSubtree) {
  neap_arena* parent = Create(nullptr, kMiB, NEAP_ARENA_STRICT);
  neap_arena* a = Create(parent, NEAP_UNBOUNDED);
  neap_arena* b = Create(parent, NEAP_UNBOUNDED);
  EXPECT_NE(Take(a, 600 << 10), nullptr);
  const auto before = Stats(b);
  EXPECT_EQ(Take(b, 600 << 10), nullptr);
  // What was refused higher up has left no trace below.
  EXPECT_EQ(Stats(b).charged, 0u);
  EXPECT_EQ(Stats(b).peak, before.peak);
  EXPECT_NE(Take(b, 300 << 10), nullptr);
  EXPECT_EQ(Stats(parent).charged, 900u << 10);
  EXPECT_EQ(Stats(parent).resident, 0u);
  neap_arena_set_bound(parent, 2 * kMiB);
  EXPECT_NE(Take(b, 600 << 10), nullptr);
}

TEST_F(ArenaTest, ASoftChildOfAStrictParentCountsNoOverrunForWhatWasRefused) {
  neap_arena* parent = Create(nullptr, 2 * kMiB, NEAP_ARENA_STRICT);
  neap_arena* child = Create(parent, kMiB, NEAP_ARENA_SOFT);
  EXPECT_EQ(Take(child, 3 * kMiB), nullptr);
  EXPECT_EQ(Stats(child).overruns, 0u);
  EXPECT_NE(Take(child, kMiB + 4096), nullptr);
  EXPECT_EQ(Stats(child).overruns, 1u);
}

TEST_F(ArenaTest, TheModeIsInherited) {
  neap_arena* parent = Create(nullptr, kMiB, NEAP_ARENA_STRICT);
  neap_arena* child = neap_arena_create(parent, "child", 64 << 10);
  EXPECT_EQ(Take(child, 100 << 10), nullptr);
  EXPECT_EQ(neap_arena_set_mode(child, static_cast<neap_arena_mode>(7)), EINVAL);
}

TEST_F(ArenaTest, AReservationIsHeldAndGrownInto) {
  neap_arena* arena = Create(nullptr, kMiB, NEAP_ARENA_STRICT);
  EXPECT_EQ(neap_arena_reserve(arena, 600 << 10), 0);
  EXPECT_EQ(Stats(arena).reserved, 600u << 10);
  EXPECT_EQ(Stats(arena).charged, 600u << 10);
  EXPECT_EQ(neap_arena_reserve(arena, 600 << 10), ENOMEM);
  EXPECT_EQ(Stats(arena).charged, 600u << 10);
  EXPECT_EQ(Stats(arena).peak, 600u << 10);
  void* block = Take(arena, 400 << 10);
  EXPECT_EQ(Stats(arena).reserved, 200u << 10);
  EXPECT_EQ(Stats(arena).charged, 600u << 10);
  // Beyond the reservation and beyond the bound: refused, and the reservation is whole.
  EXPECT_EQ(Take(arena, 900 << 10), nullptr);
  EXPECT_EQ(Stats(arena).reserved, 200u << 10);
  EXPECT_NE(Take(arena, 500 << 10), nullptr);
  EXPECT_EQ(Stats(arena).reserved, 0u);
  EXPECT_EQ(Stats(arena).charged, 900u << 10);
  Free(block);
  EXPECT_EQ(Stats(arena).charged, 500u << 10);
}

TEST_F(ArenaTest, AskingForRoomHoldsNothing) {
  neap_arena* parent = Create(nullptr, kMiB);
  neap_arena* child = Create(parent, NEAP_UNBOUNDED);
  EXPECT_EQ(neap_arena_may_grow(child, kMiB), 0);
  EXPECT_EQ(neap_arena_may_grow(child, kMiB + 1), ENOMEM);
  EXPECT_EQ(neap_arena_may_grow(child, SIZE_MAX), ENOMEM);
  EXPECT_EQ(Stats(parent).peak, 0u);
  EXPECT_EQ(neap_arena_reserve(child, kMiB / 2), 0);
  EXPECT_EQ(neap_arena_may_grow(parent, kMiB / 2), 0);
  EXPECT_EQ(neap_arena_may_grow(parent, kMiB / 2 + 1), ENOMEM);
  EXPECT_EQ(Stats(parent).charged, kMiB / 2);
}

TEST_F(ArenaTest, AReservationIsRefusedInBothModesAndByAnyBoundOnTheWay) {
  neap_arena* parent = Create(nullptr, kMiB);
  neap_arena* child = Create(parent, NEAP_UNBOUNDED);
  EXPECT_EQ(neap_arena_reserve(child, 2 * kMiB), ENOMEM);
  EXPECT_EQ(Stats(child).peak, 0u);
  EXPECT_EQ(Stats(parent).charged, 0u);
  EXPECT_EQ(neap_arena_reserve(child, kMiB), 0);
  EXPECT_EQ(neap_arena_reserve(parent, 1), ENOMEM);
  EXPECT_EQ(neap_arena_unreserve(child, kMiB / 2), 0);
  EXPECT_EQ(neap_arena_reserve(parent, kMiB / 2), 0);
  EXPECT_EQ(neap_arena_unreserve(child, 8 * kMiB), 0);  // at most what is reserved
  EXPECT_EQ(Stats(child).charged, 0u);
  EXPECT_EQ(Stats(parent).charged, kMiB / 2);
  EXPECT_EQ(Stats(parent).overruns, 0u);
  EXPECT_EQ(neap_arena_reserve(nullptr, 1), EINVAL);
}

TEST_F(ArenaTest, DestroyGivesEverythingBackAtOnce) {
  neap_arena* parent = Create(nullptr, NEAP_UNBOUNDED);
  neap_arena* child = Create(parent, NEAP_UNBOUNDED);
  Trim();
  const size_t before = ReadLedger().Resident() - ReadLedger().metadata;
  for (neap_arena* arena : {parent, child}) {
    for (size_t size = 16; size <= 16 * kMiB; size *= 4) {
      for (int i = 0; i < 5; ++i) Take(arena, size);
    }
    EXPECT_EQ(neap_arena_reserve(arena, kMiB), 0);
  }
  EXPECT_GT(Stats(root_).charged, 200 * kMiB);
  EXPECT_EQ(neap_arena_destroy(parent), 0);
  const Ledger ledger = ReadLedger();
  EXPECT_EQ(ledger.Resident() - ledger.metadata, before);
  EXPECT_EQ(Fake().ResidentBytesIn(reinterpret_cast<void*>(hot::window), PageMap::Granules() * kGranuleSize), before);
  EXPECT_EQ(Stats(root_).charged, Stats(root_).resident);
  EXPECT_EQ(ledger.arenas, 1u);
}

TEST_F(ArenaTest, NamesAreCutAndNumbersUsedAgain) {
  const std::string longer(100, 'x');
  neap_arena* arena = neap_arena_create(nullptr, longer.c_str(), 0);
  EXPECT_EQ(reinterpret_cast<Arena*>(arena)->name(), std::string(47, 'x'));
  const auto id = reinterpret_cast<Arena*>(arena)->id();
  EXPECT_EQ(neap_arena_destroy(arena), 0);
  arena = neap_arena_create(nullptr, nullptr, 0);
  EXPECT_EQ(reinterpret_cast<Arena*>(arena)->id(), id);
  EXPECT_EQ(std::string(reinterpret_cast<Arena*>(arena)->name()), "");
}

TEST_F(ArenaTest, FourThousandAndNinetyFiveAtATime) {
  std::vector<neap_arena*> arenas;
  for (int i = 0; i < 4095; ++i) {
    arenas.push_back(neap_arena_create(nullptr, "one of many", NEAP_UNBOUNDED));
    ASSERT_NE(arenas.back(), nullptr);
  }
  EXPECT_EQ(neap_arena_create(nullptr, "one too many", NEAP_UNBOUNDED), nullptr);
  EXPECT_EQ(errno, ENOMEM);
  const size_t metadata = ReadLedger().metadata;
  for (neap_arena* arena : arenas) EXPECT_EQ(neap_arena_destroy(arena), 0);
  for (int i = 0; i < 4095; ++i) ASSERT_NE(neap_arena_create(nullptr, "again", NEAP_UNBOUNDED), nullptr);
  EXPECT_EQ(ReadLedger().metadata, metadata);
}

TEST_F(ArenaTest, APurgeTakesTheDirtyPagesOfOneArena) {
  neap_arena* a = Create(nullptr, NEAP_UNBOUNDED);
  neap_arena* b = Create(nullptr, NEAP_UNBOUNDED);
  std::vector<void*> blocks;
  for (neap_arena* arena : {a, b}) {
    for (int i = 0; i < 64; ++i) {
      void* block = Take(arena, 1024);
      if (i % 8 != 0) blocks.push_back(block);
    }
  }
  for (void* block : blocks) Free(block);
  EXPECT_EQ(Stats(a).dirty, 8 * kPageSize);
  EXPECT_EQ(neap_arena_purge(a), 8 * kPageSize);
  EXPECT_EQ(Stats(a).dirty, 0u);
  EXPECT_EQ(Stats(a).resident, ResidentOf(a));
  EXPECT_EQ(Stats(b).dirty, 8 * kPageSize);
  EXPECT_EQ(neap_arena_purge(nullptr), 0u);
}

TEST_F(ArenaTest, ManyThreadsManyArenas) {
  auto work = [&](unsigned seed) {
    std::minstd_rand random(seed);
    for (int round = 0; round < 30; ++round) {
      neap_arena* parent = Create(nullptr, 4 * kMiB, NEAP_ARENA_STRICT);
      neap_arena* child = Create(parent, kMiB);
      EXPECT_EQ(neap_scope_push(child), 0);
      std::vector<void*> blocks;
      for (int i = 0; i < 300; ++i) {
        void* block = Allocate(random() % 5000 + 1);
        if (block != nullptr) blocks.push_back(block);
      }
      for (size_t i = 0; i < blocks.size(); i += 2) Free(blocks[i]);
      neap_scope_pop();
      EXPECT_LE(Stats(parent).charged, 4 * kMiB);
      EXPECT_EQ(neap_arena_destroy(parent), 0);
    }
  };
  std::thread threads[] = {std::thread(work, 1), std::thread(work, 2), std::thread(work, 3)};
  for (int i = 0; i < 200; ++i) {
    ReadLedger();
    Releaser::ReleaseAt(0);
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(Arena::Count(), 1u);
  EXPECT_EQ(Stats(root_).charged, Stats(root_).resident);
}

TEST_F(ArenaTest, AReservationThatNoMemoryHasIsRefused) {
  neap_arena* arena = Create(nullptr, kMiB, NEAP_ARENA_STRICT);
  EXPECT_NE(Take(arena, 100'000), nullptr);
  const size_t charged = Stats(arena).charged;
  for (size_t bytes : {SIZE_MAX, SIZE_MAX - 4095, SIZE_MAX - charged, size_t{PTRDIFF_MAX}, kMiB}) {
    EXPECT_EQ(neap_arena_reserve(arena, bytes), ENOMEM) << bytes;
    EXPECT_EQ(Stats(arena).charged, charged);
  }
  EXPECT_EQ(Take(arena, kMiB), nullptr);
}

// The fullest slab has free blocks on a page that was given back alone; others have some on pages they hold anyway.
TEST_F(ArenaTest, AFullStrictArenaServesWhatCostsNothing) {
  neap_arena* arena = Create(nullptr, kMiB * 64, NEAP_ARENA_STRICT);
  std::vector<char*> blocks;
  for (int i = 0; i < 64 * 8; ++i) blocks.push_back(static_cast<char*>(Take(arena, 1024)));
  const auto slab_of = [](const void* block) { return reinterpret_cast<uintptr_t>(block) >> kGranuleShift; };
  for (char* block : blocks) {
    const auto address = reinterpret_cast<uintptr_t>(block);
    const bool in_first = slab_of(block) == slab_of(blocks[0]);
    if (in_first ? (address >> kPageShift) % kPagesPerGranule == 5 : address % kPageSize != 0) Free(block);
  }
  EXPECT_EQ(neap_arena_purge(arena), kPageSize);
  const size_t charged = Stats(arena).charged;
  EXPECT_EQ(neap_arena_set_bound(arena, charged), 0);
  for (int i = 0; i < 100; ++i) EXPECT_NE(Take(arena, 1024), nullptr);
  EXPECT_EQ(Stats(arena).charged, charged);
}

}  // namespace
}  // namespace neap
