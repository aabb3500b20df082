// regret.h: how long what was free lay idle before it was taken again, and how much of that had been given back
// meanwhile. Counted here, judged in decay.h.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <atomic>

#include "alloc/clock.h"

namespace neap {

class Regret {
 public:
  static constexpr uint32_t kWindowMs = 1000;
  // Idle times by steps of half a doubling: from 20 ms on, 30, 40, 60, .. 1280 to 1920.
  static constexpr size_t kSteps = 13;
  static constexpr uint32_t kFirstStepMs = 20;
  static constexpr uint32_t StepMs(size_t step) { return (kFirstStepMs + step % 2 * kFirstStepMs / 2) << step / 2; }

  // Pages that were given back at released_at are about to be touched. Returns those of them that are regretted.
  static size_t NoteTaken(size_t pages, uint32_t released_at) {
    const uint32_t away_ms = NowMs() - released_at;
    NoteIdle(pages, away_ms + AgeMs());
    if (away_ms >= kWindowMs) return 0;
    pages_.fetch_add(pages, std::memory_order_relaxed);
    return pages;
  }
  // Pages that have been dirty since then are used again.
  static void NoteReused(size_t pages, uint32_t dirty_since) { NoteIdle(pages, NowMs() - dirty_since); }

  // The age at which pages are given back now.
  static uint32_t AgeMs() { return age_ms_.load(std::memory_order_relaxed); }
  static void SetAge(uint32_t age_ms) { age_ms_.store(age_ms, std::memory_order_relaxed); }

  // Since the start: pages regretted; pages by the step of their idle time.
  static size_t Pages() { return pages_.load(std::memory_order_relaxed); }
  static size_t PagesAt(size_t step) { return by_step_[step].load(std::memory_order_relaxed); }

 private:
  static void NoteIdle(size_t pages, uint32_t idle_ms) {
    if (idle_ms < kFirstStepMs || idle_ms >= StepMs(kSteps) || pages == 0) return;
    const uint32_t scaled = idle_ms * 16 / kFirstStepMs;  // 16, 24, 32, 48, ..
    const auto exponent = static_cast<uint32_t>(31 - __builtin_clz(scaled));
    const size_t step = (exponent - 4) * 2 + (scaled >> (exponent - 1) & 1);
    by_step_[step].fetch_add(pages, std::memory_order_relaxed);
  }

  static inline constinit std::atomic<size_t> pages_{0};
  static inline constinit std::atomic<uint32_t> age_ms_{kFirstStepMs};
  static inline constinit std::atomic<size_t> by_step_[kSteps] = {};
};

}  // namespace neap
