// arch_x86_64.h: see arch.h.
#pragma once

namespace neap::arch {

inline void Relax() { __builtin_ia32_pause(); }

inline char* ThreadPointer() {
  char* pointer;
  asm("movq %%fs:0, %0" : "=r"(pointer));
  return pointer;
}

// How every sequence begins: `row` becomes the running CPU's. 0f b9 3d makes the signature one (undefined) instruction
// for a disassembler.
#define NEAP_RSEQ_BEGIN                                                          \
  NEAP_RSEQ_DESCRIPTOR_OF(".byte 0x0f, 0xb9, 0x3d\n\t.long 0x53053053\n", "jmp") \
  "0: leaq 3b(%%rip), %[row]\n\t"                                                \
  "movq %[row], %%fs:%c[cs](%[area])\n"                                          \
  "1: movl %%fs:(%[cpu]), %k[row]\n\t"                                           \
  "shlq %[shift], %[row]\n\t"                                                    \
  "addq %[caches], %[row]\n\t"
#define NEAP_RSEQ_INPUTS                                                                                 \
  [area] "r"(hot::rseq_area), [cpu] "r"(hot::rseq_cpu), [caches] "m"(hot::caches), [header] "r"(header), \
      [cs] "i"(kRseqCs), [shift] "i"(kCpuShift), [push] "i"(offsetof(CacheHeader, push)),                \
      [end] "i"(offsetof(CacheHeader, end)), [swap_end] "i"(offsetof(CacheHeader, swap_end))

template <size_t kStack>
inline bool PopFrom(size_t header, void*& block) {
  uintptr_t row, slot;
  asm goto volatile(NEAP_RSEQ_BEGIN
                    "movl %c[stack](%[row],%[header]), %k[slot]\n\t"
                    "movq (%[row],%[slot],8), %[block]\n\t"
                    "testq %[block], %[block]\n\t"
                    "jle %l[empty]\n\t"
                    "subl $2, %k[slot]\n\t"
                    "movl %k[slot], %c[stack](%[row],%[header])\n"
                    "2:\n\t"
                    : [block] "=&a"(block), [row] "=&r"(row), [slot] "=&r"(slot)
                    : [stack] "i"(kStack), NEAP_RSEQ_INPUTS
                    : "cc", "memory"
                    : empty);
  return true;
empty:
  return false;
}

inline bool Pop(size_t header, void*& block) { return PopFrom<offsetof(CacheHeader, pop)>(header, block); }
inline bool PopPushed(size_t header, void*& block) { return PopFrom<offsetof(CacheHeader, push)>(header, block); }

// Both numbers are written by one store, and read by two loads: one alone would wait until the last store of either has
// left the processor's store buffer.
static_assert(offsetof(CacheHeader, pop) == 0 && offsetof(CacheHeader, push) == 4);

inline bool PopOther(size_t header, void*& block, void*& next) {
  uintptr_t row, slot, both;
  asm goto volatile(NEAP_RSEQ_BEGIN
                    "movl %c[push](%[row],%[header]), %k[slot]\n\t"
                    "movl (%[row],%[header]), %k[both]\n\t"
                    "movq (%[row],%[slot],8), %[block]\n\t"
                    "testq %[block], %[block]\n\t"
                    "jle %l[empty]\n\t"
                    "movq -16(%[row],%[slot],8), %[next]\n\t"
                    "shlq $32, %[both]\n\t"
                    "subl $2, %k[slot]\n\t"
                    "orq %[slot], %[both]\n\t"
                    "movq %[both], (%[row],%[header])\n"
                    "2:\n\t"
                    : [block] "=&a"(block), [row] "=&r"(row), [slot] "=&r"(slot), [both] "=&r"(both), [next] "=&r"(next)
                    : NEAP_RSEQ_INPUTS
                    : "cc", "memory"
                    : empty);
  return true;
empty:
  return false;
}

inline bool Push(size_t header, void* block) {
  uintptr_t row, slot;
  asm goto volatile(NEAP_RSEQ_BEGIN
                    "movl %c[push](%[row],%[header]), %k[slot]\n\t"
                    "cmpl %c[end](%[row],%[header]), %k[slot]\n\t"
                    "jae %l[full]\n\t"
                    "movq %[block], 16(%[row],%[slot],8)\n\t"
                    "addl $2, %k[slot]\n\t"
                    "movl %k[slot], %c[push](%[row],%[header])\n"
                    "2:\n\t"
                    : [row] "=&r"(row), [slot] "=&r"(slot)
                    : [block] "r"(block), NEAP_RSEQ_INPUTS
                    : "cc", "memory"
                    : full);
  return true;
full:
  return false;
}

inline bool PushOther(size_t header, void* block) {
  uintptr_t row, slot, both;
  asm goto volatile(NEAP_RSEQ_BEGIN
                    "movl (%[row],%[header]), %k[slot]\n\t"
                    "movl %c[push](%[row],%[header]), %k[both]\n\t"
                    "cmpl $0, %c[end](%[row],%[header])\n\t"
                    "je %l[full]\n\t"
                    "cmpl %c[swap_end](%[row],%[header]), %k[slot]\n\t"
                    "jae %l[full]\n\t"
                    "movq %[block], 16(%[row],%[slot],8)\n\t"
                    "addl $2, %k[slot]\n\t"
                    "shlq $32, %[slot]\n\t"
                    "orq %[slot], %[both]\n\t"
                    "movq %[both], (%[row],%[header])\n"
                    "2:\n\t"
                    : [row] "=&r"(row), [slot] "=&r"(slot), [both] "=&r"(both)
                    : [block] "r"(block), NEAP_RSEQ_INPUTS
                    : "cc", "memory"
                    : full);
  return true;
full:
  return false;
}

inline size_t PushMany(size_t header, void* const* blocks, size_t count) {
  uintptr_t row, slot, left, block;
  size_t pushed;
  asm volatile(NEAP_RSEQ_BEGIN
               "xorl %k[pushed], %k[pushed]\n\t"
               "movl %c[push](%[row],%[header]), %k[slot]\n\t"
               "movl %c[end](%[row],%[header]), %k[left]\n\t"
               "subl %k[slot], %k[left]\n\t"
               "jle 2f\n\t"
               "addl $1, %k[left]\n\t"
               "shrl $1, %k[left]\n\t"
               "cmpq %[count], %[left]\n\t"
               "cmovaq %[count], %[left]\n\t"
               "movq %[left], %[pushed]\n"
               "5: movq -8(%[blocks],%[left],8), %[block]\n\t"
               "addl $2, %k[slot]\n\t"
               "movq %[block], (%[row],%[slot],8)\n\t"
               "subq $1, %[left]\n\t"
               "jnz 5b\n\t"
               "movl %k[slot], %c[push](%[row],%[header])\n"
               "2:\n\t"
               : [row] "=&r"(row), [slot] "=&r"(slot), [left] "=&r"(left), [block] "=&r"(block), [pushed] "=&r"(pushed)
               : [blocks] "r"(blocks), [count] "r"(count), NEAP_RSEQ_INPUTS
               : "cc", "memory");
  return pushed;
}

inline size_t PopMany(size_t header, void** blocks, size_t count) {
  uintptr_t row, slot, block;
  size_t popped;
  asm volatile(NEAP_RSEQ_BEGIN
               "movl %c[push](%[row],%[header]), %k[slot]\n\t"
               "xorl %k[popped], %k[popped]\n"
               "5: movq (%[row],%[slot],8), %[block]\n\t"
               "testq %[block], %[block]\n\t"
               "jle 6f\n\t"
               "movq %[block], (%[blocks],%[popped],8)\n\t"
               "subl $2, %k[slot]\n\t"
               "addq $1, %[popped]\n\t"
               "cmpq %[count], %[popped]\n\t"
               "jb 5b\n"
               "6: testq %[popped], %[popped]\n\t"
               "jz 2f\n\t"
               "movl %k[slot], %c[push](%[row],%[header])\n"
               "2:\n\t"
               : [row] "=&r"(row), [slot] "=&r"(slot), [block] "=&r"(block), [popped] "=&r"(popped)
               : [blocks] "r"(blocks), [count] "r"(count), NEAP_RSEQ_INPUTS
               : "cc", "memory");
  return popped;
}

// Two operands in memory instead of a third register and a load.
inline bool StartsBlock(size_t header, const void* block) {
  uint32_t remainder;
  asm goto volatile(
      "movzwl %w[block], %[remainder]\n\t"
      "imull %[magic], %[remainder]\n\t"
      "cmpl %[magic], %[remainder]\n\t"
      "jae %l[inside]"
      : [remainder] "=&r"(remainder)
      : [block] "r"(block), [magic] "m"(MagicOfHeader(header))
      : "cc"
      : inside);
  return true;
inside:
  return false;
}

#undef NEAP_RSEQ_INPUTS
#undef NEAP_RSEQ_BEGIN

}  // namespace neap::arch
