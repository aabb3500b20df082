// arena.h: owners of spans, in a tree. The root owns everything that is allocated outside a scope and serves the hit
// path; a bounded arena has slabs of its own, so that its account is exact in resident bytes whoever frees.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <atomic>

#include "alloc/lock.h"
#include "alloc/page_heap.h"
#include "alloc/slab_pool.h"
#include "alloc/span.h"
#include "alloc/stats_page.h"

namespace neap {

struct ArenaLedger {
  size_t taken = 0;     // bytes of blocks out of the slabs (for the root: CPU caches included) and of large blocks
  size_t resident = 0;  // pages, in bytes
  size_t dirty = 0;     // of the resident ones

  void operator+=(const ArenaLedger& other) {
    taken += other.taken;
    resident += other.resident;
    dirty += other.dirty;
  }
};

class Arena {
 public:
  static constexpr size_t kMaxArenas = 4096;
  static constexpr size_t kNameBytes = 48;

  static Arena& Root();
  static Arena* Create(Arena* parent, const char* name, size_t bound);
  static bool Destroy(Arena* arena);
  // By id; null where there is none. The tree may change meanwhile: inside an RCU read section or the tree's lock.
  static Arena* ById(size_t id);
  static size_t Count();
  static size_t Highest();  // ids are below

  bool IsRoot() const { return parent_ == nullptr; }
  uint16_t id() const { return id_; }
  const char* name() const { return name_; }
  Arena* parent() const { return parent_; }

  // Blocks of a bounded arena. alignment: a power of two, at least kMinAlignment.
  void* Allocate(size_t size, size_t alignment);

  // The pool of a class, made on first use; null if there is no memory. For the root: that of the running CPU's node.
  SlabPool* Pool(size_t size_class);

  // Pages become resident, or cease to be. Charge fails only where a strict bound on the way to the root has no room;
  // growth uses up what was reserved first.
  bool Charge(size_t bytes);
  void Uncharge(size_t bytes);
  bool Reserve(size_t bytes);
  bool MayGrow(size_t bytes) const;
  void Unreserve(size_t bytes);
  static size_t TotalReserved();  // by all arenas

  void set_bound(size_t bound) { bound_.store(bound, std::memory_order_relaxed); }
  void set_strict(bool strict) { strict_.store(strict, std::memory_order_relaxed); }
  size_t bound() const { return bound_.load(std::memory_order_relaxed); }
  size_t charged() const { return charged_.load(std::memory_order_relaxed); }
  size_t reserved() const { return reserved_.load(std::memory_order_relaxed); }
  size_t peak() const { return peak_.load(std::memory_order_relaxed); }
  size_t overruns() const { return overruns_.load(std::memory_order_relaxed); }

  ArenaLedger Read() const;
  // Adds to the rows of its blocks' classes, and of the nodes that its slabs are of; free blocks that are out of the
  // slabs count as live.
  void AddRows(StatsClass* classes, StatsNode* nodes) const;
  // Gives back the pages of partly used slabs that have been dirty since `cutoff_ms`. The caller holds the release
  // lock.
  size_t Release(uint32_t cutoff_ms, ReleaseBatch& batch);
  // For Destroy: all pages of its slabs, and the slabs.
  size_t ReturnSlabs(ReleaseBatch& batch);

  // Large blocks: the list, so that Destroy finds them, and what they hold. A block that changes its size or place is
  // removed first.
  void AddLarge(LargeSpan* span, size_t slack_pages);
  void RemoveLarge(LargeSpan* span);

  template <class F>
  void ForEachLock(F f) {
    f(lock_);
    ForEachPool([&](SlabPool& pool) { f(pool.lock()); });
  }

 private:
  friend struct RootHeap;
  template <class F>
  void ForEachPool(F f) const;
  bool GrowUpwards(size_t bytes, bool may_refuse);
  void ShrinkUpwards(size_t bytes);
  size_t RaisePeak();  // returns what is charged now
  LargeSpan* FirstLarge();
  void ChargeAnyway(size_t bytes);

  uint16_t id_ = 0;
  Arena* parent_ = nullptr;
  char name_[kNameBytes] = {};
  std::atomic<size_t> bound_{SIZE_MAX};
  std::atomic<bool> strict_{false};
  std::atomic<size_t> resident_{0};  // this arena alone
  std::atomic<size_t> reserved_{0};  // this arena alone
  std::atomic<size_t> charged_{0};   // resident and reserved, with all below
  std::atomic<size_t> peak_{0};      // of charged_
  std::atomic<size_t> overruns_{0};
  std::atomic<uint32_t> children_{0};

  ArenaLedger ReadLarge() const;
  size_t ReleaseSlack(uint32_t cutoff_ms, ReleaseBatch& batch);

  Mutex lock_;                                                       // large_, what counts it, and the making of pools
  LinkedList<LargeSpan, &LargeSpan::next, &LargeSpan::prev> large_;  // those with slack first
  std::atomic<size_t> large_bytes_{0};
  std::atomic<size_t> slack_pages_{0};
  std::atomic<SlabPool*> pools_[kClasses] = {};  // of a bounded arena
};

// The root's slabs and free runs, by NUMA node.
struct NodeHeap {
  PageHeap page_heap;
  SlabPool pools[kClasses];
};

struct RootHeap {
  static constexpr int kMaxNodes = 64;
  static void Start();
  static int Nodes();
  static NodeHeap& Node(int node);
  // The running CPU's; 0 where there is one node.
  static int CurrentNode();
  // Of free runs on every node.
  static size_t DirtyPages();
};

template <class F>
void Arena::ForEachPool(F f) const {
  if (IsRoot()) {
    for (int node = 0; node < RootHeap::Nodes(); ++node) {
      for (SlabPool& pool : RootHeap::Node(node).pools) f(pool);
    }
    return;
  }
  for (const auto& pool : pools_) {
    if (SlabPool* made = pool.load(std::memory_order_acquire)) f(*made);
  }
}

// ---- Of the span of a live block.

inline size_t BlockSize(const Span* span) {
  return span->kind == SpanKind::kLarge ? static_cast<const LargeSpan*>(span)->bytes
                                        : kSizeClasses[span->size_class].size;
}

inline Arena* OwnerOf(const Span* span) {
  return span->kind == SpanKind::kLarge ? static_cast<const LargeSpan*>(span)->arena
                                        : static_cast<const Slab*>(span)->pool->arena();
}

}  // namespace neap
