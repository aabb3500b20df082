// cpu_cache_test.cc: the per-CPU caches in both modes: what they hold, how they grow, that they can be emptied from
// outside whatever their owner does, and that no refusal by the kernel loses a block. tests/stress/rseq_stress.cc is
// the same question asked for longer.
#include "alloc/cpu_cache.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <string.h>

#include <random>
#include <thread>
#include <vector>

#include "alloc/arena.h"
#include "alloc/heap.h"
#include "alloc/page_map.h"
#include "tests/fake_os.h"

namespace neap {
namespace {

constexpr size_t kBudget = 2u << 20;  // cpu_cache.cc

enum class Mode { kLocked, kRestartable, kConcurrencyId };

class CpuCacheTest : public ::testing::TestWithParam<Mode> {
 protected:
  void SetUp() override {
#if defined(__SANITIZE_THREAD__)
    if (GetParam() != Mode::kLocked) GTEST_SKIP() << "the thread sanitizer cannot see into restartable sequences";
#endif
    Fake().real_rseq = GetParam() != Mode::kLocked;
    Fake().concurrency_id = GetParam() == Mode::kConcurrencyId;
    if (GetParam() != Mode::kLocked && Os::FenceRseq() != 0) GTEST_SKIP() << "no restartable sequences here";
    cpu_set_t set;
    sched_getaffinity(0, sizeof(set), &set);
    allowed_ = set;
    const int cpu = sched_getcpu();
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    sched_setaffinity(0, sizeof(set), &set);
    Free(Allocate(40000));  // starts the heap and leaves every cache as it was
  }

  static size_t Out(size_t size_class) { return Arena::Root().Pool(size_class)->ledger().taken_blocks; }
  // At least so many blocks, and none left in the cache.
  static std::vector<void*> TakeAll(size_t size_class, size_t count) {
    std::vector<void*> blocks;
    while (blocks.size() < count) blocks.push_back(CpuCaches::Refill(size_class));
    while (void* block = CpuCaches::Pop(size_class)) SlabPool::Put(&block, 1);
    return blocks;
  }
  static size_t OutBytes() {
    size_t bytes = 0;
    for (size_t c = 0; c < kClasses; ++c) bytes += Out(c) * kSizeClasses[c].size;
    return bytes;
  }

