// cpu_cache.h: per-CPU caches of free blocks of the root arena, in front of its slabs.
//
// Two modes, chosen once at the start:
//   restartable  rseq: cache n belongs to whatever runs on CPU (or concurrency id) n. No lock, no atomic instruction.
//   locked       no rseq or no membarrier (old kernel, gVisor, valgrind, seccomp): a thread picks a cache and tries its
//                lock.
// In both modes a cache can be emptied from outside, whatever its CPU or thread does.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "alloc/arch.h"
#include "alloc/cache_header.h"
#include "alloc/lock.h"

namespace neap {

class CpuCaches {
 public:
  static bool Start();

  // A block of the class for the caller, and some more into the cache. Null if there is no memory.
  static void* Refill(size_t size_class);
  // Some blocks into the cache.
  static void Fill(size_t size_class);
  // A block of a class that has no caches.
  static void* TakeUncached(size_t size_class);
  // The class's cache was full: takes the block and some of the cached ones back to the slabs.
  static void Flush(size_t size_class, void* block);

  // As those in arch.h, in either mode.
  static void* Pop(size_t size_class);
  static bool Push(size_t size_class, void* block);
  static size_t PopMany(size_t size_class, void** blocks, size_t count);
  static size_t PushMany(size_t size_class, void* const* blocks, size_t count);

  // Empties caches of every CPU: all; those that have not moved since the last call; or those of one class.
  // Returns the bytes.
  enum class Which { kAll, kIdle, kClass };
  static size_t Drain(Which which, size_t size_class = 0);
  static size_t CachedBytes();
  static size_t CachedBytes(size_t size_class);

  // Around fork: empties the caches and keeps them stopped, so that the child's copy is consistent.
  static void StopForFork();
  static void ResumeAfterFork(bool child);

  // vfork's child runs on its parent's memory and thread-local storage, and the kernel takes restartable sequences from
  // it: nothing would start one of its sequences again, and nobody updates the number that it picks a cache by. So it
  // gets that of a cache that stays closed, until it has become another program; its blocks come from the slabs and go
  // back there. The parent's thread, which sleeps meanwhile, takes its own number back.
  static void CloseInVforkChild();
  static void ReopenAfterVfork();
  static bool InVforkChild();

 private:
  struct Cache;
  static Cache* caches_;
  static size_t CachesBytes();
  static void** Row(size_t number);
  static CacheHeader& Header(size_t number, size_t size_class);
  static size_t CurrentNumber();
  static void Open(size_t size_class);
  static size_t Widen(size_t size_class);                 // the capacity after it
  static size_t Close(size_t number, size_t size_class);  // bytes
  static size_t DrainLocked(Which which, size_t size_class);
};

}  // namespace neap
