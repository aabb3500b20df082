// ledger.cc: sums the pools' and arenas' own figures. Each is exact; taken one after another while others allocate they
// need not fit each other to the byte, so that differences are cut at zero.
#include "alloc/ledger.h"

#include <string.h>

#include <algorithm>

#include "alloc/arena.h"
#include "alloc/consumers.h"
#include "alloc/cpu_cache.h"
#include "alloc/hardened.h"
#include "alloc/limit_gate.h"
#include "alloc/metadata.h"
#include "alloc/rcu.h"
#include "alloc/regret.h"
#include "alloc/release.h"
#include "alloc/requests.h"

namespace neap {
namespace {

uint64_t Minus(uint64_t a, uint64_t b) { return a > b ? a - b : 0; }

// A thread's first read section maps memory, and liburcu ends the process if there is none: programs without arenas of
// their own are spared it.
template <class F>
void ForEachArena(F f) {
  if (const Arena* root = Arena::ById(0)) f(*root);  // else nothing was allocated yet
  if (Arena::Count() == 1) return;
  Rcu::ReadLock();
  for (size_t id = 1; id < Arena::Highest(); ++id) {
    if (const Arena* arena = Arena::ById(id)) f(*arena);
  }
  Rcu::ReadUnlock();
}

StatsArena RowOf(const Arena& arena) {
  const ArenaLedger ledger = arena.Read();
  StatsArena row = {};
  memcpy(row.name, arena.name(), sizeof row.name);
  row.id = arena.id();
  row.parent = arena.IsRoot() ? 0 : arena.parent()->id();
  row.live = arena.IsRoot() ? Minus(ledger.taken, FreeOutsideSlabs()) : ledger.taken;
  row.cached = Minus(Minus(ledger.resident, ledger.dirty), row.live);
  row.dirty = ledger.dirty;
  row.charged = arena.charged();
  row.peak = arena.peak();
  row.bound = arena.bound();
  row.overruns = arena.overruns();
  return row;
}

uint64_t ResidentOf(const StatsArena& row) { return row.live + row.cached + row.dirty; }

// Into the rows behind the root's, of which the smallest gives way.
void AddRow(StatsTables& tables, const StatsArena& row) {
  if (tables.arenas < kStatsArenas) {
    tables.arena[tables.arenas++] = row;
    return;
  }
  StatsArena* smallest = &tables.arena[1];
  for (StatsArena& other : tables.arena) {
    if (other.id != 0 && ResidentOf(other) < ResidentOf(*smallest)) smallest = &other;
  }
  if (ResidentOf(row) > ResidentOf(*smallest)) *smallest = row;
}

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
  ForEachArena([&](const Arena& arena) {
    sum += arena.Read();
    ledger.overruns += arena.overruns();
  });
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
  for (uint32_t i = 0; i < kPurgeCauses; ++i) {
    ledger.purges[i] = Releaser::Purges(PurgeCause{i});
    ledger.purged[i] = Releaser::PurgedBytes(PurgeCause{i});
  }
  ledger.decay_ms = Releaser::DecayMs();
  ledger.callbacks = Consumers::Asked();
  ledger.wanted = Consumers::Wanted();
  ledger.arenas = static_cast<uint32_t>(Arena::Count());
  return ledger;
}

void ReadTables(StatsTables& tables) {
  tables.arenas = 0;
  for (StatsClass& row : tables.size_class) row = {};
  ForEachArena([&](const Arena& arena) {
    arena.AddClasses(tables.size_class);
    AddRow(tables, RowOf(arena));
  });
  for (size_t c = 0; c <= kClasses; ++c) {
    StatsClass& row = tables.size_class[c];
    if (c < kCachedClasses) row.live = Minus(row.live, CpuCaches::CachedBytes(c));
    row.requested = Requests::Of(c, row.live);
  }
  tables.nodes = std::min<uint32_t>(static_cast<uint32_t>(RootHeap::Nodes()), kStatsNodes);
  for (uint32_t node = 0; node < tables.nodes; ++node) tables.node[node] = RootHeap::Read(static_cast<int>(node));
}

}  // namespace neap
