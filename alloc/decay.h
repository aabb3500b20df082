// decay.h: how long a dirty page is kept, and how many are. Pure: history and now in, an age and bytes out.
//
// A page that is given back and touched again within a second has cost a fault for nothing; that is the regret. How
// long pages lay idle before they were taken again, dirty or given back, tells for every age what would have been
// regretted of late. The shortest age that would have cost less than 2 % of the process's CPU time is the one; where
// none would, the shortest of those that would have cost least. When headroom is short regret no longer counts.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "alloc/regret.h"

namespace neap {

class Decay {
 public:
  static constexpr uint32_t kShortestMs = Regret::kFirstStepMs;
  static constexpr uint32_t kLongestMs = 480;
  static constexpr uint32_t kWindowMs = 50;
  static constexpr uint32_t kMemoryMs = 30'000;  // what is so old weighs half or less
  static constexpr uint64_t kRegretNs = 2900;    // a fault of 4 KiB and the page's part of a release
  // What may lie idle while it is regretted: this much, or an eighth of what is live or of headroom.
  static constexpr size_t kIdleBytes = 64u << 20;

  struct Input {
    uint32_t now_ms;
    uint64_t cpu_ns;               // of the process, since the start
    size_t taken[Regret::kSteps];  // pages that were taken again, by their idle time, since the start
    uint32_t level;                // of pressure
  };

  // The age from which a dirty page is given back, in ms.
  uint32_t Update(const Input& input);
  // Dirty bytes that lie idle beyond the cap: these go although they are younger, from kShortestMs on.
  static size_t Excess(size_t dirty_bytes, size_t live_bytes, uint64_t headroom);

 private:
  uint32_t BestAge() const;

  uint32_t age_ms_ = kShortestMs;
  Input before_ = {};
  // Of late: each second counts less with its age.
  double cpu_ns_ = 0;
  double taken_[Regret::kSteps] = {};
};

}  // namespace neap
