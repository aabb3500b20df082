// large.h: blocks of more than kSlabMax bytes: whole pages in a run of granules of their own.
#pragma once

#include <stddef.h>

#include "alloc/release_batch.h"
#include "alloc/span.h"

namespace neap {

class Arena;

class Large {
 public:
  // alignment: a power of two. zeroed: the block reads as zeros. Null: no memory, or no room under a strict bound.
  static void* Allocate(Arena* arena, size_t size, size_t alignment, bool zeroed);
  static void Free(LargeSpan* span);
  // As Free, but gives back all that is dirty first, however little.
  static void FreeAtOnce(LargeSpan* span);
  // Grows or shrinks where it lies, or moves its pages to another address without copying. Null: not possible so.
  static void* Resize(LargeSpan* span, size_t size);
  // Adds the dirty pages behind the block to the batch. Under the release lock and the arena's. Returns the pages.
  static size_t ReleaseSlack(LargeSpan* span, ReleaseBatch& batch);

 private:
  struct Granules {
    size_t first, count;
  };
  // The block is none any more; its granules are the caller's.
  static Granules Leave(LargeSpan* span);
};

}  // namespace neap
