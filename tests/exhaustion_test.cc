// exhaustion_test.cc: no memory: at every single call for address space, under a limit on it, for good and for a while.
// Null comes back, nothing is lost, the accounts hold, and when there is memory again the heap goes on.
#include <errno.h>
#include <gtest/gtest.h>
#include <string.h>

#include <random>
#include <vector>

#include "alloc/arena.h"
#include "alloc/cpu_cache.h"
#include "alloc/heap.h"
#include "alloc/ledger.h"
#include "alloc/neap.h"
#include "tests/page_picture.h"

namespace neap {
namespace {

constexpr size_t kMiB = 1u << 20;

class Heap {
 public:
  void Take(size_t size) {
    auto* block = static_cast<unsigned char*>(size % 3 == 0 ? AllocateZeroed(size) : Allocate(size));
    if (block == nullptr) {
      ++refused_;
      return;
    }
    memset(block, static_cast<int>(size), size);
    blocks_.emplace_back(block, size);
  }
  void Resize(size_t index, size_t size) {
    auto& [block, old] = blocks_[index];
    auto* moved = static_cast<unsigned char*>(Reallocate(block, size));
    if (moved == nullptr) {
      ++refused_;
      EXPECT_TRUE(Holds(block, old, old));
      return;
    }
    EXPECT_TRUE(Holds(moved, std::min(old, size), old));
    block = moved;
    old = size;
    memset(block, static_cast<int>(size), size);
  }
  void Drop(size_t index) {
    EXPECT_TRUE(Holds(blocks_[index].first, blocks_[index].second, blocks_[index].second));
    Free(blocks_[index].first);
    blocks_[index] = blocks_.back();
    blocks_.pop_back();
  }
  void DropAll() {
    while (!blocks_.empty()) Drop(blocks_.size() - 1);
  }
  size_t size() const { return blocks_.size(); }
  size_t refused() const { return refused_; }

 private:
  static bool Holds(const unsigned char* block, size_t bytes, size_t fill) {
    for (size_t i = 0; i < bytes; i += 61) {
      if (block[i] != static_cast<unsigned char>(fill)) return false;
    }
    return true;
  }

