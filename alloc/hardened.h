// hardened.h: what NEAP_HARDENED=1 adds to a block, and the quarantine of freed blocks. heap.cc decides when.
//
// A guarded block is larger than was requested by 16 bytes at least. Behind the request it holds a canary, and its last
// 8 bytes hold the requested size; both are mixed with a secret of the process and the block's address, so that neither
// can be forged or copied from another block. Nothing is kept before a block. A freed block is filled with the canary
// and says so in place of its size; it waits in the quarantine, first in, first out, and is looked at when it leaves.
// There it is cached, not live, and it leaves at once when memory is short.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace neap {

class Hardened {
 public:
  static constexpr size_t kGuardBytes = 16;            // at least, of every block
  static constexpr size_t kQuarantinedMax = 64 << 10;  // the largest block that is quarantined
  static constexpr size_t kQuarantineBlocks = 1024;
  static constexpr size_t kQuarantineBytes = 4 << 20;

  static void Start();
  static bool On() { return on_; }

  // block_size: of the whole block, a multiple of 16; requested <= block_size - kGuardBytes.
  static void Guard(void* block, size_t block_size, size_t requested);

  // The requested size of a live block; ends the process if its guard is damaged or the block was freed.
  static size_t RequestedSize(const void* block, size_t block_size);

  // As RequestedSize, and says that the block is freed: of two threads that free it one ends the process.
  static void MarkFreed(void* block, size_t block_size);

  // Takes in a block that MarkFreed was told of, and gives null; or, if there is no room, gives one that has to be
  // freed before the next try. Ends the process if that one was written to meanwhile.
  static void* Quarantine(void* block, size_t block_size);
  static void Fill(void* block, size_t block_size);  // before the first try

  static size_t QuarantinedBytes();
  static size_t QuarantinedBytes(size_t size_class);
  // Everything to the slabs; returns the bytes. Locks outside the slab pools' may be held.
  static size_t EmptyQuarantine();

 private:
  static inline bool on_ = false;
};

}  // namespace neap
