// page_heap.h: the runs of granules without an owner on one NUMA node, and giving their pages back.
//
// A free run is in one of three states: clean (no page of it resident), dirty (some are), or dirty and perhaps backed by
// huge pages. Neighbours in the same state are joined. A request takes the smallest run that fits, dirty before clean:
// a resident page costs nothing to take, a clean one a fault. Runs that huge pages may back are not cut up for slabs:
// what is left of a huge page stays resident until the kernel splits it.
#pragma once

#include <atomic>
#include <stddef.h>
#include <stdint.h>

#include "alloc/lock.h"
#include "alloc/page_map.h"
#include "alloc/release_batch.h"
#include "alloc/span.h"

namespace neap {

class PageHeap {
 public:
  // bind: whether new address space is bound to the node (not where there is only one).
  void Start(int node, bool bind) {
    node_ = node;
    bound_node_ = bind ? node : -1;
  }

  // A run of that many granules, its first one at a multiple of `alignment` granules (a power of two). Afterwards
  // GranuleInfo::dirty tells of each granule which pages are resident (and hold old bytes).
  // PageMap::kNone if there is no address space.
  size_t Allocate(size_t granules, size_t alignment, bool huge);

  // The granules directly behind a run, if they are free and that many; as Allocate.
  bool AllocateAt(size_t first, size_t granules);

  // The owner has set GranuleInfo::dirty of each.
  void Free(size_t first, size_t granules, bool huge);

  // Gives back the dirty pages of runs that have been free since `cutoff_ms` or longer. The caller holds the release
  // lock. Returns the bytes.
  size_t Release(uint32_t cutoff_ms, ReleaseBatch& batch);

  size_t DirtyPages() const { return dirty_pages_.load(std::memory_order_relaxed); }
  Mutex& lock() { return lock_; }

 private:
  enum State { kClean, kDirty, kHugeDirty, kStates };
  static constexpr size_t kExactBins = 32;
  static constexpr size_t kBins = 64;
  static size_t BinOf(size_t granules);
  static State StateOf(const FreeRun* run) {
    return run->dirty_pages == 0 ? kClean : run->huge ? kHugeDirty : kDirty;
  }

  struct Bins {
    uint64_t filled = 0;
    LinkedList<FreeRun, &FreeRun::next, &FreeRun::prev> runs[kBins];
  };

  FreeRun* Find(State state, size_t granules);
  void Link(FreeRun* run);
  void Unlink(FreeRun* run);
  FreeRun* Join(FreeRun* run);
  void Insert(size_t first, size_t granules, bool huge, uint32_t since);
  void Carve(FreeRun* run, size_t first, size_t granules);
  static size_t CountDirty(size_t first, size_t granules);

  Mutex lock_;
  int node_ = 0;
  int bound_node_ = -1;
  std::atomic<size_t> dirty_pages_{0};
  Bins bins_[kStates];
};

}  // namespace neap
