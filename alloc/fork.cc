// fork.cc: see fork.h.
#include "alloc/fork.h"

#include <pthread.h>

#include "alloc/arena.h"
#include "alloc/consumers.h"
#include "alloc/cpu_cache.h"
#include "alloc/limit_gate.h"
#include "alloc/rcu.h"
#include "alloc/release.h"

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
  ForEachLockBeforeCaches([](Mutex& mutex) { mutex.LockForFork(); });
  CpuCaches::StopForFork();
  ForEachLockBehindCaches([](Mutex& mutex) { mutex.LockForFork(); });
  Rcu::BeforeFork();  // innermost: a first read section takes urcu's lock under ours
  Mutex::BeginFork();
}

template <class F>
void ReleaseAll(F f, bool child) {
  Mutex::EndFork();
  ForEachLockBehindCaches(f);
  CpuCaches::ResumeAfterFork(child);
  ForEachLockBeforeCaches(f);
}

void InParent() {
  Rcu::AfterForkInParent();
  ReleaseAll([](Mutex& mutex) { mutex.UnlockAfterFork(); }, false);
}

void InChild() {
  Rcu::AfterForkInChild();
  ReleaseAll([](Mutex& mutex) { mutex.ResetInChild(); }, true);
  LimitGate::ForgetInChild();
  Releaser::ForgetInChild();
  Consumers::ForgetInChild();
}

}  // namespace

void RegisterForkHandlers() { pthread_atfork(Prepare, InParent, InChild); }

}  // namespace neap
