// arch.h: picks the file that holds all that depends on the processor (vfork, which is no function of C++, apart:
// interpose/vfork_*.S). Each such file provides, in namespace neap::arch:
//   bool Pop(size_t offset, void*& block)
//       the newest block of the header at that offset of the running CPU's cache; false if there is none or the cache
//       is stopped
//   bool Push(const uintptr_t& first, void* block)
//       onto the stack whose header in cache number 0 is at `first`; false if it is full or the cache is stopped
//   size_t PopMany(size_t offset, void** blocks, size_t count)
//   size_t PushMany(const uintptr_t& first, void* const* blocks, size_t count)
//       as many as there are, or as there is room for, in one sequence; blocks[0] is or becomes the newest. How many.
//   bool StartsBlock(const Span* span, const void* block)
//       whether the offset of the address in its slab is a multiple of the block size (size_classes.h, magic); false
//       for every other kind of span
//   void Relax()
//       the pause of a spinning thread
//   char* ThreadPointer()
//       what RseqOffset counts from
// The sequences start again when the thread is preempted, moved or interrupted by a signal before their last
// instruction, which alone commits. Their shape follows the kernel's Documentation/userspace-api/rseq.rst.
#pragma once

#include "alloc/cache_header.h"
#include "alloc/span.h"

// The descriptor that rseq_cs points to: version, flags, first instruction, length, and where to go on abort. The four
// bytes before that place are the signature with which glibc registered.
#define NEAP_RSEQ_DESCRIPTOR_OF(signature, jump)                            \
  ".pushsection .data.rel.ro.neap_rseq, \"aw\", @progbits\n\t"              \
  ".balign 32\n"                                                            \
  "3: .long 0, 0\n\t"                                                       \
  ".quad 1f, 2f - 1f, 4f\n\t"                                               \
  ".popsection\n\t"                                                         \
  ".pushsection .text.unlikely, \"ax\", @progbits\n\t" signature "4: " jump \
  " 0f\n\t"                                                                 \
  ".popsection\n\t"

#if defined(__x86_64__)
#include "alloc/arch_x86_64.h"
#elif defined(__aarch64__)
#include "alloc/arch_aarch64.h"
#else
#error "neap runs on x86-64 and aarch64"
#endif
