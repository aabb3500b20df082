// page_heap.cc: see page_heap.h.
#include "alloc/page_heap.h"

#include "alloc/clock.h"
#include "alloc/metadata.h"

namespace neap {

size_t PageHeap::BinOf(size_t granules) {
  if (granules <= kExactBins) return granules - 1;
  return kExactBins - 5 + (63 - static_cast<size_t>(__builtin_clzll(granules)));
}

size_t PageHeap::CountDirty(size_t first, size_t granules) {
  size_t pages = 0;
  for (size_t g = first; g < first + granules; ++g) {
    pages += static_cast<size_t>(__builtin_popcount(PageMap::Info(g).dirty));
  }
  return pages;
}

void PageHeap::Link(FreeRun* run) {
  Bins& bins = bins_[StateOf(run)];
  const size_t bin = BinOf(run->granules);
  bins.runs[bin].PushFront(run);
  bins.filled |= uint64_t{1} << bin;
  PageMap::Set(PageMap::GranuleOf(run->start), run);
  PageMap::Set(PageMap::GranuleOf(run->start) + run->granules - 1, run);
}

void PageHeap::Unlink(FreeRun* run) {
  Bins& bins = bins_[StateOf(run)];
  const size_t bin = BinOf(run->granules);
  bins.runs[bin].Remove(run);
  if (bins.runs[bin].Empty()) bins.filled &= ~(uint64_t{1} << bin);
  PageMap::Set(PageMap::GranuleOf(run->start), &PageMap::no_span);
  PageMap::Set(PageMap::GranuleOf(run->start) + run->granules - 1, &PageMap::no_span);
}

FreeRun* PageHeap::Find(State state, size_t granules) {
  const Bins& bins = bins_[state];
  const size_t bin = BinOf(granules);
  if (granules > kExactBins) {
    for (FreeRun* run = bins.runs[bin].Head(); run != nullptr; run = run->next) {
      if (run->granules >= granules) return run;
    }
  }
  const uint64_t larger = bins.filled >> (granules > kExactBins ? bin + 1 : bin) << (granules > kExactBins ? bin + 1 : bin);
  return larger == 0 ? nullptr : bins.runs[__builtin_ctzll(larger)].Head();
}

// The neighbours' entries at the border tell of them: only the first and the last granule of a run have one.
FreeRun* PageHeap::Join(FreeRun* run) {
  const size_t first = PageMap::GranuleOf(run->start);
  const size_t behind = first + run->granules;
  FreeRun* neighbours[2] = {};
  if (first > 0) {
    Span* before = PageMap::At(first - 1);
    if (before->kind == SpanKind::kFree && before->node == run->node) neighbours[0] = static_cast<FreeRun*>(before);
  }
  if (behind < PageMap::Granules()) {
    Span* after = PageMap::At(behind);
    if (after->kind == SpanKind::kFree && after->node == run->node) neighbours[1] = static_cast<FreeRun*>(after);
  }
  for (FreeRun* other : neighbours) {
    if (other == nullptr || StateOf(other) != StateOf(run)) continue;
    Unlink(other);
    // The age of the larger part: a small newcomer does not make a large old run young.
    if (other->granules > run->granules) run->since = other->since;
    if (other->start < run->start) run->start = other->start;
    run->granules += other->granules;
    run->dirty_pages += other->dirty_pages;
    Metadata::Delete(other);
  }
  return run;
}

void PageHeap::Insert(size_t first, size_t granules, bool huge, uint32_t since) {
  auto* run = Metadata::New<FreeRun>();
  if (run == nullptr) {
    // Without a record the address space is lost, but the memory must not be.
    const Range range = {reinterpret_cast<void*>(PageMap::AddressOf(first)), granules << kGranuleShift};
    Os::Release(&range, 1);
    for (size_t g = first; g < first + granules; ++g) PageMap::Info(g).dirty = 0;
    return;
  }
  run->kind = SpanKind::kFree;
  run->node = static_cast<uint8_t>(node_);
  run->huge = huge;
  run->start = PageMap::AddressOf(first);
  run->granules = granules;
  run->dirty_pages = CountDirty(first, granules);
  run->since = since;
  dirty_pages_.fetch_add(run->dirty_pages, std::memory_order_relaxed);
  Link(Join(run));
}

// Takes [first, first + granules) out of the run, which is in the bins, and puts back what is left on either side.
void PageHeap::Carve(FreeRun* run, size_t first, size_t granules) {
  Unlink(run);
  const size_t run_first = PageMap::GranuleOf(run->start);
  const size_t run_behind = run_first + run->granules;
  const size_t behind = first + granules;
  dirty_pages_.fetch_sub(run->dirty_pages, std::memory_order_relaxed);
  const bool huge = run->huge;
  const uint32_t since = run->since;
  Metadata::Delete(run);
  if (run_first < first) Insert(run_first, first - run_first, huge, since);
  if (behind < run_behind) Insert(behind, run_behind - behind, huge, since);
}

size_t PageHeap::Allocate(size_t granules, size_t alignment, bool huge) {
  const size_t searched = granules + alignment - 1;
  MutexLock lock(lock_);
  for (;;) {
    FreeRun* run = huge ? Find(kHugeDirty, searched) : nullptr;
    if (run == nullptr && !huge) run = Find(kDirty, searched);
    if (run == nullptr) run = Find(kClean, searched);
    if (run != nullptr) {
      const size_t run_first = PageMap::GranuleOf(run->start);
      const size_t aligned =
          (((run->start >> kGranuleShift) + alignment - 1) & ~(alignment - 1)) - (run->start >> kGranuleShift);
      Carve(run, run_first + aligned, granules);
      return run_first + aligned;
    }
    size_t mapped = 0;
    const size_t first = PageMap::Extend(searched, bound_node_, &mapped);
    if (first == PageMap::kNone) {
      // Dirty and clean neighbours, or huge runs, may hold what no single state could give.
      return PageMap::kNone;
    }
    Insert(first, mapped, false, NowMs());
  }
}

bool PageHeap::AllocateAt(size_t first, size_t granules) {
  MutexLock lock(lock_);
  if (first >= PageMap::Granules()) return false;
  Span* span = PageMap::At(first);
  if (span->kind != SpanKind::kFree || span->node != node_) return false;
  auto* run = static_cast<FreeRun*>(span);
  if (PageMap::GranuleOf(run->start) != first || run->granules < granules) return false;
  Carve(run, first, granules);
  return true;
}

void PageHeap::Free(size_t first, size_t granules, bool huge) {
  MutexLock lock(lock_);
  Insert(first, granules, huge, NowMs());
}

size_t PageHeap::Release(uint32_t cutoff_ms, ReleaseBatch& batch) {
  size_t released = 0;
  for (State state : {kDirty, kHugeDirty}) {
    for (;;) {
      constexpr size_t kRuns = 64;
      FreeRun* taken[kRuns];
      size_t count = 0;
      {
        MutexLock lock(lock_);
        for (uint64_t filled = bins_[state].filled; filled != 0 && count < kRuns; filled &= filled - 1) {
          FreeRun* next = nullptr;
          for (FreeRun* run = bins_[state].runs[__builtin_ctzll(filled)].Head(); run != nullptr && count < kRuns;
               run = next) {
            next = run->next;
            if (static_cast<int32_t>(run->since - cutoff_ms) > 0) continue;
            Unlink(run);
            run->kind = SpanKind::kBusy;
            taken[count++] = run;
          }
        }
      }
      if (count == 0) break;
      const uint32_t now = NowMs();
      size_t pages = 0;
      for (size_t i = 0; i < count; ++i) {
        const size_t first = PageMap::GranuleOf(taken[i]->start);
        for (size_t g = first; g < first + taken[i]->granules; ++g) {
          GranuleInfo& info = PageMap::Info(g);
          if (info.dirty == 0) continue;
          batch.AddPages(PageMap::AddressOf(g), info.dirty);
          info.dirty = 0;
          info.released_at = now;
        }
        pages += taken[i]->dirty_pages;
      }
      batch.Flush();
      if (state == kHugeDirty) {
        for (size_t i = 0; i < count; ++i) {
          Os::SetHuge(reinterpret_cast<void*>(taken[i]->start), taken[i]->granules << kGranuleShift, false);
        }
      }
      MutexLock lock(lock_);
      dirty_pages_.fetch_sub(pages, std::memory_order_relaxed);
      for (size_t i = 0; i < count; ++i) {
        taken[i]->kind = SpanKind::kFree;
        taken[i]->dirty_pages = 0;
        taken[i]->huge = false;
        Link(Join(taken[i]));
      }
      released += pages * kPageSize;
    }
  }
  return released;
}

}  // namespace neap
