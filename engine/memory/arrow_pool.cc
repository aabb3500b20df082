// arrow_pool.cc: Arrow's buffers as blocks of an arena.
#include "engine/memory/arrow_pool.h"

#include <arrow/status.h>

#include <algorithm>
#include <cstring>

#include "engine/core/error.h"

namespace neap::engine {
namespace {

// What an empty buffer points to: Arrow wants an address even for no bytes.
alignas(64) uint8_t empty_block[64];

}  // namespace

arrow::Status ArrowPool::Allocate(int64_t size, int64_t alignment, uint8_t** out) {
  if (size < 0) return arrow::Status::Invalid("negative size of a buffer");
  if (size == 0) {
    *out = empty_block;
    return arrow::Status::OK();
  }
  try {
    *out = static_cast<uint8_t*>(memory_.Allocate(static_cast<size_t>(size), static_cast<size_t>(alignment)));
  } catch (const Error& error) {
    return arrow::Status::OutOfMemory(error.what());
  }
  figures_.DidAllocateBytes(size);
  return arrow::Status::OK();
}

arrow::Status ArrowPool::Reallocate(int64_t old_size, int64_t new_size, int64_t alignment, uint8_t** block) {
  uint8_t* grown;
  ARROW_RETURN_NOT_OK(Allocate(new_size, alignment, &grown));
  std::memcpy(grown, *block, static_cast<size_t>(std::min(old_size, new_size)));
  Free(*block, old_size, alignment);
  *block = grown;
  return arrow::Status::OK();
}

void ArrowPool::Free(uint8_t* block, int64_t size, int64_t /*alignment*/) {
  if (block == empty_block) return;
  Memory::Free(block);
  figures_.DidFreeBytes(size);
}

}  // namespace neap::engine
