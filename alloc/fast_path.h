// fast_path.h: the hit paths of malloc and free, inlined into the entry points of interpose/. No lock, no atomic
// read-modify-write, nothing of the thread's: what they read is g_hot, the span and the running CPU's cache.
//
// A block that is freed into a cache carries its span's address in its first word until it is handed out again. A free
// that finds the mark may be a second one and looks closer (FreeMarked); the mark decides nothing by itself.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "alloc/arch.h"
#include "alloc/cache_header.h"
#include "alloc/heap.h"
#include "alloc/span.h"

namespace neap {

void* AllocateSlow(size_t size);
void FreeSlow(void* block);
void FreeToFullCache(void* block, Span* span);

[[gnu::always_inline]] inline void SetMark(void* block, const Span* span) {
  __atomic_store_n(static_cast<const Span**>(block), span, __ATOMIC_RELAXED);
}
[[gnu::always_inline]] inline bool HasMark(void* block, const Span* span) {
  return __atomic_load_n(static_cast<const Span**>(block), __ATOMIC_RELAXED) == span;
}

[[gnu::always_inline]] inline void* FastAllocate(size_t size) {
  if (__builtin_expect(size < g_hot.fast_limit, 1)) {
    void* block = arch::Pop(static_cast<uint32_t>(size + 15) & ~uint32_t{15});  // HeaderOffset(ClassOf(size))
    if (__builtin_expect(block != nullptr, 1)) {
      SetMark(block, nullptr);
      return block;
    }
  }
  return AllocateSlow(size);
}
static_assert(HeaderOffset(ClassOf(16)) == 16 && HeaderOffset(ClassOf(17)) == 32 && HeaderOffset(ClassOf(1024)) == 1024);

[[gnu::always_inline]] inline void FastFree(void* block) {
  const size_t granule = (reinterpret_cast<uintptr_t>(block) - g_hot.window) >> kGranuleShift;
  if (__builtin_expect(granule < g_hot.granules, 1)) {
    Span* span = g_hot.map[granule];
    const uint32_t magic = span->magic;
    const uint32_t remainder = static_cast<uint32_t>(static_cast<uint16_t>(reinterpret_cast<uintptr_t>(block))) * magic;
    if (__builtin_expect(remainder < magic && !HasMark(block, span), 1)) {
      SetMark(block, span);
      if (__builtin_expect(arch::Push(span->cache, block), 1)) return;
      return FreeToFullCache(block, span);
    }
  }
  return FreeSlow(block);
}

}  // namespace neap
