// query_sharing_test.cc: what the memory manager does for queries, whose arenas say what they have.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <thread>
#include <vector>

#include "engine/core/error.h"
#include "tests/engine/number_blocks.h"

namespace neap::engine {
namespace {

using enum MemoryMode;

// A query as the manager sees it: an arena below the pool's, and what it is told.
struct QueryTask {
  QueryTask(MemoryManager& of, Memory& pool)
      : manager(of), memory(&pool, "query"), task(of, memory, [this](uint64_t bytes) { wanted += bytes; }) {
    manager.Enter(task);
  }
  ~QueryTask() {
    manager.Leave(task);
    while (!blocks.empty()) Free();
  }
  bool MayTake(uint64_t bytes) {
    return memory.HasRoom(bytes) || manager.MakeRoom(task, memory, bytes, [this] {
      ++checks;
      if (cancelled) throw Error(ErrorKind::kCancelled, "cancelled");
    });
  }
  void Take(uint64_t bytes) {
    blocks.push_back(memory.Allocate(bytes));
    std::memset(blocks.back(), 1, bytes);
  }
  void Free() {
    Memory::Free(blocks.back());
    blocks.pop_back();
    memory.Purge();
  }

  MemoryManager& manager;
  Memory memory;
  std::atomic<uint64_t> wanted{0};
  std::atomic<uint64_t> checks{0};
  std::atomic<bool> cancelled{false};
  Task task;
  std::vector<void*> blocks;
};

struct Queries : testing::Test {
  Memory heap{nullptr, "heap", 64 * kMiB};
  MemoryManager manager{heap, nullptr, {}};
  Blocks blocks{manager};
  MemoryManager::Figures figures() { return manager.figures(kOnHeap); }
};

TEST_F(Queries, OneAloneHasTheWholePoolAndNothingIsGrantedAhead) {
  QueryTask query(manager, heap);
  EXPECT_EQ(query.memory.Bound(), 64 * kMiB);
  EXPECT_EQ(heap.Charged(), 0u);
  EXPECT_TRUE(query.MayTake(63 * kMiB));
  EXPECT_EQ(query.checks, 0u) << "the arenas alone are asked";
  EXPECT_FALSE(query.MayTake(65 * kMiB));
  query.Take(40 * kMiB);
  EXPECT_EQ(manager.Room(query.task), 24 * kMiB);
  EXPECT_FALSE(query.MayTake(32 * kMiB));
}

TEST_F(Queries, EachOfNHasAnNthAndWhoHasMoreIsAsked) {
  QueryTask first(manager, heap);
  first.Take(40 * kMiB);
  {
    QueryTask second(manager, heap);
    EXPECT_EQ(first.memory.Bound(), 32 * kMiB);
    EXPECT_EQ(second.memory.Bound(), 32 * kMiB);
    EXPECT_EQ(first.wanted, 8 * kMiB);
    EXPECT_EQ(second.wanted, 0u);
    EXPECT_TRUE(second.MayTake(16 * kMiB));
    EXPECT_FALSE(first.MayTake(kMiB));
  }
  EXPECT_EQ(first.memory.Bound(), 64 * kMiB);
  EXPECT_TRUE(first.MayTake(16 * kMiB));
}

TEST_F(Queries, TheyTakeBackWhatStorageBorrowedAndNoMore) {
  for (DatasetId dataset = 1; dataset <= 6; ++dataset) ASSERT_TRUE(blocks.Cache(dataset, 10 * kMiB));
  QueryTask query(manager, heap);
  EXPECT_EQ(query.memory.Bound(), 32 * kMiB);
  EXPECT_EQ(manager.Room(query.task), 32 * kMiB);
  EXPECT_TRUE(query.MayTake(3 * kMiB));
  EXPECT_EQ(blocks.evicted, 0);
  EXPECT_TRUE(query.MayTake(20 * kMiB));
  EXPECT_EQ(blocks.datasets(), (std::vector<DatasetId>{3, 4, 5, 6}));
  query.Take(20 * kMiB);
  EXPECT_TRUE(query.MayTake(12 * kMiB));
  EXPECT_EQ(blocks.list.size(), 3u);
  EXPECT_FALSE(query.MayTake(34 * kMiB)) << "its share";
  EXPECT_EQ(blocks.list.size(), 3u);
}

TEST_F(Queries, StorageHasWhatTheyLeaveAndTakesNothingFromThem) {
  QueryTask query(manager, heap);
  query.Take(40 * kMiB);
  EXPECT_FALSE(blocks.Cache(1, 25 * kMiB));
  EXPECT_TRUE(blocks.Cache(1, 20 * kMiB));
  EXPECT_EQ(figures().execution_used, 40 * kMiB);
  EXPECT_EQ(query.memory.Bound(), 44 * kMiB);
  query.Free();
  EXPECT_TRUE(blocks.Cache(2, 40 * kMiB));
}

TEST_F(Queries, BelowItsLeastShareOneWaitsUntilAnotherHasFreed) {
  QueryTask first(manager, heap);
  first.Take(60 * kMiB);
  QueryTask second(manager, heap);
  std::thread frees([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    first.Free();
  });
  EXPECT_TRUE(second.MayTake(10 * kMiB));
  EXPECT_GT(second.checks, 1u);
  frees.join();
}

TEST_F(Queries, WhoWaitsForOneThatDoesNotMoveWaitsOnce) {
  QueryTask first(manager, heap);
  first.Take(60 * kMiB);
  QueryTask second(manager, heap);
  EXPECT_FALSE(second.MayTake(10 * kMiB));
  EXPECT_GT(second.checks, 10u);
  const uint64_t checks = second.checks;
  EXPECT_FALSE(second.MayTake(10 * kMiB));
  EXPECT_LE(second.checks, checks + 1) << "waits again";
  second.Take(20 * kMiB);
  QueryTask third(manager, heap);
  EXPECT_FALSE(second.MayTake(kMiB)) << "it has its least share";
}

TEST_F(Queries, ACancelledOneDoesNotWait) {
  QueryTask first(manager, heap);
  first.Take(60 * kMiB);
  QueryTask second(manager, heap);
  second.cancelled = true;
  EXPECT_THROW(second.MayTake(10 * kMiB), Error);
}

TEST_F(Queries, APoolOfAnotherSizeEvictsAndAsksForWhatIsTooMuch) {
  for (DatasetId dataset = 1; dataset <= 3; ++dataset) ASSERT_TRUE(blocks.Cache(dataset, 10 * kMiB));
  QueryTask query(manager, heap);
  query.Take(16 * kMiB);
  manager.Resize(16 * kMiB, kOnHeap);
  EXPECT_EQ(blocks.list.size(), 1u);
  EXPECT_EQ(query.memory.Bound(), 8 * kMiB);
  EXPECT_EQ(query.wanted, 8 * kMiB);
  EXPECT_FALSE(blocks.Cache(4, 10 * kMiB));
  query.Free();
  manager.Resize(128 * kMiB, kOnHeap);
  EXPECT_EQ(query.memory.Bound(), 118 * kMiB);
  EXPECT_TRUE(blocks.Cache(4, 60 * kMiB));
}

}  // namespace
}  // namespace neap::engine
