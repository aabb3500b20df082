// What the cases of conformance/ and misuse/ share. These programs know nothing of neap: they run on whatever malloc is
// preloaded, and each case runs in a process of its own, which it may leave in any state.
#pragma once

#include <dlfcn.h>
#include <gtest/gtest.h>
#include <stddef.h>
#include <stdint.h>

#include <functional>
#include <memory>
#include <string>

namespace outside {

constexpr size_t kKiB = 1024;
constexpr size_t kMiB = 1024 * kKiB;
constexpr size_t kGiB = 1024 * kMiB;

// The value, of which the compiler knows nothing any more: no allocation is folded away, no misuse is foreseen.
template <class T>
T Hidden(T value) {
  asm volatile("" : "+r"(value) : : "memory");
  return value;
}

// A pattern that tells blocks and offsets apart, and whether a block still holds it. Neither allocates.
void Fill(void* block, size_t size, uint64_t seed);
bool Holds(const void* block, size_t size, uint64_t seed);
bool IsZero(const void* block, size_t size);

inline bool IsAligned(const void* block, size_t alignment) {
  return reinterpret_cast<uintptr_t>(block) % alignment == 0;
}

struct Freer {
  void operator()(void* block) const { free(block); }
};
using Block = std::unique_ptr<void, Freer>;

// xorshift64*: the same sequence for a seed everywhere.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed * 2654435761u + 88172645463325252u) {}
  uint64_t Next() {
    state_ ^= state_ >> 12;
    state_ ^= state_ << 25;
    state_ ^= state_ >> 27;
    return state_ * 2685821657736338717u;
  }
  size_t Below(size_t bound) { return static_cast<size_t>(Next() % bound); }
  // Log-uniform in [1, most]: small sizes as likely as large ones, as in programs.
  size_t Size(size_t most) {
    size_t top = size_t{2} << Below(static_cast<size_t>(64 - __builtin_clzll(most)));
    size_t size = 1 + Below(top);
    return size < most ? size : most;
  }

 private:
  uint64_t state_;
};

// Bytes, from /proc/self; neither allocates. Peak is the high-water mark.
size_t Resident();
size_t PeakResident();

// Whether the malloc in use is neap; false for the C library's and for its peers.
bool OnNeap();
// Whether the malloc in use is the C library's own.
bool OnGlibc();

// A function that the C library's headers lack; null where the malloc in use has none.
template <class F>
F* Find(const char* name) {
  return reinterpret_cast<F*>(dlsym(RTLD_DEFAULT, name));
}

// Rounds for cases that repeat: as given, ten times as many with NEAP_TEST_ALL=1.
int Rounds(int usual);

// Where the running program lies, for cases that start it anew.
const std::string& ProgramPath();
// A file that was built beside the program.
std::string Beside(const std::string& name);

struct Outcome {
  bool hung = false;
  bool signaled = false;
  int code = 0;        // exit code or signal
  std::string output;  // standard error, at most its first 64 KiB
  bool Succeeded() const { return !hung && !signaled && code == 0; }
};
std::ostream& operator<<(std::ostream& out, const Outcome& outcome);

// Runs body in a forked child whose exit code is what body returns; a child that outlives `seconds` is killed and hung.
Outcome InChild(const std::function<int()>& body, int seconds = 60);

// Runs this program anew as `PROGRAM --workout=NAME`, after prepare() has arranged the child's surroundings (it returns
// false where it may not, which skips the case by exit code kMayNot).
constexpr int kMayNot = 77;
Outcome Anew(const std::string& workout, const std::function<bool()>& prepare, int seconds = 60);

// Allocates, checks and frees blocks of all kinds, in this thread and in others; 0 or the number of the check that
// failed. `exhaust` goes on until there is no memory, `small` stays under some 8 MiB, `threads` runs eight threads,
// `without-main` does its work after the main thread has ended, `end-...` ends the process with its last thread, and
// `nothing` does nothing.
int Workout(const std::string& name);

}  // namespace outside
