// api.cc: neap.h over the classes of alloc/.
#include <errno.h>

#include "alloc/arena.h"
#include "alloc/clock.h"
#include "alloc/config.h"
#include "alloc/consumers.h"
#include "alloc/heap.h"
#include "alloc/ledger.h"
#include "alloc/limit_gate.h"
#include "alloc/neap.h"
#include "alloc/page_map.h"
#include "alloc/release.h"
#include "alloc/scope.h"

using neap::Arena;
using neap::StartHeap;

namespace {

Arena* Of(neap_arena* arena) { return reinterpret_cast<Arena*>(arena); }

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
  // Of what the arenas held; free runs had their part in it before or after.
  const uint64_t peak = Arena::Root().peak() + ledger.metadata;
  stats->peak_resident = peak > ledger.Resident() ? peak : ledger.Resident();
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

size_t neap_purge(void) { return StartHeap() ? neap::Releaser::ReclaimNow(neap::PurgeCause::kCalled) : 0; }

}  // extern "C"
