// huge_pages_test.cc: when huge pages are asked for, and for how long not after they were not to be had or were dear.
#include "alloc/huge_pages.h"

#include <gtest/gtest.h>
#include <string.h>

#include "alloc/heap.h"
#include "alloc/release.h"
#include "tests/fake_os.h"

namespace neap {
namespace {

constexpr size_t kMiB = 1u << 20;
constexpr uint64_t kDearNs = 1'000'000;  // huge_pages.cc
constexpr const char* kBalloon = "/sys/bus/virtio/drivers/virtio_balloon";

class HugePagesTest : public ::testing::Test {
 protected:
  static size_t Advised() {
    size_t on = 0;
    for (const auto& advice : Fake().Advice()) on += advice.huge;
    Fake().Forget();
    return on;
  }
  // Fast, in small blocks; how often huge pages were asked for.
  static size_t Grow(size_t bytes) {
    Advised();
    for (size_t grown = 0; grown < bytes; grown += 1000) memset(Allocate(1000), 1, 1000);
    return Advised();
  }
  static void ExpectBarredForMs(uint32_t ms) {
    EXPECT_FALSE(HugePages::FairForGrowth());
    Fake().AdvanceMs(ms - 4);
    EXPECT_FALSE(HugePages::FairForGrowth());
    Fake().AdvanceMs(8);
    EXPECT_TRUE(HugePages::FairForGrowth());
  }
  static bool LargeBlockIsAdvised() {
    Advised();
    Free(Allocate(8 * kMiB));
    return Advised() > 0;
  }
};

TEST_F(HugePagesTest, WhereThereAreNoneTheyAreAskedForEverLessOften) {
  EXPECT_GE(Grow(64 * kMiB), 4u);
  EXPECT_FALSE(HugePages::InUse());
  EXPECT_EQ(Grow(64 * kMiB), 0u);
  ExpectBarredForMs(1000);
  for (uint32_t bar = 2000; bar <= 64'000; bar *= 2) {
    EXPECT_EQ(Grow(64 * kMiB), 1u);
    ExpectBarredForMs(bar);
  }
  EXPECT_EQ(Grow(64 * kMiB), 1u);
  ExpectBarredForMs(64'000);
}

TEST_F(HugePagesTest, DearOnesAreNotAskedForForAWhile) {
  Fake().has_huge_pages = true;
  Grow(32 * kMiB);
  if (!HugePages::InUse()) GTEST_SKIP() << "the kernel gives no huge pages here";
  EXPECT_TRUE(HugePages::FairForGrowth());
  Fake().huge_touch_ns = kDearNs * 5;
  Grow(32 * kMiB);
  EXPECT_TRUE(HugePages::InUse());
  ExpectBarredForMs(1000);
  Fake().huge_touch_ns = kDearNs / 10;
  Grow(64 * kMiB);
  EXPECT_TRUE(HugePages::FairForGrowth());
}

// Each call waits for every page fault that is under way; and who takes other clean memory must not lose them for the
// threads that grow.
TEST_F(HugePagesTest, GrowthTurnsThemOnForEverMoreAtATimeAndLeavesThemOn) {
  Fake().has_huge_pages = true;
  Grow(16 * kMiB);
  if (!HugePages::InUse()) GTEST_SKIP() << "the kernel gives no huge pages here";
  size_t on = 0, off = 0;
  for (size_t grown = 0; grown < 256 * kMiB; grown += 1000) {
    memset(Allocate(1000), 1, 1000);
    if (grown % kMiB < 1000) memset(AllocateAligned(70'000, 2 * kGranuleSize), 1, 70'000);
  }
  for (const auto& advice : Fake().Advice()) {
    on += advice.huge;
    off += !advice.huge && reinterpret_cast<uintptr_t>(advice.range.begin) == PageMap::AddressOf(0);
  }
  EXPECT_GE(on, 2u);
  EXPECT_LE(on, 24u);
  EXPECT_EQ(off, 0u);
}

TEST_F(HugePagesTest, WhatGrowthHasSetApartServesWhereAddressSpaceIsUsedUp) {
  Fake().has_huge_pages = true;
  Grow(256 * kMiB);
  if (!HugePages::InUse()) GTEST_SKIP() << "the kernel gives no huge pages here";
  Fake().address_space = Fake().MappedBytes() + 4 * kMiB;
  size_t bytes = 256 * kMiB;
  while (Allocate(kMiB) != nullptr) bytes += kMiB;
  EXPECT_GE(bytes, PageMap::Granules() * kGranuleSize / 100 * 95);
}

TEST_F(HugePagesTest, LargeBlocksHaveThem) { EXPECT_TRUE(LargeBlockIsAdvised()); }

TEST_F(HugePagesTest, LargeBlocksHaveThemBesideABalloonThatReportsNothing) {
  Fake().SetFile(std::string(kBalloon) + "/bind", "");
  Fake().SetFile(std::string(kBalloon) + "/virtio0/features", "0110000100");
  EXPECT_TRUE(LargeBlockIsAdvised());
}

TEST_F(HugePagesTest, LargeBlocksHaveNoneWhereTheHostTakesFreeMemoryBack) {
  Fake().SetFile(std::string(kBalloon) + "/virtio0/features", "01");
  Fake().SetFile(std::string(kBalloon) + "/virtio1/features", "0110010100");
  EXPECT_FALSE(LargeBlockIsAdvised());
  void* grown = Reallocate(Allocate(kMiB), 16 * kMiB);
  EXPECT_EQ(Advised(), 0u);
  Free(grown);
}

// What is charged to the container, as the kernel counts it: a part of a huge page stays charged until it is split.
TEST_F(HugePagesTest, WhatIsGivenBackOfAHugePageIsHoardedUntilItIsSplit) {
  Free(Allocate(1));
  constexpr size_t kHuge = 2 * kMiB;
  const uintptr_t begin = PageMap::AddressOf(0);
  ASSERT_GE(PageMap::Granules(), 2 * HugePages::kGranules);
  MutexLock lock(Releaser::lock());
  EXPECT_EQ(HugePages::NoteReleased(begin, kPageSize), kPageSize);
  HugePages::NoteHuge(0, 2 * HugePages::kGranules);
  EXPECT_EQ(HugePages::HoardedBytes(), 0u);
  EXPECT_EQ(HugePages::NoteReleased(begin + kHuge, kPageSize), 0u);
  EXPECT_EQ(HugePages::HoardedBytes(), kHuge);
  // All of the first, and a part of the second.
  EXPECT_EQ(HugePages::NoteReleased(begin, kHuge + kPageSize), kHuge);
  EXPECT_EQ(HugePages::HoardedBytes(), kHuge);
  EXPECT_FALSE(HugePages::SplitSome());
  EXPECT_EQ(HugePages::HoardedBytes(), 0u);
  ASSERT_EQ(Fake().Split().size(), 1u);
  EXPECT_EQ(HugePages::NoteReleased(begin + kHuge, kPageSize), kPageSize);
}

}  // namespace
}  // namespace neap
