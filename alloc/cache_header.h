// cache_header.h: what the hit paths of malloc and free read: one class in one CPU's cache, and where to find it.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "alloc/size_classes.h"

namespace neap {

struct Span;

// A stack of blocks. The slot below the first is always null, so that an empty stack pops null.
// Owned by the CPU: only a thread running on it, inside a restartable sequence, moves `top`. Whoever holds the cache's
// lock may write `end` and may set the top bit of slots (kStopped): both make a sequence fail, neither makes it lose a
// block (alloc/DESIGN.md, "Emptying a CPU's cache from outside").
struct CacheHeader {
  void** top;  // behind the newest block
  void** end;  // Push fails when top == end; null while the cache is stopped
};
static_assert(sizeof(CacheHeader) == 16);

inline constexpr uintptr_t kStopped = uintptr_t{1} << 63;

// The headers of a CPU lie kCpuStride bytes behind those of the CPU before; that of class c at HeaderOffset(c). Header
// 0 belongs to no class and is always empty: it is where a request of size 0 leads.
inline constexpr size_t kCpuShift = 11;
inline constexpr size_t kCpuStride = size_t{1} << kCpuShift;
constexpr size_t HeaderOffset(size_t size_class) { return (size_class + 1) * sizeof(CacheHeader); }
static_assert(HeaderOffset(kCachedClasses) <= kCpuStride);

// The offsets of struct rseq, from the kernel's ABI.
inline constexpr ptrdiff_t kRseqCpuId = 4;
inline constexpr ptrdiff_t kRseqCs = 8;
inline constexpr ptrdiff_t kRseqMmCid = 24;
inline constexpr size_t kRseqBytes = 32;

// Everything global that the hit paths need: in one cache line, and each a variable of its own so that each is one
// memory operand. All zero until the first slow path has initialised the allocator; zero sends every call there.
#pragma GCC visibility push(hidden)  // no table of addresses in between
namespace hot {

extern size_t fast_limit;    // sizes below take the hit path: kSmallMax + 1, or 0 (not started; scopes; hardened)
extern ptrdiff_t rseq_area;  // thread pointer to struct rseq, or to what stands in for it (cpu_cache.cc)
extern ptrdiff_t rseq_cpu;   // thread pointer to the number that picks the cache: cpu_id, or mm_cid where there is one
extern uintptr_t caches;     // cache number 0
extern uintptr_t window;     // page_map.h
extern size_t granules;      // page_map.h
extern Span** map;           // page_map.h

}  // namespace hot
#pragma GCC visibility pop

// A relaxed load. gcc folds only a plain one into the instruction that uses it.
template <class T>
[[gnu::always_inline]] inline T HotLoad(const T& place) {
#ifdef __SANITIZE_THREAD__
  return __atomic_load_n(&place, __ATOMIC_RELAXED);
#else
  return place;
#endif
}

}  // namespace neap
