// number_blocks.h: cached blocks as tests of the memory manager have them.
#pragma once

#include <list>
#include <optional>
#include <vector>

#include "engine/memory/memory_manager.h"

namespace neap::engine {

constexpr uint64_t kMiB = 1 << 20;

// Cached blocks that are numbers alone, in the order of their last use.
class Blocks : public Evictor {
 public:
  struct Block {
    DatasetId dataset;
    uint64_t bytes;
    MemoryMode mode;
  };
  explicit Blocks(MemoryManager& manager) : manager_(manager) { manager_.SetEvictor(this); }
  ~Blocks() override {
    for (const Block& block : list) manager_.ReleaseStorage(block.bytes, block.mode);
    manager_.SetEvictor(nullptr);
  }
  bool Cache(DatasetId dataset, uint64_t bytes, MemoryMode mode = MemoryMode::kOnHeap) {
    if (!manager_.AcquireStorage(dataset, bytes, mode)) return false;
    list.push_back({dataset, bytes, mode});
    return true;
  }
  uint64_t Evict(std::optional<DatasetId> keep, uint64_t bytes, MemoryMode mode) override {
    const auto fits = [&](const Block& block) { return block.mode == mode && block.dataset != keep; };
    uint64_t there = 0;
    for (const Block& block : list) there += fits(block) ? block.bytes : 0;
    if (there < bytes) return 0;
    uint64_t freed = 0;
    for (auto block = list.begin(); freed < bytes;) {
      if (!fits(*block)) {
        ++block;
        continue;
      }
      freed += block->bytes;
      block = list.erase(block);
      ++evicted;
    }
    return freed;
  }
  std::vector<DatasetId> datasets() const {
    std::vector<DatasetId> all;
    for (const Block& block : list) all.push_back(block.dataset);
    return all;
  }

  std::list<Block> list;
  int evicted = 0;

 private:
  MemoryManager& manager_;
};

}  // namespace neap::engine
