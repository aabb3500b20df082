// arch.h: picks the file that holds all that depends on the processor (vfork, which is no function of C++, apart:
// interpose/vfork_*.S). Each such file provides, in namespace neap::arch:
//   bool Pop(size_t header, void*& block)
//       the newest block of the stack that malloc empties, of that header (its offset) in the running CPU's row;
//       false if there is none or the cache is stopped
//   bool PopOther(size_t header, void*& block, void*& next)
//       as Pop, after the two stacks have changed places; they have not if it is false. `next` is below the block: null
//       if it was the last one
//   bool PopPushed(size_t header, void*& block)
//       as Pop, from the stack that free fills
//   bool Push(size_t header, void* block)
//       onto the stack that free fills; false if it is full or the cache is stopped
//   bool PushOther(size_t header, void* block)
//       as Push, after the two stacks have changed places; they have not if it is false: the other one was half full
//   size_t PopMany(size_t header, void** blocks, size_t count)
//   size_t PushMany(size_t header, void* const* blocks, size_t count)
//       as PopPushed and Push, as many as there are, or as there is room for, in one sequence; blocks[0] is or becomes
//       the newest. How many.
//   bool StartsBlock(size_t header, const void* block)
//       whether the offset of the address in its granule is a multiple of the block size of the header's class
//       (size_classes.h, magic); false for header 0
//   void Relax()
//       the pause of a spinning thread
//   char* ThreadPointer()
//       what RseqOffset counts from
// The sequences start again when the thread is preempted, moved or interrupted by a signal before their last
// instruction, which alone commits. Their shape follows the kernel's Documentation/userspace-api/rseq.rst.
#pragma once

#include "alloc/cache_header.h"

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
