// fork.h: fork in a process with several threads. Before it the forking thread takes every lock, outermost first, and
// empties and stops the CPU caches: a child's copy of memory is made page by page while other threads run, so that a
// push caught half-way could reach the child without its block. The child has no other threads: the release thread is
// started anew when there is something to give back.
//
// The order of all locks, outermost first. fork takes all but the second in this order.
//   glibc's list of streams   its holder may wait for a stream whose holder waits in malloc
//   calling                   consumers.cc, foreign.cc: held while a callback or another allocator runs, which may do
//                             anything. Its holder may be away for long, and is no more in the child, where the lock is
//                             opened
//   start                     heap.cc: the first allocation
//   tick                      release.cc: one tick at a time
//   consumers                 consumers.cc: their list
//   limit                     limit_gate.cc: the reader of the limit and what it has read
//   release                   release.cc: the batch of pages on their way back. No arena goes while it is held
//   arena tree                arena.cc
//   profile                   profile.cc: its tables
//   CPU caches                cpu_cache.cc: by number
//   arena                     arena.h: its large blocks, and the making of its pools
//   slab pool                 slab_pool.h: of one size class
//   page heap                 page_heap.h: of one node
//   page map                  page_map.cc: mapping more of the window
//   metadata                  metadata.cc
//   quarantine                hardened.cc: nothing is locked under it
//   liburcu's own             a first read section takes it
#pragma once

#include "alloc/lock.h"

namespace neap {

// The locks that are nobody's member, each defined beside what it guards.
struct ForkLocks {
  static Mutex& Start();
  static Mutex& Tick();
  static Mutex& Release();
  static Mutex& ArenaTree();
  static Mutex& Profile();
  static Mutex& PageMap();
  static Mutex& Metadata();
  static Mutex& Quarantine();
};

void RegisterForkHandlers();

// For a child whose fork ran no handlers (_Fork, clone): as long as the program had one thread that is legal, and it
// cannot know of ours. Where a lock is not to be had and this memory is a copy that no handler knows of, the
// locks of the threads that are no more are opened; what those had in hand at that moment is lost, not shared.
void RecoverForkedChild();

// Around the system call in vfork (interpose/vfork_*.S): before it, and after it in both processes. `nested` is the
// answer of the former: the caller is itself the child of a vfork. Returns what vfork returns, and sets errno.
extern "C" bool BeforeVfork();
extern "C" int AfterVfork(long result, bool nested);

}  // namespace neap
