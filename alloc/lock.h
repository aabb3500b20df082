// lock.h: a mutex of four bytes on a futex. Zero is unlocked, so that a static one needs no constructor.
// The order in which locks are taken is in fork.h.
#pragma once

#include <stdint.h>

#include <atomic>

namespace neap {

class Mutex {
 public:
  void Lock() {
    uint32_t expected = kFree;
    if (!state_.compare_exchange_strong(expected, kHeld, std::memory_order_acquire)) LockSlow();
  }
  bool TryLock() {
    uint32_t expected = kFree;
    return state_.compare_exchange_strong(expected, kHeld, std::memory_order_acquire) ||
           (forking_thread.load(std::memory_order_relaxed) != 0 && HeldForFork());
  }
  void Unlock() {
    if (forking_thread.load(std::memory_order_relaxed) != 0 && HeldForFork()) return;
    if (state_.exchange(kFree, std::memory_order_release) == kWaited) Wake();
  }

  // Between fork's prepare handler and its end the forking thread holds every lock. Other handlers that run in between
  // may allocate, so that for this thread alone Lock and Unlock then do nothing.
  static void BeginFork();
  static void EndFork();
  void LockForFork() { LockSlow(); }
  void UnlockAfterFork() {
    if (state_.exchange(kFree, std::memory_order_release) == kWaited) Wake();
  }
  void ResetInChild() { state_.store(kFree, std::memory_order_relaxed); }

 private:
  static constexpr uint32_t kFree = 0, kHeld = 1, kWaited = 2;
  static std::atomic<uint32_t> forking_thread;

  void LockSlow();
  void Wake();
  static bool HeldForFork();

  std::atomic<uint32_t> state_{kFree};
};

class MutexLock {
 public:
  explicit MutexLock(Mutex& mutex) : mutex_(mutex) { mutex_.Lock(); }
  ~MutexLock() { mutex_.Unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  Mutex& mutex_;
};

}  // namespace neap
