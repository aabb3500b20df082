// large.cc: see large.h. Address space is handed out by granules, memory by pages: what of the last granule lies behind
// the block is never touched.
#include "alloc/large.h"

#include <errno.h>
#include <string.h>

#include <atomic>

#include "alloc/arena.h"
#include "alloc/clock.h"
#include "alloc/huge_pages.h"
#include "alloc/limit_gate.h"
#include "alloc/metadata.h"
#include "alloc/misuse.h"
#include "alloc/os.h"
#include "alloc/page_heap.h"
#include "alloc/regret.h"
#include "alloc/release.h"
#include "alloc/requests.h"

namespace neap {
namespace {

// Huge pages pay from here on: a fault of 2 MiB costs a sixth of the 512 faults that it saves.
constexpr size_t kHugePage = HugePages::kPages * kPageSize;
constexpr size_t kHugeBlock = 2 * kHugePage;
// Below, copying costs less than having the kernel move the pages.
constexpr size_t kMovePages = 128 * 1024;
// Blocks that were grown once are given address space to grow again; it costs no memory.
constexpr size_t kGrowthRoom = 1u << 20;
// From here on pages go back while free runs, not a while later, unless that has been regretted lately.
constexpr size_t kReleasedAtOnce = 1u << 20;
// No processor has pages beyond; more would only use up address space.
constexpr size_t kLargestAlignment = size_t{1} << 36;

// When giving large blocks back at once was regretted last (ms; 0: never): for a while they go with all that is dirty.
constexpr uint32_t kKeepMs = 60'000;
constinit std::atomic<uint32_t> g_regretted_at{0};

size_t RoundToPages(size_t size) { return (size + kPageSize - 1) & ~(kPageSize - 1); }
size_t GranulesFor(size_t bytes) { return (bytes + kGranuleSize - 1) >> kGranuleShift; }
bool TooLarge(size_t size) {
  return size > PTRDIFF_MAX || GranulesFor(RoundToPages(size)) >= PageMap::kMostGranules / 2;
}

// The pages of granule `index` of a run whose first `bytes` bytes are a block's.
uint16_t BlockPages(size_t index, size_t bytes) {
  const size_t begin = index << kGranuleShift;
  if (bytes <= begin) return 0;
  const size_t pages = (bytes - begin) >> kPageShift;
  return pages >= kPagesPerGranule ? uint16_t{0xffff} : static_cast<uint16_t>((1u << pages) - 1);
}

// The pages of the run's first `bytes` bytes that hold old ones, by as few calls as may be.
void ZeroOldPages(size_t first, size_t bytes) {
  char* begin = nullptr;
  char* end = nullptr;
  const auto zero = [&] {
    if (begin != nullptr) memset(begin, 0, static_cast<size_t>(end - begin));
  };
  for (size_t i = 0; i < GranulesFor(bytes); ++i) {
    char* granule = reinterpret_cast<char*>(PageMap::AddressOf(first + i));
    const auto old = static_cast<uint16_t>(PageMap::Info(first + i).dirty & BlockPages(i, bytes));
    ForEachRun(old, [&](size_t page, size_t length) {
      if (granule + page * kPageSize != end) {
        zero();
        begin = granule + page * kPageSize;
      }
      end = granule + (page + length) * kPageSize;
    });
  }
  zero();
}

// The granules from `from` to `to` of a run become a block's, whose size is `bytes`, `growth` of them new; counts
// the regret of those that hold no old bytes. Returns the pages behind the block that are dirty; they stay in the
// masks.
size_t TakePages(size_t first, size_t from, size_t to, size_t bytes, size_t growth) {
  size_t slack = 0;
  size_t reused = 0;
  size_t regret = 0;
  const uint32_t now = NowMs();
  for (size_t i = from; i < to; ++i) {
    GranuleInfo& info = PageMap::Info(first + i);
    const uint16_t pages = BlockPages(i, bytes);
    const uint16_t old = static_cast<uint16_t>(info.dirty & pages);
    reused += CountBits(old);
    if (info.released_at != 0) {
      if (now - info.released_at < Regret::kWindowMs) regret += CountBits(static_cast<uint16_t>(pages & ~old));
      info.released_at = 0;
    }
    info.dirty = static_cast<uint16_t>(info.dirty & ~pages);
    slack += CountBits(info.dirty);
  }
  Regret::Add(regret);
  if (regret * kPageSize >= kReleasedAtOnce) g_regretted_at.store(now, std::memory_order_relaxed);
  if (growth > reused * kPageSize) LimitGate::NoteGrowth(growth - reused * kPageSize);
  return slack;
}

// The opposite: the block's pages in these granules become dirty.
void LeavePages(size_t first, size_t from, size_t to, size_t bytes) {
  for (size_t i = from; i < to; ++i) {
    GranuleInfo& info = PageMap::Info(first + i);
    info.dirty = static_cast<uint16_t>(info.dirty | BlockPages(i, bytes));
  }
}

// Returns granules to the page heap, after giving back what is dirty of them if there is much of it.
void FreeGranules(PageHeap& heap, size_t first, size_t granules) {
  const uint32_t regretted_at = g_regretted_at.load(std::memory_order_relaxed);
  const bool regretted = regretted_at != 0 && NowMs() - regretted_at < kKeepMs;
  if (granules << kGranuleShift >= kReleasedAtOnce && !regretted) Releaser::ReleaseRun(first, granules);
  heap.Free(first, granules);
}

// Whether huge pages may back the part of the block between multiples of the huge page.
void AdviseHuge(uintptr_t start, size_t bytes, bool huge) {
  const uintptr_t begin = (start + kHugePage - 1) & ~(kHugePage - 1);
  const uintptr_t end = (start + bytes) & ~(kHugePage - 1);
  if (begin >= end) return;
  Os::SetHuge(reinterpret_cast<void*>(begin), end - begin, huge);
  if (huge) HugePages::NoteHuge(PageMap::GranuleOf(begin), (end - begin) >> kGranuleShift);
}

// Into its arena's list. The slack of a bounded arena goes back at once: it would count against the bound.
void Enlist(LargeSpan* span, size_t slack) {
  if (slack > 0 && !span->arena->IsRoot()) {
    const size_t last = GranulesFor(span->bytes) - 1;
    Releaser::ReleaseRun(PageMap::GranuleOf(span->start) + last, span->granules - last);
    slack = 0;
  }
  span->arena->AddLarge(span, slack);
}

PageHeap& HeapOf(const LargeSpan* span) { return RootHeap::Node(span->node).page_heap; }

}  // namespace

void* Large::Allocate(Arena* arena, size_t size, size_t alignment, bool zeroed) {
  if (TooLarge(size) || alignment > kLargestAlignment) return nullptr;
  const size_t bytes = size == 0 ? kPageSize : RoundToPages(size);
  const size_t granules = GranulesFor(bytes);
  Requests::Note(Requests::kLarge, size, bytes);
  if (!LimitGate::Pass(bytes)) return nullptr;
  const bool huge = bytes >= kHugeBlock && LimitGate::Ample() && HugePages::FairForBlocks();
  const size_t preferred = huge && alignment < kHugePage ? kHugePage : alignment;

  auto* span = Metadata::New<LargeSpan>();
  if (span == nullptr) return nullptr;
  if (!arena->Charge(bytes)) {
    Metadata::Delete(span);
    return nullptr;
  }
  span->node = static_cast<uint8_t>(RootHeap::CurrentNode());
  const auto in_granules = [](size_t bytes_aligned) {
    return bytes_aligned <= kGranuleSize ? 1 : bytes_aligned >> kGranuleShift;
  };
  size_t first = HeapOf(span).Allocate(granules, in_granules(preferred));
  if (first == PageMap::kNone) {  // no address space: clean and dirty runs may join
    Releaser::ReclaimNow(PurgeCause::kNoMemory);
    first = HeapOf(span).Allocate(granules, in_granules(alignment));
  }
  if (first == PageMap::kNone) {
    arena->Uncharge(bytes);
    Metadata::Delete(span);
    return nullptr;
  }
  span->kind = SpanKind::kLarge;
  span->huge = huge;
  span->start = PageMap::AddressOf(first);
  span->arena = arena;
  span->granules = granules;
  span->bytes = bytes;
  if (zeroed) ZeroOldPages(first, bytes);
  const size_t slack = TakePages(first, 0, granules, bytes, bytes);
  if (huge) AdviseHuge(span->start, bytes, true);
  Enlist(span, slack);
  PageMap::Set(first, span);
  return reinterpret_cast<void*>(span->start);
}

void Large::Free(LargeSpan* span) {
  PageHeap& heap = HeapOf(span);
  const Granules granules = Leave(span);
  FreeGranules(heap, granules.first, granules.count);
}

void Large::FreeAtOnce(LargeSpan* span) {
  PageHeap& heap = HeapOf(span);
  const Granules granules = Leave(span);
  Releaser::ReleaseRun(granules.first, granules.count);
  heap.Free(granules.first, granules.count);
}

Large::Granules Large::Leave(LargeSpan* span) {
  const size_t first = PageMap::GranuleOf(span->start);
  const size_t bytes = span->bytes;
  // Of two threads that free it at once one comes too late.
  if (PageMap::Exchange(first, &PageMap::no_span) != span) {
    Misuse::DoubleFree(reinterpret_cast<void*>(PageMap::AddressOf(first)), bytes);
  }
  span->arena->RemoveLarge(span);
  span->arena->Uncharge(span->bytes);
  LeavePages(first, 0, span->granules, span->bytes);
  if (span->huge) AdviseHuge(span->start, span->bytes, false);
  const size_t granules = span->granules;
  Metadata::Delete(span);
  return {first, granules};
}

void* Large::Resize(LargeSpan* span, size_t size) {
  if (TooLarge(size)) return nullptr;
  const size_t bytes = RoundToPages(size);
  const size_t granules = GranulesFor(bytes);
  const size_t first = PageMap::GranuleOf(span->start);
  PageHeap& heap = HeapOf(span);
  Arena* arena = span->arena;
  void* block = reinterpret_cast<void*>(span->start);

  if (bytes <= span->bytes) {
    const size_t old_granules = span->granules;
    if (span->bytes - bytes < span->bytes / 4) return block;
    // All that is behind the block becomes dirty; what fills granules goes to the page heap, the rest is slack.
    arena->RemoveLarge(span);
    arena->Uncharge(span->bytes - bytes);
    const size_t old_bytes = span->bytes;
    LeavePages(first, granules - 1, old_granules, old_bytes);
    // Before others take what is behind: from the huge page on that the block now ends in.
    if (span->huge) {
      const uintptr_t begin = (span->start + bytes) & ~(kHugePage - 1);
      AdviseHuge(begin, span->start + (old_granules << kGranuleShift) - begin, false);
    }
    span->granules = granules;
    span->bytes = bytes;
    Enlist(span, TakePages(first, granules - 1, granules, bytes, 0));
    if (old_granules > granules) FreeGranules(heap, first + granules, old_granules - granules);
    return block;
  }

  const size_t growth = bytes - span->bytes;
  if (!LimitGate::Pass(growth) || !arena->Charge(growth)) return nullptr;
  const bool huge = span->huge || (bytes >= kHugeBlock && LimitGate::Ample() && HugePages::FairForBlocks());
  const size_t more = granules > span->granules ? granules - span->granules : 0;
  if (more == 0 || heap.AllocateAt(first + span->granules, more)) {
    arena->RemoveLarge(span);
    const size_t last = GranulesFor(span->bytes) - 1;
    const uintptr_t old_end = span->start + span->bytes;
    span->granules += more;
    span->bytes = bytes;
    Enlist(span, TakePages(first, last, span->granules, bytes, growth));
    span->huge = huge;
    if (huge) AdviseHuge(old_end & ~(kHugePage - 1), bytes - ((old_end & ~(kHugePage - 1)) - span->start), true);
    return block;
  }

  const size_t roomy = bytes >= kGrowthRoom ? granules + granules / 2 : granules;
  const size_t target = span->bytes < kMovePages ? PageMap::kNone : heap.Allocate(roomy, 1);
  const uintptr_t moved = target == PageMap::kNone ? 0 : PageMap::AddressOf(target);
  const int error = moved == 0 ? -ENOMEM : Os::MovePages(block, span->bytes, reinterpret_cast<void*>(moved));
  if (error != 0) {
    if (moved != 0 && error != -EFAULT) heap.Free(target, roomy);
    arena->Uncharge(growth);
    return nullptr;
  }
  if (span->huge) AdviseHuge(span->start, span->granules << kGranuleShift, false);
  if (huge) AdviseHuge(moved, bytes, true);
  span->huge = huge;
  // Nothing of the block's old pages is resident; its slack may be, and goes with its granules.
  PageMap::Set(first, &PageMap::no_span);
  arena->RemoveLarge(span);
  const size_t old_granules = span->granules;
  span->start = moved;
  span->granules = roomy;
  span->bytes = bytes;
  Enlist(span, TakePages(target, 0, roomy, bytes, growth));
  PageMap::Set(target, span);
  heap.Free(first, old_granules);
  return reinterpret_cast<void*>(moved);
}

size_t Large::ReleaseSlack(LargeSpan* span, ReleaseBatch& batch) {
  const size_t first = PageMap::GranuleOf(span->start);
  const uint32_t now = NowMs();
  size_t pages = 0;
  for (size_t i = GranulesFor(span->bytes) - 1; i < span->granules; ++i) {
    GranuleInfo& info = PageMap::Info(first + i);
    if (info.dirty == 0) continue;
    batch.AddPages(PageMap::AddressOf(first + i), info.dirty);
    pages += CountBits(info.dirty);
    info.dirty = 0;
    info.released_at = now;
  }
  return pages;
}

}  // namespace neap
