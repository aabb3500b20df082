// fast_path.h: the hit paths of malloc and free, inlined into the entry points of interpose/. No lock, no atomic
// read-modify-write, nothing of the thread's: what they read is hot, the span and the running CPU's cache.
//
// A block that is freed into a cache carries its span's address in its first word until it is handed out again. A free
// that finds the mark may be a second one and looks closer (FreeMarked); the mark decides nothing by itself.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "alloc/arch.h"
#include "alloc/cache_header.h"
#include "alloc/heap.h"
#include "alloc/profile.h"
#include "alloc/span.h"

namespace neap {

void* AllocateSlow(size_t size);
void FreeSlow(void* block);
void FreeToFullCache(void* block, Span* span);

using MarkedBlock __attribute__((may_alias)) = const Span*;

[[gnu::always_inline]] inline void SetMark(void* block, const Span* span) { *static_cast<MarkedBlock*>(block) = span; }
[[gnu::always_inline]] inline bool HasMark(const void* block, const Span* span) {
  return *static_cast<const MarkedBlock*>(block) == span;
}

// A block for a request of at most kSmallMax bytes, from the running CPU's cache.
[[gnu::always_inline]] inline bool PopSmall(size_t size, void*& block) {
  if (!arch::Pop(static_cast<uint32_t>(size + 15) & ~uint32_t{15}, block)) return false;  // HeaderOffset(ClassOf(size))
  SetMark(block, nullptr);
  return true;
}
static_assert(HeaderOffset(ClassOf(16)) == 16 && HeaderOffset(ClassOf(17)) == 32 &&
              HeaderOffset(ClassOf(1024)) == 1024);

// The hit path of a process with a profile or with scopes: it counts the bytes. Who is sampled, or in the scope of a
// bounded arena, goes on to kSlow.
template <void* (*kSlow)(size_t)>
[[gnu::noinline]] void* AllocateCounted(size_t size) {
  void* block;
  const int64_t left = Profile::LeftAfter(size);
  if (left > 0 && size <= kSmallMax && PopSmall(size, block)) {
    Profile::SetLeft(left);
    return block;
  }
  return kSlow(size);
}

// kSlow is tail-called where the cache has nothing: AllocateSlow, or that and what the entry point makes of a null.
template <void* (*kSlow)(size_t) = AllocateSlow>
[[gnu::always_inline]] inline void* FastAllocate(size_t size) {
  void* block;
  if (__builtin_expect(size < HotLoad(hot::fast_limit), 1) && PopSmall(size, block)) return block;
  return AllocateCounted<kSlow>(size);
}

[[gnu::always_inline]] inline void FastFree(void* block) {
  const size_t granule = (reinterpret_cast<uintptr_t>(block) - hot::window) >> kGranuleShift;
  if (__builtin_expect(granule < HotLoad(hot::granules), 1)) {
    Span* span = HotLoad(hot::map[granule]);
    if (arch::StartsBlock(span, block) && __builtin_expect(!HasMark(block, span), 1)) {
      SetMark(block, span);
      if (arch::Push(span->cache, block)) return;
      return FreeToFullCache(block, span);
    }
  }
  return FreeSlow(block);
}

}  // namespace neap
