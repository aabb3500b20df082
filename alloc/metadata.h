// metadata.h: memory for the allocator's own structures, apart from the blocks. Never given back, always reused.
#pragma once

#include <stddef.h>

#include <new>

namespace neap {

class Metadata {
 public:
  // Zeroed, aligned to 64. Null if there is no memory.
  static void* Allocate(size_t bytes);
  static void Free(void* memory, size_t bytes);  // the same bytes as at Allocate

  template <class T>
  static T* New(size_t extra_bytes = 0) {
    void* memory = Allocate(sizeof(T) + extra_bytes);
    return memory == nullptr ? nullptr : new (memory) T;
  }
  template <class T>
  static void Delete(T* object, size_t extra_bytes = 0) {
    Free(object, sizeof(T) + extra_bytes);
  }

  // Counts what is mapped beside this pool (page map, CPU caches), so that the ledger has one figure.
  static void Count(ptrdiff_t resident_bytes);
  static size_t ResidentBytes();
};

}  // namespace neap
