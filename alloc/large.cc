// large.cc: see large.h. Address space is handed out by granules, memory by pages: what of the last granule lies behind
// the block is never touched.
#include "alloc/large.h"

#include "alloc/arena.h"
#include "alloc/limit_gate.h"
#include "alloc/metadata.h"
#include "alloc/os.h"
#include "alloc/page_heap.h"
#include "alloc/regret.h"

namespace neap {
namespace {

// Huge pages pay from here on: a fault of 2 MiB costs a sixth of the 512 faults that it saves.
constexpr size_t kHugePage = 2u << 20;
constexpr size_t kHugeBlock = 4 * kHugePage;
// Below, copying costs less than having the kernel move the pages.
constexpr size_t kMovePages = 128 * 1024;
// Blocks that were grown once are given address space to grow again; it costs no memory.
constexpr size_t kGrowthRoom = 1u << 20;

size_t RoundToPages(size_t size) { return (size + kPageSize - 1) & ~(kPageSize - 1); }
size_t GranulesFor(size_t bytes) { return (bytes + kGranuleSize - 1) >> kGranuleShift; }

uint16_t PageMask(size_t pages) { return static_cast<uint16_t>((uint32_t{1} << pages) - 1); }

// The pages of granule `index` of a run whose first `bytes` bytes are a block's.
uint16_t BlockPages(size_t index, size_t bytes) {
  const size_t begin = index << kGranuleShift;
  if (bytes <= begin) return 0;
  const size_t pages = (bytes - begin) >> kPageShift;
  return PageMask(pages < kPagesPerGranule ? pages : kPagesPerGranule);
}

void GiveBack(uintptr_t begin, uintptr_t end) {
  if (begin >= end) return;
  const Range range = {reinterpret_cast<void*>(begin), end - begin};
  Os::Release(&range, 1);
}

// The pages of [from, to) of the block's granules become the block's: zeroes those that hold old bytes if asked, counts
// the regret of the others, and clears the masks. Pages of the last granule behind the block do not stay resident.
void TakePages(size_t first, size_t from_granule, size_t granules, size_t bytes, bool zeroed) {
  for (size_t i = from_granule; i < granules; ++i) {
    GranuleInfo& info = PageMap::Info(first + i);
    const uint16_t pages = BlockPages(i, bytes);
    const uintptr_t start = PageMap::AddressOf(first + i);
    if (info.released_at != 0) {
      Regret::NoteTaken(static_cast<size_t>(__builtin_popcount(pages & ~info.dirty)), info.released_at);
      info.released_at = 0;
    }
    const uint16_t stale = static_cast<uint16_t>(info.dirty & ~pages);
    if (stale != 0) {
      GiveBack(start + static_cast<size_t>(__builtin_ctz(stale)) * kPageSize, start + kGranuleSize);
    }
    if (zeroed) {
      for (uint16_t rest = static_cast<uint16_t>(info.dirty & pages); rest != 0;
           rest = static_cast<uint16_t>(rest & (rest - 1))) {
        __builtin_memset(reinterpret_cast<void*>(start + static_cast<size_t>(__builtin_ctz(rest)) * kPageSize), 0,
                         kPageSize);
      }
    }
    info.dirty = 0;
  }
}

// Whether huge pages may back the part of the block between multiples of the huge page.
void AdviseHuge(uintptr_t start, size_t bytes, bool huge) {
  const uintptr_t begin = (start + kHugePage - 1) & ~(kHugePage - 1);
  const uintptr_t end = (start + bytes) & ~(kHugePage - 1);
  if (begin < end) Os::SetHuge(reinterpret_cast<void*>(begin), end - begin, huge);
}

}  // namespace

void* Large::Allocate(Arena* arena, size_t size, size_t alignment, bool zeroed) {
  if (size > PTRDIFF_MAX - kHugePage || alignment > PTRDIFF_MAX / 2) return nullptr;
  const size_t bytes = size == 0 ? kPageSize : RoundToPages(size);
  const size_t granules = GranulesFor(bytes);
  if (!LimitGate::Pass(bytes)) return nullptr;
  const bool huge = bytes >= kHugeBlock && LimitGate::Ample();
  if (huge && alignment < kHugePage) alignment = kHugePage;
  const size_t granule_alignment = alignment <= kGranuleSize ? 1 : alignment >> kGranuleShift;

  auto* span = Metadata::New<LargeSpan>();
  if (span == nullptr) return nullptr;
  if (!arena->Charge(bytes)) {
    Metadata::Delete(span);
    return nullptr;
  }
  const int node = RootHeap::CurrentNode();
  const size_t first = RootHeap::Node(node).page_heap.Allocate(granules, granule_alignment, huge);
  if (first == PageMap::kNone) {
    arena->Uncharge(bytes);
    Metadata::Delete(span);
    return nullptr;
  }
  span->kind = SpanKind::kLarge;
  span->node = static_cast<uint8_t>(node);
  span->huge = huge;
  span->start = PageMap::AddressOf(first);
  span->arena = arena;
  span->granules = granules;
  span->bytes = bytes;
  TakePages(first, 0, granules, bytes, zeroed);
  if (huge) AdviseHuge(span->start, bytes, true);
  arena->AddLarge(span);
  PageMap::Set(first, span);
  return reinterpret_cast<void*>(span->start);
}

void Large::Free(LargeSpan* span) {
  const size_t first = PageMap::GranuleOf(span->start);
  PageMap::Set(first, &PageMap::no_span);
  span->arena->RemoveLarge(span);
  span->arena->Uncharge(span->bytes);
  for (size_t i = 0; i < span->granules; ++i) PageMap::Info(first + i).dirty = BlockPages(i, span->bytes);
  const int node = span->node;
  const size_t granules = span->granules;
  const bool huge = span->huge;
  Metadata::Delete(span);
  RootHeap::Node(node).page_heap.Free(first, granules, huge);
}

void* Large::Resize(LargeSpan* span, size_t size) {
  if (size > PTRDIFF_MAX - kHugePage) return nullptr;
  const size_t bytes = RoundToPages(size);
  const size_t first = PageMap::GranuleOf(span->start);
  PageHeap& heap = RootHeap::Node(span->node).page_heap;
  const size_t granules = GranulesFor(bytes);
  void* block = reinterpret_cast<void*>(span->start);

  if (bytes <= span->bytes) {
    if (span->bytes - bytes < span->bytes / 4) return block;
    for (size_t i = granules; i < span->granules; ++i) {
      PageMap::Info(first + i).dirty = BlockPages(i, span->bytes);
    }
    const uintptr_t granule_end = span->start + (granules << kGranuleShift);
    const uintptr_t old_end = span->start + span->bytes;
    GiveBack(span->start + bytes, old_end < granule_end ? old_end : granule_end);
    span->arena->ResizeLarge(span->bytes, bytes);
    span->arena->Uncharge(span->bytes - bytes);
    const size_t behind = span->granules - granules;
    span->granules = granules;
    span->bytes = bytes;
    if (behind > 0) heap.Free(first + granules, behind, span->huge);
    return block;
  }

  const size_t growth = bytes - span->bytes;
  if (!LimitGate::Pass(growth) || !span->arena->Charge(growth)) return nullptr;
  const bool fits = granules <= span->granules ||
                    heap.AllocateAt(first + span->granules, granules - span->granules);
  if (fits) {
    if (granules > span->granules) {
      TakePages(first, span->granules, granules, bytes, false);
      span->granules = granules;
    }
    if (span->huge) AdviseHuge(span->start, bytes, true);
    span->arena->ResizeLarge(span->bytes, bytes);
    span->bytes = bytes;
    return block;
  }

  const size_t roomy = bytes >= kGrowthRoom ? granules + granules / 2 : granules;
  const size_t target = span->bytes < kMovePages ? PageMap::kNone : heap.Allocate(roomy, 1, false);
  if (target == PageMap::kNone) {
    span->arena->Uncharge(growth);
    return nullptr;
  }
  // What the target held is gone once the block's pages are moved over it, and of the rest nothing may stay resident.
  TakePages(target, 0, roomy, 0, false);
  const uintptr_t moved = PageMap::AddressOf(target);
  if (Os::MovePages(block, span->bytes, reinterpret_cast<void*>(moved)) != 0) {
    heap.Free(target, roomy, false);
    span->arena->Uncharge(growth);
    return nullptr;
  }
  if (span->huge) {
    AdviseHuge(span->start, span->granules << kGranuleShift, false);
    AdviseHuge(moved, bytes, true);
  }
  PageMap::Set(first, &PageMap::no_span);
  const size_t old_granules = span->granules;
  span->arena->ResizeLarge(span->bytes, bytes);
  span->start = moved;
  span->granules = roomy;
  span->bytes = bytes;
  PageMap::Set(target, span);
  heap.Free(first, old_granules, false);  // their masks are zero: nothing of it is resident
  return reinterpret_cast<void*>(moved);
}

}  // namespace neap
