// page_heap.h: the runs of granules without an owner on one NUMA node, and giving their pages back.
//
// A free run is clean (no page of it resident) or dirty (some are). Neighbours in the same state are joined. A request
// takes the smallest run that fits, dirty before clean: a resident page costs nothing to take, a clean one a fault.
//
// Growth at speed: where a burst takes clean pages by the MiB, 2 MiB at a time are made resident as one huge page (a
// sixth of the cost of 512 faults) and become a dirty run, of which what the burst does not take is given back like all
// that is dirty. A huge page of which a part is given back is split afterwards (huge_pages.h).
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <atomic>

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
  size_t Allocate(size_t granules, size_t alignment);

  // The granules from `first` on, if they are free and begin a run of at least that many; as Allocate.
  bool AllocateAt(size_t first, size_t granules);

  // The owner has set GranuleInfo::dirty of each.
  void Free(size_t first, size_t granules);

  // Gives back the dirty pages of runs that have been free since `cutoff_ms` or longer. The caller holds the release
  // lock. Returns the bytes.
  size_t Release(uint32_t cutoff_ms, ReleaseBatch& batch);

  // Clean pages of this heap are about to be touched, or may be: blocks of a slab, or a larger block.
  void NoteCleanTaken(uintptr_t start, size_t pages);

  // In a forked child: the threads that were populating are not there.
  void ForgetInChild() { growth_.being_populated = 0; }

  int node() const { return node_; }
  size_t DirtyPages() const { return dirty_pages_.load(std::memory_order_relaxed); }
  Mutex& lock() { return lock_; }

 private:
  enum State { kClean, kDirty, kStates };
  static constexpr size_t kExactBins = 32;
  static constexpr size_t kBins = 64;
  static size_t BinOf(size_t granules);
  static State StateOf(const FreeRun* run) { return run->dirty_pages == 0 ? kClean : kDirty; }

  struct Bins {
    uint64_t filled = 0;
    LinkedList<FreeRun, &FreeRun::next, &FreeRun::prev> runs[kBins];
  };

  // Evidence for growth at speed: the clean pages that were taken within a few ms, and where large blocks were put, to
  // see whether the program touches what it asks for. Written without a lock: evidence may be a little off.
  struct Growth {
    std::atomic<uint32_t> began_ms{0};
    std::atomic<uint32_t> pages{0};
    std::atomic<uint32_t> next_probe{0};
    std::atomic<uintptr_t> probes[8] = {};  // the second page of blocks of several
    // Under the lock.
    size_t being_populated = 0;  // pages
    // Clean granules in no run, for which huge pages are on while the epoch lasts: nobody else may touch a page there.
    size_t reserve = 0, reserve_granules = 0;
    uint32_t epoch = 0;
  };

  FreeRun* Find(State state, size_t granules);
  FreeRun* FindOrExtend(size_t granules);
  FreeRun* FindFitting(size_t granules, size_t alignment);
  void MarkBorders(const FreeRun* run, bool free);
  FreeRun* FreeRunAt(size_t granule) const;
  void Link(FreeRun* run);
  void Unlink(FreeRun* run);
  FreeRun* Join(FreeRun* run);
  bool Insert(size_t first, size_t granules, size_t dirty_pages, uint32_t since);
  void Carve(FreeRun* run, size_t first, size_t granules);
  FreeRun* SplitOff(FreeRun* run, size_t granules);
  size_t CarveAligned(FreeRun* run, size_t granules, size_t alignment);
  bool Extend(size_t granules);
  bool PopulateFor(size_t granules);
  bool Reserve(size_t granules);
  bool Unreserve();

  Mutex lock_;
  int node_ = 0;
  int bound_node_ = -1;
  std::atomic<size_t> dirty_pages_{0};
  Growth growth_;
  Bins bins_[kStates];
};

}  // namespace neap
