// page_heap_test.cc: runs of granules: which one serves, how they are cut and joined, what is given back, and a random
// program against a plain array of granules.
#include "alloc/page_heap.h"

#include <gtest/gtest.h>
#include <string.h>

#include <random>
#include <thread>

#include "alloc/clock.h"
#include "tests/page_picture.h"

namespace neap {
namespace {

class PageHeapTest : public ::testing::Test {
 protected:
  void SetUp() override { heap_.Start(kNode, false); }

  // A run whose pages are all written to.
  size_t Take(size_t granules, size_t alignment = 1) {
    const size_t first = heap_.Allocate(granules, alignment);
    if (first == PageMap::kNone) return first;
    for (size_t g = first; g < first + granules; ++g) {
      for (size_t p = 0; p < kPagesPerGranule; ++p) {
        *reinterpret_cast<volatile char*>(PageMap::AddressOf(g) + p * kPageSize) = 1;
      }
      PageMap::Info(g).dirty = 0;
    }
    return first;
  }
  void Give(size_t first, size_t granules, uint16_t dirty = 0xffff) {
    for (size_t g = first; g < first + granules; ++g) {
      PageMap::Info(g).dirty = dirty;
      for (size_t p = 0; p < kPagesPerGranule; ++p) {
        if ((dirty >> p & 1) != 0) continue;
        const Range range = {reinterpret_cast<void*>(PageMap::AddressOf(g) + p * kPageSize), kPageSize};
        Os::Release(&range, 1);
      }
    }
    heap_.Free(first, granules);
  }
  size_t Release() { return heap_.Release(NowMs(), batch_); }
  // The free run that a granule is the first of, in granules; 0: none begins there.
  static size_t RunAt(size_t granule) {
    Span* span = PageMap::At(granule);
    if (span->kind != SpanKind::kFree) return 0;
    const auto* run = static_cast<FreeRun*>(span);
    return PageMap::GranuleOf(run->start) == granule ? run->granules : 0;
  }

