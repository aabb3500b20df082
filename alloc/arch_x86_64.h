// arch_x86_64.h: see arch.h.
#pragma once

namespace neap::arch {

inline void Relax() { __builtin_ia32_pause(); }

inline char* ThreadPointer() {
  char* pointer;
  asm("movq %%fs:0, %0" : "=r"(pointer));
  return pointer;
}

// How every sequence begins: `header` becomes where the running CPU's headers lie, counted from those of cache number
// 0. 0f b9 3d makes the signature one (undefined) instruction for a disassembler.
#define NEAP_RSEQ_BEGIN                                                          \
  NEAP_RSEQ_DESCRIPTOR_OF(".byte 0x0f, 0xb9, 0x3d\n\t.long 0x53053053\n", "jmp") \
  "0: leaq 3b(%%rip), %[header]\n\t"                                             \
  "movq %[header], %%fs:%c[cs](%[area])\n"                                       \
  "1: movl %%fs:(%[cpu]), %k[header]\n\t"                                        \
  "shlq %[shift], %[header]\n\t"

inline bool Pop(size_t offset, void*& block) {
  uintptr_t header, top;
  asm goto volatile(NEAP_RSEQ_BEGIN
                    "addq %[caches], %[header]\n\t"
                    "movq (%[header],%[offset]), %[top]\n\t"
                    "movq -8(%[top]), %[block]\n\t"
                    "testq %[block], %[block]\n\t"
                    "jle %l[empty]\n\t"
                    "subq $8, (%[header],%[offset])\n"
                    "2:\n\t"
                    : [block] "=&a"(block), [header] "=&r"(header), [top] "=&r"(top)
                    : [area] "r"(hot::rseq_area), [cpu] "r"(hot::rseq_cpu), [caches] "m"(hot::caches),
                      [offset] "r"(offset), [cs] "i"(kRseqCs), [shift] "i"(kCpuShift)
                    : "cc", "memory"
                    : empty);
  return true;
empty:
  return false;
}

inline bool Push(const uintptr_t& first, void* block) {
  uintptr_t header, top;
  asm goto volatile(NEAP_RSEQ_BEGIN
                    "addq %[first], %[header]\n\t"
                    "movq (%[header]), %[top]\n\t"
                    "cmpq 8(%[header]), %[top]\n\t"
                    "jae %l[full]\n\t"
                    "movq %[block], (%[top])\n\t"
                    "addq $8, (%[header])\n"
                    "2:\n\t"
                    : [header] "=&r"(header), [top] "=&r"(top)
                    : [area] "r"(hot::rseq_area), [cpu] "r"(hot::rseq_cpu), [first] "m"(first), [block] "r"(block),
                      [cs] "i"(kRseqCs), [shift] "i"(kCpuShift)
                    : "cc", "memory"
                    : full);
  return true;
full:
  return false;
}

inline size_t PushMany(const uintptr_t& first, void* const* blocks, size_t count) {
  uintptr_t header, top, left, block;
  size_t pushed;
  asm volatile(
      NEAP_RSEQ_BEGIN
      "addq %[first], %[header]\n\t"
      "xorl %k[pushed], %k[pushed]\n\t"
      "movq (%[header]), %[top]\n\t"
      "movq 8(%[header]), %[left]\n\t"
      "subq %[top], %[left]\n\t"
      "jbe 2f\n\t"
      "shrq $3, %[left]\n\t"
      "cmpq %[count], %[left]\n\t"
      "cmovaq %[count], %[left]\n\t"
      "movq %[left], %[pushed]\n"
      "5: movq -8(%[blocks],%[left],8), %[block]\n\t"
      "movq %[block], (%[top])\n\t"
      "addq $8, %[top]\n\t"
      "subq $1, %[left]\n\t"
      "jnz 5b\n\t"
      "movq %[top], (%[header])\n"
      "2:\n\t"
      : [header] "=&r"(header), [top] "=&r"(top), [left] "=&r"(left), [block] "=&r"(block), [pushed] "=&r"(pushed)
      : [area] "r"(hot::rseq_area), [cpu] "r"(hot::rseq_cpu), [first] "m"(first), [blocks] "r"(blocks),
        [count] "r"(count), [cs] "i"(kRseqCs), [shift] "i"(kCpuShift)
      : "cc", "memory");
  return pushed;
}

inline size_t PopMany(size_t offset, void** blocks, size_t count) {
  uintptr_t header, top, block;
  size_t popped;
  asm volatile(NEAP_RSEQ_BEGIN
               "addq %[caches], %[header]\n\t"
               "movq (%[header],%[offset]), %[top]\n\t"
               "xorl %k[popped], %k[popped]\n"
               "5: movq -8(%[top]), %[block]\n\t"
               "testq %[block], %[block]\n\t"
               "jle 6f\n\t"
               "movq %[block], (%[blocks],%[popped],8)\n\t"
               "subq $8, %[top]\n\t"
               "addq $1, %[popped]\n\t"
               "cmpq %[count], %[popped]\n\t"
               "jb 5b\n"
               "6: testq %[popped], %[popped]\n\t"
               "jz 2f\n\t"
               "movq %[top], (%[header],%[offset])\n"
               "2:\n\t"
               : [header] "=&r"(header), [top] "=&r"(top), [block] "=&r"(block), [popped] "=&r"(popped)
               : [area] "r"(hot::rseq_area), [cpu] "r"(hot::rseq_cpu), [caches] "m"(hot::caches), [offset] "r"(offset),
                 [blocks] "r"(blocks), [count] "r"(count), [cs] "i"(kRseqCs), [shift] "i"(kCpuShift)
               : "cc", "memory");
  return popped;
}

// Two operands in memory instead of a third register and a load.
inline bool StartsBlock(const Span* span, const void* block) {
  uint32_t remainder;
  asm goto volatile(
      "movzwl %w[block], %[remainder]\n\t"
      "imull %[magic], %[remainder]\n\t"
      "cmpl %[magic], %[remainder]\n\t"
      "jae %l[inside]"
      : [remainder] "=&r"(remainder)
      : [block] "r"(block), [magic] "m"(span->magic)
      : "cc"
      : inside);
  return true;
inside:
  return false;
}

#undef NEAP_RSEQ_BEGIN

}  // namespace neap::arch
