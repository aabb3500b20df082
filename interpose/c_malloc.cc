// c_malloc.cc: malloc and its relatives over alloc/heap.h, as C23, POSIX and glibc's manual describe them.
//
// The heap never touches errno; what sets it is here, and only on a failure. Where the text explains a function by
// another one (reallocarray by realloc, cfree and free_sized by free), the call goes to the name and not to the heap,
// so that a program with a malloc, realloc and free of its own gets its own blocks from, and back in, these too.
//
// glibc's names for the same functions (__libc_malloc and so on) are exported with them: programs that wrap one
// function only, with a malloc that counts and calls __libc_malloc, pass its blocks to our free.
#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <bit>

#include "alloc/fast_path.h"
#include "alloc/heap.h"
#include "interpose/replaced.h"

namespace {

void* Fail(int error) {
  errno = error;
  return nullptr;
}

void* OrNoMemory(void* block) { return block != nullptr ? block : Fail(ENOMEM); }

[[gnu::noinline]] void* AllocateOrNoMemory(size_t size) { return OrNoMemory(neap::AllocateSlow(size)); }

bool IsPowerOfTwo(size_t alignment) { return alignment != 0 && (alignment & (alignment - 1)) == 0; }

size_t PageSize() { return static_cast<size_t>(getpagesize()); }

}  // namespace

#pragma GCC visibility push(default)

extern "C" {

void* malloc(size_t size) noexcept { return neap::FastAllocate<AllocateOrNoMemory>(size); }

[[gnu::visibility("hidden")]] void neap_default_free(void* block) noexcept { neap::FastFree(block); }
void free(void* block) noexcept __attribute__((alias("neap_default_free")));

void* calloc(size_t count, size_t size) noexcept {
  size_t bytes;
  if (__builtin_mul_overflow(count, size, &bytes)) return Fail(ENOMEM);
  return OrNoMemory(neap::AllocateZeroed(bytes));
}

// At size 0 as glibc does: the block is freed, and the null is no failure.
void* realloc(void* block, size_t size) noexcept {
  if (block == nullptr) return OrNoMemory(neap::Allocate(size));
  if (size == 0) {
    neap::Free(block);
    return nullptr;
  }
  return OrNoMemory(neap::Reallocate(block, size));
}

void* reallocarray(void* block, size_t count, size_t size) noexcept {
  size_t bytes;
  if (__builtin_mul_overflow(count, size, &bytes)) return Fail(ENOMEM);
  return realloc(block, bytes);
}

void cfree(void* block) noexcept { free(block); }

// The size is checked where the block is known to be ours; a free of the program's own has no use for it.
void free_sized(void* block, size_t size) noexcept {
  if (neap::IsReplaced(&free, &neap_default_free)) return free(block);
  neap::FreeSized(block, size, 0);
}

void free_aligned_sized(void* block, size_t alignment, size_t size) noexcept {
  if (neap::IsReplaced(&free, &neap_default_free)) return free(block);
  neap::FreeSized(block, size, alignment);
}

int posix_memalign(void** result, size_t alignment, size_t size) noexcept {
  if (!IsPowerOfTwo(alignment) || alignment < sizeof(void*)) return EINVAL;
  void* block = neap::FastAllocateAligned(size, alignment);
  if (block == nullptr) return errno = ENOMEM;  // errno too, as glibc does
  *result = block;
  return 0;
}

void* aligned_alloc(size_t alignment, size_t size) noexcept {
  if (!IsPowerOfTwo(alignment)) return Fail(EINVAL);
  return OrNoMemory(neap::FastAllocateAligned(size, alignment));
}

// Takes any alignment, as glibc does, and rounds it up to a power of two, where there is one.
void* memalign(size_t alignment, size_t size) noexcept {
  if (alignment > SIZE_MAX / 2 + 1) return Fail(EINVAL);
  return OrNoMemory(neap::AllocateAligned(size, std::bit_ceil(alignment)));
}

void* valloc(size_t size) noexcept { return OrNoMemory(neap::AllocateAligned(size, PageSize())); }

// Whole pages, and one at least.
void* pvalloc(size_t size) noexcept {
  const size_t page = PageSize();
  size_t bytes;
  if (__builtin_add_overflow(std::max(size, size_t{1}), page - 1, &bytes)) return Fail(ENOMEM);
  return OrNoMemory(neap::AllocateAligned(bytes & ~(page - 1), page));
}

size_t malloc_usable_size(void* block) noexcept { return neap::UsableSize(block); }

void* __libc_malloc(size_t size) noexcept __attribute__((alias("malloc")));
void* __libc_calloc(size_t count, size_t size) noexcept __attribute__((alias("calloc")));
void* __libc_realloc(void* block, size_t size) noexcept __attribute__((alias("realloc")));
void __libc_free(void* block) noexcept __attribute__((alias("neap_default_free")));
void* __libc_memalign(size_t alignment, size_t size) noexcept __attribute__((alias("memalign")));
void* __libc_valloc(size_t size) noexcept __attribute__((alias("valloc")));
void* __libc_pvalloc(size_t size) noexcept __attribute__((alias("pvalloc")));

}  // extern "C"

#pragma GCC visibility pop