  std::vector<std::pair<unsigned char*, size_t>> blocks_;
  size_t refused_ = 0;
};

void ExpectNothingLost() {
  Trim();
  const size_t window =
      FakeOs::ResidentBytesIn(reinterpret_cast<void*>(hot::window), PageMap::Granules() * kGranuleSize);
  EXPECT_EQ(window, 0u);
  const Ledger ledger = ReadLedger();
  EXPECT_EQ(ledger.live + ledger.cached + ledger.dirty, 0u);
  EXPECT_EQ(Arena::Root().charged(), 0u);
}

void WorkOn(Heap& heap, unsigned seed) {
  std::minstd_rand random(seed);
  for (int i = 0; i < 400; ++i) {
    const size_t size = random() % (size_t{1} << (4 + random() % 19)) + 1;
    if (random() % 3 != 0 || heap.size() == 0)
      heap.Take(size);
    else if (random() % 2 == 0)
      heap.Drop(random() % heap.size());
    else
      heap.Resize(random() % heap.size(), size);
  }
}

class RefusedMapTest : public ::testing::TestWithParam<int> {};

// The n-th call for address space of a process's life is refused.
TEST_P(RefusedMapTest, OnceIsSurvived) {
  Fake().map.Nth(GetParam());
  Heap heap;
  WorkOn(heap, 1);
  EXPECT_LE(heap.refused(), 1u);
  heap.DropAll();
  ExpectNothingLost();
}

TEST_P(RefusedMapTest, FromThenOnIsSurvivedAndPasses) {
  Heap heap;
  WorkOn(heap, 1);
  Fake().map.Always();
  for (unsigned i = 0; i < 8; ++i) WorkOn(heap, 10 + i);
  Fake().map.Never();
  const size_t refused = heap.refused();
  EXPECT_GT(refused, 0u);
  heap.DropAll();
  ExpectNothingLost();
  WorkOn(heap, 2);
  EXPECT_EQ(heap.refused(), refused);
  heap.DropAll();
  ExpectNothingLost();
}

INSTANTIATE_TEST_SUITE_P(Calls, RefusedMapTest, ::testing::Range(1, 25));

class AddressSpaceTest : public ::testing::TestWithParam<size_t> {};

TEST_P(AddressSpaceTest, IsUsedToTheEndAndAgain) {
  const size_t limit = GetParam() * kMiB;
  Fake().address_space = limit;
  for (int round = 0; round < 3; ++round) {
    Heap heap;
    size_t taken = 0;
    while (heap.refused() == 0) {
      heap.Take(100'000);
      taken += 100'000;
    }
    // What the allocator's own tables and steps cost must not be most of it.
    EXPECT_GT(taken, limit / 2) << "of " << limit;
    for (int i = 0; i < 1000; ++i) heap.Take(100);
    heap.DropAll();
    // All of it is there for one block again, whatever it was cut into.
    heap.Take(limit / 3);
    EXPECT_EQ(heap.size(), 1u) << "round " << round;
    heap.DropAll();
    ExpectNothingLost();
  }
}

// What one size has used up serves the next, although there is no room left for records of the new spans.
TEST_P(AddressSpaceTest, IsUsedToTheEndBySizesInTurn) {
  const size_t limit = GetParam() * kMiB;
  Fake().address_space = limit;
  for (const size_t size : {size_t{40}, size_t{5000}, kMiB, size_t{100}, size_t{40'000}}) {
    for (int round = 0; round < 2; ++round) {
      Heap heap;
      size_t taken = 0;
      for (; heap.refused() == 0; taken += size) heap.Take(size);
      // Records are cut where they do not fit and never joined: not all of it.
      EXPECT_GT(taken, limit / 3) << "in blocks of " << size << ", round " << round;
      heap.DropAll();
    }
  }
  ExpectNothingLost();
}

INSTANTIATE_TEST_SUITE_P(MiB, AddressSpaceTest, ::testing::Values(32, 50, 64, 200));

TEST(Exhaustion, AtTheStartIsNoVerdict) {
  Fake().map.Always();
  EXPECT_EQ(Allocate(100), nullptr);
  EXPECT_EQ(AllocateZeroed(kMiB), nullptr);
  EXPECT_EQ(neap_arena_create(nullptr, "none", 0), nullptr);
  // What asks or orders finds nothing, and does not fall over it.
  neap_stats_t stats;
  EXPECT_EQ(neap_stats(&stats), ENOMEM);
  EXPECT_EQ(stats.live + stats.resident, 0u);
  EXPECT_EQ(neap_purge(), 0u);
  EXPECT_FALSE(Trim());
  neap_arena* root = neap_arena_root();
  neap_arena_stats_t of_root;
  EXPECT_EQ(neap_arena_stats(root, &of_root), 0);
  EXPECT_EQ(of_root.resident, 0u);
  EXPECT_EQ(neap_arena_malloc(root, 100, 0), nullptr);
  EXPECT_EQ(neap_arena_purge(root), 0u);
  EXPECT_EQ(neap_pressure_register([](void*, size_t) { return size_t{0}; }, nullptr), nullptr);
  Fake().map.Never();
  EXPECT_EQ(neap_stats(&stats), 0);
  void* block = Allocate(100);
  EXPECT_NE(block, nullptr);
  Free(block);
}

TEST(Exhaustion, OfArenasLeavesNoTrace) {
  Free(Allocate(1));
  std::vector<neap_arena*> arenas;
  Fake().map.Always();
  while (neap_arena* arena = neap_arena_create(nullptr, "one", NEAP_UNBOUNDED)) {
    for (size_t size = 16; size < 100'000; size *= 2) neap_arena_malloc(arena, size, 0);
    arenas.push_back(arena);
  }
  EXPECT_LT(arenas.size(), 4000u);
  for (neap_arena* arena : arenas) EXPECT_EQ(neap_arena_destroy(arena), 0);
  Fake().map.Never();
  ExpectNothingLost();
  EXPECT_EQ(ReadLedger().arenas, 1u);
}

// Where somebody else has mapped into the window, the range is passed over.
TEST(Exhaustion, ATakenPartOfTheWindowIsPassedOver) {
  Free(Allocate(1));
  const uintptr_t behind = hot::window + PageMap::Granules() * kGranuleSize;
  ASSERT_NE(Os::Map(reinterpret_cast<void*>(behind + 5 * kGranuleSize), kGranuleSize), nullptr);
  Heap heap;
  for (int i = 0; i < 300; ++i) heap.Take(400'000);
  EXPECT_EQ(heap.refused(), 0u);
  heap.DropAll();
  ExpectNothingLost();
}

}  // namespace
}  // namespace neap
