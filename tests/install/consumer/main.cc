// Exits with 0 if the C++ face of the installed header puts a container into an arena.
#include <neap.h>

#include <vector>

int main() {
  neap_arena* arena = neap_arena_create(nullptr, "consumer", NEAP_UNBOUNDED);
  if (arena == nullptr) return 1;
  {
    neap::ArenaResource resource(arena);
    std::pmr::vector<int> pooled(1 << 20, 7, &resource);
    std::vector<int, neap::ArenaAllocator<int>> direct(1 << 20, 7, neap::ArenaAllocator<int>(arena));
    neap_arena_stats_t stats;
    if (neap_arena_stats(arena, &stats) != 0 || stats.live < 2 * sizeof(int) << 20) return 2;
    if (pooled.back() + direct.back() != 14) return 3;
  }
  return neap_arena_destroy(arena) == 0 ? 0 : 4;
}
