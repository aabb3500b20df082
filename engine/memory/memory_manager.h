// memory_manager.h: who may have how much: tasks that execute, and blocks that are cached, by the rules that users of
// Spark know (its UnifiedMemoryManager, ExecutionMemoryPool and StorageMemoryPool; the static policy is its
// StaticMemoryManager of versions before 3.0).
//
// A pool per mode is split between execution and storage:
//   - Either side may use what the other leaves free.
//   - Execution takes back what storage borrowed, by evicting cached blocks, as long as storage has more than its
//     region. Blocks go whole, so the last one evicted may reach below the region.
//   - Storage never takes from execution. To cache a block it evicts older ones, but none of the block's own dataset.
//   - Of N active tasks each may have at most 1/N of what execution can have, and waits while it has less than 1/(2N)
//     of what execution has. A task is active from its first acquisition until it holds nothing.
//
// Those are books. The arenas are the truth: what a task is granted is reserved in an arena of the task's own, what
// storage is granted in the pool's storage arena, so that bounds up to the container's limit hold. Where an arena
// refuses, the grant is shorter than the rules allow; nobody waits for that.
//
// A query is a task that is granted nothing ahead: its arena is below the pool's, has the task's 1/N as its bound, and
// what it is charged with is what the task has. So growth asks the arenas alone, and the manager only where they refuse
// (MakeRoom). Such a task waits no longer than others may take to move: who holds the memory may itself wait for its
// reader, which may be the very thread that waits for this task.
//
// Lock: mutex_ guards all of it, and is held while blocks are evicted: whoever evicts must not call back.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "engine/memory/memory.h"

namespace neap::engine {

// Spark's two modes. Without a JVM they differ in their pools alone: a plan that was sized for both finds both.
enum class MemoryMode : uint8_t { kOnHeap, kOffHeap };
constexpr size_t kMemoryModes = 2;

using DatasetId = uint64_t;

class MemoryManager;

// Who keeps the cached blocks.
class Evictor {
 public:
  virtual ~Evictor() = default;
  // Drops blocks of this mode, least recently used first, until at least `bytes` are freed, and returns how many were;
  // where that cannot be reached it drops nothing and returns 0. None of dataset `keep`, and none that is being read.
  // Called under the manager's lock, which takes the bytes from its books itself.
  virtual uint64_t Evict(std::optional<DatasetId> keep, uint64_t bytes, MemoryMode mode) = 0;
};

// One of those who share: what it was granted, and the arenas where it is to allocate that.
class Task {
 public:
  Task(MemoryManager& manager, const std::string& name);
  // A query's, with its arena. want_room(bytes): the share has shrunk below what the query has; called under the
  // manager's lock.
  Task(MemoryManager& manager, Memory& arena, std::function<void(uint64_t)> want_room);
  ~Task();  // releases what is left
  Task(const Task&) = delete;
  Task& operator=(const Task&) = delete;

  Memory& memory(MemoryMode mode) { return *shares_[static_cast<size_t>(mode)].memory; }
  uint64_t granted(MemoryMode mode) const;
  // Ends a wait of this task for memory, and every later one, by Error(kCancelled). Any thread.
  void Interrupt();

 private:
  friend class MemoryManager;
  struct Share {
    std::unique_ptr<Memory> own;
    Memory* memory = nullptr;  // null where the mode has no pool
    uint64_t granted = 0;      // for execution
    uint64_t unroll = 0;
    bool active = false;
  };

  MemoryManager& manager_;
  Share shares_[kMemoryModes];
  bool interrupted_ = false;

  bool is_query() const { return want_room_ != nullptr; }
  const std::function<void(uint64_t)> want_room_;
  bool patient_ = true;  // has not waited in vain since the shares were made
};

class MemoryManager {
 public:
  enum class Policy : uint8_t { kUnified, kStatic };
  struct Options {
    Policy policy = Policy::kUnified;
    double storage_fraction = 0.5;  // of a pool. Unified: execution cannot take it back; static: all that storage has
    double unroll_fraction = 0.2;   // static: of storage, how much unrolling may gain by evicting
  };
  struct Figures {
    uint64_t size = 0;            // of the pool: execution_size + storage_size
    uint64_t execution_size = 0;  // what either side has now
    uint64_t storage_size = 0;
    uint64_t execution_used = 0;
    uint64_t storage_used = 0;  // unroll included
    uint64_t unroll_used = 0;
    uint64_t tasks = 0;  // active
  };

  // A pool is as large as the bound of its Memory. off_heap: null for none. Storage off the heap is not in the static
  // policy.
  MemoryManager(Memory& on_heap, Memory* off_heap, Options options);
  ~MemoryManager();

