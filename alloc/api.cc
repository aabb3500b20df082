// api.cc: neap.h over the classes of alloc/.
#include <errno.h>
#include <string.h>

#include "alloc/arena.h"
#include "alloc/clock.h"
#include "alloc/config.h"
#include "alloc/consumers.h"
#include "alloc/foreign.h"
#include "alloc/heap.h"
#include "alloc/ledger.h"
#include "alloc/limit_gate.h"
#include "alloc/metadata.h"
#include "alloc/neap.h"
#include "alloc/page_map.h"
#include "alloc/release.h"
#include "alloc/scope.h"

using neap::Arena;
using neap::StartHeap;

namespace {

Arena* Of(neap_arena* arena) { return reinterpret_cast<Arena*>(arena); }

// Of what the arenas held; free runs had their part in it before or after.
uint64_t PeakResident(uint64_t metadata, uint64_t resident) {
  const uint64_t peak = Arena::Root().peak() + metadata;
  return peak > resident ? peak : resident;
}

neap_ledger_row_t RowOf(neap_ledger_kind kind) {
  neap_ledger_row_t row = {};
  row.size = sizeof row;
  row.kind = kind;
  return row;
}

neap_ledger_row_t ClassRow(neap_ledger_kind kind, size_t size_class, const neap::StatsClass& figures) {
  neap_ledger_row_t row = RowOf(kind);
  row.block_size = size_class < neap::kClasses ? neap::kSizeClasses[size_class].size : 0;
  row.live = figures.live;
  row.requested = figures.requested;
  row.cached = figures.resident - figures.dirty - figures.live;
  row.dirty = figures.dirty;
  row.resident = figures.resident;
  return row;
}

neap_ledger_row_t ArenaRow(const neap::StatsArena& figures) {
  static_assert(sizeof(neap_ledger_row_t::name) == sizeof figures.name);
  neap_ledger_row_t row = RowOf(NEAP_LEDGER_ARENA);
  memcpy(row.name, figures.name, sizeof row.name);
  row.id = figures.id;
  row.parent = figures.parent;
  row.live = figures.live;
  row.cached = figures.cached;
  row.dirty = figures.dirty;
  row.resident = figures.live + figures.cached + figures.dirty;
  row.charged = figures.charged;
  row.peak = figures.peak;
  row.bound = figures.bound;
  row.overruns = figures.overruns;
  return row;
}

}  // namespace

