// arrow_pool.h: a Memory as Arrow's memory pool, so that what Arrow and Parquet allocate is charged to its arena.
// For .cc files alone: it includes Arrow.
#pragma once

#include <arrow/memory_pool.h>

#include <cstdint>
#include <string>

#include "engine/memory/memory.h"

namespace neap::engine {

// The Memory outlives the pool, and the pool every buffer taken from it. Any thread.
class ArrowPool : public arrow::MemoryPool {
 public:
  explicit ArrowPool(Memory& memory) : memory_(memory) {}

  using arrow::MemoryPool::Allocate;
  using arrow::MemoryPool::Free;
  using arrow::MemoryPool::Reallocate;
  arrow::Status Allocate(int64_t size, int64_t alignment, uint8_t** out) override;
  arrow::Status Reallocate(int64_t old_size, int64_t new_size, int64_t alignment, uint8_t** block) override;
  void Free(uint8_t* block, int64_t size, int64_t alignment) override;
  void ReleaseUnused() override { memory_.Purge(); }

  int64_t bytes_allocated() const override { return figures_.bytes_allocated(); }
  int64_t max_memory() const override { return figures_.max_memory(); }
  int64_t total_bytes_allocated() const override { return figures_.total_bytes_allocated(); }
  int64_t num_allocations() const override { return figures_.num_allocations(); }
  std::string backend_name() const override { return "neap"; }

 private:
  Memory& memory_;
  arrow::internal::MemoryPoolStats figures_;
};

}  // namespace neap::engine
