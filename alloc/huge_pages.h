// huge_pages.h: which 2 MiB regions of the window huge pages may back, and splitting those of which a part was given
// back: the kernel goes on counting the freed part of a huge page against the container until the page is split, which
// it does by itself only when memory is short already.
#pragma once

#include <atomic>
#include <stddef.h>
#include <stdint.h>

#include "alloc/page_map.h"

namespace neap {

class HugePages {
 public:
  static constexpr size_t kGranules = (2u << 20) / kGranuleSize;
  static constexpr size_t kPages = kGranules * kPagesPerGranule;

  // The regions that lie wholly in the run are huge pages now, or may become so when touched.
  static void NoteHuge(size_t first, size_t granules);

  // Pages of [begin, begin + bytes) have been given back. Under the release lock.
  static void NoteReleased(uintptr_t begin, size_t bytes);

  // Splits some of the regions of which a part has been given back; false if none is left. Under the release lock.
  static bool SplitSome();

 private:
  enum State : uint8_t { kSmall, kHuge, kPartly };
  static std::atomic<uint8_t>& StateOf(size_t region);
};

}  // namespace neap
