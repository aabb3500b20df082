// fork.cc: see fork.h.
#include "alloc/fork.h"

#include <errno.h>
#include <pthread.h>

#include <atomic>

#include "alloc/arena.h"
#include "alloc/consumers.h"
#include "alloc/cpu_cache.h"
#include "alloc/heap.h"
#include "alloc/limit_gate.h"
#include "alloc/metadata.h"
#include "alloc/os.h"
#include "alloc/profile.h"
#include "alloc/rcu.h"
#include "alloc/release.h"

// glibc's lock over the list of open streams: public, recursive, and in no header. fork takes it after the handlers;
// its holder may wait for a stream whose holder waits in malloc, so that it has to come before our locks.
extern "C" {
void _IO_list_lock() __attribute__((weak));
void _IO_list_unlock() __attribute__((weak));
void _IO_list_resetlock() __attribute__((weak));
}

namespace neap {
namespace {

template <class F>
void ForEachLockBeforeCaches(F f) {
  f(ForkLocks::Start());
  f(ForkLocks::Tick());
  f(Consumers::lock());
  f(LimitGate::lock());
  f(ForkLocks::Release());
  f(ForkLocks::ArenaTree());
  f(ForkLocks::Profile());
}

template <class F>
void ForEachLockBehindCaches(F f) {
  for (size_t id = 0; id < Arena::Highest(); ++id) {
    if (Arena* arena = Arena::ById(id)) arena->ForEachLock(f);
  }
  for (int node = 0; node < RootHeap::Nodes(); ++node) f(RootHeap::Node(node).page_heap.lock());
  f(ForkLocks::PageMap());
  f(ForkLocks::Metadata());
  f(ForkLocks::Quarantine());
}

void Prepare() {
  if (_IO_list_lock != nullptr) _IO_list_lock();
  ForEachLockBeforeCaches([](Mutex& mutex) { mutex.LockForFork(); });
  CpuCaches::StopForFork();
  ForEachLockBehindCaches([](Mutex& mutex) { mutex.LockForFork(); });
  Rcu::BeforeFork();  // innermost: a first read section takes urcu's lock under ours
  Mutex::BeginFork();
}

// A word that the kernel zeroes in a forked child, and in no other: one by vfork shares it. Null where the kernel
// cannot.
constinit std::atomic<std::atomic<uint32_t>*> g_not_forked{nullptr};

template <class F>
void ReleaseAll(F f, bool child) {
  ForEachLockBehindCaches(f);
  CpuCaches::ResumeAfterFork(child);
  ForEachLockBeforeCaches(f);
}

void InParent() {
  Rcu::AfterForkInParent();
  Mutex::EndFork();
  ReleaseAll([](Mutex& mutex) { mutex.UnlockAfterFork(); }, false);
  if (_IO_list_unlock != nullptr) _IO_list_unlock();
}

void StartAnewInChild() {
  if (auto* not_forked = g_not_forked.load(std::memory_order_relaxed)) not_forked->store(1, std::memory_order_relaxed);
  ReleaseAll([](Mutex& mutex) { mutex.ResetInChild(); }, true);
  for (int node = 0; node < RootHeap::Nodes(); ++node) RootHeap::Node(node).page_heap.ForgetInChild();
  LimitGate::ForgetInChild();
  Releaser::ForgetInChild();
  Profile::ForgetInChild();
  Consumers::ForgetInChild();
}

void InChild() {
  Rcu::AfterForkInChild();
  Mutex::EndFork();
  StartAnewInChild();
  if (_IO_list_resetlock != nullptr) _IO_list_resetlock();
}

}  // namespace

void RegisterForkHandlers() {
  if (auto* not_forked = static_cast<std::atomic<uint32_t>*>(Os::MapWipedOnFork())) {
    not_forked->store(1, std::memory_order_relaxed);
    // Other threads are at work already: who sees the word has to see that it is not zero.
    g_not_forked.store(not_forked, std::memory_order_release);
    Metadata::Count(kPageSize);
  }
  pthread_atfork(Prepare, InParent, InChild);
}

void RecoverForkedChild() {
  const auto* not_forked = g_not_forked.load(std::memory_order_acquire);
  if (not_forked != nullptr && not_forked->load(std::memory_order_relaxed) == 0) StartAnewInChild();
}

// A heap that starts in the child would take its sequences for restartable. Without memory for the heap the child has
// no blocks to lose either.
bool BeforeVfork() { return StartHeap() && CpuCaches::InVforkChild(); }

int AfterVfork(long result, bool nested) {
  if (!nested && StartHeap()) {
    if (result == 0) {
      CpuCaches::CloseInVforkChild();
    } else {
      CpuCaches::ReopenAfterVfork();
    }
  }
  if (result >= 0) return static_cast<int>(result);
  errno = static_cast<int>(-result);
  return -1;
}

}  // namespace neap
