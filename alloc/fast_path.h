// fast_path.h: the hit paths of malloc and free, inlined into the entry points of interpose/. No lock, no atomic
// read-modify-write, nothing of the thread's: what they read is hot, the span and the running CPU's cache.
//
// A block that is freed into a cache begins with its span's mark, an entry of the page map, until it is handed out
// again. A free that finds the mark's first byte looks closer (FreeSlow), and the mark decides nothing by itself. Free
// reads that byte alone, because any store that wrote it has all of it: a load of more than the program has just
// written, of a reference count of 4 bytes for example, waits until the store has left the processor's store buffer.
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
void FreeToFullCache(void* block, size_t header);
void FillCache(size_t size);

using MarkWord __attribute__((may_alias)) = uintptr_t;

[[gnu::always_inline]] inline void SetMark(void* block, uintptr_t entry) { *static_cast<MarkWord*>(block) = entry; }
[[gnu::always_inline]] inline bool MayHaveMark(const void* block, uintptr_t entry) {
  return *static_cast<const uint8_t*>(block) == static_cast<uint8_t>(entry);
}

// A block for a request of at most kSmallMax bytes, from the running CPU's cache.
constexpr size_t HeaderOfSmall(size_t size) { return static_cast<uint32_t>(size + 15) & ~uint32_t{15}; }
static_assert(HeaderOfSmall(0) == 0 && HeaderOfSmall(16) == HeaderOf(ClassOf(16)) &&
              HeaderOfSmall(17) == HeaderOf(ClassOf(17)) && HeaderOfSmall(1024) == HeaderOf(ClassOf(1024)));
[[gnu::always_inline]] inline bool PopSmall(size_t size, void*& block) {
  if (!arch::Pop(HeaderOfSmall(size), block)) return false;
  SetMark(block, 0);
  return true;
}

// A block for a larger one, of at most kCachedMax bytes.
[[gnu::always_inline]] inline bool PopMedium(size_t size, void*& block) {
  if (!arch::PopPushed(HeaderOf(ClassOfMedium(size)), block)) return false;
  SetMark(block, 0);
  return true;
}

// Where the stack that malloc empties is empty. A single block that goes round would have the stacks change places each
// time: the last one brings more.
template <void* (*kSlow)(size_t)>
[[gnu::noinline]] void* AllocateFromOther(size_t size) {
  void *block, *next;
  if (!arch::PopOther(HeaderOfSmall(size), block, next)) return kSlow(size);
  SetMark(block, 0);
  if (const int64_t left = Profile::LeftAfter(size); left > 0) Profile::SetLeft(left);
  if (next == nullptr) FillCache(size);
  return block;
}

// The hit path of larger blocks, and that of a process with a profile or with scopes, which counts the bytes. Who is
// sampled, or in the scope of a bounded arena, goes on to kSlow.
template <void* (*kSlow)(size_t)>
[[gnu::noinline]] void* AllocateCounted(size_t size) {
  void* block;
  const int64_t left = Profile::LeftAfter(size);
  if (left > 0 && size <= kSmallMax) {
    if (!PopSmall(size, block)) return AllocateFromOther<kSlow>(size);
    Profile::SetLeft(left);
    return block;
  }
  if (size > kCachedMax || (left <= 0 && HotLoad(hot::fast_limit) == 0) || !PopMedium(size, block)) return kSlow(size);
  if (left > 0) Profile::SetLeft(left);
  return block;
}

// kSlow is tail-called where the cache has nothing: AllocateSlow, or that and what the entry point makes of a null.
template <void* (*kSlow)(size_t) = AllocateSlow>
[[gnu::always_inline]] inline void* FastAllocate(size_t size) {
  void* block;
  if (__builtin_expect(size >= HotLoad(hot::fast_limit), 0)) return AllocateCounted<kSlow>(size);
  return __builtin_expect(PopSmall(size, block), 1) ? block : AllocateFromOther<kSlow>(size);
}

// alignment: a power of two. Where the size of a class is a multiple of the alignment its blocks are.
[[gnu::always_inline]] inline void* FastAllocateAligned(size_t size, size_t alignment) {
  void* block;
  const size_t rounded = (size + alignment - 1) & ~(alignment - 1);
  const bool small = size - 1 < kSmallMax && alignment <= kSmallMax && rounded < HotLoad(hot::fast_limit);
  if (__builtin_expect(small, 1) && PopSmall(rounded, block)) return block;
  return AllocateAligned(size, alignment);
}

[[gnu::always_inline]] inline void FastFree(void* block) {
  const size_t granule = (reinterpret_cast<uintptr_t>(block) - hot::window) >> kGranuleShift;
  if (__builtin_expect(granule < HotLoad(hot::granules), 1)) {
    const uintptr_t entry = HotLoad(hot::map[granule]);
    const size_t header = entry >> kHeaderShift;
    if (arch::StartsBlock(header, block) && __builtin_expect(!MayHaveMark(block, entry), 1)) {
      SetMark(block, entry);
      if (arch::Push(header, block)) return;
      return FreeToFullCache(block, header);
    }
  }
  return FreeSlow(block);
}

}  // namespace neap
