// page_map.h: address to span in one dependent load, lock-free to read.
//
// All spans lie in one window of address space whose place is picked at the start (at random, far from where the kernel
// puts its own mappings) and which is mapped in steps as it is needed, so that a limit on address space is met only by
// what is used. Behind the window, mapped in step with it, lie two flat tables with one entry a granule: the map proper
// and GranuleInfo. A range inside the window that something else has taken is passed over.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "alloc/cache_header.h"
#include "alloc/span.h"

namespace neap {

struct GranuleInfo {
  uint16_t dirty;        // pages of a granule in a free run that are resident; owned by the run's page heap
  uint8_t huge_state;    // of the 2 MiB region that begins here; owned by HugePages
  uint8_t free_on;       // at the first and the last granule of a free run: 1 + its node; else 0. Owned by page heaps
  uint32_t released_at;  // ms, when pages of it were last given back; 0: never. Owned by the granule's owner
};

class PageMap {
 public:
  // Maps at least `granules` more in one piece, placed on `node` (-1: wherever). The first granule's number, or kNone;
  // `*mapped` is how many there are.
  static size_t Extend(size_t granules, int node, size_t* mapped);
  static constexpr size_t kNone = SIZE_MAX;
  static constexpr size_t kMostGranules = size_t{1} << (44 - kGranuleShift);  // of the largest window

  // Never null: no_span where nothing is known of the address.
  static Span* Find(const void* address) {
    const size_t granule = (reinterpret_cast<uintptr_t>(address) - hot::window) >> kGranuleShift;
    if (granule >= __atomic_load_n(&hot::granules, __ATOMIC_RELAXED)) return &no_span;
    return At(granule);
  }
  static Span* At(size_t granule) { return SpanOf(__atomic_load_n(&hot::map[granule], __ATOMIC_RELAXED)); }
  // header: of the class of a slab whose blocks free may put straight into a CPU's cache; 0: it has to look closer.
  static void Set(size_t granule, const Span* span, size_t header = 0) {
    __atomic_store_n(&hot::map[granule], EntryOf(span, header), __ATOMIC_RELEASE);
  }
  static Span* Exchange(size_t granule, const Span* span) {
    return SpanOf(__atomic_exchange_n(&hot::map[granule], EntryOf(span, 0), __ATOMIC_ACQ_REL));
  }
  static size_t Granules() { return __atomic_load_n(&hot::granules, __ATOMIC_ACQUIRE); }

  static GranuleInfo& Info(size_t granule) { return info_[granule]; }
  static uintptr_t AddressOf(size_t granule) { return hot::window + (granule << kGranuleShift); }
  static size_t GranuleOf(uintptr_t address) { return (address - hot::window) >> kGranuleShift; }
  static bool InWindow(const void* address) {
    return ((reinterpret_cast<uintptr_t>(address) - hot::window) >> kGranuleShift) < Granules();
  }
  static size_t MappedBytes();

  alignas(kSpanAlignment) static Span no_span;

 private:
  static bool Start();
  static bool CoverTables(size_t granules);
  static GranuleInfo* info_;
};

}  // namespace neap
