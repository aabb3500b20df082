// decay.cc: see decay.h.
#include "alloc/decay.h"

#include <algorithm>

namespace neap {

uint32_t Decay::Update(const Input& input) {
  const uint32_t passed = input.now_ms - window_began_ms_;
  if (passed >= kWindowMs) {
    const uint64_t regret_ns = (input.regret_pages - regret_pages_) * kRegretNs;
    const uint64_t cpu_ns = input.cpu_ns - cpu_ns_;
    if (regret_ns * 50 > cpu_ns && regret_ns > 0) {
      age_ms_ = age_ms_ * 2 < kLongestMs ? age_ms_ * 2 : kLongestMs;
    } else {
      // Halves in two thirds of a second, so that a rhythm once learnt is not forgotten between two beats.
      const uint64_t lost = uint64_t{age_ms_} * passed / 1000;
      age_ms_ = age_ms_ > lost + kShortestMs ? static_cast<uint32_t>(age_ms_ - lost) : kShortestMs;
    }
    window_began_ms_ = input.now_ms;
    cpu_ns_ = input.cpu_ns;
    regret_pages_ = input.regret_pages;
  }
  return input.level > 0 ? 0 : age_ms_;
}

size_t Decay::Excess(size_t dirty_bytes, size_t live_bytes, uint64_t headroom) {
  const uint64_t most_idle = std::max<uint64_t>({kIdleBytes, live_bytes / 8, headroom / 8});
  return dirty_bytes > most_idle ? dirty_bytes - most_idle : 0;
}

}  // namespace neap
