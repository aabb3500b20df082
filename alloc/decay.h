// decay.h: how long a dirty page is kept, and how many are. Pure: history and now in, an age and bytes out.
//
// A page that is given back and touched again has cost a fault for nothing; that is the regret, and its share of the
// process's CPU time decides. Above 2 % the age doubles, below it halves in two thirds of a second. When headroom
// is short regret no longer counts.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace neap {

class Decay {
 public:
  static constexpr uint32_t kShortestMs = 20;
  static constexpr uint32_t kLongestMs = 2000;
  static constexpr uint32_t kWindowMs = 50;
  static constexpr uint64_t kRegretNs = 2900;  // a fault of 4 KiB and the page's part of a release
  // What may lie idle while it is regretted: this much, or an eighth of what is live or of headroom.
  static constexpr size_t kIdleBytes = 64u << 20;

  struct Input {
    uint32_t now_ms;
    uint64_t cpu_ns;      // of the process, since the start
    size_t regret_pages;  // since the start
    uint32_t level;       // of pressure
  };

  // The age from which a dirty page is given back, in ms.
  uint32_t Update(const Input& input);
  // Dirty bytes that lie idle beyond the cap: these go although they are younger, from kShortestMs on.
  static size_t Excess(size_t dirty_bytes, size_t live_bytes, uint64_t headroom);

 private:
  uint32_t age_ms_ = kShortestMs;
  uint32_t window_began_ms_ = 0;
  uint64_t cpu_ns_ = 0;
  size_t regret_pages_ = 0;
};

}  // namespace neap
