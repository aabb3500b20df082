// ledger.cc: sums the pools' and arenas' own figures. Each is exact; taken one after another while others allocate they
// need not fit each other to the byte, so that differences are cut at zero.
#include "alloc/ledger.h"

#include <string.h>

#include <algorithm>

#include "alloc/consumers.h"
#include "alloc/cpu_cache.h"
#include "alloc/foreign.h"
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
bool WithArena(size_t id, F f) {
  const Arena* arena = Arena::ById(id);
  if (arena == nullptr) return false;  // of the root: nothing was allocated yet
  if (id == 0) {
    f(*arena);
    return true;
  }
  Rcu::ReadLock();
  arena = Arena::ById(id);
  if (arena != nullptr) f(*arena);
  Rcu::ReadUnlock();
  return arena != nullptr;
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

uint64_t FreeOutsideSlabs(size_t size_class) {
  uint64_t bytes = size_class < kClasses ? Hardened::QuarantinedBytes(size_class) : 0;
  if (size_class < kCachedClasses) bytes += CpuCaches::CachedBytes(size_class);
  return bytes;
}

LedgerRows::LedgerRows() {
  for (int node = 0; node < RootHeap::Nodes(); ++node) {
    const uint64_t dirty = RootHeap::Node(node).page_heap.DirtyPages() * kPageSize;
    nodes_[node] = {.resident = dirty, .dirty = dirty};
    free_runs_ += dirty;
  }
}

bool LedgerRows::ReadArena(size_t id) {
  for (StatsClass& row : own_) row = {};
  arena_ = {};
  const bool found = WithArena(id, [&](const Arena& arena) {
    arena.AddRows(own_, nodes_);
    memcpy(arena_.name, arena.name(), sizeof arena_.name);
    arena_.id = arena.id();
    arena_.parent = arena.IsRoot() ? 0 : arena.parent()->id();
    arena_.charged = arena.charged();
    arena_.peak = arena.peak();
    arena_.bound = arena.bound();
    arena_.overruns = arena.overruns();
  });
  for (size_t c = 0; found && c <= kClasses; ++c) {
    StatsClass& row = own_[c];
    if (id == 0) row.live = Minus(row.live, FreeOutsideSlabs(c));
    row.requested = Requests::Of(c, row.live);
    arena_.live += row.live;
    arena_.cached += row.resident - row.dirty - row.live;
    arena_.dirty += row.dirty;
    all_[c].live += row.live;
    all_[c].requested += row.requested;
    all_[c].resident += row.resident;
    all_[c].dirty += row.dirty;
  }
  return found;
}

Ledger ReadLedger() {
  Ledger ledger = {};
  ArenaLedger sum;
  for (size_t id = 0; id < Arena::Highest(); ++id) {
    WithArena(id, [&](const Arena& arena) {
      sum += arena.Read();
      ledger.overruns += arena.overruns();
    });
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
  for (uint32_t i = 0; i < kPurgeCauses; ++i) {
    ledger.purges[i] = Releaser::Purges(PurgeCause{i});
    ledger.purged[i] = Releaser::PurgedBytes(PurgeCause{i});
  }
  ledger.decay_ms = Releaser::DecayMs();
  ledger.callbacks = Consumers::Asked();
  ledger.wanted = Consumers::Wanted();
  ledger.foreign_purges = ForeignAllocators::Purges();
  ledger.foreign_purged = ForeignAllocators::PurgedBytes();
  ledger.arenas = static_cast<uint32_t>(Arena::Count());
  return ledger;
}

void ReadTables(StatsTables& tables) {
  LedgerRows rows;
  tables.arenas = 0;
  for (size_t id = 0; id < Arena::Highest(); ++id) {
    if (rows.ReadArena(id)) AddRow(tables, rows.arena());
  }
  for (size_t c = 0; c <= kClasses; ++c) tables.size_class[c] = rows.Class(c);
  tables.nodes = std::min<uint32_t>(static_cast<uint32_t>(RootHeap::Nodes()), kStatsNodes);
  for (uint32_t node = 0; node < tables.nodes; ++node) tables.node[node] = rows.Node(node);
}

}  // namespace neap
