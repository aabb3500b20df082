// large.h: blocks of more than kSlabMax bytes: whole pages in a run of granules of their own.
#pragma once

#include <stddef.h>

#include "alloc/span.h"

namespace neap {

class Arena;

struct Large {
  // alignment: a power of two. zeroed: the block reads as zeros. Null: no memory, or no room under a strict bound.
  static void* Allocate(Arena* arena, size_t size, size_t alignment, bool zeroed);
  static void Free(LargeSpan* span);
  // Grows or shrinks where it lies, or moves its pages to another address without copying. Null: not possible so.
  static void* Resize(LargeSpan* span, size_t size);
};

}  // namespace neap
