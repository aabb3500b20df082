// How a case of misuse is written and judged. A case misuses the heap in a process of its own, which must end there by
// SIGABRT; on neap also with one line on standard error, which starts with "neap: ". Run on another malloc the same
// program tells how many cases that one catches.
#pragma once

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include <string>

#include "tests/conformance/outside.h"

namespace outside {

struct Misuse {
  const char* name;
  void (*commit)();
};

inline std::string NameOf(const testing::TestParamInfo<Misuse>& parameter) { return parameter.param.name; }

// In the child: a heap that has been used, and an end to cases that hang what they corrupt.
inline void CommitAfterUse(const Misuse& misuse) {
  alarm(20);
  void* held[100];
  for (size_t i = 0; i < 100; ++i) held[i] = malloc(8 << (i % 14));
  for (size_t i = 0; i < 100; i += 2) free(held[i]);
  misuse.commit();
  _exit(0);
}

// One line and no more, where the malloc in use is neap.
inline const char* Judgement() { return OnNeap() ? "^neap: [^\n]+\n$" : ""; }

inline void ExpectCaught(const Misuse& misuse) {
  EXPECT_EXIT(CommitAfterUse(misuse), testing::KilledBySignal(SIGABRT), Judgement());
}

// Blocks of the kinds whose ways through an allocator differ.
inline void* SmallBlock() { return Hidden(malloc(100)); }
inline void* MediumBlock() { return Hidden(malloc(20'000)); }
inline void* LargeBlock() { return Hidden(malloc(3 << 20)); }

inline char* At(void* block, ptrdiff_t offset) { return Hidden(static_cast<char*>(block) + offset); }

}  // namespace outside
