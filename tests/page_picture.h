// page_picture.h: pages as a picture, one letter a page and a bar between granules, in which the test, the allocator
// and the kernel have to agree:
//
//   L  holds a block that the test has          C  holds blocks, all of them in CPU caches
//   D  resident without a block: dirty          .  not resident: clean
//   l  of a block that the test has, counted as resident and not touched yet
//   ?  counted as resident, but it is not       !  not counted, but it is resident
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <map>
#include <string>

#include "alloc/page_map.h"
#include "tests/fake_os.h"

namespace neap {

// Whether free puts a block that starts there straight into a CPU's cache.
inline bool OnHitPath(const void* block) {
  return hot::map[PageMap::GranuleOf(reinterpret_cast<uintptr_t>(block))] >> kHeaderShift != 0;
}

using LiveBlocks = std::map<uintptr_t, size_t>;  // begin and bytes of what the test has

namespace page_picture {

inline bool IsLive(const LiveBlocks& live, uintptr_t page) {
  auto next = live.lower_bound(page + kPageSize);
  if (next == live.begin()) return false;
  --next;
  return next->first + next->second > page;
}

struct Opinion {
  bool resident;
  bool held;  // by a block, in the allocator's eyes
};

// The allocator's, of one page of a granule.
inline Opinion Ask(size_t granule, size_t page) {
  size_t first = granule;
  while (first > 0 && PageMap::At(first) == &PageMap::no_span) --first;
  const Span* span = PageMap::At(first);
  switch (span->kind) {
    case SpanKind::kSlab: {
      auto* slab = static_cast<const Slab*>(span);
      const size_t offset = PageMap::AddressOf(granule) + page * kPageSize - slab->start;
      const size_t unit = offset / kSizeClasses[slab->size_class].unit_bytes;
      return {(slab->clean >> unit & 1) == 0, slab->live[unit] != 0};
    }
    case SpanKind::kLarge: {
      auto* large = static_cast<const LargeSpan*>(span);
      const bool inside = ((granule - first) << kGranuleShift) + page * kPageSize < large->bytes;
      const bool slack = (PageMap::Info(granule).dirty >> page & 1) != 0;
      return {inside || slack, inside};
    }
    default:
      return {(PageMap::Info(granule).dirty >> page & 1) != 0, false};
  }
}

}  // namespace page_picture

inline std::string Picture(size_t granule, size_t granules, const LiveBlocks& live = {}) {
  std::string picture;
  for (size_t g = granule; g < granule + granules; ++g) {
    if (g > granule) picture += '|';
    for (size_t p = 0; p < kPagesPerGranule; ++p) {
      const uintptr_t page = PageMap::AddressOf(g) + p * kPageSize;
      const bool resident = FakeOs::IsResident(reinterpret_cast<void*>(page));
      const bool is_live = page_picture::IsLive(live, page);
      const auto [counted, held] = page_picture::Ask(g, p);
      if (counted != resident)
        picture += resident ? '!' : is_live ? 'l' : '?';
      else if (is_live)
        picture += held ? 'L' : '!';
      else
        picture += held ? 'C' : resident ? 'D' : '.';
    }
  }
  return picture;
}

inline std::string Picture(const void* begin, size_t granules, const LiveBlocks& live = {}) {
  return Picture(PageMap::GranuleOf(reinterpret_cast<uintptr_t>(begin)), granules, live);
}

}  // namespace neap
