// cache_header.h: what the hit paths of malloc and free read: one class in one CPU's cache, and where to find it.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <array>

#include "alloc/size_classes.h"

namespace neap {

// Two stacks of blocks, one that malloc empties and one that free fills; they change places when the first is empty. So
// malloc does not wait for what the free before it has stored (alloc/DESIGN.md, "What a pair waits for").
//
// Both are numbers of slots in the CPU's row, of which every other one is a stack's own: `pop` and `push` are the slots
// of the newest blocks, and the slots below the oldest ones are always null, so that an empty stack pops null. A header
// that is all zero is empty too: slot 0 is null, and no room is left. So a row that was never touched is as it has to
// be.
//
// Owned by the CPU: only a thread running on it, inside a restartable sequence, moves `pop` and `push`. Whoever holds
// the cache's lock may write `end` and may set the top bit of slots (kStopped): both make a sequence fail, neither
// makes it lose a block (alloc/DESIGN.md, "Emptying a CPU's cache from outside").
struct CacheHeader {
  uint32_t pop;
  uint32_t push;
  uint32_t end;       // Push fails when push >= end; 0 while the cache is stopped
  uint32_t swap_end;  // where push is full they change places if pop < swap_end
};
static_assert(sizeof(CacheHeader) == 16);
inline constexpr uint32_t kCacheStacks = 2;

inline constexpr uintptr_t kStopped = uintptr_t{1} << 63;

// What a CPU has: a row of headers and, behind them, their slots. A header is named by its offset in bytes. The first
// one belongs to no class and is always empty, so that slot 0 is null: it is where a request of size 0 leads, and what
// the page map says of all that free must look at more closely.
constexpr size_t HeaderOf(size_t size_class) { return (size_class + 1) * sizeof(CacheHeader); }
constexpr size_t ClassOfHeader(size_t header) { return header / sizeof(CacheHeader) - 1; }
inline constexpr size_t kHeaderBytes = HeaderOf(kCachedClasses);
inline constexpr size_t kCpuShift = 19;  // rows lie so far apart

// The magic of a header's class, at the header's offset (size_classes.h).
inline constexpr auto kMagicOfHeader = [] {
  std::array<uint32_t, kHeaderBytes / sizeof(uint32_t)> magic{};
  for (size_t c = 0; c < kCachedClasses; ++c) magic[HeaderOf(c) / sizeof(uint32_t)] = kSizeClasses[c].magic;
  return magic;
}();
[[gnu::always_inline]] inline const uint32_t& MagicOfHeader(size_t header) {
  return *reinterpret_cast<const uint32_t*>(reinterpret_cast<const char*>(kMagicOfHeader.data()) + header);
}

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
extern uintptr_t caches;     // the row of cache number 0
extern uintptr_t window;     // page_map.h
extern size_t granules;      // page_map.h
extern uintptr_t* map;       // page_map.h

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
