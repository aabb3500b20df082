// query.h: one running query: its arena, its threads, its spill directory, and who must give way when memory is short.
//
// Lock: mutex_ guards the boundary (who waits, what is wanted) and the list of operators that can spill.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "engine/memory/memory.h"
#include "engine/memory/query_pool.h"
#include "engine/run/operator.h"
#include "engine/run/threads.h"
#include "engine/spill/spill_directory.h"

namespace neap::engine {

struct QueryOptions {
  size_t memory = 0;     // bytes for all queries of the pool; 0: no bound but the container's
  uint32_t threads = 0;  // 0: as many as the cgroup's quota and the affinity allow
  uint32_t batch_rows = kBatchRows;
  bool force_spill = false;  // every stateful operator spills whatever it can at every chance (tests)
  bool analyze = false;      // time every operator
  std::string spill_parent;  // folder for spill files; "": see spill_directory.h
};

class Query {
 public:
  // pool: of the session; none: one of the query's own.
  Query(const QueryOptions& options, SpillDirectory* spill, std::shared_ptr<QueryPool> pool = nullptr);
  ~Query();

  // Runs a chain and all that must be run before it; the last operator pushes to `results` (one stage a worker).
  // Throws the first Error of any thread after all have stopped.
  void Run(Chain& chain, const std::vector<Stage*>& results);

  Memory& memory() { return memory_.memory(); }
  Task& task() { return task_; }
  SpillDirectory& spill_directory() { return *spill_; }
  const QueryOptions& options() const { return options_; }
  uint32_t threads() const { return threads_; }

  void Cancel() { cancelled_.store(true, std::memory_order_relaxed); }  // any thread; a signal handler too
  bool cancelled() const { return cancelled_.load(std::memory_order_relaxed); }
  void CheckCancelled() const;  // throws Error(kCancelled); for long loops without a batch boundary

  // Asks that about `bytes` be made free at the next batch boundary, by the operator that can spill most. Any thread.
  void WantRoom(size_t bytes) { wanted_.fetch_add(bytes, std::memory_order_relaxed); }
  // The same, as the container is short of memory.
  void WantRoomForContainer(size_t bytes);
  bool room_wanted() const { return wanted_.load(std::memory_order_relaxed) != 0; }

  // A stateful operator whose thread is about to keep more asks: may it grow by so many bytes, or is it to spill first?
  // False under force_spill, past a bound and under container pressure. Where the arenas refuse, the memory manager is
  // asked to evict cached blocks, or to wait for other queries.
  bool MayGrow(Memory& memory, size_t bytes);

  // What was spilled for the container's sake; once the query has ended.
  struct PressureFigures {
    uint32_t spills = 0;  // boundaries at which something was
    uint64_t freed = 0;   // resident bytes, as operators measured them
  };
  const PressureFigures& pressure() const { return pressure_; }

  // Operators that hold memory. Registered while they may spill at a boundary.
  void Register(Operator* op);
  void Unregister(Operator* op);

 private:
  void RunChain(Chain& chain, const std::vector<Stage*>& next);
  void RunOnAll(const std::function<void(Worker&)>& work);
  void Drain(Source& source, const std::vector<Stage*>& first);
  void AtBoundary();
  size_t MakeRoom(size_t bytes);
  void MakeRoomForMore();
  size_t Free();

  QueryOptions options_;
  QueryMemory memory_;
  Task task_;
  SpillDirectory* spill_;
  uint32_t threads_;
  size_t workspace_;  // bytes
  std::vector<Worker> workers_;
  Threads pool_;
  neap_consumer* consumer_;
  std::atomic<bool> cancelled_{false};
  std::atomic<bool> failed_{false};  // one thread threw: the others stop
  std::atomic<size_t> wanted_{0};
  std::atomic<bool> for_container_{false};  // some of what is wanted

  std::mutex mutex_;
  std::condition_variable changed_;
  uint32_t running_ = 0;  // threads inside Drain
  uint32_t waiting_ = 0;  // of them, at the boundary
  uint64_t boundaries_ = 0;
  PressureFigures pressure_;
  std::vector<Operator*> spillable_;
};

}  // namespace neap::engine
