// memory_manager_test.cc: the rules by which execution and storage share, one test a rule; then random traces against a
// plain model of them, threads, and what the arenas have to say.
#include "engine/memory/memory_manager.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <list>
#include <map>
#include <random>
#include <thread>

#include "engine/core/error.h"
#include "tests/engine/number_blocks.h"

namespace neap::engine {
namespace {

using enum MemoryMode;

// A pool of 1000 MiB, half of which storage keeps against execution.
struct Unified : testing::Test {
  explicit Unified(MemoryManager::Options options = {}) : manager(heap, &off_heap, options), blocks(manager) {}
  MemoryManager::Figures figures(MemoryMode mode = kOnHeap) { return manager.figures(mode); }

  Memory heap{nullptr, "heap", 1000 * kMiB};
  Memory off_heap{nullptr, "off-heap", 100 * kMiB};
  MemoryManager manager;
  Blocks blocks;
};
struct Static : Unified {
  Static() : Unified({.policy = MemoryManager::Policy::kStatic}) {}
};

using Seconds = std::chrono::duration<double>;

// What a thread gets that may have to wait.
struct Waiting {
  Waiting(MemoryManager& manager, Task& task, uint64_t bytes)
      : thread([this, &manager, &task, bytes] {
          try {
            got = manager.AcquireExecution(task, bytes, kOnHeap);
          } catch (const Error& error) {
            kind = error.kind();
          }
          done = true;
        }) {}
  ~Waiting() { thread.join(); }
  bool EndsWithin(double seconds) {
    const auto until = std::chrono::steady_clock::now() + Seconds(seconds);
    while (!done && std::chrono::steady_clock::now() < until) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    return done;
  }
  std::atomic<bool> done{false};
  std::atomic<uint64_t> got{0};
  std::atomic<ErrorKind> kind{ErrorKind::kPlan};
  std::thread thread;
};

// ---- Execution and storage.

TEST_F(Unified, ExecutionTakesAllThatStorageLeavesFree) {
  Task task(manager, "task");
  EXPECT_EQ(manager.AcquireExecution(task, 900 * kMiB, kOnHeap), 900 * kMiB);
  EXPECT_EQ(manager.AcquireExecution(task, 200 * kMiB, kOnHeap), 100 * kMiB);
  EXPECT_EQ(manager.AcquireExecution(task, 1, kOnHeap), 0u);
  EXPECT_EQ(figures().execution_size, 1000 * kMiB);
  manager.ReleaseExecution(task, 300 * kMiB, kOnHeap);
  EXPECT_EQ(task.granted(kOnHeap), 700 * kMiB);
}

TEST_F(Unified, StorageTakesAllThatExecutionLeavesFree) {
  EXPECT_TRUE(blocks.Cache(1, 900 * kMiB));
  EXPECT_TRUE(blocks.Cache(1, 100 * kMiB));
  EXPECT_FALSE(blocks.Cache(1, 1));
  EXPECT_EQ(figures().storage_size, 1000 * kMiB);
}

TEST_F(Unified, ExecutionEvictsWhatStorageBorrowedLeastRecentlyUsedFirst) {
  for (DatasetId dataset = 1; dataset <= 9; ++dataset) ASSERT_TRUE(blocks.Cache(dataset, 100 * kMiB));
  Task task(manager, "task");
  EXPECT_EQ(manager.AcquireExecution(task, 300 * kMiB, kOnHeap), 300 * kMiB);
  EXPECT_EQ(blocks.datasets(), (std::vector<DatasetId>{3, 4, 5, 6, 7, 8, 9}));
}

TEST_F(Unified, ExecutionDoesNotEvictWithinTheRegionOfStorage) {
  for (DatasetId dataset = 1; dataset <= 9; ++dataset) ASSERT_TRUE(blocks.Cache(dataset, 100 * kMiB));
  Task task(manager, "task");
  EXPECT_EQ(manager.AcquireExecution(task, 1000 * kMiB, kOnHeap), 500 * kMiB);
  EXPECT_EQ(blocks.list.size(), 5u);
  EXPECT_EQ(manager.AcquireExecution(task, 100 * kMiB, kOnHeap), 0u);
  EXPECT_EQ(blocks.list.size(), 5u);
}

TEST_F(Unified, ABlockAcrossTheEdgeOfTheRegionGoesWhole) {
  ASSERT_TRUE(blocks.Cache(1, 600 * kMiB));
  Task task(manager, "task");
  EXPECT_EQ(manager.AcquireExecution(task, 500 * kMiB, kOnHeap), 500 * kMiB);
  EXPECT_TRUE(blocks.list.empty());
}

TEST_F(Unified, StorageDoesNotTakeFromExecution) {
  Task task(manager, "task");
  ASSERT_EQ(manager.AcquireExecution(task, 800 * kMiB, kOnHeap), 800 * kMiB);
  EXPECT_FALSE(blocks.Cache(1, 201 * kMiB));  // although its region is 500
  EXPECT_TRUE(blocks.Cache(1, 200 * kMiB));
  EXPECT_EQ(manager.MaxStorage(kOnHeap), 200 * kMiB);
  EXPECT_EQ(task.granted(kOnHeap), 800 * kMiB);
}

TEST_F(Unified, StorageEvictsOlderBlocksForANewOne) {
  for (DatasetId dataset = 1; dataset <= 10; ++dataset) ASSERT_TRUE(blocks.Cache(dataset, 100 * kMiB));
  EXPECT_TRUE(blocks.Cache(11, 150 * kMiB));
  EXPECT_EQ(blocks.datasets(), (std::vector<DatasetId>{3, 4, 5, 6, 7, 8, 9, 10, 11}));
}

TEST_F(Unified, NoBlockOfTheDatasetBeingCachedIsEvicted) {
  for (const DatasetId dataset : {7, 7, 1, 7, 2, 7, 7, 7, 7, 7}) ASSERT_TRUE(blocks.Cache(dataset, 100 * kMiB));
  EXPECT_TRUE(blocks.Cache(7, 100 * kMiB));
  EXPECT_EQ(blocks.datasets(), (std::vector<DatasetId>{7, 7, 7, 2, 7, 7, 7, 7, 7, 7}));
  EXPECT_FALSE(blocks.Cache(7, 200 * kMiB));
  EXPECT_EQ(blocks.evicted, 1) << "what does not suffice is not begun";
}

TEST_F(Unified, ABlockLargerThanThePoolEvictsNothing) {
  ASSERT_TRUE(blocks.Cache(1, 900 * kMiB));
  EXPECT_FALSE(blocks.Cache(2, 1001 * kMiB));
  EXPECT_EQ(blocks.list.size(), 1u);
}

TEST_F(Unified, TheModesHavePoolsOfTheirOwn) {
  Task task(manager, "task");
  EXPECT_EQ(manager.AcquireExecution(task, 2000 * kMiB, kOffHeap), 100 * kMiB);
  EXPECT_EQ(manager.AcquireExecution(task, 1000 * kMiB, kOnHeap), 1000 * kMiB);
  EXPECT_FALSE(blocks.Cache(1, kMiB, kOffHeap));
  manager.ReleaseExecution(task, 50 * kMiB, kOffHeap);
  EXPECT_TRUE(blocks.Cache(1, 50 * kMiB, kOffHeap));
  EXPECT_FALSE(blocks.Cache(1, kMiB, kOnHeap));
  EXPECT_EQ(manager.ReleaseAllExecution(task), 1050 * kMiB);
}

TEST_F(Unified, WithoutAnOffHeapPoolNothingIsGrantedThere) {
  MemoryManager alone(heap, nullptr, {});
  Task task(alone, "task");
  EXPECT_EQ(alone.AcquireExecution(task, 1, kOffHeap), 0u);
  EXPECT_FALSE(alone.AcquireStorage(1, 1, kOffHeap));
}

TEST_F(Unified, APoolWithoutABoundIsRefused) {
  Memory unbounded(nullptr, "unbounded");
  EXPECT_THROW(MemoryManager(unbounded, nullptr, {}), Error);
}

// ---- Unrolling.

TEST_F(Unified, UnrollMemoryIsStorageAndEvictsAsItDoes) {
  for (DatasetId dataset = 1; dataset <= 10; ++dataset) ASSERT_TRUE(blocks.Cache(dataset, 100 * kMiB));
  Task task(manager, "task");
  EXPECT_TRUE(manager.AcquireUnroll(task, 11, 150 * kMiB, kOnHeap));
  EXPECT_EQ(blocks.evicted, 2);
  EXPECT_EQ(figures().unroll_used, 150 * kMiB);
  EXPECT_EQ(figures().storage_used, 950 * kMiB);
  manager.UnrollToStorage(task, 100 * kMiB, kOnHeap);
  EXPECT_EQ(figures().unroll_used, 50 * kMiB);
  EXPECT_EQ(figures().storage_used, 950 * kMiB);
  manager.ReleaseUnroll(task, 1000 * kMiB, kOnHeap);  // no more than it has
  EXPECT_EQ(figures().unroll_used, 0u);
  EXPECT_EQ(figures().storage_used, 900 * kMiB);
  manager.ReleaseStorage(100 * kMiB, kOnHeap);
}

TEST_F(Unified, UnrollMemoryIsNotTakenBackByExecution) {
  Task task(manager, "task");
  ASSERT_TRUE(manager.AcquireUnroll(task, 1, 700 * kMiB, kOnHeap));
  EXPECT_EQ(manager.AcquireExecution(task, 400 * kMiB, kOnHeap), 300 * kMiB);
}

TEST_F(Unified, ATaskThatEndsReleasesWhatItHas) {
  {
    Task task(manager, "task");
    ASSERT_EQ(manager.AcquireExecution(task, 300 * kMiB, kOnHeap), 300 * kMiB);
    ASSERT_EQ(manager.AcquireExecution(task, 10 * kMiB, kOffHeap), 10 * kMiB);
    ASSERT_TRUE(manager.AcquireUnroll(task, 1, 40 * kMiB, kOnHeap));
  }
  EXPECT_EQ(figures().execution_used, 0u);
  EXPECT_EQ(figures().storage_used, 0u);
  EXPECT_EQ(figures().tasks, 0u);
  EXPECT_EQ(figures(kOffHeap).execution_used, 0u);
  EXPECT_EQ(heap.Charged(), 0u);
}

// ---- Shares of tasks.

TEST_F(Unified, ATaskGetsAtMostOneNth) {
  Task first(manager, "first"), second(manager, "second");
  EXPECT_EQ(manager.AcquireExecution(first, 300 * kMiB, kOnHeap), 300 * kMiB);
  EXPECT_EQ(manager.AcquireExecution(second, 800 * kMiB, kOnHeap), 500 * kMiB);
  EXPECT_EQ(manager.AcquireExecution(first, 800 * kMiB, kOnHeap), 200 * kMiB);
}

TEST_F(Unified, ATaskWaitsBelowOneOverTwoNAndAgainBelowOneNth) {
  Task first(manager, "first"), second(manager, "second");
  ASSERT_EQ(manager.AcquireExecution(first, 1000 * kMiB, kOnHeap), 1000 * kMiB);
  Waiting wait(manager, second, 500 * kMiB);
  EXPECT_FALSE(wait.EndsWithin(0.05));
  manager.ReleaseExecution(first, 249 * kMiB, kOnHeap);
  EXPECT_FALSE(wait.EndsWithin(0.05));
  manager.ReleaseExecution(first, kMiB, kOnHeap);
  ASSERT_TRUE(wait.EndsWithin(10));
  EXPECT_EQ(wait.got, 250 * kMiB);
  EXPECT_EQ(manager.AcquireExecution(second, 500 * kMiB, kOnHeap), 0u) << "at 1/(2N) nobody waits";
}

TEST_F(Unified, ATaskThatAsksForLessThanItsLeastShareIsServedAtOnce) {
  Task first(manager, "first"), second(manager, "second");
  ASSERT_EQ(manager.AcquireExecution(first, 900 * kMiB, kOnHeap), 900 * kMiB);
  EXPECT_EQ(manager.AcquireExecution(second, 100 * kMiB, kOnHeap), 100 * kMiB);
}

TEST_F(Unified, AnotherTaskThatBecomesActiveEndsAWaitAsTheLeastShareShrinks) {
  Task first(manager, "first"), second(manager, "second"), third(manager, "third");
  ASSERT_EQ(manager.AcquireExecution(first, 800 * kMiB, kOnHeap), 800 * kMiB);
  Waiting wait(manager, second, 500 * kMiB);  // 200 are free, its least share of two is 250
  EXPECT_FALSE(wait.EndsWithin(0.05));
  Waiting other(manager, third, 1);  // of three: 166
  EXPECT_TRUE(wait.EndsWithin(10));
  EXPECT_GE(wait.got, 199 * kMiB);
  manager.ReleaseExecution(first, 800 * kMiB, kOnHeap);
  EXPECT_TRUE(other.EndsWithin(10));
}

TEST_F(Unified, AnInterruptedTaskDoesNotWait) {
  Task first(manager, "first"), second(manager, "second");
  ASSERT_EQ(manager.AcquireExecution(first, 1000 * kMiB, kOnHeap), 1000 * kMiB);
  Waiting wait(manager, second, 500 * kMiB);
  EXPECT_FALSE(wait.EndsWithin(0.02));
  second.Interrupt();
  ASSERT_TRUE(wait.EndsWithin(10));
  EXPECT_EQ(wait.kind, ErrorKind::kCancelled);
}

TEST_F(Unified, OnceItHoldsNothingATaskNoLongerCounts) {
  Task first(manager, "first"), second(manager, "second");
  ASSERT_EQ(manager.AcquireExecution(first, 100 * kMiB, kOnHeap), 100 * kMiB);
  EXPECT_EQ(manager.AcquireExecution(second, 900 * kMiB, kOnHeap), 500 * kMiB);
  manager.ReleaseExecution(first, 100 * kMiB, kOnHeap);
  EXPECT_EQ(figures().tasks, 1u);
  EXPECT_EQ(manager.AcquireExecution(second, 900 * kMiB, kOnHeap), 500 * kMiB);
}

// ---- The static policy.

TEST_F(Static, NeitherSideBorrows) {
  Task task(manager, "task");
  EXPECT_EQ(manager.AcquireExecution(task, 900 * kMiB, kOnHeap), 500 * kMiB);
  EXPECT_FALSE(blocks.Cache(1, 501 * kMiB));
  EXPECT_TRUE(blocks.Cache(1, 500 * kMiB));
  EXPECT_EQ(manager.AcquireExecution(task, 1, kOnHeap), 0u);
  EXPECT_TRUE(blocks.Cache(2, 100 * kMiB)) << "within storage older blocks give way";
  EXPECT_EQ(blocks.datasets(), (std::vector<DatasetId>{2}));
}

TEST_F(Static, OffHeapIsAllExecutions) {
  Task task(manager, "task");
  EXPECT_FALSE(blocks.Cache(1, kMiB, kOffHeap));
  EXPECT_EQ(manager.AcquireExecution(task, 200 * kMiB, kOffHeap), 100 * kMiB);
}

TEST_F(Static, UnrollingEvictsNoMoreThanItsFraction) {  // 100 of 500 MiB
  Task task(manager, "task");
  for (DatasetId dataset = 1; dataset <= 10; ++dataset) ASSERT_TRUE(blocks.Cache(dataset, 50 * kMiB));
  EXPECT_TRUE(manager.AcquireUnroll(task, 11, 100 * kMiB, kOnHeap));
  EXPECT_EQ(blocks.evicted, 2);
  EXPECT_FALSE(manager.AcquireUnroll(task, 11, kMiB, kOnHeap));
  EXPECT_EQ(blocks.evicted, 2);
  EXPECT_TRUE(blocks.Cache(11, kMiB)) << "a block whose size is known has no such cap";
}

// ---- Arenas.

TEST_F(Unified, AGrantIsHeldInTheArenaUntilItIsAllocated) {
  Task task(manager, "task");
  ASSERT_EQ(manager.AcquireExecution(task, 10 * kMiB, kOnHeap), 10 * kMiB);
  EXPECT_EQ(heap.Charged(), 10 * kMiB);
  void* block = task.memory(kOnHeap).Allocate(8 * kMiB);
  EXPECT_EQ(heap.Charged(), 10 * kMiB);
  EXPECT_EQ(task.memory(kOnHeap).Resident(), 8 * kMiB);
  Memory::Free(block);
  task.memory(kOnHeap).Purge();
  manager.ReleaseExecution(task, 8 * kMiB, kOnHeap);
  EXPECT_EQ(heap.Charged(), 2 * kMiB);
  manager.ReleaseExecution(task, 2 * kMiB, kOnHeap);
  EXPECT_EQ(heap.Charged(), 0u);
}

TEST_F(Unified, WhatTheArenaRefusesIsNotGrantedAndNobodyWaitsForIt) {
  Memory other(&heap, "other");
  void* block = other.Allocate(700 * kMiB);
  Task first(manager, "first"), second(manager, "second");
  EXPECT_EQ(manager.AcquireExecution(first, 100 * kMiB, kOnHeap), 100 * kMiB);
  const uint64_t got = manager.AcquireExecution(second, 400 * kMiB, kOnHeap);
  EXPECT_GT(got, 199 * kMiB);
  EXPECT_LE(got, 200 * kMiB);
  EXPECT_FALSE(blocks.Cache(1, 10 * kMiB));
  EXPECT_EQ(figures().storage_used, 0u);
  Memory::Free(block);
  other.Purge();
  EXPECT_TRUE(blocks.Cache(1, 10 * kMiB));
}

TEST_F(Unified, AHoldThatFreedPagesMadeNeedlessIsGivenUp) {
  Task task(manager, "task");
  std::vector<void*> allocated;
  const auto allocate = [&] {
    for (int i = 0; i < 3200; ++i) allocated.push_back(task.memory(kOnHeap).Allocate(128 << 10));
  };
  ASSERT_EQ(manager.AcquireExecution(task, 400 * kMiB, kOnHeap), 400 * kMiB);
  allocate();
  for (void* block : allocated) Memory::Free(block);
  manager.ReleaseExecution(task, 400 * kMiB, kOnHeap);
  allocated.clear();
  ASSERT_EQ(manager.AcquireExecution(task, 400 * kMiB, kOnHeap), 400 * kMiB);
  allocate();  // in the pages of before, if they are still there
  EXPECT_EQ(manager.AcquireExecution(task, 590 * kMiB, kOnHeap), 590 * kMiB);
  for (void* block : allocated) Memory::Free(block);
}

TEST_F(Unified, UnderPressureCachedBlocksGoWhateverTheirRegion) {
  for (DatasetId dataset = 1; dataset <= 3; ++dataset) ASSERT_TRUE(blocks.Cache(dataset, 100 * kMiB));
  ASSERT_TRUE(blocks.Cache(4, 20 * kMiB, kOffHeap));
  EXPECT_EQ(manager.EvictForPressure(150 * kMiB), 200 * kMiB);
  EXPECT_EQ(figures().storage_used, 100 * kMiB);
  EXPECT_EQ(manager.EvictForPressure(UINT64_MAX), 120 * kMiB);
  EXPECT_EQ(heap.Charged(), 0u);
}

// ---- Traces.

// The rules once more, with signed numbers and lists, for one mode and a trace in which nobody waits.
struct Model {
  int64_t total, region;
  int64_t execution = total - region, storage = region;  // sizes
  std::map<int, int64_t> tasks{};
  std::list<std::pair<DatasetId, int64_t>> cached{};

