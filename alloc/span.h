// span.h: what an entry of the page map points to. Spans live in metadata, beside the memory that they describe.
//
//   kNone   no_span: address space that no span begins at (the inside of a run, or a gap)
//   kSlab   one or more granules cut into blocks of one class; owned by a SlabPool          (slab_pool.h)
//   kLarge  a run of granules that holds one block; owned by an Arena              (large.cc)
//   kFree   a run of granules without an owner; owned by a PageHeap                (page_heap.h)
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "alloc/size_classes.h"

namespace neap {

class SlabPool;
class Arena;

enum class SpanKind : uint8_t { kNone, kSlab, kLarge, kFree };

// Whether free may put blocks of a slab straight into a CPU's cache. While it is kMarksLost, a block on a page that was
// given back may be free although it has no mark: it reads as zero then.
enum class HitPath : uint8_t { kNever, kMarksLost, kMarked };

struct Span {
  SpanKind kind = SpanKind::kNone;
  uint8_t node = 0;
  uint8_t size_class = 0;
  HitPath hit_path = HitPath::kNever;  // slab: if not kNever, its entry names no header for pages given back or the
                                       // profile alone
};

// An entry of the page map: a span, whose address leaves room for the offset of a header in a CPU's row above and for
// a tag below. Freed into a cache, a block begins with it (fast_path.h), so that its lowest byte should be neither 0
// nor a small number.
inline constexpr unsigned kHeaderShift = 48;
inline constexpr uintptr_t kSpanTag = 0x1e;
inline constexpr size_t kSpanAlignment = 64;  // metadata.h
inline constexpr uintptr_t kSpanMask = (uintptr_t{1} << kHeaderShift) - kSpanAlignment;
inline uintptr_t EntryOf(const Span* span, size_t header) {
  return reinterpret_cast<uintptr_t>(span) | kSpanTag | header << kHeaderShift;
}
inline Span* SpanOf(uintptr_t entry) { return reinterpret_cast<Span*>(entry & kSpanMask); }

// Without -mpopcnt the builtin is a call; 16 bits are soon counted.
constexpr size_t CountBits(uint16_t mask) {
  uint32_t bits = mask - (mask >> 1 & 0x5555u);
  bits = (bits & 0x3333u) + (bits >> 2 & 0x3333u);
  bits = (bits + (bits >> 4)) & 0x0f0fu;
  return (bits + (bits >> 8)) & 0x1fu;
}

// Calls f(first, length) for each run of bits that are set.
template <class F>
constexpr void ForEachRun(uint16_t mask, F f) {
  for (uint32_t rest = mask; rest != 0;) {
    const auto first = static_cast<unsigned>(__builtin_ctz(rest));
    const auto length = static_cast<unsigned>(__builtin_ctz(~(rest >> first)));
    f(size_t{first}, size_t{length});
    rest &= ~(((1u << length) - 1) << first);
  }
}

// State of a block: a bit in free_bits, set while the block is in the slab, clear while it is live or in a CPU's cache.
// State of a unit: `live[unit]` blocks that are out of the slab touch it; its bit in `empty` is set if none does, that
// in `clean` if it is not resident. A unit that is both empty and resident is dirty. Blocks of a slab with a unit in
// `releasing` must not be taken. Of units that the slab does not have, both bits are set.
// All but the Span part belongs to the pool's lock. What a block that comes home touches is one cache line, the Span
// part included, and a word of free_bits.
struct Slab : Span {
  SlabPool* pool = nullptr;
  uint16_t free_blocks = 0;
  uint16_t clean = 0;
  uint16_t empty = 0;
  uint8_t bucket = 0;
  bool in_dirty_list = false;
  uint16_t live[kUnits] = {};

  uintptr_t start = 0;
  Slab* next = nullptr;  // in the pool's list of this fullness
  Slab* prev = nullptr;
  Slab* dirty_next = nullptr;  // in the pool's list of slabs with dirty units
  Slab* dirty_prev = nullptr;
  uint32_t dirty_since = 0;  // ms, of the unit that became dirty last
  uint32_t released_at = 0;  // ms; 0: never
  uint16_t releasing = 0;    // units being given back
  uint16_t given_back = 0;   // clean units that once held blocks
  uint16_t sampled = 0;      // blocks in the profile
  uint64_t free_bits[];
};

// How far behind the slab's beginning an address lies. A slab of a cached class is one granule, so that its second
// cache line need not be read.
inline size_t OffsetIn(const Slab* slab, const void* address) {
  const auto at = reinterpret_cast<uintptr_t>(address);
  return slab->size_class < kCachedClasses ? at & (kGranuleSize - 1) : at - slab->start;
}

struct LargeSpan : Span {
  Arena* arena = nullptr;
  LargeSpan* next = nullptr;  // in the arena's list
  LargeSpan* prev = nullptr;
  bool huge = false;  // huge pages may back it
  uintptr_t start = 0;
  size_t granules = 0;
  size_t bytes = 0;  // of the block: whole pages
  // Dirty pages of its granules behind the block, which GranuleInfo::dirty names, and since when. Root arena only: any
  // other gives them back at once. Under the arena's lock.
  size_t slack_pages = 0;
  uint32_t slack_since = 0;
};

// `dirty_pages` counts the bits in the granules' dirty masks.
struct FreeRun : Span {
  FreeRun() { kind = SpanKind::kFree; }
  uintptr_t start = 0;
  FreeRun* next = nullptr;  // in its bin
  FreeRun* prev = nullptr;
  size_t granules = 0;
  size_t dirty_pages = 0;
  uint32_t since = 0;  // ms, when it became free
};

// A doubly linked list through any pair of members of its elements.
template <class T, T* T::*kNext, T* T::*kPrev>
class LinkedList {
 public:
  bool Empty() const { return head_ == nullptr; }
  T* Head() const { return head_; }
  T* Tail() const { return tail_; }
  void PushFront(T* item) {
    item->*kPrev = nullptr;
    item->*kNext = head_;
    (head_ != nullptr ? head_->*kPrev : tail_) = item;
    head_ = item;
  }
  void PushBack(T* item) {
    item->*kNext = nullptr;
    item->*kPrev = tail_;
    (tail_ != nullptr ? tail_->*kNext : head_) = item;
    tail_ = item;
  }
  void Remove(T* item) {
    (item->*kPrev != nullptr ? (item->*kPrev)->*kNext : head_) = item->*kNext;
    (item->*kNext != nullptr ? (item->*kNext)->*kPrev : tail_) = item->*kPrev;
  }

 private:
  T* head_ = nullptr;
  T* tail_ = nullptr;
};

}  // namespace neap
