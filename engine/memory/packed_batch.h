// packed_batch.h: a batch copied into one stretch of memory, from which it is read in place. Dictionaries stay
// dictionaries where that is smaller.
#pragma once

#include <cstddef>
#include <cstdint>

#include "engine/core/column.h"

namespace neap::engine {

// The columns, and then what they point to, follow.
struct alignas(16) PackedBatch {
  uint32_t rows;
  uint32_t column_count;

  const Column* columns() const { return reinterpret_cast<const Column*>(this + 1); }
  void Read(Batch& batch) const {
    batch.columns.assign(columns(), columns() + column_count);
    batch.SetAll(rows);
  }
};
static_assert(alignof(PackedBatch) % alignof(Column) == 0);

// Bytes that Pack will write for the rows that count.
size_t PackedSize(const Batch& batch);
// Copies them to `at`, which is aligned to 16 bytes.
void Pack(const Batch& batch, void* at);

}  // namespace neap::engine
