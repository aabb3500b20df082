// scope.h: the arena that a thread's allocations are for.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "alloc/arena.h"
#include "alloc/cache_header.h"
#include "alloc/profile.h"

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
    // From the first scope on, and in every thread, malloc takes the hit path that counts, which a scope can close.
    __atomic_store_n(&hot::fast_limit, 0, __ATOMIC_RELAXED);
    t_ids[t_depth] = arena->id();
    Enter(t_depth + 1);
    return true;
  }
  static void Pop() {
    if (t_depth > 0) Enter(t_depth - 1);
  }

 private:
  // Malloc's hit path is for the root alone.
  static void Enter(uint32_t depth) {
    const bool was_root = IsRoot();
    t_depth = depth;
    if (was_root && !IsRoot()) Profile::CloseHitPath();
    if (!was_root && IsRoot()) Profile::OpenHitPath();
  }

  static inline thread_local constinit uint32_t t_depth __attribute__((tls_model("initial-exec"))) = 0;
  static inline thread_local constinit uint16_t t_ids[kDepth] __attribute__((tls_model("initial-exec"))) = {};
};

}  // namespace neap
