// huge_pages_test.cc: when huge pages are asked for, and for how long not after they were not to be had or were dear.
#include "alloc/huge_pages.h"

#include <gtest/gtest.h>
#include <string.h>

#include "alloc/heap.h"
#include "tests/fake_os.h"

namespace neap {
namespace {

constexpr size_t kMiB = 1u << 20;
constexpr uint64_t kDearNs = 1'000'000;  // huge_pages.cc

class HugePagesTest : public ::testing::Test {
 protected:
  void SetUp() override { Free(Allocate(1)); }
  static size_t Advised() {
    size_t on = 0;
    for (const auto& advice : Fake().Advice()) on += advice.huge;
    Fake().Forget();
    return on;
  }
  // Of clean memory, so that it may serve as a probe.
  static bool LargeBlockIsAdvised() {
    Advised();
    void* block = Allocate(8 * kMiB);
    const bool advised = Advised() > 0;
    Free(block);
    Trim();
    return advised;
  }
  static void ExpectBarredForMs(uint32_t ms) {
    EXPECT_FALSE(HugePages::Wanted());
    Fake().AdvanceMs(ms - 4);
    EXPECT_FALSE(HugePages::Wanted());
    Fake().AdvanceMs(8);
    EXPECT_TRUE(HugePages::Wanted());
  }
  // The kernel's own, under the fake's clocks.
  static void UseRealOnes() {
    Fake().has_huge_pages = true;
    Fake().AdvanceMs(2000);
    Free(Allocate(8 * kMiB));
    if (!HugePages::InUse()) GTEST_SKIP() << "the kernel gives no huge pages here";
  }
};

TEST_F(HugePagesTest, WhereThereAreNoneTheyAreAskedForEverLessOften) {
  for (int refusal = 0; refusal < 4; ++refusal) {
    EXPECT_TRUE(HugePages::Wanted());
    EXPECT_TRUE(LargeBlockIsAdvised());
    if (refusal < 3) Fake().AdvanceMs(2000);
  }
  EXPECT_FALSE(HugePages::InUse());
  EXPECT_FALSE(LargeBlockIsAdvised());
  ExpectBarredForMs(1000);
  for (uint32_t bar = 2000; bar <= 64'000; bar *= 2) {
    EXPECT_TRUE(LargeBlockIsAdvised());
    ExpectBarredForMs(bar);
  }
  EXPECT_TRUE(LargeBlockIsAdvised());
  ExpectBarredForMs(64'000);
}

TEST_F(HugePagesTest, DearOnesAreNotAskedForForAWhile) {
  UseRealOnes();
  if (IsSkipped()) return;
  // One alone may be chance. (Now and then the kernel gives small pages where some lay before.)
  Fake().huge_touch_ns = kDearNs * 5;
  int probes = 0;
  for (; probes < 10 && HugePages::Wanted(); ++probes) {
    Fake().AdvanceMs(2000);
    EXPECT_TRUE(LargeBlockIsAdvised());
  }
  EXPECT_GE(probes, 2);
  EXPECT_TRUE(HugePages::InUse());
  EXPECT_FALSE(LargeBlockIsAdvised());
  ExpectBarredForMs(1000);
  // Cheap again.
  Fake().huge_touch_ns = kDearNs / 10;
  for (int i = 0; i < 8; ++i) {
    Fake().AdvanceMs(2000);
    EXPECT_TRUE(LargeBlockIsAdvised());
    EXPECT_TRUE(HugePages::Wanted());
  }
}

TEST_F(HugePagesTest, AProbeTouchesOneBlockASecondAndNoneThatIsToBeZero) {
  UseRealOnes();
  if (IsSkipped()) return;
  const auto touched = [](void* block) { return FakeOs::ResidentBytesIn(block, 8 * kMiB); };
  Fake().AdvanceMs(2000);
  void* zeros = AllocateZeroed(8 * kMiB);
  EXPECT_EQ(touched(zeros), 0u);
  void* first = Allocate(8 * kMiB);
  EXPECT_EQ(touched(first), 2 * kMiB);
  void* second = Allocate(8 * kMiB);
  EXPECT_EQ(touched(second), 0u);
  Fake().AdvanceMs(2000);
  void* third = Allocate(8 * kMiB);
  EXPECT_EQ(touched(third), 2 * kMiB);
  for (void* block : {zeros, first, second, third}) Free(block);
}

TEST_F(HugePagesTest, AHeapThatGrowsFastIsPopulatedOnlyWhereTheyAreWanted) {
  UseRealOnes();
  if (IsSkipped()) return;
  const auto grow = [] {
    for (size_t bytes = 0; bytes < 64 * kMiB; bytes += 1000) memset(Allocate(1000), 1, 1000);
    return Advised();
  };
  Advised();
  EXPECT_GT(grow(), 0u);
  Fake().huge_touch_ns = kDearNs * 5;
  grow();
  EXPECT_FALSE(HugePages::Wanted());
  Advised();
  EXPECT_EQ(grow(), 0u);
}

}  // namespace
}  // namespace neap
