// cpu_cache.cc: see cpu_cache.h.
//
// How a cache is emptied while sequences run on other CPUs, and why no block is lost or doubled by it: alloc/DESIGN.md,
// "Emptying a CPU's cache from outside". A step below that looks needless is needed there.
#include "alloc/cpu_cache.h"

#include <sys/single_threaded.h>

#include <algorithm>
#include <atomic>
#include <utility>

#include "alloc/arena.h"
#include "alloc/fast_path.h"
#include "alloc/fork.h"
#include "alloc/limit_gate.h"
#include "alloc/metadata.h"
#include "alloc/os.h"
#include "alloc/page_map.h"
#include "alloc/release.h"

namespace neap {
namespace {

constexpr size_t kMaxBatch = 64;
constexpr size_t kMaxFlush = 256;
constexpr size_t kBudget = 2u << 20;  // bytes that one CPU's cache may hold beyond one batch of each stack
constexpr size_t kFirstLocked = 1;    // of the caches in locked mode; number 0 stays closed

// Malloc's hit path ends at kSmallMax. Larger blocks have one stack, the one that free fills, whose newest block is the
// likeliest to be in the processor's caches still.
constexpr size_t StacksOf(size_t size_class) { return size_class < kFineClasses ? kCacheStacks : 1; }

constexpr size_t MostSlots(size_t size_class) { return kSizeClasses[size_class].cache_slots / StacksOf(size_class); }

// The number of the slot below a class's first stack, which is always null; that below the second one follows.
constexpr auto kBottom = [] {
  std::array<uint32_t, kCachedClasses + 1> bottom{kHeaderBytes / sizeof(void*)};
  for (size_t c = 0; c < kCachedClasses; ++c) {
    bottom[c + 1] = bottom[c] + static_cast<uint32_t>(kCacheStacks * (MostSlots(c) + 1));
  }
  return bottom;
}();
constexpr size_t kRowBytes = size_t{1} << kCpuShift;
static_assert(kBottom[kCachedClasses] * sizeof(void*) <= kRowBytes && kRowBytes / sizeof(void*) <= UINT16_MAX + 1);

// A header's two stacks, read at one moment: how many blocks they hold, and which slots those are.
class Heights {
 public:
  Heights(size_t size_class, uint64_t tops) : bottom_(kBottom[size_class]) {
    for (const auto slot : {static_cast<uint32_t>(tops), static_cast<uint32_t>(tops >> 32)}) {
      // Racing with a first Open the header may be zero still.
      if (slot >= bottom_) top_[(slot - bottom_) % kCacheStacks] = slot;
    }
  }
  size_t Blocks() const {
    size_t blocks = 0;
    for (size_t stack = 0; stack < kCacheStacks; ++stack) {
      if (top_[stack] != 0) blocks += (top_[stack] - bottom_) / kCacheStacks;
    }
    return blocks;
  }
  template <class F>
  void ForEachSlot(F f) const {
    for (size_t stack = 0; stack < kCacheStacks; ++stack) {
      for (uint32_t slot = bottom_ + static_cast<uint32_t>(stack + kCacheStacks); slot <= top_[stack];
           slot += kCacheStacks)
        f(slot);
    }
  }

 private:
  uint32_t bottom_;
  uint32_t top_[kCacheStacks] = {};
};

// Stands in for the kernel's struct rseq in locked mode: the hit paths find the closed cache, number 0.
struct StandIn {
  uint64_t unused;
  uint64_t rseq_cs;
  uint32_t cpu;
};
static_assert(offsetof(StandIn, rseq_cs) == kRseqCs);
thread_local constinit StandIn t_stand_in __attribute__((tls_model("initial-exec"))) = {};
thread_local constinit uint32_t t_shared_cache __attribute__((tls_model("initial-exec"))) = 0;
thread_local constinit uint32_t t_number_of_parent __attribute__((tls_model("initial-exec"))) = 0;

constinit bool g_restartable = false;
constinit size_t g_count = 0;  // caches
constinit std::atomic<uint32_t> g_next_shared{0};
constinit std::atomic<bool> g_any_used{false};  // caches_ is in the ledger

template <class T>
std::atomic<T>& Atomic(T& place) {
  return reinterpret_cast<std::atomic<T>&>(place);
}

// What the hit paths take for the number of the running CPU's cache.
std::atomic<uint32_t>& NumberOfThread() {
  return Atomic(*reinterpret_cast<uint32_t*>(arch::ThreadPointer() + hot::rseq_cpu));
}

}  // namespace

struct CpuCaches::Cache {
  Mutex lock;                              // all but the headers' `pop` and `push` and the slots
  uint32_t widened;                        // bytes of capacity beyond one batch of each stack
  bool used;                               // the headers' `pop` and `push` are of their classes' slots
  bool tops_in_place;                      // and every sequence sees them so
  uint16_t capacity[kCachedClasses];       // of each stack; 0: closed
  uint32_t tops_at_drain[kCachedClasses];  // as they were when Drain last looked

