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
#include "engine/run/operator.h"
#include "engine/run/threads.h"
#include "engine/spill/spill_directory.h"

namespace neap::engine {

struct QueryOptions {
  size_t memory = 0;     // bound of the query in bytes; 0: what the container leaves
  uint32_t threads = 0;  // 0: as many as the cgroup's quota and the affinity allow
  uint32_t batch_rows = kBatchRows;
  bool force_spill = false;  // every stateful operator spills whatever it can at every chance (tests)
  bool analyze = false;      // time every operator
  std::string spill_parent;  // folder for spill files; "": see spill_directory.h
};

class Query {
 public:
  Query(const QueryOptions& options, SpillDirectory* spill);
  ~Query();

  // Runs a chain and all that must be run before it; the last operator pushes to `results` (one stage a worker).
  // Throws the first Error of any thread after all have stopped.
  void Run(Chain& chain, const std::vector<Stage*>& results);

  Memory& memory() { return memory_.memory(); }
  SpillDirectory& spill_directory() { return *spill_; }
  const QueryOptions& options() const { return options_; }
  uint32_t threads() const { return threads_; }

  void Cancel() { cancelled_.store(true, std::memory_order_relaxed); }  // any thread; a signal handler too
  bool cancelled() const { return cancelled_.load(std::memory_order_relaxed); }
  void CheckCancelled() const;  // throws Error(kCancelled); for long loops without a batch boundary

  // Asks that about `bytes` be made free at the next batch boundary, by the operator that can spill most. Any thread.
  void WantRoom(size_t bytes) { wanted_.fetch_add(bytes, std::memory_order_relaxed); }
  bool room_wanted() const { return wanted_.load(std::memory_order_relaxed) != 0; }

  // A stateful operator whose thread is about to keep more asks: may it grow by so many bytes, or is it to spill first?
  // False under force_spill, past a bound and under container pressure.
  bool MayGrow(Memory& memory, size_t bytes);

  // Operators that hold memory. Registered while they may spill at a boundary.
  void Register(Operator* op);
  void Unregister(Operator* op);

 private:
  void RunChain(Chain& chain, const std::vector<Stage*>& next);
  void RunOnAll(const std::function<void(Worker&)>& work);
  void Drain(Source& source, const std::vector<Stage*>& first);
  void AtBoundary();
  void MakeRoom(size_t bytes);
  void MakeRoomForMore();
  size_t Free();

  QueryOptions options_;
  QueryMemory memory_;
  SpillDirectory* spill_;
  uint32_t threads_;
  size_t workspace_;  // bytes
  std::vector<Worker> workers_;
  Threads pool_;
  neap_consumer* consumer_;
  std::atomic<bool> cancelled_{false};
  std::atomic<bool> failed_{false};  // one thread threw: the others stop
  std::atomic<size_t> wanted_{0};

  std::mutex mutex_;
  std::condition_variable changed_;
  uint32_t running_ = 0;  // threads inside Drain
  uint32_t waiting_ = 0;  // of them, at the boundary
  uint64_t boundaries_ = 0;
  std::vector<Operator*> spillable_;
};

}  // namespace neap::engine
