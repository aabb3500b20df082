// huge_pages.cc: see huge_pages.h. A region's state lies with the first of its granules.
#include "alloc/huge_pages.h"

#include <string.h>

#include "alloc/clock.h"
#include "alloc/os.h"

namespace neap {
namespace {

constexpr size_t kBytes = HugePages::kGranules * kGranuleSize;
// Of CPU time for one, over the latest 32 or so. Usual are 100,000, and 4,500,000 where a host has taken the memory
// back; 512 small faults take 200,000 to 800,000.
constexpr uint64_t kDearNs = 1'000'000;
constexpr uint64_t kCountedNs = 8'000'000;  // of one that took longer
constexpr uint32_t kRefusals = 4;           // in a row. One alone: small pages lay there before
constexpr uint32_t kShortestBarMs = 1000, kLongestBarMs = 64'000;
constexpr const char* kBalloon = "/sys/bus/virtio/drivers/virtio_balloon";
constexpr size_t kSplitsAtATime = 64;  // about 20 ms

constinit std::atomic<uint32_t> g_barred_at{0}, g_bar_ms{0};  // not fair for so long since then
constinit std::atomic<uint32_t> g_refusals{0};                // in a row
constinit std::atomic<uint64_t> g_usual_ns{0};

// The first that is asked for afterwards decides.
void Bar() {
  const uint32_t bar = g_bar_ms.load(std::memory_order_relaxed);
  const uint32_t longer = bar < kShortestBarMs ? kShortestBarMs : bar * 2;
  g_barred_at.store(NowMs(), std::memory_order_relaxed);
  g_bar_ms.store(longer < kLongestBarMs ? longer : kLongestBarMs, std::memory_order_relaxed);
}

// Whether one of the machine's balloons has the feature of free page reporting: virtio 1.2, 5.5.3.
bool HostTakesMemoryBack() {
  bool reports = false;
  const auto visit = [](void* found, const char* name) {
    constexpr size_t kReporting = 5;
    char path[128], features[kReporting + 2];
    if (strncmp(name, "virtio", 6) != 0 || strlen(kBalloon) + strlen(name) + strlen("/features") >= sizeof(path) - 1) {
      return true;
    }
    char* at = path;
    for (const char* part : {kBalloon, "/", name, "/features"}) {
      while (*part != 0) *at++ = *part++;
    }
    *at = 0;
    if (Os::ReadFile(path, features, sizeof(features)) <= static_cast<long>(kReporting)) return true;
    *static_cast<bool*>(found) = features[kReporting] == '1';  // one character a bit
    return !*static_cast<bool*>(found);
  };
  Os::ForEachFile(kBalloon, visit, &reports);
  return reports;
}

// Under the release lock.
constinit size_t g_cursor = 0;  // the region to look at next

}  // namespace

// The window begins at a multiple of 1 GiB: a region's number is the same counted from it.
std::atomic<uint8_t>& HugePages::StateOf(size_t region) {
  return reinterpret_cast<std::atomic<uint8_t>&>(PageMap::Info(region * kGranules).huge_state);
}

uint32_t HugePages::On(size_t first, size_t granules) {
  const uint32_t epoch = epoch_.load(std::memory_order_acquire);
  Os::SetHuge(reinterpret_cast<void*>(PageMap::AddressOf(first)), granules << kGranuleShift, true);
  on_.store(true, std::memory_order_release);  // not earlier: an Off between the two would leave it on
  return epoch;
}

void HugePages::Off() {
  if (!on_.exchange(false, std::memory_order_relaxed)) return;
  epoch_.fetch_add(1, std::memory_order_acq_rel);
  Os::SetHuge(reinterpret_cast<void*>(PageMap::AddressOf(0)), PageMap::Granules() << kGranuleShift, false);
}

bool HugePages::FairForGrowth() {
  const uint32_t bar = g_bar_ms.load(std::memory_order_relaxed);
  return bar < kShortestBarMs || NowMs() - g_barred_at.load(std::memory_order_relaxed) >= bar;
}

bool HugePages::FairForBlocks() {
  enum : uint8_t { kUnknown, kFair, kDear };
  static constinit std::atomic<uint8_t> price{kUnknown};
  if (price.load(std::memory_order_relaxed) == kUnknown) {
    price.store(HostTakesMemoryBack() ? kDear : kFair, std::memory_order_relaxed);
  }
  return price.load(std::memory_order_relaxed) == kFair;
}

void HugePages::NotePrice(bool came, uint64_t cpu_ns) {
  if (!came) {
    if (g_refusals.load(std::memory_order_relaxed) + 1 < kRefusals) {
      g_refusals.fetch_add(1, std::memory_order_relaxed);
    } else {
      in_use_.store(false, std::memory_order_relaxed);
      Bar();
    }
    return;
  }
  in_use_.store(true, std::memory_order_relaxed);
  g_refusals.store(0, std::memory_order_relaxed);
  const uint64_t counted = cpu_ns < kCountedNs ? cpu_ns : kCountedNs;
  const uint64_t usual = g_usual_ns.load(std::memory_order_relaxed) / 32 * 31 + counted / 32;
  g_usual_ns.store(usual < kDearNs ? usual : kDearNs, std::memory_order_relaxed);
  const uint32_t bar = g_bar_ms.load(std::memory_order_relaxed);
  if (usual >= kDearNs)
    Bar();
  else if (bar != 0)
    g_bar_ms.store(bar / 2, std::memory_order_relaxed);
}

bool HugePages::Touch(size_t first, size_t granules, uint32_t epoch) {
  for (size_t g = first; g < first + granules; g += kGranules) {
    auto* region = reinterpret_cast<volatile char*>(PageMap::AddressOf(g));
    const uint64_t before = Os::ThreadCpuNs();
    *region = 0;
    const uint64_t cpu_ns = Os::ThreadCpuNs() - before;
    const bool came = Os::ResidentPages(const_cast<char*>(region) + kBytes / 2, 1) == 1;
    // Where a release has turned it off meanwhile, that says nothing about the kernel.
    if (came || StillOn(epoch)) NotePrice(came, cpu_ns);
    if (came) continue;
    // With it the regions before: of a run that is clean no page is resident.
    const Range range = {reinterpret_cast<void*>(PageMap::AddressOf(first)),
                         ((g - first) << kGranuleShift) + kPageSize};
    Os::Release(&range, 1);
    Off();
    return false;
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

size_t HugePages::NoteReleased(uintptr_t begin, size_t bytes) {
  const uintptr_t end = begin + bytes;
  const size_t last = PageMap::GranuleOf(end - 1) / kGranules;
  size_t uncharged = bytes;
  for (size_t region = PageMap::GranuleOf(begin) / kGranules; region <= last; ++region) {
    std::atomic<uint8_t>& state = StateOf(region);
    const uint8_t was = state.load(std::memory_order_relaxed);
    if (was == kSmall) continue;
    const uintptr_t region_begin = PageMap::AddressOf(region * kGranules), region_end = region_begin + kBytes;
    const bool whole = begin <= region_begin && end >= region_end;
    const uint8_t now = whole ? kSmall : kPartly;
    partly_.store(partly_.load(std::memory_order_relaxed) + (now == kPartly) - (was == kPartly),
                  std::memory_order_relaxed);
    state.store(now, std::memory_order_relaxed);
    if (!whole) uncharged -= (end < region_end ? end : region_end) - (begin > region_begin ? begin : region_begin);
  }
  return uncharged;
}

bool HugePages::SplitSome() {
  const size_t regions = PageMap::Granules() / kGranules;
  for (size_t looked = 0, split = 0; HoardedBytes() > 0 && split < kSplitsAtATime && looked < regions; ++looked) {
    if (g_cursor >= regions) g_cursor = 0;
    const size_t region = g_cursor++;
    if (StateOf(region).load(std::memory_order_relaxed) != kPartly) continue;
    StateOf(region).store(kSmall, std::memory_order_relaxed);
    partly_.store(partly_.load(std::memory_order_relaxed) - 1, std::memory_order_relaxed);
    ++split;
    Os::SplitHuge(reinterpret_cast<void*>(PageMap::AddressOf(region * kGranules)), kBytes);
  }
  return HoardedBytes() > 0;
}

}  // namespace neap
