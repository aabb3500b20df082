// heap.cc: the entry points of heap.h and the slow halves of fast_path.h.
#include "alloc/heap.h"

#include <string.h>

#include "alloc/arena.h"
#include "alloc/config.h"
#include "alloc/cpu_cache.h"
#include "alloc/fast_path.h"
#include "alloc/fork.h"
#include "alloc/hardened.h"
#include "alloc/large.h"
#include "alloc/limit_gate.h"
#include "alloc/misuse.h"
#include "alloc/os.h"
#include "alloc/profile.h"
#include "alloc/release.h"
#include "alloc/requests.h"
#include "alloc/scope.h"
#include "alloc/stats_page.h"

namespace neap {
namespace {

constinit Mutex g_start_lock;
constinit std::atomic<bool> g_started{false};

[[gnu::noinline, gnu::cold]] bool Start() {
  {
    MutexLock lock(g_start_lock);
    if (g_started.load(std::memory_order_relaxed)) return true;
    if (!CpuCaches::Start()) return false;
    Config::Read();
    if (Config::hardened()) Hardened::Start();
    RootHeap::Start();
    if (!Hardened::On()) hot::fast_limit = kSmallMax + 1;
    g_started.store(true, std::memory_order_release);
  }
  // These may allocate.
  RegisterForkHandlers();
  Releaser::WatchFirstThread();
  if (Config::stats_prefix() != nullptr) OpenStatsPage(Config::stats_prefix());
  if (Config::profile() != 0) Profile::Start(Config::profile());
  return true;
}

void* AllocateFromClass(size_t size_class, size_t size) {
  void* block = size_class < kCachedClasses ? CpuCaches::Pop(size_class) : nullptr;
  if (block == nullptr) {
    Requests::Note(size_class, size, kSizeClasses[size_class].size);
    if (size_class >= kCachedClasses) return CpuCaches::TakeUncached(size_class);
    block = CpuCaches::Refill(size_class);
  }
  if (block != nullptr) SetMark(block, 0);
  return block;
}

void PushOrFlush(void* block, size_t size_class) {
  if (!CpuCaches::Push(size_class, block)) CpuCaches::Flush(size_class, block);
}

// Into the running CPU's cache where that CPU is of the block's node; otherwise back to the slab at once.
void FreeToRoot(void* block, Slab* slab) {
  if (slab->size_class < kCachedClasses && slab->node == RootHeap::CurrentNode()) {
    SetMark(block, EntryOf(slab, 0));
    PushOrFlush(block, slab->size_class);
    return;
  }
  SlabPool::Put(&block, 1);
  Releaser::Poke();
}

bool IsMark(uintptr_t word, const Span* span) {
  return SpanOf(word) == span && (word & (kSpanAlignment - 1)) == kSpanTag;
}

uintptr_t FirstWord(const void* block) {
  return __atomic_load_n(static_cast<const MarkWord*>(block), __ATOMIC_ACQUIRE);
}

// Whether the block is in its slab or in a CPU's cache. The mark may be one that the program has copied: then the
// caches of the class are emptied, and the slab knows.
bool IsFree(const Slab* slab, const void* block, size_t index) {
  const auto in_slab = [&] {
    return PageMap::Find(block) != slab ||
           (__atomic_load_n(&slab->free_bits[index / 64], __ATOMIC_RELAXED) >> index % 64 & 1) != 0;
  };
  if (in_slab()) return true;
  if (slab->size_class >= kCachedClasses || !slab->pool->arena()->IsRoot()) return false;
  if (!IsMark(FirstWord(block), slab)) return false;
  CpuCaches::Drain(CpuCaches::Which::kClass, slab->size_class);
  return in_slab();
}

// Ends the process if no live block of the slab starts there.
void CheckLive(const Slab* slab, const void* block) {
  const SizeClass& row = kSizeClasses[slab->size_class];
  const size_t index = BlockAt(row, OffsetIn(slab, block));
  if (index == row.blocks) Misuse::NotABlock(block);
  if (IsFree(slab, block, index)) Misuse::DoubleFree(block, row.size);
}

bool IsStart(const LargeSpan* span, const void* block) { return reinterpret_cast<uintptr_t>(block) == span->start; }

void FreeSlabBlock(void* block, Slab* slab) {
  CheckLive(slab, block);
  Profile::Forget(block);
  if (!slab->pool->arena()->IsRoot()) {
    SlabPool::Put(&block, 1);
    Releaser::Poke();
    return;
  }
  FreeToRoot(block, slab);
}

// ---- Blocks as the heap has them.

Arena& CurrentArena() {
  Arena* arena = ThreadScope::Current();
  return arena != nullptr ? *arena : Arena::Root();
}

void* Noted(void* block, size_t size) { return block != nullptr ? Profile::Noted(block, size) : block; }

// zeroed: if the block is a large one.
void* AllocateBlock(Arena& arena, size_t size, size_t alignment, bool zeroed) {
  const size_t size_class = AlignedClassOf(size, alignment);
  if (size_class == kClasses) return Noted(Large::Allocate(&arena, size, alignment, zeroed), size);
  return Noted(arena.IsRoot() ? AllocateFromClass(size_class, size) : arena.Allocate(size, alignment), size);
}

void FreeBlock(void* block) {
  Span* span = PageMap::Find(block);
  switch (span->kind) {
    case SpanKind::kSlab:
      return FreeSlabBlock(block, static_cast<Slab*>(span));
    case SpanKind::kLarge:
      if (!IsStart(static_cast<LargeSpan*>(span), block)) Misuse::NotABlock(block);
      Profile::Forget(block);
      Large::Free(static_cast<LargeSpan*>(span));
      Releaser::Poke();
      return;
    default:
      Misuse::NotABlock(block);
  }
}

// The span of a block that realloc, sized free or usable_size was given; ends the process if no live block starts
// there.
Span* SpanOfLive(const void* block) {
  Span* span = PageMap::Find(block);
  if (span->kind == SpanKind::kLarge && IsStart(static_cast<LargeSpan*>(span), block)) return span;
  if (span->kind != SpanKind::kSlab) Misuse::NotABlock(block);
  CheckLive(static_cast<Slab*>(span), block);
  return span;
}

// Null: it cannot be done in place; the block is as before.
void* ResizeLarge(LargeSpan* span, size_t size) {
  void* block = reinterpret_cast<void*>(span->start);
  const size_t old_size = span->bytes;
  const uint32_t sample = Profile::Detach(block);
  void* resized = Large::Resize(span, size);
  const size_t growth = resized != nullptr && size > old_size ? size - old_size : 0;
  if (sample != Profile::kNoSample)
    Profile::Attach(sample, resized != nullptr ? resized : block, growth);
  else if (growth > 0)
    Noted(resized, growth);
  return resized;
}

// ---- Blocks of the hardened mode.

void* AllocateGuarded(Arena& arena, size_t size, size_t alignment, bool zeroed) {
  if (size > kMaxRequest - Hardened::kGuardBytes) return nullptr;
  const size_t whole = size + Hardened::kGuardBytes;
  void* block = AllocateBlock(arena, whole, alignment, zeroed);
  if (block == nullptr && Hardened::EmptyQuarantine() > 0) block = AllocateBlock(arena, whole, alignment, zeroed);
  if (block != nullptr) Hardened::Guard(block, BlockSize(PageMap::Find(block)), size);
  return block;
}

// Blocks of a bounded arena do not wait in the quarantine: its account is exact, and it may be destroyed.
void FreeGuarded(void* block) {
  Span* span = SpanOfLive(block);
  const size_t block_size = BlockSize(span);
  Hardened::MarkFreed(block, block_size);
  Profile::Forget(block);
  if (span->kind == SpanKind::kLarge || block_size > Hardened::kQuarantinedMax || !OwnerOf(span)->IsRoot()) {
    return FreeBlock(block);
  }
  Hardened::Fill(block, block_size);
  while (void* oldest = Hardened::Quarantine(block, block_size)) FreeBlock(oldest);
}

void* ReallocateGuarded(void* block, Span* span, size_t size) {
  const size_t block_size = BlockSize(span);
  const size_t old_size = Hardened::RequestedSize(block, block_size);
  if (size > kMaxRequest - Hardened::kGuardBytes) return nullptr;
  const size_t whole = size + Hardened::kGuardBytes;
  void* resized = nullptr;
  if (span->kind == SpanKind::kLarge && whole > kSlabMax)
    resized = ResizeLarge(static_cast<LargeSpan*>(span), whole);
  else if (whole <= block_size && whole > block_size / 2)
    resized = block;
  if (resized != nullptr) {
    Hardened::Guard(resized, BlockSize(PageMap::Find(resized)), size);
    return resized;
  }
  void* moved = AllocateGuarded(*OwnerOf(span), size, kMinAlignment, false);
  if (moved == nullptr && size > old_size) return nullptr;
  if (moved == nullptr) {
    Hardened::Guard(block, block_size, size);
    return block;
  }
  memcpy(moved, block, size < old_size ? size : old_size);
  FreeGuarded(block);
  return moved;
}

[[gnu::noinline]] void FreeWithCare(void* block) {
  const Releaser::Caller caller(__builtin_return_address(0));
  if (Hardened::On()) return FreeGuarded(block);
  FreeBlock(block);
}

}  // namespace

bool StartHeap() { return g_started.load(std::memory_order_acquire) || Start(); }

void* AllocateSlow(size_t size) {
  if (__builtin_expect(!StartHeap(), 0)) return nullptr;
  return AllocateIn(CurrentArena(), size, kMinAlignment);
}

void* AllocateIn(Arena& arena, size_t size, size_t alignment) {
  return Hardened::On() ? AllocateGuarded(arena, size, alignment, false) : AllocateBlock(arena, size, alignment, false);
}

// Those that open a Releaser::Caller are reached by jumps from free, so that the address they return to is the
// program's. Of a slab with pages given back, or with a sampled block: what has a mark, or may have lost it, needs
// care; of all others the first word tells as much as in the hit path. It is read before what may have made it zero.
void FreeSlow(void* block) {
  if (block == nullptr) return;
  Span* span = PageMap::Find(block);
  const std::atomic_ref<HitPath> hit_path(span->hit_path);
  const SizeClass& row = kSizeClasses[span->size_class];
  if (hit_path.load(std::memory_order_relaxed) != HitPath::kNever &&
      BlockAt(row, reinterpret_cast<uintptr_t>(block) % kGranuleSize) != row.blocks) {
    const uintptr_t mark = FirstWord(block);
    const bool may_be_lost = mark == 0 && hit_path.load(std::memory_order_relaxed) == HitPath::kMarksLost;
    if (!IsMark(mark, span) && !may_be_lost && !Profile::MayHave(block)) {
      SetMark(block, EntryOf(span, 0));
      if (arch::Push(HeaderOf(span->size_class), block)) return;
      return FreeToFullCache(block, HeaderOf(span->size_class));
    }
  }
  return FreeWithCare(block);
}

void FreeToFullCache(void* block, size_t header) {
  const Releaser::Caller caller(__builtin_return_address(0));
  PushOrFlush(block, ClassOfHeader(header));
}

void FillCache(size_t size) { CpuCaches::Fill(ClassOf(size)); }

void* Allocate(size_t size) { return FastAllocate(size); }

void Free(void* block) { FastFree(block); }

void* AllocateZeroed(size_t size) {
  if (size <= kSlabMax) {
    void* block = FastAllocate(size);
    return block == nullptr ? nullptr : memset(block, 0, size);
  }
  if (!StartHeap()) return nullptr;
  return Hardened::On() ? AllocateGuarded(CurrentArena(), size, kMinAlignment, true)
                        : AllocateBlock(CurrentArena(), size, kMinAlignment, true);
}

void* AllocateAligned(size_t size, size_t alignment) {
  if (HotLoad(hot::fast_limit) != 0) {
    const size_t size_class = AlignedClassOf(size, alignment);
    if (void* block = size_class < kCachedClasses ? CpuCaches::Pop(size_class) : nullptr) {
      SetMark(block, 0);
      return block;
    }
  }
  if (!StartHeap()) return nullptr;
  if (size != 0 && size <= kSmallMax && alignment <= kSmallMax && !Hardened::On()) {
    return FastAllocate((size + alignment - 1) & ~(alignment - 1));
  }
  return AllocateIn(CurrentArena(), size, alignment);
}

void* Reallocate(void* block, size_t size) {
  if (block == nullptr) return Allocate(size);
  Span* span = SpanOfLive(block);
  if (Hardened::On()) return ReallocateGuarded(block, span, size);
  const size_t old_size = BlockSize(span);
  if (span->kind == SpanKind::kLarge && size > kCachedMax) {
    if (void* resized = ResizeLarge(static_cast<LargeSpan*>(span), size)) {
      Releaser::Poke();
      return resized;
    }
  } else if (size <= old_size && (size > old_size / 2 || old_size <= 64)) {
    return block;
  }
  // What grows will grow again: a run of its own has room behind it, a slab has none.
  void* moved = size > old_size && size > kCachedMax
                    ? Noted(Large::Allocate(OwnerOf(span), size, kMinAlignment, false), size)
                    : AllocateBlock(*OwnerOf(span), size, kMinAlignment, false);
  if (moved == nullptr) return size <= old_size ? block : nullptr;
  memcpy(moved, block, size < old_size ? size : old_size);
  FastFree(block);
  return moved;
}

void FreeSized(void* block, size_t size, size_t alignment) {
  if (block == nullptr) return;
  Span* span = SpanOfLive(block);
  const size_t block_size = BlockSize(span);
  const bool misaligned = alignment != 0 && (reinterpret_cast<uintptr_t>(block) & (alignment - 1)) != 0;
  if (Hardened::On()) {
    const size_t requested = Hardened::RequestedSize(block, block_size);
    if (size != requested || misaligned) Misuse::WrongSize(block, requested, size, alignment);
    return FreeGuarded(block);
  }
  // The block that such a request gets, or a larger one in which realloc may have left it.
  bool fits = size <= block_size;
  const size_t size_class = AlignedClassOf(size, alignment < kMinAlignment ? kMinAlignment : alignment);
  if (span->kind == SpanKind::kLarge) {
    fits = fits && (size > kCachedMax ? size > block_size / 4 * 3 - kPageSize : size_class == kClasses);
  } else if (fits && size <= block_size / 2 && block_size > 64) {
    fits = size_class == span->size_class;
  }
  if (!fits || misaligned) Misuse::WrongSize(block, block_size, size, alignment);
  FastFree(block);
}

size_t UsableSize(const void* block) {
  if (block == nullptr) return 0;
  const size_t block_size = BlockSize(SpanOfLive(block));
  return Hardened::On() ? Hardened::RequestedSize(block, block_size) : block_size;
}

bool Trim() { return StartHeap() && Releaser::ReclaimNow(PurgeCause::kCalled) > 0; }

Mutex& ForkLocks::Start() { return g_start_lock; }

}  // namespace neap
