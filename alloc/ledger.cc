// ledger.cc: sums the pools' and arenas' own figures. Each is exact; taken one after another while others allocate they
// need not fit each other to the byte, so that differences are cut at zero.
#include "alloc/ledger.h"

#include "alloc/arena.h"
#include "alloc/consumers.h"
#include "alloc/cpu_cache.h"
#include "alloc/hardened.h"
#include "alloc/limit_gate.h"
#include "alloc/metadata.h"
#include "alloc/rcu.h"
#include "alloc/regret.h"
#include "alloc/release.h"

namespace neap {
namespace {

uint64_t Minus(uint64_t a, uint64_t b) { return a > b ? a - b : 0; }

}  // namespace

uint64_t ResidentBytes() {
  const Arena* root = Arena::ById(0);
  if (root == nullptr) return 0;
  const uint64_t reserved = Arena::Count() > 1 ? Arena::TotalReserved() : root->reserved();
  return Minus(root->charged(), reserved) + RootHeap::DirtyPages() * kPageSize + Metadata::ResidentBytes();
}

uint64_t FreeOutsideSlabs() { return CpuCaches::CachedBytes() + Hardened::QuarantinedBytes(); }

Ledger ReadLedger() {
  Ledger ledger = {};
  ArenaLedger sum;
  const auto add = [&](const Arena& arena) {
    const ArenaLedger one = arena.Read();
    sum.taken += one.taken;
    sum.resident += one.resident;
    sum.dirty += one.dirty;
    ledger.overruns += arena.overruns();
  };
  if (const Arena* root = Arena::ById(0)) add(*root);  // else nothing was allocated yet
  // A thread's first read section maps memory, and liburcu ends the process if there is none: programs without arenas
  // of their own are spared it.
  if (Arena::Count() > 1) {
    Rcu::ReadLock();
    for (size_t id = 1; id < Arena::Highest(); ++id) {
      if (const Arena* arena = Arena::ById(id)) add(*arena);
    }
    Rcu::ReadUnlock();
  }
  ledger.live = Minus(sum.taken, FreeOutsideSlabs());
  ledger.cached = Minus(Minus(sum.resident, sum.dirty), ledger.live);
  ledger.dirty = sum.dirty + RootHeap::DirtyPages() * kPageSize;
  ledger.metadata = Metadata::ResidentBytes();
  const LimitGate::View view = LimitGate::Read();
  ledger.anon = view.process_anon;
  ledger.foreign = view.foreign;
  ledger.limit = view.limit;
  ledger.headroom = view.headroom;
  ledger.cgroup_used = view.used;
  ledger.level = view.level;
  ledger.stall_permille = view.stall_permille;
  ledger.limit_changes = view.changes;
  ledger.released = Releaser::ReleasedBytes();
  ledger.regret = Regret::Pages() * kPageSize;
  ledger.purges = Releaser::Purges();
  ledger.callbacks = Consumers::Asked();
  ledger.arenas = static_cast<uint32_t>(Arena::Count());
  return ledger;
}

}  // namespace neap