extern "C" {

neap_arena* neap_arena_root(void) {
  StartHeap();
  return reinterpret_cast<neap_arena*>(&Arena::Root());
}

neap_arena* neap_arena_create(neap_arena* parent, const char* name, size_t bound) {
  Arena* arena = StartHeap() ? Arena::Create(parent != nullptr ? Of(parent) : &Arena::Root(), name, bound) : nullptr;
  if (arena == nullptr) errno = ENOMEM;
  return reinterpret_cast<neap_arena*>(arena);
}

int neap_arena_destroy(neap_arena* arena) { return arena != nullptr && Arena::Destroy(Of(arena)) ? 0 : EINVAL; }

int neap_arena_set_bound(neap_arena* arena, size_t bound) {
  if (arena == nullptr) return EINVAL;
  Of(arena)->set_bound(bound);
  return 0;
}

int neap_arena_set_mode(neap_arena* arena, neap_arena_mode mode) {
  if (arena == nullptr || (mode != NEAP_ARENA_SOFT && mode != NEAP_ARENA_STRICT)) return EINVAL;
  Of(arena)->set_strict(mode == NEAP_ARENA_STRICT);
  return 0;
}

int neap_arena_stats(neap_arena* arena, neap_arena_stats_t* stats) {
  if (arena == nullptr || stats == nullptr) return EINVAL;
  const neap::ArenaLedger ledger = Of(arena)->Read();
  uint64_t live = ledger.taken;
  if (Of(arena)->IsRoot() && StartHeap()) {
    const uint64_t free = neap::FreeOutsideSlabs();
    live = live > free ? live - free : 0;
  }
  const uint64_t held = ledger.resident > ledger.dirty ? ledger.resident - ledger.dirty : 0;
  *stats = {live,
            held > live ? held - live : 0,
            ledger.dirty,
            ledger.resident,
            Of(arena)->charged(),
            Of(arena)->reserved(),
            Of(arena)->peak(),
            Of(arena)->bound(),
            Of(arena)->overruns()};
  return 0;
}

int neap_arena_reserve(neap_arena* arena, size_t bytes) {
  if (arena == nullptr) return EINVAL;
  return bytes <= PTRDIFF_MAX && Of(arena)->Reserve(bytes) ? 0 : ENOMEM;
}

int neap_arena_unreserve(neap_arena* arena, size_t bytes) {
  if (arena == nullptr) return EINVAL;
  Of(arena)->Unreserve(bytes);
  return 0;
}

int neap_arena_may_grow(neap_arena* arena, size_t bytes) {
  if (arena == nullptr) return EINVAL;
  return bytes <= PTRDIFF_MAX && Of(arena)->MayGrow(bytes) ? 0 : ENOMEM;
}

size_t neap_arena_purge(neap_arena* arena) {
  if (arena == nullptr) return 0;
  return neap::Releaser::ReleaseArena(Of(arena));
}

void* neap_arena_malloc(neap_arena* arena, size_t size, size_t alignment) {
  if (alignment < neap::kMinAlignment) alignment = neap::kMinAlignment;
  void* block = nullptr;
  if (arena != nullptr && (alignment & (alignment - 1)) == 0 && size <= PTRDIFF_MAX && StartHeap()) {
    block = neap::AllocateIn(*Of(arena), size, alignment);
  }
  if (block == nullptr) errno = ENOMEM;
  return block;
}

void neap_free(void* block) { neap::Free(block); }

int neap_scope_push(neap_arena* arena) {
  if (arena == nullptr) return EINVAL;
  return neap::ThreadScope::Push(Of(arena)) ? 0 : EAGAIN;
}

void neap_scope_pop(void) { neap::ThreadScope::Pop(); }

neap_consumer* neap_pressure_register(neap_pressure_fn fn, void* context) {
  neap_consumer* consumer = fn == nullptr || !StartHeap() ? nullptr : neap::Consumers::Register(fn, context);
  if (consumer == nullptr)
    errno = fn == nullptr ? EINVAL : ENOMEM;
  else
    neap::Releaser::StartThread();
  return consumer;
}

void neap_pressure_unregister(neap_consumer* consumer) { neap::Consumers::Unregister(consumer); }

int neap_stats(neap_stats_t* stats) {
  if (stats == nullptr) return EINVAL;
  *stats = {};
  if (!StartHeap()) return ENOMEM;
  neap::LimitGate::Refresh();
  const neap::Ledger ledger = neap::ReadLedger();
  stats->live = ledger.live;
  stats->cached = ledger.cached;
  stats->dirty = ledger.dirty;
  stats->metadata = ledger.metadata;
  stats->resident = ledger.Resident();
  stats->peak_resident = PeakResident(ledger.metadata, ledger.Resident());
  stats->released = ledger.released;
  stats->regret = ledger.regret;
  stats->foreign = ledger.foreign;
  stats->limit = ledger.limit;
  stats->headroom = ledger.headroom;
  stats->level = ledger.level;
  stats->arenas = ledger.arenas;
  stats->limit_changes = ledger.limit_changes;
  stats->callbacks = ledger.callbacks;
  stats->reserved_space = neap::PageMap::MappedBytes();
  return 0;
}

int neap_ledger(neap_ledger_fn fn, void* context) {
  if (fn == nullptr) return EINVAL;
  if (!StartHeap()) return ENOMEM;
  neap::LimitGate::Refresh();
  neap::LedgerRows rows;
  neap_ledger_row_t shared = RowOf(NEAP_LEDGER_SHARED);
  shared.dirty = rows.free_runs();
  shared.metadata = neap::Metadata::ResidentBytes();
  shared.resident = shared.dirty + shared.metadata;
  fn(context, &shared);

  neap_ledger_row_t total = shared;
  total.kind = NEAP_LEDGER_TOTAL;
  for (size_t id = 0; id < Arena::Highest(); ++id) {
    if (!rows.ReadArena(id)) continue;
    neap_ledger_row_t arena = ArenaRow(rows.arena());
    for (size_t c = 0; c <= neap::kClasses; ++c) {
      neap_ledger_row_t row = ClassRow(NEAP_LEDGER_CLASS_OF_ARENA, c, rows.ClassOfArena(c));
      row.id = arena.id;
      arena.requested += row.requested;
      if (row.resident != 0) fn(context, &row);
    }
    total.live += arena.live;
    total.requested += arena.requested;
    total.cached += arena.cached;
    total.dirty += arena.dirty;
    total.resident += arena.resident;
    total.overruns += arena.overruns;
    fn(context, &arena);
  }
  for (size_t c = 0; c <= neap::kClasses; ++c) {
    const neap_ledger_row_t row = ClassRow(NEAP_LEDGER_CLASS, c, rows.Class(c));
    if (row.resident != 0) fn(context, &row);
  }
  for (int node = 0; node < neap::RootHeap::Nodes(); ++node) {
    neap_ledger_row_t row = RowOf(NEAP_LEDGER_NODE);
    row.id = static_cast<uint32_t>(node);
    row.resident = rows.Node(row.id).resident;
    row.dirty = rows.Node(row.id).dirty;
    fn(context, &row);
  }
  const neap::LimitGate::View view = neap::LimitGate::Read();
  total.peak = PeakResident(total.metadata, total.resident);
  total.foreign = view.foreign;
  total.anon = view.process_anon;
  total.foreign_purges = neap::ForeignAllocators::Purges();
  total.foreign_purged = neap::ForeignAllocators::PurgedBytes();
  fn(context, &total);
  return 0;
}

size_t neap_purge(void) { return StartHeap() ? neap::Releaser::ReclaimNow(neap::PurgeCause::kCalled) : 0; }

}  // extern "C"
