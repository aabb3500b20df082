// release_test.cc: when memory goes back: the tick over a clock that the test moves, from a burst to quiet; the price
// of giving back; who does the work where there is no thread. The tests of what a page is are in slab_pool_test.cc.
#include "alloc/release.h"

#include <gtest/gtest.h>
#include <string.h>

#include <random>
#include <thread>
#include <vector>

#include "alloc/arena.h"
#include "alloc/clock.h"
#include "alloc/cpu_cache.h"
#include "alloc/decay.h"
#include "alloc/heap.h"
#include "alloc/huge_pages.h"
#include "alloc/ledger.h"
#include "alloc/limit_gate.h"
#include "tests/page_picture.h"

namespace neap {
namespace {

constexpr size_t kMiB = 1u << 20;

// ---- Decay alone.

class DecayTest : public ::testing::Test {
 protected:
  // 50 ms later; of them `cpu_ms` of CPU time, with `regret` pages regretted.
  uint32_t After(uint64_t cpu_ms, size_t regret, uint32_t level = 0) {
    now_ms_ += 50;
    cpu_ns_ += cpu_ms * 1'000'000;
    regret_ += regret;
    return decay_.Update({now_ms_, cpu_ns_, regret_, level});
  }

  Decay decay_;
  uint32_t now_ms_ = 1001;
  uint64_t cpu_ns_ = 0;
  size_t regret_ = 0;
};

TEST_F(DecayTest, WithoutRegretPagesGoSoon) {
  for (int i = 0; i < 20; ++i) EXPECT_EQ(After(50, 0), Decay::kShortestMs);
}

TEST_F(DecayTest, RegretBeyondItsShareDoublesTheAgeUpToALimit) {
  uint32_t age = After(50, 0);
  const size_t too_much = 50'000'000 / 50 / Decay::kRegretNs + 1;
  for (int i = 0; i < 12; ++i) {
    const uint32_t next = After(50, too_much);
    EXPECT_EQ(next, std::min(age * 2, Decay::kLongestMs));
    age = next;
  }
  EXPECT_EQ(age, Decay::kLongestMs);
}

TEST_F(DecayTest, RegretWithinItsShareIsPaid) {
  const size_t allowed = 50'000'000 / 50 / Decay::kRegretNs;
  for (int i = 0; i < 12; ++i) EXPECT_EQ(After(50, allowed), Decay::kShortestMs);
}

TEST_F(DecayTest, TheAgeFallsBackWhenRegretEnds) {
  for (int i = 0; i < 12; ++i) After(50, 1000);
  uint32_t age = After(50, 0);
  for (int i = 0; i < 40; ++i) {
    const uint32_t next = After(50, 0);
    EXPECT_LE(next, age);
    age = next;
  }
  EXPECT_LE(age, Decay::kLongestMs / 4);
  for (int i = 0; i < 200; ++i) age = After(50, 0);
  EXPECT_EQ(age, Decay::kShortestMs);
}

TEST_F(DecayTest, PressureEndsPatience) {
  for (int i = 0; i < 12; ++i) After(50, 1000);
  EXPECT_EQ(After(50, 1000, 1), 0u);
  EXPECT_EQ(After(50, 1000, 2), 0u);
  EXPECT_GE(After(50, 1000), Decay::kLongestMs / 2);
}

TEST_F(DecayTest, IdleBytesHaveACapWhateverTheirAge) {
  constexpr size_t kCap = Decay::kIdleBytes;
  EXPECT_EQ(Decay::Excess(kCap, 0, 0), 0u);
  EXPECT_EQ(Decay::Excess(kCap + 5, 0, 0), 5u);
  EXPECT_EQ(Decay::Excess(2 * kCap + 5, 16 * kCap, 0), 5u);
  EXPECT_EQ(Decay::Excess(8 * kCap + 5, 16 * kCap, 64 * kCap), 5u);
  EXPECT_EQ(Decay::Excess(8 * kCap + 5, 16 * kCap, kCap), 6 * kCap + 5);
}

TEST_F(DecayTest, SmallStepsOfTheClockAddUp) {
  for (int i = 0; i < 12; ++i) After(50, 1000);
  now_ms_ += 10;
  EXPECT_EQ(decay_.Update({now_ms_, cpu_ns_, regret_ + 100'000, 0}), Decay::kLongestMs);
}

// ---- The tick.

class ReleaseTest : public ::testing::Test {
 protected:
  // `bytes` in blocks of mixed sizes.
  std::vector<void*> Burst(size_t bytes, size_t largest = 4096) {
    std::vector<void*> blocks;
    for (size_t sum = 0; sum < bytes;) {
      const size_t size = random_() % largest + 1;
      blocks.push_back(Allocate(size));
      memset(blocks.back(), 1, size);
      sum += size;
    }
    return blocks;
  }
  static void FreeAll(const std::vector<void*>& blocks) {
    for (void* block : blocks) Free(block);
  }
  // Ticks for that long; the last answer.
  static bool Pass(uint64_t ms, uint64_t cpu_ms = 0) {
    bool again = false;
    for (uint64_t i = 0; i < ms; i += 10) {
      Fake().AdvanceMs(10);
      Fake().UseCpuMs(cpu_ms * 10 / ms);
      again = Releaser::Tick();
    }
    return again;
  }
  static size_t Window() {
    return FakeOs::ResidentBytesIn(reinterpret_cast<void*>(hot::window), PageMap::Granules() * kGranuleSize);
  }

  std::minstd_rand random_{5};
};

// One run of 32 MiB: a part of it goes, and the rest later.
TEST_F(ReleaseTest, NoMoreGoesThanIsAskedFor) {
  constexpr size_t kBlock = 512 << 10, kCount = 64;
  std::vector<void*> blocks(kCount);
  for (void*& block : blocks) block = memset(Allocate(kBlock), 1, kBlock);
  const size_t before = ReadLedger().dirty;
  for (void* block : blocks) Free(block);
  ASSERT_EQ(ReadLedger().dirty, before + kCount * kBlock);
  const uint32_t now = NowMs();
  for (const size_t most : {4 * kMiB, 10 * kMiB + 1}) {
    const size_t resident = Fake().ResidentBytes();
    const size_t released = Releaser::ReleaseAt(now, most);
    EXPECT_GE(released, most);
    EXPECT_LE(released, most + kGranuleSize);
    EXPECT_EQ(Fake().ResidentBytes(), resident - released);
  }
  Releaser::ReleaseAt(now);
  EXPECT_EQ(ReadLedger().dirty, 0u);
}

TEST_F(ReleaseTest, AfterABurstEverythingGoesWithin100Ms) {
  Free(Allocate(1));
  auto blocks = Burst(40 * kMiB);
  EXPECT_GT(Window(), 40 * kMiB);
  FreeAll(blocks);
  Pass(100);
  EXPECT_EQ(Window(), 0u);
  EXPECT_EQ(ReadLedger().dirty + ReadLedger().cached, 0u);
}

TEST_F(ReleaseTest, WhatLivesOnKeepsOnlyItsPages) {
  auto blocks = Burst(40 * kMiB);
  LiveBlocks live;
  std::vector<void*> freed;
  for (void* block : blocks) {
    if (random_() % 10 == 0)
      live[reinterpret_cast<uintptr_t>(block)] = UsableSize(block);
    else
      freed.push_back(block);
  }
  FreeAll(freed);
  Pass(100);
  size_t pages = 0;
  uintptr_t next = 0;
  for (auto [block, size] : live) {
    const uintptr_t begin = std::max(block & ~(kPageSize - 1), next);
    next = std::max(next, (block + size + kPageSize - 1) & ~(kPageSize - 1));
    pages += next > begin ? (next - begin) / kPageSize : 0;
  }
  EXPECT_EQ(Window(), pages * kPageSize);
}

TEST_F(ReleaseTest, TheTickEndsWhenThereIsNothingLeft) {
  FreeAll(Burst(4 * kMiB));
  EXPECT_TRUE(Releaser::Tick());
  EXPECT_FALSE(Pass(200));
  EXPECT_FALSE(Releaser::Tick());
  Free(Allocate(kMiB));
  EXPECT_FALSE(Pass(200));
}

TEST_F(ReleaseTest, FreshDirtIsLeftForAWhile) {
  auto blocks = Burst(4 * kMiB);
  FreeAll(blocks);
  CpuCaches::Drain(CpuCaches::Which::kAll);
  const size_t before = Window();
  Fake().AdvanceMs(10);
  Releaser::Tick();
  EXPECT_EQ(Window(), before);
  Fake().AdvanceMs(20);
  Releaser::Tick();
  EXPECT_EQ(Window(), 0u);
}

TEST_F(ReleaseTest, IdleCachesAreEmptiedFromOutside) {
  void* block = Allocate(64);
  EXPECT_GT(CpuCaches::CachedBytes(), 0u);
  Pass(60);
  EXPECT_EQ(CpuCaches::CachedBytes(), 0u);
  Free(block);
}

// ---- Who does it.

TEST_F(ReleaseTest, TheThreadStartsOnlyWhenItIsWorthIt) {
  FreeAll(Burst(kMiB / 4));
  EXPECT_EQ(Fake().Threads().size(), 0u);
  FreeAll(Burst(8 * kMiB));
  ASSERT_EQ(Fake().Threads().size(), 1u);
  EXPECT_EQ(Fake().Threads()[0].name, "neap-release");
  EXPECT_EQ(Fake().Threads()[0].files, Os::Files::kOwnIfPossible);
  FreeAll(Burst(8 * kMiB));
  EXPECT_EQ(Fake().Threads().size(), 1u);
}

TEST_F(ReleaseTest, LargeBlocksAloneStartItToo) {
  for (int i = 0; i < 40; ++i) FreeAll(Burst(2 * kMiB, 200'000));
  EXPECT_EQ(Fake().Threads().size(), 1u);
}

TEST_F(ReleaseTest, WithoutAThreadTheSlowPathsDoIt) {
  Fake().SetEnvironment("NEAP_BACKGROUND", "0");
  for (int i = 0; i < 10; ++i) {
    FreeAll(Burst(8 * kMiB));
    Fake().AdvanceMs(30);
    Fake().UseCpuMs(3000);  // so that no regret is too dear
  }
  EXPECT_EQ(Fake().Threads().size(), 0u);
  Free(Allocate(300'000));
  Fake().AdvanceMs(30);
  FreeAll(Burst(kMiB));
  EXPECT_LT(Window(), 5 * kMiB);
}

TEST_F(ReleaseTest, ARefusedThreadIsAsIfThereWereNone) {
  Fake().start_thread.Always();
  for (int i = 0; i < 10; ++i) {
    FreeAll(Burst(8 * kMiB));
    Fake().AdvanceMs(30);
    Fake().UseCpuMs(3000);  // so that no regret is too dear
  }
  EXPECT_GE(Fake().start_thread.calls(), 1);
  Fake().AdvanceMs(30);
  FreeAll(Burst(kMiB));
  EXPECT_LT(Window(), 5 * kMiB);
}

// ---- The price.

// A program that takes and frees the same 8 MiB every 60 ms, and does little else: the pages are kept from beat to beat
// once the regret has been noticed, and go when the beat stops.
TEST_F(ReleaseTest, ARhythmIsLearntAndForgotten) {
  size_t kept = 0;
  for (int beat = 0; beat < 60; ++beat) {
    FreeAll(Burst(8 * kMiB));
    Pass(60, 10);
    kept = Window();
  }
  EXPECT_GT(kept, 6 * kMiB);
  EXPECT_GT(ReadLedger().regret, 8 * kMiB);
  Pass(3000, 100);
  EXPECT_EQ(Window(), 0u);
}

// The same beat in a program that computes: the faults are a small part of its time, so that the pages go every time.
TEST_F(ReleaseTest, ARegretThatIsPaidForIsNone) {
  for (int beat = 0; beat < 20; ++beat) {
    FreeAll(Burst(kMiB));
    Pass(2000, 2000);
    EXPECT_EQ(Window(), 0u);
  }
}

TEST_F(ReleaseTest, WhenHeadroomIsShortTheTickReleasesAtOnce) {
  for (int beat = 0; beat < 60; ++beat) {
    FreeAll(Burst(8 * kMiB));
    Pass(60, 10);
  }
  FreeAll(Burst(8 * kMiB));
  ASSERT_GT(Window(), 6 * kMiB);
  Fake().SetContainer(1024 * kMiB, 1000 * kMiB);
  Fake().AdvanceMs(1010);  // the limit is read again, and who it is read for
  Releaser::Tick();
  Releaser::Tick();
  EXPECT_GT(LimitGate::Level(), 0u);
  EXPECT_EQ(Window(), 0u);
}

TEST_F(ReleaseTest, RefusedReleasesLoseNothing) {
  auto blocks = Burst(4 * kMiB);
  Fake().release.Always();
  FreeAll(blocks);
  Pass(100);
  Fake().release.Never();
  for (int i = 0; i < 3; ++i) {
    auto again = Burst(4 * kMiB);
    for (void* block : again) EXPECT_EQ(*static_cast<char*>(block), 1);
    FreeAll(again);
    Pass(100);
  }
  // Pages that the kernel would not take hold zeros, so that a zeroed block is one.
  auto* zeroed = static_cast<char*>(AllocateZeroed(3 * kMiB));
  for (size_t i = 0; i < 3 * kMiB; i += 512) ASSERT_EQ(zeroed[i], 0);
}

TEST_F(ReleaseTest, ATrimGivesBackWhatIsNotLiveAtOnce) {
  auto blocks = Burst(4 * kMiB);
  FreeAll(blocks);
  EXPECT_TRUE(Trim());
  EXPECT_EQ(Window(), 0u);
  EXPECT_FALSE(Trim());
}

// Blocks of one class, one in seventeen kept: the picture before and after.
TEST_F(ReleaseTest, APicture) {
  LiveBlocks live;
  std::vector<void*> blocks;
  for (int i = 0; i < 128; ++i) {
    blocks.push_back(Allocate(1024));
    memset(blocks.back(), 1, 1024);
    live[reinterpret_cast<uintptr_t>(blocks.back())] = 1024;
  }
  CpuCaches::Drain(CpuCaches::Which::kAll);
  const void* begin = reinterpret_cast<void*>(live.begin()->first);
  EXPECT_EQ(Picture(begin, 2, live), "LLLLLLLLLLLLLLLL|LLLLLLLLLLLLLLLL");
  for (int i = 0; i < 128; ++i) {
    if (i % 17 == 0) continue;
    live.erase(reinterpret_cast<uintptr_t>(blocks[static_cast<size_t>(i)]));
    Free(blocks[static_cast<size_t>(i)]);
  }
  CpuCaches::Drain(CpuCaches::Which::kAll);
  EXPECT_EQ(Picture(begin, 2, live), "LDDDLDDDLDDDLDDD|DLDDDLDDDLDDDLDD");
  Pass(30);
  EXPECT_EQ(Picture(begin, 2, live), "L...L...L...L...|.L...L...L...L..");
}

TEST_F(ReleaseTest, ABlockThatShrankWakesTheThreadToo) {
  std::vector<void*> blocks;
  for (int i = 0; i < 20; ++i) {
    blocks.push_back(Allocate(900'000));
    memset(blocks.back(), 1, 900'000);
  }
  EXPECT_EQ(Fake().Threads().size(), 0u);
  for (void*& block : blocks) block = Reallocate(block, 300'000);
  EXPECT_EQ(Fake().Threads().size(), 1u);
  FreeAll(blocks);
}

TEST_F(ReleaseTest, ABellThatNobodyHearsKeepsNoThreadFromStarting) {
  Releaser::Wake();
  FreeAll(Burst(8 * kMiB));
  EXPECT_EQ(Fake().Threads().size(), 1u);
}

// The clock's milliseconds as a process sees them that starts when the machine has run for 25 days.
TEST_F(ReleaseTest, LargeBlocksGoAtOnceAlsoOnAMachineThatHasRunForWeeks) {
  Fake().AdvanceMs(uint64_t{25} * 24 * 3600 * 1000);
  void* block = Allocate(64 * kMiB);
  memset(block, 1, 64 * kMiB);
  Free(block);
  EXPECT_EQ(Window(), 0u);
}

void FreeATenth(std::vector<void*>& blocks) {
  for (size_t left = blocks.size() - blocks.size() / 10; blocks.size() > left; blocks.pop_back()) Free(blocks.back());
}

TEST_F(ReleaseTest, ABurstOfFreesIsLetFinish) {
  Fake().has_huge_pages = true;
  auto blocks = Burst(400 * kMiB, 65536);
  if (!HugePages::InUse()) GTEST_SKIP() << "the kernel gives no huge pages here";
  const size_t full = Window();
  for (int tick = 0; tick < 5; ++tick) {
    FreeATenth(blocks);
    Pass(10);
    EXPECT_EQ(Window(), full);
  }
  FreeAll(blocks);
  Pass(200);
  EXPECT_EQ(Window(), 0u);
}

TEST_F(ReleaseTest, WithoutHugePagesABurstOfFreesIsNotWaitedFor) {
  auto blocks = Burst(400 * kMiB, 65536);
  const size_t full = Window();
  for (int tick = 0; tick < 5; ++tick) {
    FreeATenth(blocks);
    Pass(10);
  }
  EXPECT_LT(Window(), full - 50 * kMiB);
}

}  // namespace
}  // namespace neap
