// foreign.h: other allocators inside the process, such as the jemalloc or mimalloc that a library brings, and what they
// offer to give back what they hold free. With NEAP_FOREIGN=1 they are told to where consumers are asked, and before
// them: on that thread, never inside malloc.
#pragma once

#include <stdint.h>

namespace neap {

class ForeignAllocators {
 public:
  // Whether they may be told: not in a forked child, whose copy of their locks may be held by nobody, nor at exit.
  static bool May();
  // Tells each. Returns by how many bytes foreign memory fell meanwhile.
  static uint64_t Purge();
  static uint64_t Purges();  // calls, since the start
  static uint64_t PurgedBytes();
  static void ForgetInChild();
};

}  // namespace neap
