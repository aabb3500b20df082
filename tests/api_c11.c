/* api_c11.c: neap.h is a C11 header, and all of its calls link from C. For api_test.cc. */
#include "alloc/neap.h"

static size_t Nothing(void* context, size_t wanted) {
  (void)context;
  (void)wanted;
  return 0;
}

static void TakeTotal(void* context, const neap_ledger_row_t* row) {
  if (row->kind == NEAP_LEDGER_TOTAL) *(neap_ledger_row_t*)context = *row;
}

/* 0, or the line that was wrong. */
int UseFromC(void) {
  neap_arena* root = neap_arena_root();
  neap_arena* arena = neap_arena_create(root, "from C", (size_t)1 << 20);
  neap_arena_stats_t stats;
  neap_stats_t process;
  neap_ledger_row_t total = {0};
  void* block;
  neap_consumer* consumer;
  if (arena == NULL) return __LINE__;
  if (neap_arena_set_mode(arena, NEAP_ARENA_STRICT) != 0) return __LINE__;
  if (neap_arena_set_bound(arena, (size_t)2 << 20) != 0) return __LINE__;
  if (neap_arena_may_grow(arena, 4096) != 0) return __LINE__;
  if (neap_arena_reserve(arena, 4096) != 0) return __LINE__;
  if (neap_arena_unreserve(arena, 4096) != 0) return __LINE__;
  if (neap_scope_push(arena) != 0) return __LINE__;
  neap_scope_pop();
  block = neap_arena_malloc(arena, 100, 64);
  if (block == NULL || ((uintptr_t)block & 63) != 0) return __LINE__;
  if (neap_arena_stats(arena, &stats) != 0 || stats.live < 100) return __LINE__;
  if (neap_stats(&process) != 0 || process.arenas != 2) return __LINE__;
  if (process.resident != process.live + process.cached + process.dirty + process.metadata) return __LINE__;
  if (neap_ledger(TakeTotal, &total) != 0 || total.live < 100) return __LINE__;
  (void)neap_arena_purge(arena);
  (void)neap_purge();
  consumer = neap_pressure_register(Nothing, NULL);
  if (consumer == NULL) return __LINE__;
  neap_pressure_unregister(consumer);
  if (neap_arena_destroy(arena) != 0) return __LINE__;
  return 0;
}
