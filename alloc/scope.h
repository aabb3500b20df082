// scope.h: the arena that a thread's allocations are for.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "alloc/arena.h"
#include "alloc/cache_header.h"

namespace neap {

class ThreadScope {
 public:
  static constexpr uint32_t kDepth = 15;

  static bool IsRoot() { return t_depth == 0 || t_ids[t_depth - 1] == 0; }
  // Null: none, or the root's.
  static Arena* Current() {
    if (IsRoot()) return nullptr;
    return Arena::ById(t_ids[t_depth - 1]);
  }
  static bool Push(const Arena* arena) {
    if (t_depth == kDepth) return false;
    // From the first scope on, and in every thread, malloc looks at the scope before it looks at a cache.
    __atomic_store_n(&hot::fast_limit, 0, __ATOMIC_RELAXED);
    t_ids[t_depth++] = arena->id();
    return true;
  }
  static void Pop() {
    if (t_depth > 0) --t_depth;
  }

 private:
  static inline thread_local constinit uint32_t t_depth __attribute__((tls_model("initial-exec"))) = 0;
  static inline thread_local constinit uint16_t t_ids[kDepth] __attribute__((tls_model("initial-exec"))) = {};
};

}  // namespace neap