  int64_t Used() const {
    int64_t sum = 0;
    for (const auto& [task, bytes] : tasks) sum += bytes;
    return sum;
  }
  int64_t Cached() const {
    int64_t sum = 0;
    for (const auto& [dataset, bytes] : cached) sum += bytes;
    return sum;
  }
  int64_t Evict(int64_t bytes, std::optional<DatasetId> keep) {
    int64_t sum = 0;
    std::vector<decltype(cached)::iterator> victims;
    for (auto block = cached.begin(); block != cached.end() && sum < bytes; ++block) {
      if (block->first == keep) continue;
      sum += block->second;
      victims.push_back(block);
    }
    if (sum < bytes) return 0;
    for (auto victim : victims) cached.erase(victim);
    return sum;
  }
  // -1: would wait; nothing has changed then but that the task is active and what could be taken back is.
  int64_t Acquire(int task, int64_t bytes) {
    tasks.emplace(task, 0);
    const auto count = static_cast<int64_t>(tasks.size());
    if (const int64_t missing = bytes - (execution - Used()); missing > 0) {
      const int64_t free = storage - Cached();
      const int64_t take = std::min(missing, std::max(free, storage - region));
      if (take > 0) {
        int64_t moved = std::min(take, free);
        if (take > free) moved += Evict(take - free, std::nullopt);
        execution += moved, storage -= moved;
      }
    }
    const int64_t most = (total - std::min(Cached(), region)) / count;
    const int64_t grant = std::min({bytes, std::max<int64_t>(0, most - tasks[task]), execution - Used()});
    if (grant < bytes && tasks[task] + grant < execution / (2 * count)) return -1;
    tasks[task] += grant;
    return grant;
  }
  void Release(int task, int64_t bytes) {
    if (!tasks.contains(task)) return;
    tasks[task] -= std::min(bytes, tasks[task]);
    if (tasks[task] == 0) tasks.erase(task);
  }
  bool Cache(DatasetId dataset, int64_t bytes) {
    if (bytes > total - Used()) return false;
    if (bytes > storage - Cached()) {
      const int64_t moved = std::min(execution - Used(), bytes - (storage - Cached()));
      execution -= moved, storage += moved;
    }
    if (bytes > storage - Cached()) Evict(bytes - (storage - Cached()), dataset);
    if (bytes > storage - Cached()) return false;
    cached.emplace_back(dataset, bytes);
    return true;
  }
};

TEST_F(Unified, RandomTracesGoAsInTheModel) {
  std::mt19937_64 random(17);
  const auto pick = [&](uint64_t below) { return random() % below; };
  int grants = 0, short_grants = 0, waits = 0, cached = 0, refused = 0;
  for (int trace = 0; trace < 40; ++trace) {
    Model model{1000 * kMiB, 500 * kMiB};
    MemoryManager fresh(heap, nullptr, {});
    Blocks store(fresh);
    std::vector<std::unique_ptr<Task>> tasks;
    for (int i = 0; i < 5; ++i) tasks.push_back(std::make_unique<Task>(fresh, "task"));
    for (int step = 0; step < 300; ++step) {
      const auto i = static_cast<int>(pick(tasks.size()));
      const uint64_t bytes = 4096 * (1 + pick(pick(4) == 0 ? 150000 : 30000));
      switch (pick(5)) {
        case 0:
        case 1: {
          Model after = model;
          const int64_t expected = after.Acquire(i, static_cast<int64_t>(bytes));
          if (expected < 0) {
            ++waits;
            break;
          }
          model = after;
          ASSERT_EQ(fresh.AcquireExecution(*tasks[static_cast<size_t>(i)], bytes, kOnHeap),
                    static_cast<uint64_t>(expected));
          (static_cast<uint64_t>(expected) == bytes ? grants : short_grants) += 1;
          break;
        }
        case 2:
          model.Release(i, static_cast<int64_t>(bytes));
          fresh.ReleaseExecution(*tasks[static_cast<size_t>(i)], bytes, kOnHeap);
          break;
        default: {
          const DatasetId dataset = pick(3);
          const bool expected = model.Cache(dataset, static_cast<int64_t>(bytes));
          ASSERT_EQ(store.Cache(dataset, bytes), expected);
          (expected ? cached : refused) += 1;
          break;
        }
      }
      const MemoryManager::Figures now = fresh.figures(kOnHeap);
      ASSERT_EQ(now.execution_used, static_cast<uint64_t>(model.Used()));
      ASSERT_EQ(now.storage_used, static_cast<uint64_t>(model.Cached()));
      ASSERT_EQ(now.execution_size, static_cast<uint64_t>(model.execution));
      ASSERT_EQ(now.storage_size, static_cast<uint64_t>(model.storage));
      ASSERT_EQ(now.tasks, model.tasks.size());
      ASSERT_TRUE(std::equal(model.cached.begin(), model.cached.end(), store.list.begin(), store.list.end(),
                             [](const auto& a, const Blocks::Block& b) {
                               return a.first == b.dataset && a.second == static_cast<int64_t>(b.bytes);
                             }));
      ASSERT_EQ(heap.Charged(), now.execution_used + now.storage_used);
    }
  }
  for (const int count : {grants, short_grants, waits, cached, refused}) EXPECT_GT(count, 100);
}

TEST_F(Unified, ThreadsNeverHoldMoreThanThePoolAndAllComeToTheirTurn) {
  constexpr int kThreads = 8, kTurns = 300;
  std::atomic<uint64_t> held{0}, most{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937_64 random(static_cast<uint64_t>(t));
      for (int turn = 0; turn < kTurns; ++turn) {
        Task task(manager, "task");
        uint64_t mine = 0;
        for (int step = 0; step < 4; ++step) {
          const uint64_t got = manager.AcquireExecution(task, (1 + random() % 300) * kMiB, kOnHeap);
          mine += got;
          const uint64_t now = held.fetch_add(got) + got;
          for (uint64_t seen = most; now > seen && !most.compare_exchange_weak(seen, now);) {
          }
          if (manager.AcquireUnroll(task, random() % 3, (1 + random() % 50) * kMiB, kOnHeap)) std::this_thread::yield();
        }
        const uint64_t part = mine / 2;
        held -= part;
        manager.ReleaseExecution(task, part, kOnHeap);
        held -= mine - part;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_LE(most, 1000 * kMiB);
  EXPECT_GT(most, 900 * kMiB);
  EXPECT_EQ(figures().execution_used, 0u);
  EXPECT_EQ(figures().storage_used, 0u);
  EXPECT_EQ(figures().unroll_used, 0u);
  EXPECT_EQ(figures().tasks, 0u);
  EXPECT_EQ(heap.Charged(), 0u);
}

}  // namespace
}  // namespace neap::engine
