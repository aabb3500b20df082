// regret.h: how much of what was given back was soon taken again. Counted here, judged in decay.h.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <atomic>

#include "alloc/clock.h"

namespace neap {

class Regret {
 public:
  static constexpr uint32_t kWindowMs = 1000;

  // Pages that were given back at released_at are about to be touched.
  static void NoteTaken(size_t pages, uint32_t released_at) {
    if (NowMs() - released_at < kWindowMs) Add(pages);
  }
  static void Add(size_t pages) {
    if (pages > 0) pages_.fetch_add(pages, std::memory_order_relaxed);
  }
  static size_t Pages() { return pages_.load(std::memory_order_relaxed); }

 private:
  static inline constinit std::atomic<size_t> pages_{0};
};

}  // namespace neap
