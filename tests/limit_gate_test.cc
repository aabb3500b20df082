// limit_gate_test.cc: growth against a container's limit, in cgroup files that follow what the allocator really holds.
// limit_test.cc and pressure_test.cc are the reading of those files alone.
#include "alloc/limit_gate.h"

#include <gtest/gtest.h>
#include <string.h>

#include <vector>

#include "alloc/heap.h"
#include "alloc/ledger.h"
#include "alloc/neap.h"
#include "alloc/page_map.h"
#include "alloc/pressure.h"
#include "alloc/release.h"
#include "tests/fake_os.h"

namespace neap {
namespace {

constexpr uint64_t kMiB = 1u << 20;

class LimitGateTest : public ::testing::Test {
 protected:
  // Touched blocks of 50 KB; how many of them there were before a null.
  size_t Grow(size_t bytes) {
    size_t taken = 0;
    for (; taken < bytes; taken += 50'000) {
      void* block = Allocate(50'000);
      if (block == nullptr) break;
      memset(block, 1, 50'000);
      blocks_.push_back(block);
    }
    return taken;
  }
  void Drop(size_t count) {
    for (; count > 0 && !blocks_.empty(); --count) {
      Free(blocks_.back());
      blocks_.pop_back();
    }
  }
  static size_t Window() {
    return FakeOs::ResidentBytesIn(reinterpret_cast<void*>(hot::window), PageMap::Granules() * kGranuleSize);
  }

  std::vector<void*> blocks_;
};

TEST_F(LimitGateTest, ASmallProcessReadsNothing) {
  int readings = 0;
  Fake().SetFile("/proc/self/cgroup", [&] {
    ++readings;
    return std::string("0::/box\n");
  });
  Grow(6 * kMiB);
  EXPECT_EQ(readings, 0);
  Grow(6 * kMiB);
  EXPECT_GT(readings, 0);
}

TEST_F(LimitGateTest, ReadsTheMoreOftenTheLessHeadroomThereIs) {
  Fake().SetContainer(1024 * kMiB, 0);
  Grow(100 * kMiB);
  EXPECT_EQ(LimitGate::Read().limit, 1024 * kMiB);
  const uint64_t seen = LimitGate::Read().headroom;
  EXPECT_LE(seen, 1024 * kMiB - 8 * kMiB);
  Fake().SetContainer(1024 * kMiB, 800 * kMiB);
  Grow(100 * kMiB);
  EXPECT_GT(LimitGate::Level(), 0u);
  EXPECT_LT(LimitGate::Read().headroom, LimitGate::LowMarkBytes());
}

TEST_F(LimitGateTest, WhenHeadroomIsShortGrowthGivesBackFirst) {
  Fake().SetContainer(1024 * kMiB, 0);
  Grow(200 * kMiB);
  Drop(3000);  // dirty, and the clock stands still
  const size_t before = Window();
  EXPECT_GT(before, 190 * kMiB);
  Fake().SetContainer(1024 * kMiB, 780 * kMiB);  // the neighbours grew
  // Into what is dirty already growth costs nothing; a bigger block needs more.
  void* block = Allocate(180 * kMiB);
  EXPECT_NE(block, nullptr);
  EXPECT_LT(Window(), before / 3);
  Free(block);
}

TEST_F(LimitGateTest, ALimitLoweredWhileRunningIsFollowedByTheTick) {
  Fake().SetContainer(4096 * kMiB, 0);
  Grow(200 * kMiB);
  Drop(2000);
  Fake().SetContainer(150 * kMiB, 0);
  Fake().AdvanceMs(1010);
  Releaser::Tick();
  EXPECT_EQ(LimitGate::Read().limit, 150 * kMiB);
  EXPECT_EQ(LimitGate::Read().changes, 1u);
  const Ledger ledger = ReadLedger();
  EXPECT_EQ(ledger.dirty, 0u);
  EXPECT_LE(Window(), ledger.live + kMiB);
  // And nothing latches.
  Fake().SetContainer(4096 * kMiB, 0);
  Fake().AdvanceMs(1010);
  Releaser::Tick();
  EXPECT_EQ(LimitGate::Level(), 0u);
}

TEST_F(LimitGateTest, ALimitThatComesLaterIsNoticed) {
  Grow(100 * kMiB);
  EXPECT_EQ(LimitGate::Read().limit, kNoLimit);
  Fake().SetContainer(512 * kMiB, 0);
  Fake().AdvanceMs(1010);
  Grow(150 * kMiB);
  EXPECT_EQ(LimitGate::Read().limit, 512 * kMiB);
}

TEST_F(LimitGateTest, ByDefaultMallocIsNeverRefused) {
  Fake().SetContainer(200 * kMiB, 0);
  EXPECT_GE(Grow(300 * kMiB), 300 * kMiB);
  EXPECT_EQ(LimitGate::Level(), 2u);
}

class OomNullTest : public LimitGateTest {
 protected:
  void SetUp() override { Fake().SetEnvironment("NEAP_OOM", "null"); }
};

TEST_F(OomNullTest, MallocGivesNullBeforeTheKernelKills) {
  Fake().SetContainer(300 * kMiB, 0);
  const size_t taken = Grow(1000 * kMiB);
  EXPECT_GT(taken, 200 * kMiB);
  EXPECT_LT(Fake().ResidentBytes(), 300 * kMiB);
  EXPECT_EQ(Allocate(50 * kMiB), nullptr);
  EXPECT_EQ(AllocateZeroed(50 * kMiB), nullptr);
  EXPECT_EQ(AllocateAligned(50 * kMiB, 4096), nullptr);
  void* last = blocks_.back();
  EXPECT_EQ(Reallocate(last, 50 * kMiB), nullptr);
  EXPECT_EQ(*static_cast<char*>(last), 1);
  // What is refused is refused for now.
  Drop(blocks_.size() / 2);
  void* block = Allocate(50 * kMiB);
  EXPECT_NE(block, nullptr);
  Free(block);
  Fake().SetContainer(1000 * kMiB, 0);
  EXPECT_GE(Grow(300 * kMiB), 300 * kMiB);
}

TEST_F(OomNullTest, ArenasAreRefusedToo) {
  Fake().SetContainer(300 * kMiB, 0);
  neap_arena* arena = neap_arena_create(nullptr, "hungry", NEAP_UNBOUNDED);
  size_t taken = 0;
  while (void* block = neap_arena_malloc(arena, 30'000, 0)) {
    memset(block, 1, 30'000);
    taken += 30'000;
    ASSERT_LT(taken, 400 * kMiB);
  }
  EXPECT_GT(taken, 200 * kMiB);
  EXPECT_LT(Fake().ResidentBytes(), 300 * kMiB);
  neap_arena_destroy(arena);
  EXPECT_NE(Allocate(50 * kMiB), nullptr);
}

TEST_F(LimitGateTest, AReservationBeyondTheContainersRoomIsRefused) {
  Fake().SetContainer(1024 * kMiB, 100 * kMiB);
  neap_arena* arena = neap_arena_create(nullptr, "reserving", NEAP_UNBOUNDED);
  EXPECT_EQ(neap_arena_reserve(arena, 500 * kMiB), 0);
  EXPECT_EQ(neap_arena_unreserve(arena, SIZE_MAX), 0);
  EXPECT_NE(neap_arena_reserve(arena, 2000 * kMiB), 0);
  EXPECT_EQ(neap_arena_may_grow(arena, 500 * kMiB), 0);
  EXPECT_NE(neap_arena_may_grow(arena, 2000 * kMiB), 0);
  // Dirty pages are room: they go first.
  Grow(700 * kMiB);
  Drop(SIZE_MAX);
  EXPECT_EQ(neap_arena_reserve(arena, 600 * kMiB), 0);
}

TEST_F(LimitGateTest, TheWatcherHasATableOfFilesOfItsOwn) {
  Fake().SetContainer(1024 * kMiB, 0);
  Grow(20 * kMiB);
  Fake().AdvanceMs(1010);
  Releaser::Tick();
  LimitGate::StartWatcher();
  bool watching = false;
  for (const auto& thread : Fake().Threads()) {
    if (thread.name != "neap-watch") continue;
    EXPECT_EQ(thread.files, Os::Files::kOwn);
    watching = true;
  }
  EXPECT_TRUE(watching);
}

TEST_F(LimitGateTest, WhatIsReservedCountsAgainstHeadroom) {
  Fake().SetContainer(400 * kMiB, 0);
  Grow(20 * kMiB);
  neap_arena* first = neap_arena_create(nullptr, "first", NEAP_UNBOUNDED);
  neap_arena* second = neap_arena_create(nullptr, "second", NEAP_UNBOUNDED);
  EXPECT_EQ(neap_arena_reserve(first, 250 * kMiB), 0);
  EXPECT_EQ(neap_arena_reserve(second, 250 * kMiB), ENOMEM);
  EXPECT_EQ(neap_arena_may_grow(second, 250 * kMiB), ENOMEM);
  EXPECT_EQ(neap_arena_unreserve(first, 250 * kMiB), 0);
  EXPECT_EQ(neap_arena_reserve(second, 250 * kMiB), 0);
}

// Memory that nobody touched was never in the container's account; that it is freed makes no room there.
TEST_F(LimitGateTest, UntouchedBlocksGiveNoCredit) {
  Fake().SetContainer(1024 * kMiB, 0);
  std::vector<void*> untouched;
  for (int i = 0; i < 10; ++i) untouched.push_back(Allocate(40 * kMiB));
  for (void* block : untouched) Free(block);
  Grow(100 * kMiB);
  EXPECT_LE(LimitGate::Read().headroom, (1024 - 40) * kMiB);
}

}  // namespace
}  // namespace neap
