// huge_pages.cc: see huge_pages.h. A region's state lies with the first of its granules.
#include "alloc/huge_pages.h"

#include "alloc/os.h"

namespace neap {
namespace {

constexpr size_t kBytes = HugePages::kGranules * kGranuleSize;
constexpr size_t kSplitsAtATime = 64;  // about 20 ms

// Under the release lock.
constinit size_t g_partly = 0;  // regions in that state
constinit size_t g_cursor = 0;  // the region to look at next

}  // namespace

// The window begins at a multiple of 1 GiB: a region's number is the same counted from it.
std::atomic<uint8_t>& HugePages::StateOf(size_t region) {
  return reinterpret_cast<std::atomic<uint8_t>&>(PageMap::Info(region * kGranules).huge_state);
}

uint32_t HugePages::On(size_t first, size_t granules) {
  const uint32_t epoch = epoch_.load(std::memory_order_acquire);
  on_.store(true, std::memory_order_relaxed);
  Os::SetHuge(reinterpret_cast<void*>(PageMap::AddressOf(first)), granules << kGranuleShift, true);
  return epoch;
}

void HugePages::Off() {
  if (!on_.exchange(false, std::memory_order_relaxed)) return;
  epoch_.fetch_add(1, std::memory_order_acq_rel);
  Os::SetHuge(reinterpret_cast<void*>(PageMap::AddressOf(0)), PageMap::Granules() << kGranuleShift, false);
}

bool HugePages::Touch(size_t first, size_t granules) {
  for (size_t g = first; g < first + granules; g += kGranules) {
    auto* region = reinterpret_cast<volatile char*>(PageMap::AddressOf(g));
    *region = 0;
    if (Os::ResidentPages(const_cast<char*>(region) + kBytes / 2, 1) == 0) {
      // With it the regions before: of a run that is clean no page is resident.
      auto* begin = reinterpret_cast<char*>(PageMap::AddressOf(first));
      const Range range = {begin, static_cast<size_t>(region - begin) + kPageSize};
      Os::Release(&range, 1);
      return false;
    }
  }
  return true;
}

void HugePages::NoteHuge(size_t first, size_t granules) {
  const size_t end = (first + granules) / kGranules;
  for (size_t region = (first + kGranules - 1) / kGranules; region < end; ++region) {
    uint8_t expected = kSmall;
    StateOf(region).compare_exchange_strong(expected, kHuge, std::memory_order_relaxed);
  }
}

void HugePages::NoteReleased(uintptr_t begin, size_t bytes) {
  const uintptr_t end = begin + bytes;
  const size_t last = PageMap::GranuleOf(end - 1) / kGranules;
  for (size_t region = PageMap::GranuleOf(begin) / kGranules; region <= last; ++region) {
    std::atomic<uint8_t>& state = StateOf(region);
    const uint8_t was = state.load(std::memory_order_relaxed);
    if (was == kSmall) continue;
    const uintptr_t region_begin = PageMap::AddressOf(region * kGranules);
    const bool whole = begin <= region_begin && end >= region_begin + kBytes;
    const uint8_t now = whole ? kSmall : kPartly;
    g_partly += (now == kPartly) - (was == kPartly);
    state.store(now, std::memory_order_relaxed);
  }
}

bool HugePages::SplitSome() {
  const size_t regions = PageMap::Granules() / kGranules;
  for (size_t looked = 0, split = 0; g_partly > 0 && split < kSplitsAtATime && looked < regions; ++looked) {
    if (g_cursor >= regions) g_cursor = 0;
    const size_t region = g_cursor++;
    if (StateOf(region).load(std::memory_order_relaxed) != kPartly) continue;
    StateOf(region).store(kSmall, std::memory_order_relaxed);
    --g_partly;
    ++split;
    Os::SplitHuge(reinterpret_cast<void*>(PageMap::AddressOf(region * kGranules)), kBytes);
  }
  return g_partly > 0;
}

}  // namespace neap