  cpu_set_t allowed_;
};

std::string NameOf(const ::testing::TestParamInfo<Mode>& mode) {
  switch (mode.param) {
    case Mode::kLocked:
      return "Locked";
    case Mode::kRestartable:
      return "Restartable";
    case Mode::kConcurrencyId:
      return "ConcurrencyId";
  }
  return "";
}

INSTANTIATE_TEST_SUITE_P(Modes, CpuCacheTest,
                         ::testing::Values(Mode::kLocked, Mode::kRestartable, Mode::kConcurrencyId), NameOf);

TEST_P(CpuCacheTest, AMissBringsABatchAndHandsOutTheLowestFirst) {
  const size_t c = ClassOf(64);
  EXPECT_EQ(CpuCaches::Pop(c), nullptr);
  char* first = static_cast<char*>(CpuCaches::Refill(c));
  EXPECT_EQ(Out(c), kSizeClasses[c].batch);
  EXPECT_EQ(CpuCaches::CachedBytes(), (kSizeClasses[c].batch - 1u) * 64);
  for (int i = 1; i < kSizeClasses[c].batch; ++i) EXPECT_EQ(CpuCaches::Pop(c), first + 64 * i);
  EXPECT_EQ(CpuCaches::Pop(c), nullptr);
  EXPECT_EQ(CpuCaches::CachedBytes(), 0u);
}

// Of blocks beyond malloc's hit path; the others have two stacks where there are restartable sequences.
TEST_P(CpuCacheTest, GivesTheNewestBack) {
  const size_t c = ClassOf(GetParam() == Mode::kLocked ? 64 : 2048);
  void* a = CpuCaches::Refill(c);
  void* b = CpuCaches::Pop(c);
  ASSERT_TRUE(CpuCaches::Push(c, a));
  ASSERT_TRUE(CpuCaches::Push(c, b));
  EXPECT_EQ(CpuCaches::Pop(c), b);
  EXPECT_EQ(CpuCaches::Pop(c), a);
}

TEST_P(CpuCacheTest, OneStackIsEmptiedWhileTheOtherIsFilled) {
  if (GetParam() == Mode::kLocked) GTEST_SKIP() << "one stack";
  const size_t c = ClassOf(1024);
  const std::vector<void*> blocks = TakeAll(c, 10);
  for (size_t i = 0; i < 5; ++i) ASSERT_TRUE(CpuCaches::Push(c, blocks[i]));
  EXPECT_EQ(CpuCaches::Pop(c), blocks[4]);
  for (size_t i = 5; i < 10; ++i) ASSERT_TRUE(CpuCaches::Push(c, blocks[i]));
  for (size_t i = 4; i-- > 0;) EXPECT_EQ(CpuCaches::Pop(c), blocks[i]);
  for (size_t i = 10; i-- > 5;) EXPECT_EQ(CpuCaches::Pop(c), blocks[i]);
  EXPECT_EQ(CpuCaches::Pop(c), nullptr);
}

// A free that finds its stack full takes the other one if that is less than half full; nearer to full, the two would
// change places all the time.
TEST_P(CpuCacheTest, AFullStackChangesPlacesWithOneThatHasRoom) {
  if (GetParam() == Mode::kLocked) GTEST_SKIP() << "one stack";
  const size_t c = ClassOf(1024);
  const size_t batch = kSizeClasses[c].batch;
  const std::vector<void*> blocks = TakeAll(c, 2 * batch + 1);
  for (size_t i = 0; i < 2 * batch; ++i) ASSERT_TRUE(CpuCaches::Push(c, blocks[i])) << i;
  EXPECT_FALSE(CpuCaches::Push(c, blocks.back()));
  for (size_t left = batch - 1; left >= batch / 2; --left) {
    EXPECT_NE(CpuCaches::Pop(c), nullptr);
    EXPECT_FALSE(CpuCaches::Push(c, blocks.back()));
  }
  EXPECT_NE(CpuCaches::Pop(c), nullptr);
  EXPECT_TRUE(CpuCaches::Push(c, blocks.back()));
  EXPECT_EQ(CpuCaches::CachedBytes(), (batch + batch / 2) * 1024);
}

// Were it alone in going round, the stacks would change places for each pair of malloc and free.
TEST_P(CpuCacheTest, TheLastBlockOfACacheBringsMore) {
  if (GetParam() == Mode::kLocked) GTEST_SKIP() << "one stack";
  const size_t c = ClassOf(64);
  void* a = Allocate(64);
  void* b = Allocate(64);
  CpuCaches::Drain(CpuCaches::Which::kAll);
  Free(a);  // opens the cache
  Free(b);
  ASSERT_EQ(CpuCaches::CachedBytes(c), 64u);
  EXPECT_EQ(Allocate(64), b);
  EXPECT_EQ(CpuCaches::CachedBytes(c), kPageSize - 64u);
}

TEST_P(CpuCacheTest, ManyGoInAndOutInTheOrderOfOne) {
  const size_t c = ClassOf(1024);
  const size_t batch = kSizeClasses[c].batch;
  std::vector<void*> blocks(batch + 4);
  for (size_t have = 0; have < blocks.size();) {
    have += Arena::Root().Pool(c)->Take(blocks.data() + have, blocks.size() - have);
  }
  // Closed, it takes and gives none.
  EXPECT_EQ(CpuCaches::PushMany(c, blocks.data(), 2), 0u);
  EXPECT_EQ(CpuCaches::PopMany(c, blocks.data(), 2), 0u);
  ASSERT_NE(CpuCaches::Refill(c), nullptr);  // opens it
  while (CpuCaches::Pop(c) != nullptr) {
  }
  // The first of them, where there is not room for all.
  ASSERT_EQ(CpuCaches::PushMany(c, blocks.data(), 3), 3u);
  EXPECT_EQ(CpuCaches::PushMany(c, blocks.data() + 3, batch), batch - 3);
  EXPECT_EQ(CpuCaches::PushMany(c, blocks.data() + batch, 1), 0u);
  for (size_t i = 3; i < batch; ++i) EXPECT_EQ(CpuCaches::Pop(c), blocks[i]);
  for (size_t i = 0; i < 3; ++i) EXPECT_EQ(CpuCaches::Pop(c), blocks[i]);
  EXPECT_EQ(CpuCaches::Pop(c), nullptr);
  // As many as asked for, all there are, and then none.
  ASSERT_EQ(CpuCaches::PushMany(c, blocks.data(), 7), 7u);
  std::vector<void*> popped(batch);
  EXPECT_EQ(CpuCaches::PopMany(c, popped.data(), 4), 4u);
  EXPECT_EQ(CpuCaches::PopMany(c, popped.data() + 4, batch), 3u);
  EXPECT_EQ(CpuCaches::PopMany(c, popped.data() + 7, 1), 0u);
  for (size_t i = 0; i < 7; ++i) EXPECT_EQ(popped[i], blocks[i]);
}

TEST_P(CpuCacheTest, WhatTheCacheHasNoRoomForGoesHome) {
  const size_t c = ClassOf(64);
  const size_t batch = kSizeClasses[c].batch;
  CpuCaches::Refill(c);  // all but one of the slots are taken
  CpuCaches::Refill(c);
  EXPECT_EQ(Out(c), 2 + batch);
  EXPECT_EQ(CpuCaches::CachedBytes(), batch * 64);
}

TEST_P(CpuCacheTest, ClassesDoNotMix) {
  std::vector<void*> blocks(kCachedClasses);
  for (size_t c = 0; c < kCachedClasses; ++c) {
    blocks[c] = CpuCaches::Refill(c);
    ASSERT_NE(blocks[c], nullptr);
    memset(blocks[c], static_cast<int>(c), kSizeClasses[c].size);
  }
  for (size_t c = 0; c < kCachedClasses; ++c) {
    auto* bytes = static_cast<unsigned char*>(blocks[c]);
    EXPECT_EQ(bytes[0], c);
    EXPECT_EQ(bytes[kSizeClasses[c].size - 1], c);
    // A class that came without a spare block is opened by its first free.
    if (!CpuCaches::Push(c, blocks[c])) CpuCaches::Flush(c, blocks[c]);
    blocks[c] = CpuCaches::Pop(c);
    if (blocks[c] == nullptr) blocks[c] = CpuCaches::Refill(c);
    ASSERT_TRUE(CpuCaches::Push(c, blocks[c]));
  }
  for (size_t c = 0; c < kCachedClasses; ++c) {
    size_t times = 0;
    while (void* block = CpuCaches::Pop(c)) {
      EXPECT_EQ(PageMap::Find(block)->size_class, c);
      times += block == blocks[c];
    }
    EXPECT_EQ(times, 1u);
  }
}

TEST_P(CpuCacheTest, DrainSendsEveryBlockHome) {
  std::vector<std::pair<size_t, void*>> held;
  for (size_t c = 0; c < kCachedClasses; c += 3) held.emplace_back(c, CpuCaches::Refill(c));
  const size_t cached = CpuCaches::CachedBytes();
  EXPECT_GT(cached, 0u);
  EXPECT_EQ(CpuCaches::Drain(CpuCaches::Which::kAll), cached);
  EXPECT_EQ(CpuCaches::CachedBytes(), 0u);
  for (auto [c, block] : held) EXPECT_EQ(Out(c), 1u);
  EXPECT_EQ(CpuCaches::Drain(CpuCaches::Which::kAll), 0u);
  // A drained cache serves again.
  for (auto [c, block] : held) {
    EXPECT_EQ(CpuCaches::Pop(c), nullptr);
    if (!CpuCaches::Push(c, block)) CpuCaches::Flush(c, block);
    void* again = CpuCaches::Refill(c);
    ASSERT_TRUE(CpuCaches::Push(c, again));
    EXPECT_EQ(CpuCaches::Pop(c), again);
  }
}

TEST_P(CpuCacheTest, DrainOfOneClassLeavesTheOthers) {
  void* a = CpuCaches::Refill(ClassOf(64));
  CpuCaches::Refill(ClassOf(512));
  const size_t cached = CpuCaches::CachedBytes();
  const size_t of_class = (kSizeClasses[ClassOf(64)].batch - 1u) * 64;
  EXPECT_EQ(CpuCaches::Drain(CpuCaches::Which::kClass, ClassOf(64)), of_class);
  EXPECT_EQ(CpuCaches::CachedBytes(), cached - of_class);
  SlabPool::Put(&a, 1);
}

TEST_P(CpuCacheTest, OnlyWhatHasNotMovedIsIdle) {
  const size_t busy = ClassOf(64), idle = ClassOf(512);
  void* block = CpuCaches::Refill(busy);
  const size_t cached = CpuCaches::CachedBytes();
  CpuCaches::Refill(idle);
  const size_t of_idle = CpuCaches::CachedBytes() - cached;
  EXPECT_GT(of_idle, 0u);
  CpuCaches::Drain(CpuCaches::Which::kIdle);  // looks for the first time
  ASSERT_TRUE(CpuCaches::Push(busy, block));
  EXPECT_EQ(CpuCaches::Drain(CpuCaches::Which::kIdle), of_idle);
  EXPECT_EQ(CpuCaches::CachedBytes(), kSizeClasses[busy].batch * 64u);
  EXPECT_EQ(CpuCaches::Drain(CpuCaches::Which::kIdle), kSizeClasses[busy].batch * 64u);
}

TEST_P(CpuCacheTest, GrowsWithDemandUpToABudget) {
  const size_t c = ClassOf(64);
  auto round = [&](size_t count) {
    std::vector<void*> blocks;
    for (size_t i = 0; i < count; ++i) {
      void* block = CpuCaches::Pop(c);
      blocks.push_back(block != nullptr ? block : CpuCaches::Refill(c));
    }
    for (void* block : blocks) {
      if (!CpuCaches::Push(c, block)) CpuCaches::Flush(c, block);
    }
  };
  round(30);
  EXPECT_LE(CpuCaches::CachedBytes(), kSizeClasses[c].batch * 64u);
  for (int i = 0; i < 3; ++i) round(800);
  EXPECT_GE(CpuCaches::CachedBytes(), 700u * 64);
  EXPECT_LE(CpuCaches::CachedBytes(), kSizeClasses[c].cache_slots * 64u);

  size_t least = 0;
  for (size_t each = 0; each < kCachedClasses; ++each) {
    const size_t stacks = each < kFineClasses ? 2 : 1;
    least += stacks * kSizeClasses[each].batch * size_t{kSizeClasses[each].size};
  }
  for (size_t each = 0; each < kCachedClasses; ++each) {
    std::vector<void*> blocks(2u * kSizeClasses[each].cache_slots);
    for (void*& block : blocks) {
      block = CpuCaches::Pop(each);
      if (block == nullptr) block = CpuCaches::Refill(each);
    }
    for (void* block : blocks) {
      if (!CpuCaches::Push(each, block)) CpuCaches::Flush(each, block);
    }
  }
  EXPECT_LE(CpuCaches::CachedBytes(), kBudget + least);
  EXPECT_EQ(CpuCaches::CachedBytes(), OutBytes());
  CpuCaches::Drain(CpuCaches::Which::kAll);
  EXPECT_EQ(OutBytes(), 0u);
}

TEST_P(CpuCacheTest, AThreadThatSleepsIsDrainedAllTheSame) {
  std::atomic<int> stage{0};
  std::thread sleeper([&] {
    CpuCaches::Refill(ClassOf(96));
    stage = 1;
    while (stage != 2) std::this_thread::yield();
  });
  while (stage != 1) std::this_thread::yield();
  EXPECT_EQ(CpuCaches::Drain(CpuCaches::Which::kAll), (kSizeClasses[ClassOf(96)].batch - 1u) * 96);
  EXPECT_EQ(Out(ClassOf(96)), 1u);
  stage = 2;
  sleeper.join();
}

TEST_P(CpuCacheTest, AThreadThatExitedLeavesNothingUnreachable) {
  for (int i = 0; i < 20; ++i) {
    std::thread([] {
      void* block = Allocate(96);
      Free(block);
    }).join();
  }
  CpuCaches::Drain(CpuCaches::Which::kAll);
  EXPECT_EQ(OutBytes(), 0u);
}

TEST_P(CpuCacheTest, WithoutMemoryForSlotsBlocksPassTheCachesBy) {
  const size_t c = ClassOf(64);
  void* warm = CpuCaches::Refill(c);  // the slab and the metadata exist
  CpuCaches::Drain(CpuCaches::Which::kAll);
  std::thread([&] {
    Fake().map.Always();
    void* block = CpuCaches::Refill(c);
    EXPECT_NE(block, nullptr);
    if (block != nullptr && !CpuCaches::Push(c, block)) CpuCaches::Flush(c, block);
    Fake().map.Never();
  }).join();
  SlabPool::Put(&warm, 1);
  CpuCaches::Drain(CpuCaches::Which::kAll);
  EXPECT_EQ(OutBytes(), 0u);
}

// Threads that hand each other blocks, and a drainer. Each block says who has it.
TEST_P(CpuCacheTest, NothingIsLostOrDoubledBesideADrainer) {
  if (GetParam() != Mode::kLocked && !FakeOs::KernelHasRseq()) GTEST_SKIP() << "no restartable sequences here";
  sched_setaffinity(0, sizeof(allowed_), &allowed_);
  struct Block {
    void* mark;
    std::atomic<uint64_t> owner;
  };
  std::atomic<size_t> doubled{0};
  std::atomic<int> running{4};
  std::atomic<Block*> handed[16] = {};
  auto work = [&](uint64_t me) {
    std::minstd_rand random(static_cast<unsigned>(me));
    std::vector<Block*> mine;
    auto give_back = [&](Block* block) {
      if (block->owner.exchange(0) != me) ++doubled;
      if (!CpuCaches::Push(1, block)) CpuCaches::Flush(1, block);
    };
    for (int i = 0; i < 60000; ++i) {
      if (mine.size() < 100 && random() % 2 == 0) {
        void* memory = CpuCaches::Pop(1);
        auto* block = static_cast<Block*>(memory != nullptr ? memory : CpuCaches::Refill(1));
        if (block->owner.exchange(me) != 0) ++doubled;
        mine.push_back(block);
      } else if (!mine.empty()) {
        give_back(mine.back());
        mine.pop_back();
      }
      if (!mine.empty() && random() % 16 == 0) {
        mine.back()->owner = 99;
        Block* other = handed[random() % 16].exchange(mine.back());
        mine.pop_back();
        if (other == nullptr) continue;
        if (other->owner.exchange(me) != 99) ++doubled;
        mine.push_back(other);
      }
    }
    for (Block* block : mine) give_back(block);
    --running;
  };
  std::vector<std::thread> threads;
  for (uint64_t i = 1; i <= 4; ++i) threads.emplace_back(work, i);
  while (running != 0) CpuCaches::Drain(CpuCaches::Which::kAll);
  for (auto& thread : threads) thread.join();
  size_t left = 0;
  for (auto& slot : handed) {
    if (void* block = slot.load()) {
      SlabPool::Put(&block, 1);
      ++left;
    }
  }
  CpuCaches::Drain(CpuCaches::Which::kAll);
  EXPECT_EQ(doubled, 0u);
  EXPECT_EQ(OutBytes(), 0u);
}

class RefusedFenceTest : public ::testing::TestWithParam<int> {};

// The kernel refuses a fence half-way: nothing is drained, nothing is lost, and what is cached is served.
TEST_P(RefusedFenceTest, LosesNothing) {
  Fake().real_rseq = true;
  if (Os::FenceRseq() != 0) GTEST_SKIP() << "no restartable sequences here";
  const size_t c = ClassOf(64);
  CpuCaches::Start();
  RootHeap::Start();
  char* first = static_cast<char*>(CpuCaches::Refill(c));
  const size_t cached = CpuCaches::CachedBytes();
  Fake().fence.Nth(GetParam());
  EXPECT_EQ(CpuCaches::Drain(CpuCaches::Which::kAll), 0u);
  EXPECT_EQ(CpuCaches::CachedBytes(), cached);
  size_t popped = 0;
  while (void* block = CpuCaches::Pop(c)) {
    EXPECT_EQ(reinterpret_cast<uintptr_t>(block) >> 63, 0u);
    EXPECT_GT(static_cast<char*>(block), first);
    ASSERT_TRUE(popped++ < cached / 64);
  }
  EXPECT_TRUE(CpuCaches::Push(c, first));
}

INSTANTIATE_TEST_SUITE_P(Fences, RefusedFenceTest, ::testing::Values(1, 2));

TEST(CpuCacheStart, WithoutRoomForARowOfEachCpuItIsLockedMode) {
  Fake().real_rseq = true;
  Fake().map.Nth(1);
  void* block = Allocate(64);
  ASSERT_NE(block, nullptr);
  Free(block);
  EXPECT_EQ(Allocate(64), block);  // one stack
}

TEST(CpuCacheStart, ARefusedFenceMeansLockedMode) {
  Fake().real_rseq = true;
  Fake().fence.Always();
  void* block = Allocate(64);
  ASSERT_NE(block, nullptr);
  std::thread([&] { Free(block); }).join();
  CpuCaches::Drain(CpuCaches::Which::kAll);
  EXPECT_EQ(Arena::Root().Pool(ClassOf(64))->ledger().taken_blocks, 0u);
}

}  // namespace
}  // namespace neap
