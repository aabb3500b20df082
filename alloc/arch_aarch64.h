// arch_aarch64.h: see arch.h.
#pragma once

namespace neap::arch {

inline void Relax() { asm volatile("yield"); }

inline char* ThreadPointer() { return static_cast<char*>(__builtin_thread_pointer()); }

// How every sequence begins: `row` becomes the running CPU's, `at` its header. The signature is a BRK
// instruction of its own here.
#define NEAP_RSEQ_BEGIN                              \
  NEAP_RSEQ_DESCRIPTOR_OF(".inst 0xd428bc00\n", "b") \
  "0: mrs %[slot], tpidr_el0\n\t"                    \
  "adrp %[row], 3b\n\t"                              \
  "add %[row], %[row], :lo12:3b\n\t"                 \
  "add %[at], %[slot], %[area]\n\t"                  \
  "str %[row], [%[at], %[cs]]\n"                     \
  "1: ldr %w[row], [%[slot], %[cpu]]\n\t"            \
  "add %[row], %[caches], %[row], lsl %[shift]\n\t"  \
  "add %[at], %[row], %[header]\n\t"
#define NEAP_RSEQ_INPUTS                                                                                 \
  [area] "r"(hot::rseq_area), [cpu] "r"(hot::rseq_cpu), [caches] "r"(hot::caches), [header] "r"(header), \
      [cs] "i"(kRseqCs), [shift] "i"(kCpuShift), [push] "i"(offsetof(CacheHeader, push)),                \
      [end] "i"(offsetof(CacheHeader, end)), [swap_end] "i"(offsetof(CacheHeader, swap_end))

template <size_t kStack>
inline bool PopFrom(size_t header, void*& block) {
  uintptr_t row, slot, at;
  asm goto volatile(NEAP_RSEQ_BEGIN
                    "ldr %w[slot], [%[at], %[stack]]\n\t"
                    "ldr %[block], [%[row], %[slot], lsl #3]\n\t"
                    "cmp %[block], #0\n\t"
                    "b.le %l[empty]\n\t"
                    "sub %w[slot], %w[slot], #2\n\t"
                    "str %w[slot], [%[at], %[stack]]\n"
                    "2:\n\t"
                    : [block] "=&r"(block), [row] "=&r"(row), [slot] "=&r"(slot), [at] "=&r"(at)
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

inline bool PopOther(size_t header, void*& block, void*& next) {
  uintptr_t row, slot, at, both;
  asm goto volatile(NEAP_RSEQ_BEGIN
                    "ldr %[both], [%[at]]\n\t"
                    "lsr %[slot], %[both], #32\n\t"
                    "ldr %[block], [%[row], %[slot], lsl #3]\n\t"
                    "cmp %[block], #0\n\t"
                    "b.le %l[empty]\n\t"
                    "sub %w[slot], %w[slot], #2\n\t"
                    "ldr %[next], [%[row], %[slot], lsl #3]\n\t"
                    "orr %[both], %[slot], %[both], lsl #32\n\t"
                    "str %[both], [%[at]]\n"
                    "2:\n\t"
                    : [block] "=&r"(block), [row] "=&r"(row), [slot] "=&r"(slot), [at] "=&r"(at), [both] "=&r"(both),
                      [next] "=&r"(next)
                    : NEAP_RSEQ_INPUTS
                    : "cc", "memory"
                    : empty);
  return true;
empty:
  return false;
}

inline bool Push(size_t header, void* block) {
  uintptr_t row, slot, at, end;
  asm goto volatile(NEAP_RSEQ_BEGIN
                    "ldr %w[slot], [%[at], %[push]]\n\t"
                    "ldr %w[limit], [%[at], %[end]]\n\t"
                    "cmp %w[slot], %w[limit]\n\t"
                    "b.hs %l[full]\n\t"
                    "add %w[slot], %w[slot], #2\n\t"
                    "str %[block], [%[row], %[slot], lsl #3]\n\t"
                    "add %[at], %[at], %[push]\n\t"
                    // Release: a thread on another CPU that is to drain this cache reads the number before the slots.
                    "stlr %w[slot], [%[at]]\n"
                    "2:\n\t"
                    : [row] "=&r"(row), [slot] "=&r"(slot), [at] "=&r"(at), [limit] "=&r"(end)
                    : [block] "r"(block), NEAP_RSEQ_INPUTS
                    : "cc", "memory"
                    : full);
  return true;
full:
  return false;
}

inline bool PushOther(size_t header, void* block) {
  uintptr_t row, slot, at, both, end;
  asm goto volatile(NEAP_RSEQ_BEGIN
                    "ldr %[both], [%[at]]\n\t"
                    "ldr %w[limit], [%[at], %[end]]\n\t"
                    "cbz %w[limit], %l[full]\n\t"
                    "ldr %w[limit], [%[at], %[swap_end]]\n\t"
                    "cmp %w[both], %w[limit]\n\t"
                    "b.hs %l[full]\n\t"
                    "add %w[slot], %w[both], #2\n\t"
                    "str %[block], [%[row], %[slot], lsl #3]\n\t"
                    "lsr %[both], %[both], #32\n\t"
                    "orr %[both], %[both], %[slot], lsl #32\n\t"
                    // Release: as in Push.
                    "stlr %[both], [%[at]]\n"
                    "2:\n\t"
                    : [row] "=&r"(row), [slot] "=&r"(slot), [at] "=&r"(at), [both] "=&r"(both), [limit] "=&r"(end)
                    : [block] "r"(block), NEAP_RSEQ_INPUTS
                    : "cc", "memory"
                    : full);
  return true;
full:
  return false;
}

inline size_t PushMany(size_t header, void* const* blocks, size_t count) {
  uintptr_t row, slot, at, left, block;
  size_t pushed;
  asm volatile(NEAP_RSEQ_BEGIN
               "mov %[pushed], #0\n\t"
               "ldr %w[slot], [%[at], %[push]]\n\t"
               "ldr %w[left], [%[at], %[end]]\n\t"
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
               "str %[block], [%[row], %[slot], lsl #3]\n\t"
               "cbnz %[left], 5b\n\t"
               "add %[at], %[at], %[push]\n\t"
               // Release: as in Push.
               "stlr %w[slot], [%[at]]\n"
               "2:\n\t"
               : [row] "=&r"(row), [slot] "=&r"(slot), [at] "=&r"(at), [left] "=&r"(left), [block] "=&r"(block),
                 [pushed] "=&r"(pushed)
               : [blocks] "r"(blocks), [count] "r"(count), NEAP_RSEQ_INPUTS
               : "cc", "memory");
  return pushed;
}

inline size_t PopMany(size_t header, void** blocks, size_t count) {
  uintptr_t row, slot, at, block;
  size_t popped;
  asm volatile(NEAP_RSEQ_BEGIN
               "ldr %w[slot], [%[at], %[push]]\n\t"
               "mov %[popped], #0\n"
               "5: ldr %[block], [%[row], %[slot], lsl #3]\n\t"
               "cmp %[block], #0\n\t"
               "b.le 6f\n\t"
               "str %[block], [%[blocks], %[popped], lsl #3]\n\t"
               "sub %w[slot], %w[slot], #2\n\t"
               "add %[popped], %[popped], #1\n\t"
               "cmp %[popped], %[count]\n\t"
               "b.lo 5b\n"
               "6: cbz %[popped], 2f\n\t"
               "str %w[slot], [%[at], %[push]]\n"
               "2:\n\t"
               : [row] "=&r"(row), [slot] "=&r"(slot), [at] "=&r"(at), [block] "=&r"(block), [popped] "=&r"(popped)
               : [blocks] "r"(blocks), [count] "r"(count), NEAP_RSEQ_INPUTS
               : "cc", "memory");
  return popped;
}

inline bool StartsBlock(size_t header, const void* block) {
  const uint32_t magic = MagicOfHeader(header);
  return static_cast<uint32_t>(static_cast<uint16_t>(reinterpret_cast<uintptr_t>(block))) * magic < magic;
}

#undef NEAP_RSEQ_INPUTS
#undef NEAP_RSEQ_BEGIN

}  // namespace neap::arch
