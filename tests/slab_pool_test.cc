// slab_pool_test.cc: slabs of one class over a page heap of their own: which blocks are taken, what a free leaves
// behind, what is given back and when. The pool's and the arena's figures are compared with the kernel's after every
// step.
#include "alloc/slab_pool.h"

#include <gtest/gtest.h>
#include <string.h>

#include <algorithm>
#include <random>
#include <set>
#include <thread>

#include "alloc/arena.h"
#include "alloc/clock.h"
#include "alloc/page_heap.h"
#include "tests/page_picture.h"

namespace neap {
namespace {

constexpr int kNode = 5;

class SlabPoolTest : public ::testing::Test {
 protected:
  // Blocks of the smallest class that holds `size` bytes.
  void Open(size_t size, bool hit_path = true, Arena* arena = nullptr) {
    arena_ = arena != nullptr ? arena : Arena::Create(&Arena::Root(), "test", SIZE_MAX);
    heap_.Start(kNode, false);
    pool_.Start(arena_, &heap_, ClassOf(size), hit_path);
    row_ = kSizeClasses[ClassOf(size)];
  }

  std::vector<void*> Take(size_t count) {
    // One call makes no more than one page resident.
    std::vector<void*> blocks(count);
    size_t taken = 0;
    for (size_t got = 1; got > 0 && taken < count; taken += got) got = pool_.Take(blocks.data() + taken, count - taken);
    blocks.resize(taken);
    for (void* block : blocks) {
      EXPECT_TRUE(live_.emplace(reinterpret_cast<uintptr_t>(block), row_.size).second) << "handed out twice: " << block;
      memset(block, 0x5a, row_.size);
    }
    Check();
    return blocks;
  }
  void* TakeOne() {
    auto blocks = Take(1);
    return blocks.empty() ? nullptr : blocks[0];
  }

  void Put(const std::vector<void*>& blocks) {
    for (void* block : blocks) live_.erase(reinterpret_cast<uintptr_t>(block));
    SlabPool::Put(blocks.data(), blocks.size());
    Check();
  }
  // The live blocks that begin in the page.
  std::vector<void*> InPage(const void* slab, size_t page) {
    std::vector<void*> blocks;
    const uintptr_t begin = reinterpret_cast<uintptr_t>(slab) + page * kPageSize;
    for (auto [block, size] : live_) {
      if (block >= begin && block < begin + kPageSize) blocks.push_back(reinterpret_cast<void*>(block));
    }
    return blocks;
  }

  size_t Release() {
    const size_t released = pool_.Release(NowMs(), batch_);
    Check();
    return released;
  }
  size_t ReleaseHeap() {
    const size_t released = heap_.Release(NowMs(), batch_);
    Check();
    return released;
  }

  std::string Draw(const void* begin, size_t granules = 1) { return Picture(begin, granules, live_); }

  // The figures of the pool, the arena and the heap against each other and against the kernel.
  void Check() {
    const PoolLedger& ledger = pool_.ledger();
    EXPECT_EQ(ledger.taken_blocks, live_.size());
    EXPECT_EQ(arena_->charged(), ledger.resident_pages * kPageSize);
    EXPECT_LE(ledger.dirty_pages, ledger.resident_pages);
    size_t resident = 0, dirty = 0, slabs = 0, free_blocks = 0;
    for (size_t g = 0; g < PageMap::Granules(); ++g) {
      if (PageMap::At(g)->kind != SpanKind::kSlab) continue;
      auto* slab = static_cast<Slab*>(PageMap::At(g));
      if (PageMap::GranuleOf(slab->start) != g) continue;
      ++slabs;
      free_blocks += slab->free_blocks;
      const size_t bytes = kSizeClasses[slab->size_class].slab_granules * kGranuleSize;
      const size_t pages = FakeOs::ResidentBytesIn(reinterpret_cast<void*>(slab->start), bytes) / kPageSize;
      resident += pages;
      dirty += pages;
      for (uint16_t blocks : slab->live) dirty -= blocks != 0 ? row_.unit_bytes / kPageSize : 0;
    }
    EXPECT_EQ(ledger.slabs, slabs);
    EXPECT_EQ(ledger.taken_blocks + free_blocks, slabs * row_.blocks);
    EXPECT_EQ(ledger.resident_pages, resident);
    EXPECT_EQ(ledger.dirty_pages, dirty);
    const size_t window =
        FakeOs::ResidentBytesIn(reinterpret_cast<void*>(hot::window), PageMap::Granules() * kGranuleSize);
    EXPECT_EQ((ledger.resident_pages + heap_.DirtyPages()) * kPageSize, window);
  }

