// heap.h: the allocator's entry points, which interpose/ adapts to the names and error rules of C, POSIX and C++.
// None touches errno, none throws. A null return means that there is no memory (or, in a strict arena, no room).
#pragma once

#include <stddef.h>
#include <stdint.h>

struct neap_arena;

namespace neap {

class Arena;

inline constexpr size_t kMinAlignment = 16;  // of every block of 16 bytes or more
inline constexpr size_t kMaxRequest = PTRDIFF_MAX;

// Every allocation does; what reads or empties the heap without one asks first. False: there is no memory for it now.
bool StartHeap();

// Blocks of the thread's scope, or of the root arena. size 0 gives a block of the smallest class.
void* Allocate(size_t size);
void* AllocateZeroed(size_t size);
// alignment: a power of two of any size; a request that cannot be met gives null.
void* AllocateAligned(size_t size, size_t alignment);

// Of that arena, whatever the scope.
void* AllocateIn(Arena& arena, size_t size, size_t alignment);

// block: live, and size > 0. On failure null is returned and the block is as it was.
void* Reallocate(void* block, size_t size);

// Null is allowed. Misuse ends the process with one line.
void Free(void* block);
// As Free, and ends the process if the block cannot have come from a request of that size (and alignment; 0: malloc's).
void FreeSized(void* block, size_t size, size_t alignment);

// The bytes a caller may use; 0 for null.
size_t UsableSize(const void* block);

// Purges all that holds no live block; true if anything was given back. malloc_trim.
bool Trim();

}  // namespace neap