  // Before the first acquisition; null once the blocks' keeper ends, which has released all of storage by then.
  void SetEvictor(Evictor* evictor);

  // Grants up to `bytes`, and returns how many: what is missing the task is to spill. Waits while the task is below its
  // least share. Throws Error(kCancelled) where the task is interrupted.
  uint64_t AcquireExecution(Task& task, uint64_t bytes, MemoryMode mode);
  void ReleaseExecution(Task& task, uint64_t bytes, MemoryMode mode);
  uint64_t ReleaseAllExecution(Task& task);  // returns what it held

  // A query counts as a task between these two.
  void Enter(Task& query);
  void Leave(Task& query);
  // For a query whose arenas have refused `bytes` to `memory`, one of them: evicts what storage borrowed, waits while
  // the query is below its least share, and says whether there is room now. check() throws to end a wait.
  bool MakeRoom(Task& query, Memory& memory, uint64_t bytes, const std::function<void()>& check);
  // What the query could have beside what it has.
  uint64_t Room(Task& query);
  // Another size of a pool: evicts what storage has beyond it.
  void Resize(uint64_t bytes, MemoryMode mode);

  // All or nothing. `dataset`: of the block to be cached.
  bool AcquireStorage(DatasetId dataset, uint64_t bytes, MemoryMode mode);
  void ReleaseStorage(uint64_t bytes, MemoryMode mode);

  // Memory of a block while it is read in and nobody knows yet how large it is. It is storage's.
  bool AcquireUnroll(Task& task, DatasetId dataset, uint64_t bytes, MemoryMode mode);
  void ReleaseUnroll(Task& task, uint64_t bytes, MemoryMode mode);
  void UnrollToStorage(Task& task, uint64_t bytes, MemoryMode mode);  // the block is complete

  // Where granted storage is to be allocated.
  Memory& storage_memory(MemoryMode mode) { return *pool(mode).storage_memory; }
  bool has_pool(MemoryMode mode) const { return pool(mode).storage_memory != nullptr; }
  // The most that storage could have if every block were evicted.
  uint64_t MaxStorage(MemoryMode mode) const;
  Figures figures(MemoryMode mode) const;

  // Drops about `bytes` of cached blocks, as the container's memory is short. Returns what was freed.
  uint64_t EvictForPressure(uint64_t bytes);

 private:
  friend class Task;
  struct Pool {
    std::unique_ptr<Memory> storage_memory;  // null: there is no such pool
    uint64_t region = 0;                     // of storage: what execution cannot take back
    uint64_t max_unroll = 0;                 // static
    Figures books;

    // None where a query has taken more than it was to: arenas are soft.
    uint64_t execution_free() const;
    uint64_t storage_free() const;
    void ToExecution(uint64_t bytes) { books.storage_size -= bytes, books.execution_size += bytes; }
    void ToStorage(uint64_t bytes) { books.execution_size -= bytes, books.storage_size += bytes; }
  };

  Pool& pool(MemoryMode mode) { return pools_[static_cast<size_t>(mode)]; }
  const Pool& pool(MemoryMode mode) const { return pools_[static_cast<size_t>(mode)]; }
  Task::Share& ShareOf(Task& task, MemoryMode mode) { return task.shares_[static_cast<size_t>(mode)]; }
  bool unified() const { return options_.policy == Policy::kUnified; }

  // All of these under mutex_.
  void GrowExecution(MemoryMode mode, uint64_t bytes);
  uint64_t ExecutionAtMost(const Pool& pool) const;
  uint64_t StorageAtMost(const Pool& pool) const;
  bool TakeStorage(std::optional<DatasetId> dataset, uint64_t bytes, uint64_t to_evict, MemoryMode mode);
  bool TakeStorageFor(DatasetId dataset, uint64_t bytes, MemoryMode mode, bool unroll);
  uint64_t Evict(std::optional<DatasetId> keep, uint64_t bytes, MemoryMode mode);
  void GiveBackExecution(Task& task, uint64_t bytes, MemoryMode mode);
  void ReadArenas();
  void SetShares(bool ask);
  uint64_t Reserve(Memory& memory, uint64_t bytes);

  const Options options_;
  Memory* const roots_[kMemoryModes];
  Evictor* evictor_ = nullptr;

  mutable std::mutex mutex_;
  std::condition_variable changed_;  // a task became active or released memory, or was interrupted
  Pool pools_[kMemoryModes];
  std::vector<Task*> tasks_;  // all, active or not
};

}  // namespace neap::engine