  Arena* arena_ = nullptr;
  PageHeap heap_;
  SlabPool pool_;
  SizeClass row_ = {};
  ReleaseBatch batch_;
  LiveBlocks live_;
};

TEST_F(SlabPoolTest, TouchesAPageAtATime) {
  Open(1024);
  void* first = TakeOne();
  EXPECT_EQ(Draw(first), "L...............");
  Take(4);
  EXPECT_EQ(Draw(first), "LL..............");
  Take(64 - 5);
  EXPECT_EQ(Draw(first), "LLLLLLLLLLLLLLLL");
  EXPECT_EQ(pool_.ledger().slabs, 1u);
  Take(1);
  EXPECT_EQ(pool_.ledger().slabs, 2u);
}

TEST_F(SlabPoolTest, BlocksOfEveryClassAreApartAndWhole) {
  for (size_t c = 0; c < kClasses; ++c) {
    SlabPool pool;
    PageHeap heap;
    heap.Start(kNode, false);
    Arena* arena = Arena::Create(&Arena::Root(), "test", SIZE_MAX);
    pool.Start(arena, &heap, c, true);
    const SizeClass& row = kSizeClasses[c];
    std::vector<void*> blocks(row.blocks + 1);
    for (size_t taken = 0; taken < blocks.size();) {
      const size_t got = pool.Take(blocks.data() + taken, blocks.size() - taken);
      ASSERT_NE(got, 0u);
      taken += got;
    }
    std::sort(blocks.begin(), blocks.end());
    for (size_t i = 0; i < blocks.size(); ++i) {
      const uintptr_t block = reinterpret_cast<uintptr_t>(blocks[i]);
      EXPECT_EQ(PageMap::Find(blocks[i]), PageMap::Find(static_cast<char*>(blocks[i]) + row.size - 1)) << row.size;
      EXPECT_EQ(block % 16, 0u);
      if (i == 0) continue;
      EXPECT_GE(block - reinterpret_cast<uintptr_t>(blocks[i - 1]), row.size);
    }
    SlabPool::Put(blocks.data(), blocks.size());
    EXPECT_EQ(pool.ledger().slabs, 0u);
    EXPECT_EQ(pool.ledger().resident_pages, 0u);
    EXPECT_EQ(arena->charged(), 0u);
    EXPECT_TRUE(Arena::Destroy(arena));
  }
}

// What lies in a cache untouched has been paid for: no call takes blocks from two clean pages.
TEST_F(SlabPoolTest, ACallMakesOnePageResidentAndNotOneIfItCanHelpIt) {
  Open(1024);
  void* blocks[64];
  ASSERT_EQ(pool_.Take(blocks, 64), 4u);
  ASSERT_EQ(pool_.Take(blocks + 4, 64), 4u);
  EXPECT_EQ(pool_.ledger().resident_pages, 2u);
  SlabPool::Put(blocks, 1);
  EXPECT_EQ(pool_.Take(blocks, 64), 1u);
  EXPECT_EQ(pool_.ledger().resident_pages, 2u);
  SlabPool::Put(blocks, 8);
}

// Above 32 KiB a unit is a block: 13 pages that come and go together.
TEST_F(SlabPoolTest, LargerBlocksComeAndGoAsUnits) {
  Open(50'000);
  ASSERT_EQ(row_.size, 13 * kPageSize);
  auto blocks = Take(16);
  EXPECT_EQ(pool_.ledger().slabs, 1u);
  EXPECT_EQ(Draw(blocks[0], 13), [] {
    std::string all;
    for (int g = 0; g < 13; ++g) all += (g > 0 ? "|" : "") + std::string(16, 'L');
    return all;
  }());
  Put({blocks[1], blocks[3]});
  EXPECT_EQ(Draw(blocks[0], 4), "LLLLLLLLLLLLLDDD|DDDDDDDDDDLLLLLL|LLLLLLLDDDDDDDDD|DDDDLLLLLLLLLLLL");
  EXPECT_EQ(Release(), 26 * kPageSize);
  EXPECT_EQ(Draw(blocks[0], 4), "LLLLLLLLLLLLL...|..........LLLLLL|LLLLLLL.........|....LLLLLLLLLLLL");
  Put({blocks[0]});
  EXPECT_EQ(Draw(blocks[0], 2), "DDDDDDDDDDDDD...|..........LLLLLL");
  EXPECT_EQ(TakeOne(), blocks[0]);
  std::vector<void*> rest;
  for (auto [block, size] : live_) rest.push_back(reinterpret_cast<void*>(block));
  Put(rest);
  EXPECT_EQ(pool_.ledger().slabs, 0u);
  EXPECT_EQ(Draw(blocks[0], 2), "DDDDDDDDDDDDD...|..........DDDDDD");
}

// Of a block of several pages all are resident or none: where the page heap's run is dirty in part, the rest goes.
TEST_F(SlabPoolTest, AUnitOfARunThatIsDirtyInPartStartsClean) {
  Open(32768);
  auto first = Take(1);
  Put(first);
  ASSERT_EQ(Draw(first[0]), "DDDDDDDD........");
  SlabPool other;
  other.Start(arena_, &heap_, ClassOf(65536), false);
  void* block = nullptr;
  ASSERT_EQ(other.Take(&block, 1), 1u);
  memset(block, 1, 65536);
  const size_t granules = kSizeClasses[ClassOf(65536)].slab_granules;
  EXPECT_EQ(FakeOs::ResidentBytesIn(reinterpret_cast<void*>(hot::window), PageMap::Granules() * kGranuleSize),
            (other.ledger().resident_pages + heap_.DirtyPages()) * kPageSize);
  EXPECT_EQ(granules, 16u);
  SlabPool::Put(&block, 1);
}

TEST_F(SlabPoolTest, APageWhoseLastBlockComesHomeIsDirtyAndThenGivenBack) {
  Open(1024);
  auto blocks = Take(64);
  void* slab = blocks[0];
  for (size_t page : {3, 4, 9}) Put(InPage(slab, page));
  Put({InPage(slab, 12)[0]});
  EXPECT_EQ(Draw(slab), "LLLDDLLLLDLLLLLL");
  EXPECT_EQ(Release(), 3 * kPageSize);
  EXPECT_EQ(Draw(slab), "LLL..LLLL.LLLLLL");
  const std::vector<Range> released = Fake().Released();
  ASSERT_EQ(released.size(), 2u);
  EXPECT_EQ(released[0].bytes, 2 * kPageSize);
  EXPECT_EQ(released[1].begin, static_cast<char*>(slab) + 9 * kPageSize);
  EXPECT_EQ(Release(), 0u);
}

// 640 does not divide a page: a page is dirty only when the blocks that reach in from both sides are home.
TEST_F(SlabPoolTest, ABlockOnTwoPagesHoldsBoth) {
  Open(640);
  auto blocks = Take(row_.blocks);
  void* slab = *std::min_element(blocks.begin(), blocks.end());
  Put(InPage(slab, 1));
  // Block 6 begins in page 0 and reaches into page 1; the last to begin in page 1 reaches into page 2.
  EXPECT_EQ(Draw(slab)[1], 'L');
  Put({static_cast<char*>(slab) + 6 * 640});
  EXPECT_EQ(Draw(slab).substr(0, 4), "LDLL");
  Release();
  EXPECT_EQ(Draw(slab).substr(0, 4), "L.LL");
}

TEST_F(SlabPoolTest, TakesFromResidentPagesBeforeThoseGivenBack) {
  Open(1024);
  auto blocks = Take(64);
  void* slab = blocks[0];
  Put(InPage(slab, 2));
  Release();
  Put({InPage(slab, 8)[1]});
  EXPECT_EQ(Draw(slab), "LL.LLLLLLLLLLLLL");
  EXPECT_EQ(Take(1)[0], static_cast<char*>(slab) + 8 * kPageSize + 1024);
  EXPECT_EQ(Draw(slab), "LL.LLLLLLLLLLLLL");
  Take(1);
  EXPECT_EQ(Draw(slab), "LLLLLLLLLLLLLLLL");
}

TEST_F(SlabPoolTest, DirtyPagesAreTakenAgainWithoutAFault) {
  Open(1024);
  auto blocks = Take(64);
  void* slab = blocks[0];
  Put(InPage(slab, 5));
  EXPECT_EQ(Draw(slab), "LLLLLDLLLLLLLLLL");
  Take(4);
  EXPECT_EQ(Draw(slab), "LLLLLLLLLLLLLLLL");
  EXPECT_EQ(Release(), 0u);
}

TEST_F(SlabPoolTest, TheFullestSlabServesFirst) {
  Open(4096);
  auto blocks = Take(48);  // three slabs
  std::vector<void*> slabs = {blocks[0], blocks[16], blocks[32]};
  const size_t freed[] = {12, 3, 8};
  for (size_t i = 0; i < 3; ++i) Put({blocks.begin() + 16 * i, blocks.begin() + 16 * i + freed[i]});
  EXPECT_EQ(Draw(slabs[1]), "DDDLLLLLLLLLLLLL");
  for (void* block : Take(3)) EXPECT_EQ(PageMap::Find(block), PageMap::Find(slabs[1]));
  for (void* block : Take(8)) EXPECT_EQ(PageMap::Find(block), PageMap::Find(slabs[2]));
  EXPECT_EQ(PageMap::Find(TakeOne()), PageMap::Find(slabs[0]));
}

TEST_F(SlabPoolTest, AnEmptySlabReturnsToThePageHeapWithItsDirtyPages) {
  Open(1024);
  auto blocks = Take(9);
  void* slab = blocks[0];
  Put({blocks[8]});
  Release();
  EXPECT_EQ(Draw(slab), "LL..............");
  Put({blocks.begin(), blocks.begin() + 8});
  EXPECT_EQ(pool_.ledger().slabs, 0u);
  EXPECT_EQ(arena_->charged(), 0u);
  EXPECT_EQ(heap_.DirtyPages(), 2u);
  EXPECT_EQ(Draw(slab), "DD..............");
  EXPECT_EQ(ReleaseHeap(), 2 * kPageSize);
  EXPECT_EQ(Draw(slab), "................");
}

// A granule whose pages hold a former owner's bytes: they are the new slab's dirty pages, and can be given back too.
TEST_F(SlabPoolTest, AGranuleTakenOverDirtyIsAccountedFor) {
  Open(1024);
  auto blocks = Take(64);
  void* slab = blocks[0];
  Put(blocks);
  EXPECT_EQ(Draw(slab), "DDDDDDDDDDDDDDDD");
  SlabPool other;
  other.Start(arena_, &heap_, ClassOf(32768 - 4096), false);
  void* block = nullptr;
  ASSERT_EQ(other.Take(&block, 1), 1u);
  EXPECT_EQ(block, slab);
  EXPECT_EQ(other.ledger().resident_pages, 16u);
  EXPECT_EQ(other.ledger().dirty_pages, 9u);
  live_[reinterpret_cast<uintptr_t>(block)] = 28672;
  EXPECT_EQ(Draw(slab), "LLLLLLLDDDDDDDDD");
  EXPECT_EQ(other.Release(NowMs(), batch_), 9 * kPageSize);
  EXPECT_EQ(Draw(slab), "LLLLLLL.........");
  SlabPool::Put(&block, 1);
  live_.clear();
  EXPECT_EQ(arena_->charged(), 0u);
}

TEST_F(SlabPoolTest, OnlyPagesThatAreOldEnoughAreGivenBack) {
  Open(1024);
  auto first = Take(64), second = Take(64);
  const uint32_t then = NowMs();
  Put(InPage(first[0], 0));
  Fake().AdvanceMs(50);
  Put(InPage(second[0], 0));
  Fake().AdvanceMs(50);
  EXPECT_EQ(pool_.Release(then - 2, batch_), 0u);
  EXPECT_EQ(pool_.Release(then + 20, batch_), kPageSize);
  EXPECT_EQ(Draw(first[0])[0], '.');
  EXPECT_EQ(Draw(second[0])[0], 'D');
  EXPECT_EQ(pool_.Release(NowMs() - 20, batch_), kPageSize);
}

// The clock has 32 bits of milliseconds: an age across the wrap is an age all the same.
TEST_F(SlabPoolTest, AgesHoldWhenTheClockWraps) {
  Fake().monotonic_ns = (uint64_t{1} << 32) * 1'000'000 - 20'000'000;
  Open(1024);
  auto blocks = Take(64);
  Put(InPage(blocks[0], 0));
  Fake().AdvanceMs(30);
  EXPECT_EQ(pool_.Release(NowMs() - 100, batch_), 0u);
  EXPECT_EQ(pool_.Release(NowMs() - 10, batch_), kPageSize);
}

TEST_F(SlabPoolTest, SlabsWithPagesGivenBackLeaveTheHitPathUntilThePagesAreTaken) {
  Open(1024);
  auto blocks = Take(64);
  EXPECT_TRUE(OnHitPath(blocks[0]));
  Put(InPage(blocks[0], 7));
  EXPECT_TRUE(OnHitPath(blocks[0]));
  Release();
  EXPECT_FALSE(OnHitPath(blocks[0]));
  Take(4);
  EXPECT_TRUE(OnHitPath(blocks[0]));
}

TEST_F(SlabPoolTest, SlabsOffTheHitPathStayOff) {
  Open(1024, false);
  auto blocks = Take(64);
  EXPECT_FALSE(OnHitPath(blocks[0]));
  Put(InPage(blocks[0], 7));
  Release();
  Take(4);
  EXPECT_FALSE(OnHitPath(blocks[0]));
}

TEST_F(SlabPoolTest, ManySlabsAreGivenBackInMoreThanOneBatch) {
  Open(4096);
  auto blocks = Take(16 * 300);
  std::vector<void*> freed;
  for (size_t i = 0; i < blocks.size(); ++i) {
    if (i % 16 != 0 && i % 2 == 0) freed.push_back(blocks[i]);
  }
  Put(freed);
  EXPECT_EQ(Release(), freed.size() * kPageSize);
  EXPECT_EQ(pool_.ledger().dirty_pages, 0u);
}

TEST_F(SlabPoolTest, AStrictBoundGivesWhatFitsAndLeavesNoTrace) {
  Arena* bounded = Arena::Create(&Arena::Root(), "bounded", 3 * kPageSize);
  bounded->set_strict(true);
  Open(1024, false, bounded);
  EXPECT_EQ(Take(20).size(), 12u);
  EXPECT_EQ(Take(1).size(), 0u);
  EXPECT_EQ(bounded->charged(), 3 * kPageSize);
  bounded->set_bound(4 * kPageSize);
  EXPECT_EQ(Take(20).size(), 4u);
}

TEST_F(SlabPoolTest, AStrictBoundWithoutRoomForOnePageMakesNoSlab) {
  Arena* bounded = Arena::Create(&Arena::Root(), "bounded", kPageSize - 1);
  bounded->set_strict(true);
  Open(64, false, bounded);
  EXPECT_EQ(Take(1).size(), 0u);
  EXPECT_EQ(pool_.ledger().slabs, 0u);
  EXPECT_EQ(bounded->charged(), 0u);
}

// The granule that the heap offers is dirty, and its pages are more than the bound has room for.
TEST_F(SlabPoolTest, AStrictBoundRefusesADirtyGranuleThatDoesNotFit) {
  Open(1024);
  Put(Take(64));
  ASSERT_EQ(heap_.DirtyPages(), 16u);
  Arena* bounded = Arena::Create(&Arena::Root(), "bounded", 2 * kPageSize);
  bounded->set_strict(true);
  SlabPool pool;
  pool.Start(bounded, &heap_, ClassOf(64), false);
  void* block = nullptr;
  const size_t taken = pool.Take(&block, 1);
  EXPECT_LE(bounded->charged(), 2 * kPageSize);
  EXPECT_EQ(bounded->charged(), pool.ledger().resident_pages * kPageSize);
  if (taken == 1) SlabPool::Put(&block, 1);
  EXPECT_EQ(heap_.DirtyPages() + pool.ledger().resident_pages, 16u);
}

TEST_F(SlabPoolTest, DestroyReturnsSlabsWithLiveBlocks) {
  Open(1024);
  auto blocks = Take(3 * 64);
  Put(InPage(blocks[0], 1));
  Release();
  EXPECT_EQ(pool_.Destroy(batch_), (3u * 16 - 1) * kPageSize);
  live_.clear();
  Check();
  EXPECT_EQ(pool_.ledger().slabs, 0u);
  EXPECT_EQ(arena_->charged(), 0u);
  EXPECT_EQ(heap_.DirtyPages(), 0u);
  EXPECT_EQ(FakeOs::ResidentBytesIn(reinterpret_cast<void*>(hot::window), PageMap::Granules() * kGranuleSize), 0u);
}

TEST_F(SlabPoolTest, NoMemoryGivesNoBlockAndLosesNothing) {
  Open(1024);
  Fake().map.Always();
  EXPECT_EQ(Take(1).size(), 0u);
  Fake().map.Never();
  EXPECT_EQ(Take(64).size(), 64u);
  Fake().map.Always();
  // What is mapped already serves until it is used up: no more and no less.
  while (!Take(64).empty()) {
  }
  EXPECT_EQ(Take(1).size(), 0u);
  Fake().map.Never();
  EXPECT_EQ(Take(1).size(), 1u);
}

TEST_F(SlabPoolTest, ADoubleFreeEndsTheProcess) {
  Open(64);
  auto blocks = Take(10);
  void* block = blocks[4];
  Put({block});
  EXPECT_DEATH(SlabPool::Put(&block, 1), "double free of 0x[0-9a-f]+, a block of 64 bytes");
  void* inside = static_cast<char*>(blocks[0]) + 8;
  EXPECT_DEATH(SlabPool::Put(&inside, 1), "8 bytes inside a block of 64 bytes");
  void* elsewhere = &inside;
  EXPECT_DEATH(SlabPool::Put(&elsewhere, 1), "which no allocation of this process returned");
}

// A block freed while its slab is on its way back to the kernel: every interleaving of the two critical sections of
// Release with takes and frees by other threads, by chance, with the whole account checked at the end.
TEST_F(SlabPoolTest, ReleaseBesideTakesAndFrees) {
  Open(512);
  std::atomic<bool> stop{false};
  auto work = [&](unsigned seed) {
    std::minstd_rand random(seed);
    std::vector<std::pair<void*, unsigned char>> mine;
    while (!stop.load(std::memory_order_relaxed)) {
      void* blocks[16];
      const size_t count = pool_.Take(blocks, random() % 16 + 1);
      for (size_t i = 0; i < count; ++i) {
        const auto fill = static_cast<unsigned char>(random());
        memset(blocks[i], fill, 512);
        mine.emplace_back(blocks[i], fill);
      }
      const size_t kept = random() % 400;  // in waves, so that pages become empty
      if (mine.size() < 300) continue;
      while (mine.size() > kept) {
        std::swap(mine[random() % mine.size()], mine.back());
        auto [block, fill] = mine.back();
        for (size_t i = 0; i < 512; i += 64) ASSERT_EQ(static_cast<unsigned char*>(block)[i], fill);
        SlabPool::Put(&block, 1);
        mine.pop_back();
      }
    }
    for (auto [block, fill] : mine) SlabPool::Put(&block, 1);
  };
  std::thread threads[] = {std::thread(work, 1), std::thread(work, 2), std::thread(work, 3)};
  size_t released = 0;
  for (int round = 0; released < 500 * kPageSize; ++round) {
    const size_t bytes = pool_.Release(NowMs(), batch_);
    if (bytes == 0) std::this_thread::yield();
    released += bytes;
    if (round % 8 == 0) heap_.Release(NowMs(), batch_);
  }
  stop = true;
  for (auto& thread : threads) thread.join();
  Check();
  EXPECT_EQ(pool_.ledger().slabs, 0u);
  ReleaseHeap();
  EXPECT_EQ(FakeOs::ResidentBytesIn(reinterpret_cast<void*>(hot::window), PageMap::Granules() * kGranuleSize), 0u);
}

class SlabPoolRandomTest : public SlabPoolTest, public ::testing::WithParamInterface<size_t> {};

TEST_P(SlabPoolRandomTest, TheAccountHoldsAfterEveryStep) {
  Open(GetParam());
  std::minstd_rand random(7);
  for (int step = 0; step < 300 && !HasFailure(); ++step) {
    switch (random() % 4) {
      case 0:
        Take(random() % 200);
        break;
      case 1:
      case 2: {
        std::vector<void*> some;
        for (auto [block, bytes] : live_) {
          if (random() % 2 == 0) some.push_back(reinterpret_cast<void*>(block));
        }
        Put(some);
        break;
      }
      case 3:
        Release();
        if (random() % 2 == 0) ReleaseHeap();
        break;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Sizes, SlabPoolRandomTest,
                         ::testing::Values(16, 208, 640, 1152, 7168, 32768, 33000, 114688, 262144));

}  // namespace
}  // namespace neap
