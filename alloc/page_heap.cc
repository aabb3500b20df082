// page_heap.cc: see page_heap.h.
#include "alloc/page_heap.h"

#include "alloc/arena.h"
#include "alloc/clock.h"
#include "alloc/huge_pages.h"
#include "alloc/limit_gate.h"
#include "alloc/metadata.h"
#include "alloc/os.h"
#include "alloc/regret.h"
#include "alloc/release.h"

namespace neap {

size_t PageHeap::BinOf(size_t granules) {
  if (granules <= kExactBins) return granules - 1;
  return kExactBins - 5 + (63 - static_cast<size_t>(__builtin_clzll(granules)));
}

namespace {

size_t CountDirtyPages(size_t first, size_t granules) {
  size_t pages = 0;
  for (size_t g = first; g < first + granules; ++g) pages += CountBits(PageMap::Info(g).dirty);
  return pages;
}

}  // namespace

// What the borders of a run say to its neighbours. That of another node's run may be read meanwhile.
void PageHeap::MarkBorders(const FreeRun* run, bool free) {
  const size_t first = PageMap::GranuleOf(run->start);
  for (const size_t g : {first, first + run->granules - 1}) {
    std::atomic_ref(PageMap::Info(g).free_on)
        .store(free ? static_cast<uint8_t>(node_ + 1) : uint8_t{0}, std::memory_order_relaxed);
    PageMap::Set(g, free ? const_cast<FreeRun*>(run) : &PageMap::no_span);
  }
}

// The run of this node that has the granule at one of its borders, or null.
FreeRun* PageHeap::FreeRunAt(size_t granule) const {
  if (std::atomic_ref(PageMap::Info(granule).free_on).load(std::memory_order_relaxed) != node_ + 1) return nullptr;
  return static_cast<FreeRun*>(PageMap::At(granule));
}

void PageHeap::Link(FreeRun* run) {
  Bins& bins = bins_[StateOf(run)];
  const size_t bin = BinOf(run->granules);
  bins.runs[bin].PushFront(run);
  bins.filled |= uint64_t{1} << bin;
  MarkBorders(run, true);
}

void PageHeap::Unlink(FreeRun* run) {
  Bins& bins = bins_[StateOf(run)];
  const size_t bin = BinOf(run->granules);
  bins.runs[bin].Remove(run);
  if (bins.runs[bin].Empty()) bins.filled &= ~(uint64_t{1} << bin);
  MarkBorders(run, false);
}

FreeRun* PageHeap::Find(State state, size_t granules) {
  const Bins& bins = bins_[state];
  const size_t bin = BinOf(granules);
  if (granules > kExactBins) {
    for (FreeRun* run = bins.runs[bin].Head(); run != nullptr; run = run->next) {
      if (run->granules >= granules) return run;
    }
  }
  const uint64_t larger = bins.filled >> (granules > kExactBins ? bin + 1 : bin)
                                             << (granules > kExactBins ? bin + 1 : bin);
  return larger == 0 ? nullptr : bins.runs[__builtin_ctzll(larger)].Head();
}

FreeRun* PageHeap::Join(FreeRun* run) {
  const size_t first = PageMap::GranuleOf(run->start);
  const size_t behind = first + run->granules;
  FreeRun* neighbours[] = {first > 0 ? FreeRunAt(first - 1) : nullptr,
                           behind < PageMap::Granules() ? FreeRunAt(behind) : nullptr};
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

// The counts of the pieces are known to the caller; the run's total is in dirty_pages_.
bool PageHeap::Insert(size_t first, size_t granules, size_t dirty_pages, uint32_t since) {
  auto* run = Metadata::New<FreeRun>();
  if (run == nullptr) {
    // Without a record the address space is lost, but the memory must not be.
    const Range range = {reinterpret_cast<void*>(PageMap::AddressOf(first)), granules << kGranuleShift};
    Os::Release(&range, 1);
    for (size_t g = first; g < first + granules; ++g) PageMap::Info(g).dirty = 0;
    dirty_pages_.fetch_sub(dirty_pages, std::memory_order_relaxed);
    return false;
  }
  run->node = static_cast<uint8_t>(node_);
  run->start = PageMap::AddressOf(first);
  run->granules = granules;
  run->dirty_pages = dirty_pages;
  run->since = since;
  Link(Join(run));
  return true;
}

// Takes [first, first + granules) out of the run, which is in the bins, and puts back what is left on either side.
void PageHeap::Carve(FreeRun* run, size_t first, size_t granules) {
  Unlink(run);
  const size_t run_first = PageMap::GranuleOf(run->start);
  const size_t before = first - run_first;
  const size_t behind = run->granules - before - granules;
  const bool dirty = run->dirty_pages > 0;
  const size_t taken_pages = dirty ? CountDirtyPages(first, granules) : 0;
  const size_t before_pages = dirty ? CountDirtyPages(run_first, before) : 0;
  const size_t behind_pages = run->dirty_pages - taken_pages - before_pages;
  dirty_pages_.fetch_sub(taken_pages, std::memory_order_relaxed);
  // What is left has other neighbours than before only where it lost its dirty pages; then Join finds them.
  if (before == 0 && behind == 0) {
    Metadata::Delete(run);
    return;
  }
  if (before > 0 && behind > 0) Insert(run_first, before, before_pages, run->since);
  run->start = PageMap::AddressOf(behind > 0 ? first + granules : run_first);
  run->granules = behind > 0 ? behind : before;
  run->dirty_pages = behind > 0 ? behind_pages : before_pages;
  Link(Join(run));
}

namespace {

// Granules before the first one in the run at a multiple of `alignment`.
size_t Skipped(const FreeRun* run, size_t alignment) {
  const size_t number = run->start >> kGranuleShift;
  return ((number + alignment - 1) & ~(alignment - 1)) - number;
}

}  // namespace

// Where address space is used up: one that fits only because of where it lies.
FreeRun* PageHeap::FindFitting(size_t granules, size_t alignment) {
  for (const State state : {kDirty, kClean}) {
    for (size_t bin = BinOf(granules); bin < kBins; ++bin) {
      for (FreeRun* run = bins_[state].runs[bin].Head(); run != nullptr; run = run->next) {
        if (Skipped(run, alignment) + granules <= run->granules) return run;
      }
    }
  }
  return nullptr;
}

size_t PageHeap::CarveAligned(FreeRun* run, size_t granules, size_t alignment) {
  const size_t first = PageMap::GranuleOf(run->start) + Skipped(run, alignment);
  Carve(run, first, granules);
  return first;
}

// The last granules of a dirty run in the bins as a run of their own, which is in none.
FreeRun* PageHeap::SplitOff(FreeRun* run, size_t granules) {
  auto* part = Metadata::New<FreeRun>();
  if (part == nullptr) return nullptr;
  Unlink(run);
  run->granules -= granules;
  const size_t first = PageMap::GranuleOf(run->start) + run->granules;
  part->node = run->node;
  part->start = PageMap::AddressOf(first);
  part->granules = granules;
  part->dirty_pages = CountDirtyPages(first, granules);
  part->since = run->since;
  run->dirty_pages -= part->dirty_pages;
  Link(Join(run));
  return part;
}

bool PageHeap::Extend(size_t granules) {
  size_t mapped = 0;
  const size_t first = PageMap::Extend(granules, bound_node_, &mapped);
  if (first == PageMap::kNone) return false;
  return Insert(first, mapped, 0, NowMs());
}

FreeRun* PageHeap::FindOrExtend(size_t granules) {
  FreeRun* run = Find(kClean, granules);
  return run != nullptr || !Extend(granules) ? run : Find(kClean, granules);
}

size_t PageHeap::Allocate(size_t granules, size_t alignment) {
  const size_t searched = granules + alignment - 1;
  if (searched > PageMap::kMostGranules) return PageMap::kNone;
  lock_.Lock();
  FreeRun* run = Find(kDirty, searched);
  if (run == nullptr && alignment == 1 && PopulateFor(granules)) run = Find(kDirty, searched);
  if (run == nullptr) run = FindOrExtend(searched);
  if (run == nullptr && Unreserve()) run = Find(kClean, searched);
  if (run == nullptr && alignment > 1) run = FindFitting(granules, alignment);
  size_t first = PageMap::kNone;
  if (run != nullptr) first = CarveAligned(run, granules, alignment);
  lock_.Unlock();
  return first;
}

bool PageHeap::AllocateAt(size_t first, size_t granules) {
  MutexLock lock(lock_);
  if (first >= PageMap::Granules()) return false;
  FreeRun* run = FreeRunAt(first);
  if (run == nullptr || PageMap::GranuleOf(run->start) != first || run->granules < granules) return false;
  Carve(run, first, granules);
  return true;
}

void PageHeap::Free(size_t first, size_t granules) {
  const size_t pages = CountDirtyPages(first, granules);
  {
    MutexLock lock(lock_);
    dirty_pages_.fetch_add(pages, std::memory_order_relaxed);
    Insert(first, granules, pages, NowMs());
  }
  Releaser::NoteDirty(pages);
}

// ---- Growth at speed.

namespace {

constexpr uint32_t kBurstMs = 16;
constexpr uint32_t kBurstPages = (1u << 20) / kPageSize;  // of clean memory within that time
constexpr size_t kProbedPages = 4;                        // blocks that may be touched in part
// Of the eight latest of these. The very latest may not have been written yet: threads take turns.
constexpr size_t kTouched = 2;
constexpr size_t kSmallHeap = 4u << 20;   // up to here a heap takes what it touches, page by page
constexpr size_t kGrownHeap = 16u << 20;  // up to here only one that grows by kFastPages in kFastMs
constexpr uint32_t kFastMs = 8;
constexpr uint32_t kFastPages = (2u << 20) / kPageSize;
constexpr size_t kMostPopulated = (4u << 20) / kGranuleSize;
constexpr size_t kMostReserved = (256u << 20) / kGranuleSize;

}  // namespace

void PageHeap::NoteCleanTaken(uintptr_t start, size_t pages) {
  const uint32_t now = NowMs();
  if (now - growth_.began_ms.load(std::memory_order_relaxed) > kBurstMs) {
    growth_.began_ms.store(now, std::memory_order_relaxed);
    growth_.pages.store(0, std::memory_order_relaxed);
  }
  growth_.pages.fetch_add(static_cast<uint32_t>(pages), std::memory_order_relaxed);
  if (pages < kProbedPages) return;
  const uint32_t next = growth_.next_probe.fetch_add(1, std::memory_order_relaxed);
  growth_.probes[next % 8].store(start + kPageSize, std::memory_order_relaxed);
}

// Sets clean granules apart, in proportion to the heap: turning them on has to wait for every page fault that is under
// way, and so is done for many at a time.
bool PageHeap::Reserve(size_t granules) {
  Unreserve();
  size_t wanted = Arena::Root().charged() / 4 / (HugePages::kGranules * kGranuleSize) * HugePages::kGranules;
  wanted = wanted < granules ? granules : wanted > kMostReserved ? kMostReserved : wanted;
  FreeRun* run = FindOrExtend(wanted + HugePages::kGranules - 1);
  if (run == nullptr) run = FindOrExtend(granules + HugePages::kGranules - 1);
  if (run == nullptr) return false;
  const size_t room = (run->granules - Skipped(run, HugePages::kGranules)) & ~(HugePages::kGranules - 1);
  growth_.reserve_granules = room < wanted ? room : wanted;
  growth_.reserve = CarveAligned(run, growth_.reserve_granules, HugePages::kGranules);
  growth_.epoch = 0;
  return true;
}

// Back among the clean runs; false if there was nothing.
bool PageHeap::Unreserve() {
  if (growth_.reserve_granules == 0) return false;
  HugePages::Off();
  Insert(growth_.reserve, growth_.reserve_granules, 0, NowMs());
  growth_.reserve_granules = 0;
  return true;
}

// Makes huge pages resident where that is what the burst at hand will do anyway: the heap has grown, headroom is ample,
// clean pages are being taken fast, and blocks of several pages taken lately have been touched beyond their first
// (those within a page always are: a new page is taken when the last is full). Lets go of the lock meanwhile. True if
// there is a dirty run for `granules` now.
bool PageHeap::PopulateFor(size_t granules) {
  const size_t run_granules = (granules + HugePages::kGranules - 1) & ~(HugePages::kGranules - 1);
  if (run_granules > kMostPopulated) return false;
  const size_t pages = run_granules * kPagesPerGranule;
  const size_t heap = Arena::Root().charged();
  const size_t idle = (DirtyPages() + growth_.being_populated + pages) * kPageSize;
  if (heap < kSmallHeap || idle > (heap < kGrownHeap ? kGrownHeap : heap) / 4) return false;
  if (!LimitGate::Ample() || !LimitGate::Spares(idle)) return false;
  const bool grown = heap >= kGrownHeap;
  if (growth_.pages.load(std::memory_order_relaxed) < (grown ? kBurstPages : kFastPages)) return false;
  if (NowMs() - growth_.began_ms.load(std::memory_order_relaxed) > (grown ? kBurstMs : kFastMs)) return false;
  if (!HugePages::FairForGrowth()) return false;
  if (granules > 1) {
    size_t touched = 0;
    for (const auto& probe : growth_.probes) {
      void* page = reinterpret_cast<void*>(probe.load(std::memory_order_relaxed));
      touched += page != nullptr && Os::ResidentPages(page, 1) == 1;
      if (touched == kTouched) break;
    }
    if (touched < kTouched) {
      growth_.pages.store(0, std::memory_order_relaxed);
      return false;
    }
  }
  if (growth_.reserve_granules < run_granules && !Reserve(run_granules)) return false;
  if (!HugePages::StillOn(growth_.epoch)) growth_.epoch = HugePages::On(growth_.reserve, growth_.reserve_granules);
  const uint32_t epoch = growth_.epoch;
  const size_t first = growth_.reserve;
  growth_.reserve += run_granules;
  growth_.reserve_granules -= run_granules;
  growth_.began_ms.store(NowMs(), std::memory_order_relaxed);
  growth_.being_populated += pages;
  lock_.Unlock();

  const bool populated = HugePages::Touch(first, run_granules, epoch);
  if (populated) {
    HugePages::NoteHuge(first, run_granules);
    for (size_t g = first; g < first + run_granules; ++g) {
      PageMap::Info(g).dirty = 0xffff;
      // A populated page costs a sixth of a fault.
      if (PageMap::Info(g).released_at != 0) Regret::NoteTaken(kPagesPerGranule / 6, PageMap::Info(g).released_at);
    }
    Releaser::NoteDirty(pages);
    LimitGate::NoteGrowth(pages * kPageSize);
  }

  lock_.Lock();
  growth_.being_populated -= pages;
  if (populated)
    dirty_pages_.fetch_add(pages, std::memory_order_relaxed);
  else
    growth_.pages.store(0, std::memory_order_relaxed);
  Insert(first, run_granules, populated ? pages : 0, NowMs());
  return populated;
}

size_t PageHeap::Release(uint32_t cutoff_ms, ReleaseBatch& batch) {
  size_t released = 0;
  for (;;) {
    constexpr size_t kRuns = 64;
    FreeRun* taken[kRuns];
    size_t count = 0, bytes = 0;
    const auto enough = [&] { return count == kRuns || bytes >= batch.left(); };
    {
      MutexLock lock(lock_);
      for (uint64_t filled = bins_[kDirty].filled; filled != 0 && !enough(); filled &= filled - 1) {
        FreeRun* next = nullptr;
        for (FreeRun* run = bins_[kDirty].runs[__builtin_ctzll(filled)].Head(); run != nullptr && !enough();
             run = next) {
          next = run->next;
          if (static_cast<int32_t>(run->since - cutoff_ms) > 0) continue;
          const size_t wanted = ((batch.left() - bytes) >> kGranuleShift) + 1;
          FreeRun* part = run->granules > wanted ? SplitOff(run, wanted) : nullptr;
          if (part == nullptr) Unlink(part = run);
          taken[count++] = part;
          bytes += part->dirty_pages * kPageSize;
        }
      }
    }
    if (count == 0) return released;
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
    MutexLock lock(lock_);
    dirty_pages_.fetch_sub(pages, std::memory_order_relaxed);
    for (size_t i = 0; i < count; ++i) {
      taken[i]->dirty_pages = 0;
      Link(Join(taken[i]));
    }
    released += pages * kPageSize;
  }
}

}  // namespace neap
