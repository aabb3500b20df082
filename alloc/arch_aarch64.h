// arch_aarch64.h: see arch.h.
#pragma once

namespace neap::arch {

inline void Relax() { asm volatile("yield"); }

inline char* ThreadPointer() { return static_cast<char*>(__builtin_thread_pointer()); }

// How every sequence begins: `header` becomes that of the running CPU's cache. The signature is a BRK instruction of
// its own here.
#define NEAP_RSEQ_BEGIN                              \
  NEAP_RSEQ_DESCRIPTOR_OF(".inst 0xd428bc00\n", "b") \
  "0: mrs %[thread], tpidr_el0\n\t"                  \
  "adrp %[header], 3b\n\t"                           \
  "add %[header], %[header], :lo12:3b\n\t"           \
  "add %[top], %[thread], %[area]\n\t"               \
  "str %[header], [%[top], %[cs]]\n"                 \
  "1: ldr %w[header], [%[thread], %[cpu]]\n\t"       \
  "lsl %[header], %[header], %[shift]\n\t"           \
  "add %[header], %[header], %[first]\n\t"

inline bool Pop(size_t offset, void*& block) {
  uintptr_t header, top, thread;
  asm goto volatile(NEAP_RSEQ_BEGIN
                    "ldr %[top], [%[header]]\n\t"
                    "ldr %[block], [%[top], #-8]!\n\t"
                    "cmp %[block], #0\n\t"
                    "b.le %l[empty]\n\t"
                    "str %[top], [%[header]]\n"
                    "2:\n\t"
                    : [block] "=&r"(block), [header] "=&r"(header), [top] "=&r"(top), [thread] "=&r"(thread)
                    : [area] "r"(hot::rseq_area), [cpu] "r"(hot::rseq_cpu), [first] "r"(hot::caches + offset),
                      [cs] "i"(kRseqCs), [shift] "i"(kCpuShift)
                    : "cc", "memory"
                    : empty);
  return true;
empty:
  return false;
}

inline bool Push(const uintptr_t& first, void* block) {
  uintptr_t header, top, end, thread;
  asm goto volatile(NEAP_RSEQ_BEGIN
                    "ldp %[top], %[end], [%[header]]\n\t"
                    "cmp %[top], %[end]\n\t"
                    "b.hs %l[full]\n\t"
                    "str %[block], [%[top]], #8\n\t"
                    // Release: a thread on another CPU that is to drain this cache reads top before the slots.
                    "stlr %[top], [%[header]]\n"
                    "2:\n\t"
                    : [header] "=&r"(header), [top] "=&r"(top), [end] "=&r"(end), [thread] "=&r"(thread)
                    : [area] "r"(hot::rseq_area), [cpu] "r"(hot::rseq_cpu), [first] "r"(first), [block] "r"(block),
                      [cs] "i"(kRseqCs), [shift] "i"(kCpuShift)
                    : "cc", "memory"
                    : full);
  return true;
full:
  return false;
}

inline size_t PushMany(const uintptr_t& first, void* const* blocks, size_t count) {
  uintptr_t header, top, left, block, thread;
  size_t pushed;
  asm volatile(NEAP_RSEQ_BEGIN
               "mov %[pushed], #0\n\t"
               "ldp %[top], %[left], [%[header]]\n\t"
               "subs %[left], %[left], %[top]\n\t"
               "b.ls 2f\n\t"
               "lsr %[left], %[left], #3\n\t"
               "cmp %[left], %[count]\n\t"
               "csel %[left], %[left], %[count], lo\n\t"
               "mov %[pushed], %[left]\n"
               "5: sub %[left], %[left], #1\n\t"
               "ldr %[block], [%[blocks], %[left], lsl #3]\n\t"
               "str %[block], [%[top]], #8\n\t"
               "cbnz %[left], 5b\n\t"
               // Release: as in Push.
               "stlr %[top], [%[header]]\n"
               "2:\n\t"
               : [header] "=&r"(header), [top] "=&r"(top), [left] "=&r"(left), [block] "=&r"(block),
                 [thread] "=&r"(thread), [pushed] "=&r"(pushed)
               : [area] "r"(hot::rseq_area), [cpu] "r"(hot::rseq_cpu), [first] "r"(first), [blocks] "r"(blocks),
                 [count] "r"(count), [cs] "i"(kRseqCs), [shift] "i"(kCpuShift)
               : "cc", "memory");
  return pushed;
}

inline size_t PopMany(size_t offset, void** blocks, size_t count) {
  uintptr_t header, top, block, thread;
  size_t popped;
  asm volatile(
      NEAP_RSEQ_BEGIN
      "ldr %[top], [%[header]]\n\t"
      "mov %[popped], #0\n"
      "5: ldr %[block], [%[top], #-8]\n\t"
      "cmp %[block], #0\n\t"
      "b.le 6f\n\t"
      "str %[block], [%[blocks], %[popped], lsl #3]\n\t"
      "sub %[top], %[top], #8\n\t"
      "add %[popped], %[popped], #1\n\t"
      "cmp %[popped], %[count]\n\t"
      "b.lo 5b\n"
      "6: cbz %[popped], 2f\n\t"
      "str %[top], [%[header]]\n"
      "2:\n\t"
      : [header] "=&r"(header), [top] "=&r"(top), [block] "=&r"(block), [thread] "=&r"(thread), [popped] "=&r"(popped)
      : [area] "r"(hot::rseq_area), [cpu] "r"(hot::rseq_cpu), [first] "r"(hot::caches + offset), [blocks] "r"(blocks),
        [count] "r"(count), [cs] "i"(kRseqCs), [shift] "i"(kCpuShift)
      : "cc", "memory");
  return popped;
}

inline bool StartsBlock(const Span* span, const void* block) {
  const uint32_t magic = span->magic;
  return static_cast<uint32_t>(static_cast<uint16_t>(reinterpret_cast<uintptr_t>(block))) * magic < magic;
}

#undef NEAP_RSEQ_BEGIN

}  // namespace neap::arch
