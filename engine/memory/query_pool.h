// query_pool.h: the memory that the queries of a session share: an arena with the session's bound, below it one for
// each query and one for cached blocks, and the manager, which says who of them may have how much.
//
// While a query runs, its arena takes in all that its threads allocate, also what outlives the query: an error's text,
// what a library sets up at first use. So an arena in which something still lives when its query ends is kept, and
// serves the next; where there are such when the pool ends, they and the arena above them serve the next pool.
//
// What queries have freed the allocator keeps for a while where it sees it taken again and again. Once no query has run
// for kIdle, none is soon to take it: a thread of the pool gives all of it back.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "engine/memory/memory.h"
#include "engine/memory/memory_manager.h"

namespace neap::engine {

struct ArenaFamily {
  explicit ArenaFamily(size_t bound) : all(nullptr, "session", bound) {}
  Memory all;                                 // with the pool's bound
  std::vector<std::unique_ptr<Memory>> idle;  // of queries that ended, with something in them that lives
};

class QueryPool {
 public:
  static constexpr std::chrono::milliseconds kIdle{30};

  explicit QueryPool(size_t bound);
  ~QueryPool();  // no query is left
  QueryPool(const QueryPool&) = delete;
  QueryPool& operator=(const QueryPool&) = delete;

  MemoryManager& manager() { return manager_; }
  std::unique_ptr<Memory> Take();
  void Return(std::unique_ptr<Memory> memory);

  // Around what a query runs.
  void Enter(Task& query);
  void Leave(Task& query);

 private:
  void GiveBackWhenIdle();

  std::mutex mutex_;  // guards family_->idle and what is below the line
  std::unique_ptr<ArenaFamily> family_;
  MemoryManager manager_;

  std::condition_variable changed_;
  uint32_t running_ = 0;
  uint64_t left_ = 0;  // queries, ever
  bool ending_ = false;
  std::thread idle_;
};

// The arena of one query, for as long as that lives.
class QueryMemory {
 public:
  explicit QueryMemory(std::shared_ptr<QueryPool> pool) : pool_(std::move(pool)), memory_(pool_->Take()) {}
  ~QueryMemory() { pool_->Return(std::move(memory_)); }
  QueryMemory(const QueryMemory&) = delete;
  QueryMemory& operator=(const QueryMemory&) = delete;

  Memory& memory() { return *memory_; }
  QueryPool& pool() { return *pool_; }
  MemoryManager& manager() { return pool_->manager(); }

 private:
  const std::shared_ptr<QueryPool> pool_;
  std::unique_ptr<Memory> memory_;
};

}  // namespace neap::engine
