// slab_pool.h: the slabs of one class, of the root arena on one node or of a bounded arena.
//
// Partly used slabs are kept by fullness and the fullest serves first, so that the emptiest drain. Within a slab blocks
// on resident pages are taken before those on pages that were given back. A slab whose last block comes home returns to
// the page heap; a page whose last block comes home is dirty and may be given back from under the slab.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <atomic>

#include "alloc/lock.h"
#include "alloc/release_batch.h"
#include "alloc/span.h"

namespace neap {

class Arena;
class PageHeap;

// Written under the pool's lock, read by anyone.
struct PoolLedger {
  std::atomic<size_t> slabs{0};
  std::atomic<size_t> taken_blocks{0};  // out of the slabs: live or in a CPU's cache
  std::atomic<size_t> resident_pages{0};
  std::atomic<size_t> dirty_pages{0};  // of the resident ones
};

class SlabPool {
 public:
  void Start(Arena* arena, PageHeap* heap, size_t size_class, bool hit_path);

  // Up to `count` blocks; fewer or none when there is no memory or no room under a strict bound.
  size_t Take(void** blocks, size_t count);

  // Each to the pool that owns it, whichever that is. Ends the process at a block that is free already.
  static void Put(void* const* blocks, size_t count);

  // Gives back pages that have been dirty since `cutoff_ms` or longer; the caller holds the release lock.
  size_t Release(uint32_t cutoff_ms, ReleaseBatch& batch);

  // Gives back every page and returns every slab to the page heap, live blocks or not, while and after nobody uses the
  // pool; the caller holds the release lock. Returns the bytes.
  size_t Destroy(ReleaseBatch& batch);

  // One block more of the slab, or one fewer, is in the profile: while any is, the slab is closed to the hit path.
  static void NoteSampled(Slab* slab, bool more);
  // Free bytes of the pages that the block is on, divided among the blocks that are on them.
  static uint32_t PinnedBy(Slab* slab, const void* block);

  const PoolLedger& ledger() const { return ledger_; }
  Arena* arena() const { return arena_; }
  const PageHeap* heap() const { return heap_; }
  size_t size_class() const { return size_class_; }
  size_t block_size() const { return kSizeClasses[size_class_].size; }
  Mutex& lock() { return lock_; }

 private:
  static constexpr uint32_t kFullBucket = 8;  // partly used slabs are in 0 .. 7 by eighths
  static constexpr uint32_t kEighthShift = 24;

  size_t TakeFrom(Slab* slab, void** blocks, size_t count, bool clean_too);
  size_t FirstFree(const Slab* slab) const;
  size_t TakeWithin(Slab* slab, size_t unit, size_t index, size_t behind, void** blocks, size_t count);
  bool TakeAcross(Slab* slab, size_t index, void** block);
  bool MakeResident(Slab* slab, uint16_t units);
  void UseUnit(Slab* slab, size_t unit, size_t count);
  void TakeMasks(Slab* slab, size_t first);
  void LeaveMasks(const Slab* slab, size_t first);
  size_t PutRun(void* const* blocks, size_t count);
  Slab* MakeSlab();
  void Adopt(Slab* slab);
  void Retire(Slab* slab);
  bool IsSpare(const Slab* slab) const;
  void Link(Slab* slab);
  void Unlink(Slab* slab);
  void Relink(Slab* slab);
  void BecameDirty(Slab* slab);
  unsigned BucketOf(const Slab* slab) const;
  uint16_t UnitsOf(size_t index) const;
  size_t UnitPages() const { return kSizeClasses[size_class_].unit_bytes / kPageSize; }
  void SetHitPath(Slab* slab);
  size_t ExtraBytes() const;
  size_t ResidentBytes(const Slab* slab) const;

  Mutex lock_;
  Arena* arena_ = nullptr;
  PageHeap* heap_ = nullptr;
  uint32_t size_class_ = 0;
  uint32_t eighth_ = 0;    // 2^kEighthShift times eighths of a slab that one block is, rounded up
  bool hit_path_ = false;  // whether free may push blocks of these slabs straight into a CPU's cache
  uint32_t filled_ = 0;    // bit per bucket
  LinkedList<Slab, &Slab::next, &Slab::prev> buckets_[kFullBucket + 1];
  LinkedList<Slab, &Slab::dirty_next, &Slab::dirty_prev> dirty_;  // latest first
  PoolLedger ledger_;
};

}  // namespace neap
