// rcu.h: readers that never wait, over liburcu's flavour bp (a thread needs no registration): telemetry that walks the
// tree of arenas and their pools while they come and go. No block is allocated by any of it.
#pragma once

namespace neap {

struct Rcu {
  static void ReadLock();
  static void ReadUnlock();
  // Every read section that had begun has ended. Not inside one.
  static void Synchronize();
  static void BeforeFork();
  static void AfterForkInParent();
  static void AfterForkInChild();
};

}  // namespace neap
