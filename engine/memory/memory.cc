// memory.cc: arenas as owners.
#include "engine/memory/memory.h"

#include "engine/core/error.h"

namespace neap::engine {

Memory::Memory(Memory* parent, const std::string& name, size_t bound)
    : arena_(neap_arena_create(parent == nullptr ? nullptr : parent->arena_, name.c_str(), bound)) {
  if (arena_ == nullptr) throw Error(ErrorKind::kMemory, "no memory for the arena of " + name);
}

Memory::~Memory() { neap_arena_destroy(arena_); }

bool Memory::HasRoom(size_t bytes) { return neap_arena_may_grow(arena_, bytes) == 0; }

void* Memory::Allocate(size_t bytes, size_t alignment) {
  void* block = neap_arena_malloc(arena_, bytes, alignment);
  if (block == nullptr) {
    throw Error(ErrorKind::kMemory, "no memory for a block of " + std::to_string(bytes) + " bytes");
  }
  return block;
}

void Memory::Free(void* block) noexcept { neap_free(block); }

neap_arena_stats_t Memory::Stats() const {
  neap_arena_stats_t stats{};
  neap_arena_stats(arena_, &stats);
  return stats;
}

size_t Memory::Resident() const { return Stats().resident; }
size_t Memory::Charged() const { return Stats().charged; }
size_t Memory::Peak() const { return Stats().peak; }
size_t Memory::Bound() const { return Stats().bound; }

}  // namespace neap::engine
