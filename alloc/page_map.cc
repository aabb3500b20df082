// page_map.cc: growth of the window and of its tables. Owned by one lock; readers need none.
#include "alloc/page_map.h"

#include <atomic>

#include "alloc/fork.h"
#include "alloc/lock.h"
#include "alloc/metadata.h"
#include "alloc/os.h"

namespace neap {

asm(".pushsection .data.neap_hot, \"aw\"\n\t.balign 64\n\t.popsection");  // all in one cache line
#define NEAP_HOT constinit __attribute__((section(".data.neap_hot")))
namespace hot {
NEAP_HOT size_t fast_limit = 0;
NEAP_HOT ptrdiff_t rseq_area = 0;
NEAP_HOT ptrdiff_t rseq_cpu = 0;
NEAP_HOT uintptr_t caches = 0;
NEAP_HOT uintptr_t window = 0;
NEAP_HOT size_t granules = 0;
NEAP_HOT uintptr_t* map = nullptr;
}  // namespace hot
#undef NEAP_HOT

alignas(kSpanAlignment) constinit Span PageMap::no_span = {};
constinit GranuleInfo* PageMap::info_ = nullptr;

namespace {

// Where a window is tried, and how many bits of address space it may span. The later ones serve processors with less.
struct Place {
  uintptr_t base;
  unsigned bits;
  unsigned random_gibibytes;
};
constexpr Place kPlaces[] = {{uintptr_t{1} << 45, 44, 8192},
                             {uintptr_t{1} << 43, 42, 1024},
                             {uintptr_t{1} << 38, 36, 64},
                             {uintptr_t{1} << 37, 35, 16}};

constexpr size_t kTableStep = 65536;     // bytes of a table mapped at a time: 512 MiB of the window
constexpr size_t kFirstStep = 4u << 20;  // bytes of the window
constexpr size_t kLargestStep = 1024u << 20;
constexpr size_t kGap = 64u << 20;  // passed over where the window is taken
constexpr int kGapsToTry = 64;

constinit Mutex g_lock;
constinit size_t g_window_granules = 0;  // the window's whole size; 0 before Start
constinit size_t g_end = 0;              // granules given out so far, gaps included
constinit size_t g_tables = 0;           // granules that the tables cover
constinit std::atomic<size_t> g_mapped{0};

}  // namespace

bool PageMap::Start() {
  for (const Place& place : kPlaces) {
    uintptr_t base = place.base + ((Os::RandomBits() % place.random_gibibytes) << 30);
    void* probe = Os::Map(reinterpret_cast<void*>(base), kGranuleSize);
    if (probe == nullptr) continue;
    Os::Unmap(probe, kGranuleSize);
    hot::window = base;
    g_window_granules = (size_t{1} << place.bits) >> kGranuleShift;
    const uintptr_t tables = base + (size_t{1} << place.bits);
    hot::map = reinterpret_cast<uintptr_t*>(tables);
    info_ = reinterpret_cast<GranuleInfo*>(tables + g_window_granules * sizeof(uintptr_t));
    return true;
  }
  return false;
}

bool PageMap::CoverTables(size_t granules) {
  while (g_tables < granules) {
    if (Os::Map(reinterpret_cast<char*>(hot::map) + g_tables * sizeof(uintptr_t), kTableStep) == nullptr) return false;
    if (Os::Map(reinterpret_cast<char*>(info_) + g_tables * sizeof(GranuleInfo), kTableStep) == nullptr) {
      Os::Unmap(reinterpret_cast<char*>(hot::map) + g_tables * sizeof(uintptr_t), kTableStep);
      return false;
    }
    g_tables += kTableStep / sizeof(uintptr_t);
  }
  return true;
}
static_assert(sizeof(GranuleInfo) == sizeof(uintptr_t));

size_t PageMap::Extend(size_t granules, int node, size_t* mapped) {
  MutexLock lock(g_lock);
  if (g_window_granules == 0 && !Start()) return kNone;

  size_t step = g_mapped.load(std::memory_order_relaxed) / 8;
  step = step < kFirstStep ? kFirstStep : step > kLargestStep ? kLargestStep : step;
  size_t wanted = step >> kGranuleShift;
  if (wanted < granules) wanted = granules;

  for (int gap = 0; gap < kGapsToTry; ++gap) {
    if (granules > g_window_granules - g_end) return kNone;
    if (wanted > g_window_granules - g_end) wanted = granules;
    if (!CoverTables(g_end + wanted)) {
      if (wanted == granules) return kNone;
      wanted = granules;
      continue;
    }
    void* address = reinterpret_cast<void*>(AddressOf(g_end));
    void* step_begin = Os::Map(address, wanted << kGranuleShift);
    if (step_begin == nullptr && wanted > granules) {  // a limit on address space, perhaps: ask for what is needed
      wanted = granules;
      step_begin = Os::Map(address, wanted << kGranuleShift);
    }
    const size_t skipped = step_begin == nullptr ? kGap >> kGranuleShift : 0;
    if (skipped != 0 && (skipped > g_window_granules - g_end || !CoverTables(g_end + skipped))) return kNone;
    for (size_t i = 0; i < (step_begin == nullptr ? skipped : wanted); ++i) Set(g_end + i, &no_span);
    if (step_begin == nullptr) {
      // Distinguish a taken range from exhaustion: where nothing at all can be mapped, passing over does not help.
      void* probe = Os::Map(nullptr, wanted << kGranuleShift);
      if (probe == nullptr) return kNone;
      Os::Unmap(probe, wanted << kGranuleShift);
      Metadata::Count(static_cast<ptrdiff_t>(skipped * sizeof(uintptr_t)));
      g_end += skipped;
      __atomic_store_n(&hot::granules, g_end, __ATOMIC_RELEASE);
      continue;
    }
    Os::SetHuge(step_begin, wanted << kGranuleShift, false);
    if (node >= 0) Os::BindToNode(step_begin, wanted << kGranuleShift, node);
    const size_t first = g_end;
    g_end += wanted;
    g_mapped.fetch_add(wanted << kGranuleShift, std::memory_order_relaxed);
    Metadata::Count(static_cast<ptrdiff_t>(wanted * (sizeof(uintptr_t) + sizeof(GranuleInfo))));
    __atomic_store_n(&hot::granules, g_end, __ATOMIC_RELEASE);
    *mapped = wanted;
    return first;
  }
  return kNone;
}

size_t PageMap::MappedBytes() { return g_mapped.load(std::memory_order_relaxed); }

Mutex& ForkLocks::PageMap() { return g_lock; }

}  // namespace neap
