// memory.cc: arenas as owners.
#include "engine/memory/memory.h"

#include <mutex>
#include <vector>

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

namespace {

struct Kept {
  std::mutex mutex;
  std::vector<std::unique_ptr<Memory>> memories;
};

// Never destroyed: what lives in the arenas may be needed until the process ends.
Kept& KeptMemories() {
  static Kept* kept = new Kept;
  return *kept;
}

}  // namespace

QueryMemory::QueryMemory(size_t bound) {
  Kept& kept = KeptMemories();
  std::lock_guard lock(kept.mutex);
  if (kept.memories.empty()) {
    memory_ = std::make_unique<Memory>(nullptr, "query", bound);
  } else {
    memory_ = std::move(kept.memories.back());
    kept.memories.pop_back();
    neap_arena_set_bound(memory_->arena(), bound);
  }
}

QueryMemory::~QueryMemory() {
  if (memory_->Stats().live == 0) return;
  Kept& kept = KeptMemories();
  std::lock_guard lock(kept.mutex);
  kept.memories.push_back(std::move(memory_));
}

}  // namespace neap::engine