  static constexpr int kNode = 3;
  PageHeap heap_;
  ReleaseBatch batch_;
};

TEST_F(PageHeapTest, CutsFromTheFrontAndJoinsWhatComesBack) {
  const size_t a = Take(2), b = Take(3), c = Take(4);
  EXPECT_EQ(b, a + 2);
  EXPECT_EQ(c, b + 3);
  Give(a, 2);
  Give(c, 4);
  EXPECT_EQ(RunAt(a), 2u);
  EXPECT_EQ(RunAt(c), 4u);
  Give(b, 3);
  EXPECT_EQ(RunAt(a), 9u);
  EXPECT_EQ(RunAt(b), 0u);
  EXPECT_EQ(heap_.DirtyPages(), 9 * kPagesPerGranule);
}

TEST_F(PageHeapTest, DirtyAndCleanStayApartUntilTheReleaseJoinsThem) {
  const size_t a = Take(2), b = Take(2);
  const size_t rest = RunAt(b + 2);
  EXPECT_GT(rest, 0u);
  Give(a, 2);
  Give(b, 2, 0);
  EXPECT_EQ(RunAt(a), 2u);
  EXPECT_EQ(RunAt(b), 2 + rest);
  EXPECT_EQ(Picture(a, 4), "DDDDDDDDDDDDDDDD|DDDDDDDDDDDDDDDD|................|................");
  EXPECT_EQ(Release(), 2 * kGranuleSize);
  EXPECT_EQ(RunAt(a), 4 + rest);
  EXPECT_EQ(Picture(a, 4), "................|................|................|................");
  EXPECT_EQ(heap_.DirtyPages(), 0u);
}

TEST_F(PageHeapTest, DirtyBeforeCleanAndTheSmallestThatFits) {
  const size_t a = Take(5);
  Take(1);
  const size_t b = Take(3);
  Take(1);
  Give(a, 5);
  Give(b, 3);
  EXPECT_EQ(Take(2), b);
  EXPECT_EQ(Take(4), a);
  EXPECT_EQ(heap_.DirtyPages(), 2 * kPagesPerGranule);
}

TEST_F(PageHeapTest, OnlyDirtyPagesAreGivenBack) {
  const size_t a = Take(2);
  Give(a, 2, 0b0000'1100'0011'0001);
  EXPECT_EQ(Picture(a, 1), "D...DD....DD....");
  EXPECT_EQ(Release(), 10 * kPageSize);
  // Pages that touch are one range; the second granule's first page touches none.
  EXPECT_EQ(Fake().Released().size() % 2, 0u);
  EXPECT_EQ(Picture(a, 1), "................");
}

TEST_F(PageHeapTest, YoungRunsStay) {
  const size_t a = Take(1);
  Take(1);
  const size_t b = Take(1);
  Take(1);
  Give(a, 1);
  Fake().AdvanceMs(50);
  const uint32_t between = NowMs() - 10;
  Give(b, 1);
  EXPECT_EQ(heap_.Release(between, batch_), kGranuleSize);
  EXPECT_EQ(Picture(a, 1), "................");
  EXPECT_EQ(Picture(b, 1), "DDDDDDDDDDDDDDDD");
}

TEST_F(PageHeapTest, ASmallNewcomerDoesNotMakeALargeOldRunYoung) {
  const size_t a = Take(8), b = Take(1);
  Give(a, 8);
  const uint32_t old = NowMs();
  Fake().AdvanceMs(50);
  Give(b, 1);
  EXPECT_EQ(RunAt(a), 9u);
  EXPECT_EQ(heap_.Release(old, batch_), 9 * kGranuleSize);
}

TEST_F(PageHeapTest, AlignedRunsLeaveUsableRests) {
  for (size_t alignment : {2, 8, 32, 256}) {
    const size_t first = Take(3, alignment);
    EXPECT_EQ(PageMap::AddressOf(first) % (alignment * kGranuleSize), 0u);
    Give(first, 3);
  }
}

TEST_F(PageHeapTest, GrowsIntoWhatIsDirectlyBehind) {
  const size_t a = Take(2), b = Take(4), c = Take(1);
  Give(b, 4);
  EXPECT_FALSE(heap_.AllocateAt(a + 2, 5));
  EXPECT_FALSE(heap_.AllocateAt(a + 3, 1));
  EXPECT_TRUE(heap_.AllocateAt(a + 2, 3));
  EXPECT_EQ(RunAt(a + 5), 1u);
  EXPECT_FALSE(heap_.AllocateAt(c, 1));
  EXPECT_EQ(heap_.DirtyPages(), kPagesPerGranule);
}

TEST_F(PageHeapTest, NodesDoNotMix) {
  PageHeap other;
  other.Start(kNode + 1, true);
  const size_t mine = heap_.Allocate(64, 1);
  const size_t theirs = other.Allocate(64, 1);
  ASSERT_NE(theirs, PageMap::kNone);
  heap_.Free(mine, 64);
  other.Free(theirs, 64);
  // Neighbours in the window, and never one run.
  for (size_t g = 0; g < PageMap::Granules(); ++g) {
    if (PageMap::At(g)->kind != SpanKind::kFree) continue;
    auto* run = static_cast<FreeRun*>(PageMap::At(g));
    EXPECT_TRUE(run->node == kNode || run->node == kNode + 1);
  }
  ASSERT_EQ(Fake().Bindings().size(), 1u);
  EXPECT_EQ(Fake().Bindings()[0].node, kNode + 1);
}

TEST_F(PageHeapTest, AddressSpaceComesInSteps) {
  Take(1);
  const size_t mapped = PageMap::MappedBytes();
  EXPECT_LE(mapped, 8u << 20);
  while (PageMap::MappedBytes() == mapped) Take(8);
  EXPECT_LE(PageMap::MappedBytes(), 3 * mapped);
}

// A plain array says of each granule whether it is taken; the heap's runs have to be exactly the maximal free stretches
// of one state, and every page's mask has to be true.
TEST_F(PageHeapTest, ARandomProgramAgainstAnArray) {
  std::minstd_rand random(11);
  std::map<size_t, size_t> taken;
  for (int step = 0; step < 3000; ++step) {
    const unsigned choice = random() % 8;
    if (choice < 4 || taken.empty()) {
      const size_t granules = random() % (random() % 10 == 0 ? 80 : 6) + 1;
      const size_t alignment = random() % 8 == 0 ? size_t{1} << random() % 6 : 1;
      const size_t first = Take(granules, alignment);
      ASSERT_NE(first, PageMap::kNone);
      ASSERT_EQ(PageMap::AddressOf(first) % (alignment << kGranuleShift), 0u);
      auto next = taken.lower_bound(first);
      ASSERT_TRUE(next == taken.end() || next->first >= first + granules);
      ASSERT_TRUE(next == taken.begin() || std::prev(next)->first + std::prev(next)->second <= first);
      taken[first] = granules;
    } else if (choice < 7) {
      auto it = taken.begin();
      std::advance(it, random() % taken.size());
      Give(it->first, it->second, static_cast<uint16_t>(random() % 3 == 0 ? random() : 0xffff));
      taken.erase(it);
    } else if (random() % 4 == 0) {
      Release();
    }
    if (step % 50 != 0) continue;
    size_t dirty = 0, expected = 0;
    FreeRun* before = nullptr;
    for (size_t g = 0; g < PageMap::Granules();) {
      auto it = taken.find(g);
      if (it != taken.end()) {
        g += it->second;
        before = nullptr;
        continue;
      }
      expected = RunAt(g);
      ASSERT_NE(expected, 0u) << "granule " << g << " is in no run";
      auto* run = static_cast<FreeRun*>(PageMap::At(g));
      ASSERT_EQ(PageMap::At(g + expected - 1), run);
      size_t pages = 0;
      for (size_t i = g; i < g + expected; ++i) {
        pages += CountBits(PageMap::Info(i).dirty);
        const std::string picture = Picture(i, 1);
        ASSERT_EQ(picture.find_first_of("!?"), std::string::npos) << picture;
      }
      ASSERT_EQ(run->dirty_pages, pages);
      ASSERT_FALSE(before != nullptr && (before->dirty_pages == 0) == (pages == 0)) << "not joined at " << g;
      before = run;
      dirty += pages;
      g += expected;
    }
    ASSERT_EQ(heap_.DirtyPages(), dirty);
  }
}

TEST_F(PageHeapTest, ReleaseBesideOthers) {
  std::atomic<bool> stop{false};
  auto work = [&](unsigned seed) {
    std::minstd_rand random(seed);
    std::vector<std::pair<size_t, size_t>> mine;
    while (!stop) {
      const size_t granules = random() % 5 + 1;
      const size_t first = heap_.Allocate(granules, 1);
      ASSERT_NE(first, PageMap::kNone);
      for (size_t g = first; g < first + granules; ++g) {
        *reinterpret_cast<size_t*>(PageMap::AddressOf(g)) = g + seed;
        PageMap::Info(g).dirty = 0;
      }
      mine.emplace_back(first, granules);
      if (mine.size() < 20) continue;
      for (auto [run, count] : mine) {
        for (size_t g = run; g < run + count; ++g) {
          ASSERT_EQ(*reinterpret_cast<size_t*>(PageMap::AddressOf(g)), g + seed);
          PageMap::Info(g).dirty = 1;
        }
        heap_.Free(run, count);
      }
      mine.clear();
    }
    for (auto [run, count] : mine) heap_.Free(run, count);
  };
  std::thread threads[] = {std::thread(work, 1000), std::thread(work, 2000)};
  size_t released = 0;
  while (released < 500 * kPageSize) released += Release();
  stop = true;
  for (auto& thread : threads) thread.join();
}

}  // namespace
}  // namespace neap
