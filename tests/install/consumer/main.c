/* Exits with 0 if malloc is neap's and an arena's account holds what was allocated in it. */
#include <neap.h>
#include <stdlib.h>

int main(void) {
  neap_stats_t before, after;
  if (neap_stats(&before) != 0) return 1;
  const size_t size = (size_t)8 << 20;
  char* block = malloc(size);
  if (block == NULL) return 2;
  for (size_t i = 0; i < size; i += 4096) block[i] = 1;
  if (neap_stats(&after) != 0 || after.live < before.live + size) return 3;

  neap_arena* arena = neap_arena_create(NULL, "consumer", NEAP_UNBOUNDED);
  neap_arena_stats_t stats;
  if (arena == NULL || neap_scope_push(arena) != 0) return 4;
  char* inside = malloc(size);
  neap_scope_pop();
  if (inside == NULL || neap_arena_stats(arena, &stats) != 0 || stats.live < size) return 5;
  free(inside);
  free(block);
  return neap_arena_destroy(arena) == 0 ? 0 : 6;
}
