// huge_pages.h: whether huge pages are worth asking for, which 2 MiB regions of the window they may back, and splitting
// those of which a part was given back: the kernel goes on counting the freed part of a huge page against the container
// until the page is split, which it does by itself only when memory is short already.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <atomic>

#include "alloc/page_map.h"

namespace neap {

// The kernel may back a range by huge pages only between On and the next release: afterwards khugepaged would fill the
// holes of what was given back. One call turns the whole window off, and ends the epoch.
class HugePages {
 public:
  static constexpr size_t kGranules = (2u << 20) / kGranuleSize;
  static constexpr size_t kPages = kGranules * kPagesPerGranule;

  static uint32_t On(size_t first, size_t granules);  // the epoch that it is good for
  static bool StillOn(uint32_t epoch) { return epoch == epoch_.load(std::memory_order_acquire); }
  static void Off();

  // Not for a while after the kernel had none to give, or gave them at the price of the small faults that they save.
  static bool FairForGrowth();
  // Not where a host takes back what its virtual machine has not used for some seconds: of the machine's free memory it
  // takes the large pieces, so that huge pages have to wait for it, and small ones do not.
  static bool FairForBlocks();
  // They came when last asked for; a few refusals in between say nothing.
  static bool InUse() { return in_use_.load(std::memory_order_relaxed); }

  // Touches each region of the run, which is clean and was turned on in this epoch: false if the kernel gave it no huge
  // pages.
  static bool Touch(size_t first, size_t granules, uint32_t epoch);

  // The regions that lie wholly in the run are huge pages now, or may become so when touched.
  static void NoteHuge(size_t first, size_t granules);

  // Pages of [begin, begin + bytes) have been given back. How many bytes the container is charged less for it: none for
  // a part of a huge page. Under the release lock.
  static size_t NoteReleased(uintptr_t begin, size_t bytes);

  // Splits some of the regions of which a part has been given back; false if none is left. Under the release lock.
  static bool SplitSome();
  // That the container may be charged beyond what is resident, until the regions are split.
  static size_t HoardedBytes() { return partly_.load(std::memory_order_relaxed) * kPages * kPageSize; }

 private:
  enum State : uint8_t { kSmall, kHuge, kPartly };
  static std::atomic<uint8_t>& StateOf(size_t region);
  static void NotePrice(bool came, uint64_t cpu_ns);
  static inline constinit std::atomic<uint32_t> epoch_{1};  // 0 is never good
  static inline constinit std::atomic<bool> on_{false};
  static inline constinit std::atomic<bool> in_use_{false};
  static inline constinit std::atomic<size_t> partly_{0};  // regions in that state; written under the release lock
};

}  // namespace neap
