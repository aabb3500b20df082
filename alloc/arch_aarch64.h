// arch_aarch64.h: see arch.h.
#pragma once

namespace neap::arch {

inline void Relax() { asm volatile("yield"); }

inline char* ThreadPointer() { return static_cast<char*>(__builtin_thread_pointer()); }

// How every sequence begins: `header` becomes that of the running CPU's row, `slots` that row's. The signature is a BRK
// instruction of its own here.
#define NEAP_RSEQ_BEGIN                                   \
  NEAP_RSEQ_DESCRIPTOR_OF(".inst 0xd428bc00\n", "b")      \
  "0: mrs %[slot], tpidr_el0\n\t"                         \
  "adrp %[header], 3b\n\t"                                \
  "add %[header], %[header], :lo12:3b\n\t"                \
  "add %[at], %[slot], %[area]\n\t"                       \
  "str %[header], [%[at], %[cs]]\n"                       \
  "1: ldr %w[header], [%[slot], %[cpu]]\n\t"              \
  "add %[header], %[caches], %[header], lsl %[shift]\n\t" \
  "ldr %[at], [%[header], %[slots]]\n\t"                  \
  "add %[header], %[header], %[offset]\n\t"
#define NEAP_RSEQ_INPUTS                                                                            \
  [area] "r"(hot::rseq_area), [cpu] "r"(hot::rseq_cpu), [caches] "r"(hot::caches),                  \
      [offset] "r"(header_number * sizeof(CacheHeader)), [cs] "i"(kRseqCs), [shift] "i"(kCpuShift), \
      [push] "i"(offsetof(CacheHeader, push)), [end] "i"(offsetof(CacheHeader, end)),               \
      [swap_end] "i"(offsetof(CacheHeader, swap_end)), [slots] "i"(offsetof(CpuRow, slots))

template <size_t kStack>
inline bool PopFrom(size_t header_number, void*& block) {
  uintptr_t header, slot, slots;
  asm goto volatile(NEAP_RSEQ_BEGIN
                    "ldr %w[slot], [%[header], %[stack]]\n\t"
                    "ldr %[block], [%[at], %[slot], lsl #3]\n\t"
                    "cmp %[block], #0\n\t"
                    "b.le %l[empty]\n\t"
                    "sub %w[slot], %w[slot], #2\n\t"
                    "str %w[slot], [%[header], %[stack]]\n"
                    "2:\n\t"
                    : [block] "=&r"(block), [header] "=&r"(header), [slot] "=&r"(slot), [at] "=&r"(slots)
                    : [stack] "i"(kStack), NEAP_RSEQ_INPUTS
                    : "cc", "memory"
                    : empty);
  return true;
empty:
  return false;
}

inline bool Pop(size_t header, void*& block) { return PopFrom<offsetof(CacheHeader, pop)>(header, block); }
inline bool PopPushed(size_t header, void*& block) { return PopFrom<offsetof(CacheHeader, push)>(header, block); }

// Both numbers are written by one store.
static_assert(offsetof(CacheHeader, pop) == 0 && offsetof(CacheHeader, push) == 4);

inline bool PopOther(size_t header_number, void*& block, void*& next) {
  uintptr_t header, slot, slots, both;
  asm goto volatile(NEAP_RSEQ_BEGIN
                    "ldr %[both], [%[header]]\n\t"
                    "lsr %[slot], %[both], #32\n\t"
                    "ldr %[block], [%[at], %[slot], lsl #3]\n\t"
                    "cmp %[block], #0\n\t"
                    "b.le %l[empty]\n\t"
                    "sub %w[slot], %w[slot], #2\n\t"
                    "ldr %[next], [%[at], %[slot], lsl #3]\n\t"
                    "orr %[both], %[slot], %[both], lsl #32\n\t"
                    "str %[both], [%[header]]\n"
                    "2:\n\t"
                    : [block] "=&r"(block), [header] "=&r"(header), [slot] "=&r"(slot), [at] "=&r"(slots),
                      [both] "=&r"(both), [next] "=&r"(next)
                    : NEAP_RSEQ_INPUTS
                    : "cc", "memory"
                    : empty);
  return true;
empty:
  return false;
}

inline bool Push(size_t header_number, void* block) {
  uintptr_t header, slot, slots, end;
  asm goto volatile(NEAP_RSEQ_BEGIN
                    "ldr %w[slot], [%[header], %[push]]\n\t"
                    "ldr %w[limit], [%[header], %[end]]\n\t"
                    "cmp %w[slot], %w[limit]\n\t"
                    "b.hs %l[full]\n\t"
                    "add %w[slot], %w[slot], #2\n\t"
                    "str %[block], [%[at], %[slot], lsl #3]\n\t"
                    "add %[header], %[header], %[push]\n\t"
                    // Release: a thread on another CPU that is to drain this cache reads the number before the slots.
                    "stlr %w[slot], [%[header]]\n"
                    "2:\n\t"
                    : [header] "=&r"(header), [slot] "=&r"(slot), [at] "=&r"(slots), [limit] "=&r"(end)
                    : [block] "r"(block), NEAP_RSEQ_INPUTS
                    : "cc", "memory"
                    : full);
  return true;
full:
  return false;
}

inline bool PushOther(size_t header_number, void* block) {
  uintptr_t header, slot, slots, both, end;
  asm goto volatile(
      NEAP_RSEQ_BEGIN
      "ldr %[both], [%[header]]\n\t"
      "ldr %w[limit], [%[header], %[end]]\n\t"
      "cbz %w[limit], %l[full]\n\t"
      "ldr %w[limit], [%[header], %[swap_end]]\n\t"
      "cmp %w[both], %w[limit]\n\t"
      "b.hs %l[full]\n\t"
      "add %w[slot], %w[both], #2\n\t"
      "str %[block], [%[at], %[slot], lsl #3]\n\t"
      "lsr %[both], %[both], #32\n\t"
      "orr %[both], %[both], %[slot], lsl #32\n\t"
      // Release: as in Push.
      "stlr %[both], [%[header]]\n"
      "2:\n\t"
      : [header] "=&r"(header), [slot] "=&r"(slot), [at] "=&r"(slots), [both] "=&r"(both), [limit] "=&r"(end)
      : [block] "r"(block), NEAP_RSEQ_INPUTS
      : "cc", "memory"
      : full);
  return true;
full:
  return false;
}

inline size_t PushMany(size_t header_number, void* const* blocks, size_t count) {
  uintptr_t header, slot, slots, left, block;
  size_t pushed;
  asm volatile(NEAP_RSEQ_BEGIN
               "mov %[pushed], #0\n\t"
               "ldr %w[slot], [%[header], %[push]]\n\t"
               "ldr %w[left], [%[header], %[end]]\n\t"
               "subs %w[left], %w[left], %w[slot]\n\t"
               "b.le 2f\n\t"
               "add %w[left], %w[left], #1\n\t"
               "lsr %w[left], %w[left], #1\n\t"
               "cmp %[left], %[count]\n\t"
               "csel %[left], %[left], %[count], lo\n\t"
               "mov %[pushed], %[left]\n"
               "5: sub %[left], %[left], #1\n\t"
               "ldr %[block], [%[blocks], %[left], lsl #3]\n\t"
               "add %w[slot], %w[slot], #2\n\t"
               "str %[block], [%[at], %[slot], lsl #3]\n\t"
               "cbnz %[left], 5b\n\t"
               "add %[header], %[header], %[push]\n\t"
               // Release: as in Push.
               "stlr %w[slot], [%[header]]\n"
               "2:\n\t"
               : [header] "=&r"(header), [slot] "=&r"(slot), [at] "=&r"(slots), [left] "=&r"(left),
                 [block] "=&r"(block), [pushed] "=&r"(pushed)
               : [blocks] "r"(blocks), [count] "r"(count), NEAP_RSEQ_INPUTS
               : "cc", "memory");
  return pushed;
}

inline size_t PopMany(size_t header_number, void** blocks, size_t count) {
  uintptr_t header, slot, slots, block;
  size_t popped;
  asm volatile(
      NEAP_RSEQ_BEGIN
      "ldr %w[slot], [%[header], %[push]]\n\t"
      "mov %[popped], #0\n"
      "5: ldr %[block], [%[at], %[slot], lsl #3]\n\t"
      "cmp %[block], #0\n\t"
      "b.le 6f\n\t"
      "str %[block], [%[blocks], %[popped], lsl #3]\n\t"
      "sub %w[slot], %w[slot], #2\n\t"
      "add %[popped], %[popped], #1\n\t"
      "cmp %[popped], %[count]\n\t"
      "b.lo 5b\n"
      "6: cbz %[popped], 2f\n\t"
      "str %w[slot], [%[header], %[push]]\n"
      "2:\n\t"
      : [header] "=&r"(header), [slot] "=&r"(slot), [at] "=&r"(slots), [block] "=&r"(block), [popped] "=&r"(popped)
      : [blocks] "r"(blocks), [count] "r"(count), NEAP_RSEQ_INPUTS
      : "cc", "memory");
  return popped;
}

inline bool StartsBlock(size_t header, const void* block) {
  const uint32_t magic = kMagicOfHeader[header];
  return static_cast<uint32_t>(static_cast<uint16_t>(reinterpret_cast<uintptr_t>(block))) * magic < magic;
}

#undef NEAP_RSEQ_INPUTS
#undef NEAP_RSEQ_BEGIN

}  // namespace neap::arch
