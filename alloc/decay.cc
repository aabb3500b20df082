// decay.cc: see decay.h.
#include "alloc/decay.h"

#include <algorithm>

namespace neap {

uint32_t Decay::BestAge() const {
  const double allowed = cpu_ns_ / 50 / kRegretNs;
  uint32_t best_ms = kShortestMs;
  double least = -1;
  for (size_t first = 0; Regret::StepMs(first) <= kLongestMs; ++first) {
    const uint32_t age_ms = Regret::StepMs(first);
    double regretted = 0;
    for (size_t step = first; step < Regret::kSteps && Regret::StepMs(step) < age_ms + Regret::kWindowMs; ++step) {
      regretted += taken_[step];
    }
    if (regretted <= allowed) return age_ms;
    if (least < 0 || regretted < least) {
      least = regretted;
      best_ms = age_ms;
    }
  }
  return best_ms;
}

uint32_t Decay::Update(const Input& input) {
  const uint32_t passed = input.now_ms - before_.now_ms;
  if (passed >= kWindowMs) {
    const uint64_t cpu_then = input.cpu_ns < before_.cpu_ns ? 0 : before_.cpu_ns;  // a forked child's begins anew
    const double kept = static_cast<double>(kMemoryMs) / (kMemoryMs + static_cast<double>(passed));
    cpu_ns_ = cpu_ns_ * kept + static_cast<double>(input.cpu_ns - cpu_then);
    for (size_t step = 0; step < Regret::kSteps; ++step) {
      taken_[step] = taken_[step] * kept + static_cast<double>(input.taken[step] - before_.taken[step]);
    }
    before_ = input;
    age_ms_ = BestAge();
  }
  return input.level > 0 ? 0 : age_ms_;
}

size_t Decay::Excess(size_t dirty_bytes, size_t live_bytes, uint64_t headroom) {
  const uint64_t most_idle = std::max<uint64_t>({kIdleBytes, live_bytes / 8, headroom / 8});
  return dirty_bytes > most_idle ? dirty_bytes - most_idle : 0;
}

}  // namespace neap
