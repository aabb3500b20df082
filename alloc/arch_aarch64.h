// arch_aarch64.h: see arch.h.
#pragma once

namespace neap::arch {

inline void Relax() { asm volatile("yield"); }

inline char* ThreadPointer() { return static_cast<char*>(__builtin_thread_pointer()); }

// The signature is a BRK instruction of its own here.
#define NEAP_RSEQ_DESCRIPTOR NEAP_RSEQ_DESCRIPTOR_OF(".inst 0xd428bc00\n", "b")

inline bool Pop(size_t offset, void*& block) {
  uintptr_t header, top, thread;
  asm goto volatile(NEAP_RSEQ_DESCRIPTOR
                    "0: mrs %[thread], tpidr_el0\n\t"
                    "adrp %[header], 3b\n\t"
                    "add %[header], %[header], :lo12:3b\n\t"
                    "add %[top], %[thread], %[area]\n\t"
                    "str %[header], [%[top], %[cs]]\n"
                    "1: ldr %w[header], [%[thread], %[cpu]]\n\t"
                    "lsl %[header], %[header], %[shift]\n\t"
                    "add %[header], %[header], %[first]\n\t"
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
  asm goto volatile(NEAP_RSEQ_DESCRIPTOR
                    "0: mrs %[thread], tpidr_el0\n\t"
                    "adrp %[header], 3b\n\t"
                    "add %[header], %[header], :lo12:3b\n\t"
                    "add %[top], %[thread], %[area]\n\t"
                    "str %[header], [%[top], %[cs]]\n"
                    "1: ldr %w[header], [%[thread], %[cpu]]\n\t"
                    "lsl %[header], %[header], %[shift]\n\t"
                    "add %[header], %[header], %[first]\n\t"
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

inline bool StartsBlock(const Span* span, const void* block) {
  const uint32_t magic = span->magic;
  return static_cast<uint32_t>(static_cast<uint16_t>(reinterpret_cast<uintptr_t>(block))) * magic < magic;
}

#undef NEAP_RSEQ_DESCRIPTOR

}  // namespace neap::arch
