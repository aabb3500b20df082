// fork.cc: see fork.h.
#include "alloc/fork.h"

#include <pthread.h>

#include <atomic>

#include "alloc/arena.h"
#include "alloc/consumers.h"
#include "alloc/cpu_cache.h"
#include "alloc/limit_gate.h"
#include "alloc/os.h"
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
  f(ForkLocks::Quarantine());
  f(ForkLocks::Tick());
  f(Consumers::lock());
  f(LimitGate::lock());
  f(ForkLocks::Release());
  f(ForkLocks::ArenaTree());
}

template <class F>
void ForEachLockBehindCaches(F f) {
  for (size_t id = 0; id < Arena::Highest(); ++id) {
    if (Arena* arena = Arena::ById(id)) arena->ForEachLock(f);
  }
  for (int node = 0; node < RootHeap::Nodes(); ++node) f(RootHeap::Node(node).page_heap.lock());
  f(ForkLocks::PageMap());
  f(ForkLocks::Metadata());
}

void Prepare() {
  if (_IO_list_lock != nullptr) _IO_list_lock();
  ForEachLockBeforeCaches([](Mutex& mutex) { mutex.LockForFork(); });
  CpuCaches::StopForFork();
  ForEachLockBehindCaches([](Mutex& mutex) { mutex.LockForFork(); });
  Rcu::BeforeFork();  // innermost: a first read section takes urcu's lock under ours
  Mutex::BeginFork();
}

constinit std::atomic<uint32_t> g_process{0};

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
  g_process.store(Os::ProcessId(), std::memory_order_relaxed);
  ReleaseAll([](Mutex& mutex) { mutex.ResetInChild(); }, true);
  LimitGate::ForgetInChild();
  Releaser::ForgetInChild();
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
  g_process.store(Os::ProcessId(), std::memory_order_relaxed);
  pthread_atfork(Prepare, InParent, InChild);
}

void RecoverForkedChild() {
  const uint32_t known = g_process.load(std::memory_order_relaxed);
  if (known != 0 && known != Os::ProcessId()) StartAnewInChild();
}

}  // namespace neap
