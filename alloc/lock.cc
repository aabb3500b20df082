// lock.cc: the waiting half of lock.h.
#include "alloc/lock.h"

#include <errno.h>

#include "alloc/arch.h"
#include "alloc/fork.h"
#include "alloc/os.h"

namespace neap {

constinit std::atomic<uint32_t> Mutex::forking_thread{0};

bool Mutex::HeldForFork() { return forking_thread.load(std::memory_order_relaxed) == Os::ThreadId(); }
void Mutex::BeginFork() { forking_thread.store(Os::ThreadId(), std::memory_order_relaxed); }
void Mutex::EndFork() { forking_thread.store(0, std::memory_order_relaxed); }

void Mutex::LockSlow() {
  if (forking_thread.load(std::memory_order_relaxed) != 0 && HeldForFork()) return;
  // Sections under these locks are short, except where one holds a system call; a short spin covers the former.
  for (int i = 0; i < 64; ++i) {
    uint32_t expected = kFree;
    if (state_.load(std::memory_order_relaxed) == kFree &&
        state_.compare_exchange_weak(expected, kHeld, std::memory_order_acquire)) {
      return;
    }
    arch::Relax();
  }
  while (state_.exchange(kWaited, std::memory_order_acquire) != kFree) {
    // No section lasts this long, but a process forked by the bare system call may wait for a thread of its parent's.
    constexpr uint64_t kSuspiciousNs = 50'000'000;
    const int result = Os::FutexWait(reinterpret_cast<uint32_t*>(&state_), kWaited, kSuspiciousNs, false);
    if (result == -ETIMEDOUT) RecoverForkedChild();
  }
}

void Mutex::Wake() { Os::FutexWake(reinterpret_cast<uint32_t*>(&state_), 1, false); }

}  // namespace neap
