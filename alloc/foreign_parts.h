// foreign_parts.h: what foreign memory is made of, as far as it can be told apart from inside the process: from
// /proc/self/smaps, the threads that there are, and the figures that a JVM publishes.
#pragma once

#include <stdint.h>

#include "alloc/stats_page.h"

namespace neap {

class ForeignParts {
 public:
  // The release thread alone calls these. The kernel walks the process's page tables for a reading: they come once a
  // second at most (five times while memory is short), more seldom where that would be more than a thousandth of the
  // time (a hundredth).
  static bool AreDue(uint64_t now_ms, uint32_t level);
  // False where they cannot be read.
  static bool Read(uint64_t now_ms, StatsForeign& parts);
  // By how much the kernel's account of neap's blocks was above theirs at the last reading, in bytes: below 0 where
  // pages of live blocks were never written or are swapped out, above 0 where huge pages hold free parts.
  static int64_t BeyondLedger();

  static void ForgetInChild();
};

}  // namespace neap
