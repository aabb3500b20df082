// fake_neap.cc: the arenas of neap.h on the process's own malloc, for the engine under sanitizers, which bring a malloc
// of their own. Bounds and counts are true to the byte, and an arena that is destroyed while blocks of it live ends the
// process. Scopes own nothing, nobody is ever under pressure, and there is no limit.
#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "alloc/neap.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#endif

// Counters are atomic and nothing is locked: a lock here would order what threads do, and hide their races from the
// thread sanitizer.
struct neap_arena {
  neap_arena* parent;
  std::string name;
  std::atomic<size_t> bound;
  std::atomic<size_t> live{0};  // of this arena alone, as `reserved`
  std::atomic<size_t> reserved{0};
  std::atomic<size_t> charged{0};  // with all below
  std::atomic<size_t> peak{0};
  std::atomic<size_t> overruns{0};
  std::atomic<size_t> children{0};
};

struct neap_consumer {};

namespace {

constexpr auto kRelaxed = std::memory_order_relaxed;

// Before every block; the sanitizer takes it for a red zone.
struct Head {
  neap_arena* arena;
  size_t size;
  void* start;
};

void Hide([[maybe_unused]] Head* head) {
#ifdef __SANITIZE_ADDRESS__
  ASAN_POISON_MEMORY_REGION(head, sizeof *head);
#endif
}

void Show([[maybe_unused]] Head* head) {
#ifdef __SANITIZE_ADDRESS__
  ASAN_UNPOISON_MEMORY_REGION(head, sizeof *head);
#endif
}

neap_arena* Root() {
  static neap_arena* root = new neap_arena{nullptr, "root", NEAP_UNBOUNDED};
  return root;
}

void Charge(neap_arena* arena, size_t bytes) {
  for (; arena != nullptr; arena = arena->parent) {
    const size_t now = arena->charged.fetch_add(bytes, kRelaxed) + bytes;
    size_t peak = arena->peak.load(kRelaxed);
    while (now > peak && !arena->peak.compare_exchange_weak(peak, now, kRelaxed)) {
    }
  }
}

void Discharge(neap_arena* arena, size_t bytes) {
  for (; arena != nullptr; arena = arena->parent) arena->charged.fetch_sub(bytes, kRelaxed);
}

bool IsOver(const neap_arena* arena) {
  for (; arena != nullptr; arena = arena->parent) {
    if (arena->charged.load(kRelaxed) > arena->bound.load(kRelaxed)) return true;
  }
  return false;
}

// Takes at most `bytes` of what is reserved; returns how much.
size_t TakeReserved(neap_arena* arena, size_t bytes) {
  size_t reserved = arena->reserved.load(kRelaxed);
  size_t taken;
  do {
    taken = std::min(reserved, bytes);
  } while (!arena->reserved.compare_exchange_weak(reserved, reserved - taken, kRelaxed));
  return taken;
}

[[noreturn]] void Die(const char* what, const neap_arena* arena) {
  std::fprintf(stderr, "the arena %s is destroyed with %s\n", arena->name.c_str(), what);
  std::abort();
}

}  // namespace

neap_arena* neap_arena_root() { return Root(); }

neap_arena* neap_arena_create(neap_arena* parent, const char* name, size_t bound) {
  parent = parent == nullptr ? Root() : parent;
  parent->children.fetch_add(1, kRelaxed);
  return new neap_arena{parent, name, bound};
}

int neap_arena_destroy(neap_arena* arena) {
  if (arena->live.load(kRelaxed) != 0) Die("blocks that live", arena);
  if (arena->children.load(kRelaxed) != 0) Die("arenas below it", arena);
  Discharge(arena, arena->charged.load(kRelaxed));
  arena->parent->children.fetch_sub(1, kRelaxed);
  delete arena;
  return 0;
}

int neap_arena_set_bound(neap_arena* arena, size_t bound) {
  arena->bound.store(bound, kRelaxed);
  return 0;
}

int neap_arena_stats(neap_arena* arena, neap_arena_stats_t* stats) {
  *stats = {};
  stats->live = stats->resident = arena->live.load(kRelaxed);
  stats->charged = arena->charged.load(kRelaxed);
  stats->reserved = arena->reserved.load(kRelaxed);
  stats->peak = arena->peak.load(kRelaxed);
  stats->bound = arena->bound.load(kRelaxed);
  stats->overruns = arena->overruns.load(kRelaxed);
  return 0;
}

int neap_arena_reserve(neap_arena* arena, size_t bytes) {
  Charge(arena, bytes);
  if (IsOver(arena)) {
    Discharge(arena, bytes);
    return ENOMEM;
  }
  arena->reserved.fetch_add(bytes, kRelaxed);
  return 0;
}

int neap_arena_may_grow(neap_arena* arena, size_t bytes) {
  for (; arena != nullptr; arena = arena->parent) {
    if (arena->charged.load(kRelaxed) + bytes > arena->bound.load(kRelaxed)) return ENOMEM;
  }
  return 0;
}

int neap_arena_unreserve(neap_arena* arena, size_t bytes) {
  Discharge(arena, TakeReserved(arena, bytes));
  return 0;
}

size_t neap_arena_purge(neap_arena*) { return 0; }

void* neap_arena_malloc(neap_arena* arena, size_t size, size_t alignment) {
  alignment = std::max(alignment, alignof(std::max_align_t));
  const size_t before = (sizeof(Head) + alignment - 1) / alignment * alignment;
  void* start = nullptr;
  if (size > PTRDIFF_MAX - before || posix_memalign(&start, alignment, before + size) != 0) return nullptr;
  char* block = static_cast<char*>(start) + before;
  Head* head = reinterpret_cast<Head*>(block) - 1;
  *head = {arena, size, start};
  Hide(head);
  Charge(arena, size - TakeReserved(arena, size));
  arena->live.fetch_add(size, kRelaxed);
  if (IsOver(arena)) arena->overruns.fetch_add(1, kRelaxed);
  return block;
}

void neap_free(void* block) {
  if (block == nullptr) return;
  Head* head = static_cast<Head*>(block) - 1;
  Show(head);
  const Head was = *head;
  was.arena->live.fetch_sub(was.size, kRelaxed);
  Discharge(was.arena, was.size);
  std::free(was.start);
}

int neap_scope_push(neap_arena*) { return 0; }
void neap_scope_pop() {}

neap_consumer* neap_pressure_register(neap_pressure_fn, void*) { return new neap_consumer; }
void neap_pressure_unregister(neap_consumer* consumer) { delete consumer; }

int neap_stats(neap_stats_t* stats) {
  *stats = {};
  stats->live = stats->resident = Root()->charged.load(kRelaxed);
  stats->limit = stats->headroom = UINT64_MAX;
  return 0;
}

size_t neap_purge() { return 0; }
