/* other_allocator.c: a library with an allocator of its own that keeps what is freed until it is told to give back. */
#include <stddef.h>
#include <sys/mman.h>

#include "alloc/neap.h"

enum { kMost = 1024 };
static void* freed[kMost];
static size_t freed_bytes[kMost];
static int count;

NEAP_EXPORT int purges;

/* Names of jemalloc's, so that the tests can use that in its place. */
NEAP_EXPORT void* mallocx(size_t bytes, int flags) {
  (void)flags;
  void* block = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return block == MAP_FAILED ? NULL : block;
}

NEAP_EXPORT void sdallocx(void* block, size_t bytes, int flags) {
  (void)flags;
  freed[count] = block;
  freed_bytes[count++] = bytes;
}

NEAP_EXPORT int _rjem_mallctl(const char* name, void* old, size_t* old_size, void* new, size_t new_size) {
  (void)name, (void)old, (void)old_size, (void)new, (void)new_size;
  ++purges;
  while (count > 0) {
    --count;
    munmap(freed[count], freed_bytes[count]);
  }
  return 0;
}