  uint64_t counted[kRowBytes / kPageSize / 64];  // bit per page of the row: in the ledger

  uint32_t End(size_t c) const { return static_cast<uint32_t>(kBottom[c] + kCacheStacks * capacity[c]); }

  // Lets Push in.
  void SetEnd(CacheHeader& header, size_t c) const {
    Atomic(header.swap_end).store(End(c) - kCacheStacks * (capacity[c] / 2), std::memory_order_relaxed);
    Atomic(header.end).store(End(c), std::memory_order_release);
  }

  // They are resident from now on.
  void CountSlots(size_t c) { CountPages(kBottom[c] * sizeof(void*), (End(c) + 2) * sizeof(void*)); }
  void CountPages(size_t begin, size_t end) {
    for (size_t page = begin >> kPageShift; page <= (end - 1) >> kPageShift; ++page) {
      const uint64_t bit = uint64_t{1} << page % 64;
      if ((counted[page / 64] & bit) != 0) continue;
      counted[page / 64] |= bit;
      Metadata::Count(kPageSize);
    }
  }
};

constinit CpuCaches::Cache* CpuCaches::caches_ = nullptr;

namespace {

// A header's `pop` and, above it, its `push`.
std::atomic<uint64_t>& Tops(CacheHeader& header) { return reinterpret_cast<std::atomic<uint64_t>&>(header); }

// Nothing pops or pushes.
void Empty(CacheHeader& header, size_t size_class) {
  const uint64_t bottom = kBottom[size_class];
  Tops(header).store(bottom | (bottom + 1) << 32, std::memory_order_relaxed);
}

}  // namespace

void** CpuCaches::Row(size_t number) { return reinterpret_cast<void**>(hot::caches + (number << kCpuShift)); }

CacheHeader& CpuCaches::Header(size_t number, size_t size_class) {
  return *reinterpret_cast<CacheHeader*>(hot::caches + (number << kCpuShift) + HeaderOf(size_class));
}

size_t CpuCaches::CurrentNumber() {
  if (g_restartable) return NumberOfThread().load(std::memory_order_relaxed);
  if (t_shared_cache == 0) {
    t_shared_cache = static_cast<uint32_t>(kFirstLocked + g_next_shared.fetch_add(1, std::memory_order_relaxed) %
                                                              (g_count - kFirstLocked));
  }
  return t_shared_cache;
}

namespace {

// One more, which stays closed: CloseInVforkChild.
size_t RowsBytes() { return (g_count + 1) << kCpuShift; }

void* MapRows(size_t count) {
  g_count = count;
  void* rows = Os::Map(nullptr, RowsBytes());
  if (rows != nullptr) Os::SetHuge(rows, RowsBytes(), false);  // little of a row is touched as a rule
  return rows;
}

}  // namespace

size_t CpuCaches::CachesBytes() { return (g_count * sizeof(Cache) + kPageSize - 1) & ~(kPageSize - 1); }

bool CpuCaches::Start() {
  const ptrdiff_t rseq = Os::RseqOffset();
  g_restartable = rseq != 0 && Os::FenceRseq() == 0;
  void* rows = nullptr;
  if (g_restartable) rows = MapRows(static_cast<size_t>(Os::PossibleCpus()));
  if (rows == nullptr) {  // address space is limited, perhaps: fewer caches
    g_restartable = false;
    rows = MapRows(kFirstLocked + static_cast<size_t>(Os::AllowedCpus()));
  }
  void* caches = rows == nullptr ? nullptr : Os::Map(nullptr, CachesBytes());
  if (caches == nullptr) {
    if (rows != nullptr) Os::Unmap(rows, RowsBytes());
    return false;
  }
  caches_ = static_cast<Cache*>(caches);
  hot::caches = reinterpret_cast<uintptr_t>(rows);
  if (g_restartable) {
    hot::rseq_area = rseq;
    // A concurrency id is tied to no node.
    const bool by_concurrency = Os::RseqHasConcurrencyId() && Os::NodeCount() == 1;
    hot::rseq_cpu = rseq + (by_concurrency ? kRseqMmCid : kRseqCpuId);
  } else {
    char* stand_in = reinterpret_cast<char*>(&t_stand_in);
    hot::rseq_area = stand_in - arch::ThreadPointer();
    hot::rseq_cpu = stand_in + offsetof(StandIn, cpu) - arch::ThreadPointer();
  }
  return true;
}

// ---- Capacity.

void CpuCaches::Open(size_t size_class) {
  const size_t number = CurrentNumber();
  if (number >= g_count) return;  // in a child by vfork
  Cache& cache = caches_[number];
  MutexLock lock(cache.lock);
  if (cache.capacity[size_class] != 0) return;
  if (!cache.used) {
    // While closed nobody else writes them.
    for (size_t c = 0; c < kCachedClasses; ++c) Empty(Header(number, c), c);
    cache.CountPages(0, kHeaderBytes);
    if (!g_any_used.exchange(true, std::memory_order_relaxed)) Metadata::Count(static_cast<ptrdiff_t>(CachesBytes()));
    cache.used = true;
  }
  if (!cache.tops_in_place) {
    // A Push that is under way may have read the number of before, below which no end may come to lie.
    if (g_restartable && Os::FenceRseq() != 0) return;
    cache.tops_in_place = true;
  }
  cache.capacity[size_class] = kSizeClasses[size_class].batch;
  cache.CountSlots(size_class);
  cache.SetEnd(Header(number, size_class), size_class);
}

size_t CpuCaches::Widen(size_t size_class) {
  const size_t number = CurrentNumber();
  if (number >= g_count) return 0;
  Cache& cache = caches_[number];
  const SizeClass& row = kSizeClasses[size_class];
  MutexLock lock(cache.lock);
  const size_t capacity = cache.capacity[size_class];
  if (capacity == 0 || capacity == MostSlots(size_class)) return capacity;
  const size_t wider = std::min(capacity * 2, MostSlots(size_class));
  const size_t bytes = StacksOf(size_class) * (wider - capacity) * row.size;
  if (cache.widened + bytes > kBudget) return capacity;
  cache.widened += static_cast<uint32_t>(bytes);
  cache.capacity[size_class] = static_cast<uint16_t>(wider);
  cache.CountSlots(size_class);
  cache.SetEnd(Header(number, size_class), size_class);
  return wider;
}

// ---- Blocks.

void* CpuCaches::Pop(size_t size_class) {
  const size_t header = HeaderOf(size_class);
  void *block, *next;
  bool popped;
  if (!g_restartable)
    popped = PopMany(size_class, &block, 1) == 1;
  else if (StacksOf(size_class) == 1)
    popped = arch::PopPushed(header, block);
  else
    popped = arch::Pop(header, block) || arch::PopOther(header, block, next);
  return popped ? block : nullptr;
}

bool CpuCaches::Push(size_t size_class, void* block) {
  if (!g_restartable) return PushMany(size_class, &block, 1) == 1;
  const size_t header = HeaderOf(size_class);
  return arch::Push(header, block) || (StacksOf(size_class) > 1 && arch::PushOther(header, block));
}

// Without restartable sequences one stack does, the one that free fills.
size_t CpuCaches::PopMany(size_t size_class, void** blocks, size_t count) {
  if (g_restartable) return arch::PopMany(HeaderOf(size_class), blocks, count);
  const size_t number = CurrentNumber();
  if (!caches_[number].lock.TryLock()) return 0;
  void** slots = Row(number);
  uint32_t& newest = Header(number, size_class).push;
  size_t popped = 0;
  for (; popped < count && slots[newest] != nullptr; newest -= kCacheStacks) {
    blocks[popped++] = slots[newest];
  }
  caches_[number].lock.Unlock();
  return popped;
}

size_t CpuCaches::PushMany(size_t size_class, void* const* blocks, size_t count) {
  if (g_restartable) return arch::PushMany(HeaderOf(size_class), blocks, count);
  const size_t number = CurrentNumber();
  if (!caches_[number].lock.TryLock()) return 0;
  void** slots = Row(number);
  CacheHeader& header = Header(number, size_class);
  size_t pushed = 0;
  if (header.push < header.end) {
    pushed = std::min<size_t>(count, (header.end - header.push + 1) / kCacheStacks);
    for (size_t i = pushed; i > 0; --i) {
      header.push += kCacheStacks;
      slots[header.push] = blocks[i - 1];
    }
  }
  caches_[number].lock.Unlock();
  return pushed;
}

namespace {

size_t TakeFromSlabs(size_t size_class, void** blocks, size_t count) {
  if (!LimitGate::Pass(count * kSizeClasses[size_class].size)) return 0;
  SlabPool* pool = Arena::Root().Pool(size_class);
  const size_t taken = pool->Take(blocks, count);
  if (taken > 0) return taken;
  Releaser::ReclaimNow(PurgeCause::kNoMemory);
  return pool->Take(blocks, 1);
}

}  // namespace

void* CpuCaches::TakeUncached(size_t size_class) {
  void* block;
  return TakeFromSlabs(size_class, &block, 1) == 1 ? block : nullptr;
}

void* CpuCaches::Refill(size_t size_class) {
  if (InVforkChild()) return TakeUncached(size_class);
  void* blocks[kMaxBatch];
  const size_t count = TakeFromSlabs(size_class, blocks, kSizeClasses[size_class].batch);
  if (count <= 1) return count == 0 ? nullptr : blocks[0];
  // Marked like blocks that were freed: a stray pointer to one is noticed.
  for (size_t i = 1; i < count; ++i) SetMark(blocks[i], EntryOf(PageMap::Find(blocks[i]), 0));
  size_t kept = 1 + PushMany(size_class, blocks + 1, count - 1);
  if (kept == 1) {
    Open(size_class);
    kept += PushMany(size_class, blocks + 1, count - 1);
  }
  if (kept < count) SlabPool::Put(blocks + kept, count - kept);
  return blocks[0];
}

void CpuCaches::Fill(size_t size_class) {
  void* block = Refill(size_class);
  if (block == nullptr) return;
  SetMark(block, EntryOf(PageMap::Find(block), 0));
  if (!Push(size_class, block)) Flush(size_class, block);
}

void CpuCaches::Flush(size_t size_class, void* block) {
  const size_t capacity = Widen(size_class);
  if (Push(size_class, block)) return;
  // One batch stays, so that a program which turns to allocating finds something; the more go at once the better.
  const size_t batch = kSizeClasses[size_class].batch;
  const size_t wanted = std::clamp(capacity, 2 * batch, batch + kMaxFlush) - batch;
  void* blocks[kMaxFlush];
  blocks[0] = block;
  const size_t count = 1 + PopMany(size_class, blocks + 1, wanted - 1);
  if (count == 1) Open(size_class);
  SlabPool::Put(blocks, count);
  Releaser::Poke();
}

// ---- Emptying from outside.

// The cache is stopped: its blocks are the caller's. The slots stay marked until they are pushed over: a Pop that is
// under way may have read the old number.
size_t CpuCaches::Close(size_t number, size_t size_class) {
  Cache& cache = caches_[number];
  CacheHeader& header = Header(number, size_class);
  const Heights heights(size_class, Tops(header).load(std::memory_order_acquire));
  Empty(header, size_class);
  const SizeClass& row = kSizeClasses[size_class];
  cache.widened -= static_cast<uint32_t>(StacksOf(size_class) * (cache.capacity[size_class] - row.batch) * row.size);
  cache.capacity[size_class] = 0;
  cache.tops_in_place = false;
  void* blocks[kMaxBatch];
  size_t count = 0;
  heights.ForEachSlot([&](uint32_t slot) {
    blocks[count++] = reinterpret_cast<void*>(reinterpret_cast<uintptr_t>(Row(number)[slot]) & ~kStopped);
    if (count == kMaxBatch) SlabPool::Put(blocks, std::exchange(count, 0));
  });
  SlabPool::Put(blocks, count);
  return heights.Blocks() * row.size;
}

// The caller holds the lock of every cache.
size_t CpuCaches::DrainLocked(Which which, size_t only_class) {
  // Those to be emptied, by cache and class: their `end` is 0 and their capacity is not.
  size_t chosen = 0;
  auto for_each = [&](auto&& visit) {
    for (size_t number = 0; number < g_count; ++number) {
      Cache& cache = caches_[number];
      if (!cache.used) continue;
      for (size_t c = 0; c < kCachedClasses; ++c) {
        if (cache.capacity[c] != 0) visit(number, cache, c, Header(number, c));
      }
    }
  };
  for_each([&](size_t, Cache& cache, size_t c, CacheHeader& header) {
    if (which == Which::kClass && c != only_class) return;
    const uint64_t now = Tops(header).load(std::memory_order_relaxed);
    const auto tops = static_cast<uint32_t>(now | now >> 16);  // a slot's number has 16 bits
    const bool idle = tops == cache.tops_at_drain[c];
    cache.tops_at_drain[c] = tops;
    if (which == Which::kIdle && !idle) return;
    Atomic(header.end).store(0, std::memory_order_relaxed);
    ++chosen;
  });
  if (chosen == 0) return 0;

  auto for_each_chosen = [&](auto&& visit) {
    for_each([&](size_t number, Cache& cache, size_t c, CacheHeader& header) {
      if (Atomic(header.end).load(std::memory_order_relaxed) == 0) visit(number, cache, c, header);
    });
  };
  auto mark = [&](bool stopped) {
    for_each_chosen([&](size_t number, Cache&, size_t c, CacheHeader& header) {
      Heights(c, Tops(header).load(std::memory_order_acquire)).ForEachSlot([&](uint32_t slot) {
        const uintptr_t block = reinterpret_cast<uintptr_t>(Row(number)[slot]);
        Atomic(Row(number)[slot])
            .store(reinterpret_cast<void*>(stopped ? block | kStopped : block & ~kStopped), std::memory_order_relaxed);
      });
    });
  };
  bool fenced = !g_restartable || Os::FenceRseq() == 0;
  if (fenced) {
    mark(true);
    fenced = !g_restartable || Os::FenceRseq() == 0;
    if (!fenced) mark(false);
  }
  size_t bytes = 0;
  for_each_chosen([&](size_t number, Cache& cache, size_t c, CacheHeader& header) {
    if (fenced)
      bytes += Close(number, c);
    else
      cache.SetEnd(header, c);
  });
  return bytes;
}

size_t CpuCaches::Drain(Which which, size_t size_class) {
  for (size_t number = 0; number < g_count; ++number) caches_[number].lock.Lock();
  const size_t bytes = DrainLocked(which, size_class);
  for (size_t number = g_count; number-- > 0;) caches_[number].lock.Unlock();
  return bytes;
}

size_t CpuCaches::CachedBytes(size_t size_class) {
  size_t blocks = 0;
  for (size_t number = 0; number < g_count; ++number) {
    const uint64_t tops = Tops(Header(number, size_class)).load(std::memory_order_relaxed);
    blocks += Heights(size_class, tops).Blocks();
  }
  return blocks * kSizeClasses[size_class].size;
}

size_t CpuCaches::CachedBytes() {
  size_t bytes = 0;
  for (size_t c = 0; c < kCachedClasses; ++c) bytes += CachedBytes(c);
  return bytes;
}

void CpuCaches::StopForFork() {
  for (size_t number = 0; number < g_count; ++number) caches_[number].lock.LockForFork();
  if (!__libc_single_threaded) DrainLocked(Which::kAll, 0);
}

void CpuCaches::ResumeAfterFork(bool child) {
  for (size_t number = g_count; number-- > 0;) {
    if (child)
      caches_[number].lock.ResetInChild();
    else
      caches_[number].lock.UnlockAfterFork();
  }
}

// ---- vfork.

bool CpuCaches::InVforkChild() { return g_count != 0 && NumberOfThread().load(std::memory_order_relaxed) == g_count; }

void CpuCaches::CloseInVforkChild() {
  t_number_of_parent = NumberOfThread().load(std::memory_order_relaxed);
  NumberOfThread().store(static_cast<uint32_t>(g_count), std::memory_order_relaxed);
}

// As a rule the kernel has written the parent's number already, when the thread went on; but not where the thread had
// not slept yet, nor, from Linux 6.19 on, where its number is the one of before. What it wrote is right.
void CpuCaches::ReopenAfterVfork() {
  uint32_t closed = static_cast<uint32_t>(g_count);
  NumberOfThread().compare_exchange_strong(closed, t_number_of_parent, std::memory_order_relaxed);
}

}  // namespace neap
