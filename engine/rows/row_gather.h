// row_gather.h: rows as a batch of flat columns, in buffers that are used again and again.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/core/column.h"
#include "engine/memory/memory.h"
#include "engine/rows/row_layout.h"

namespace neap::engine {

class RowGather {
 public:
  // For up to `capacity` rows at a time.
  RowGather(const RowLayout& layout, Memory& memory, uint32_t capacity) : layout_(layout) {
    for (const Type& type : layout.types()) {
      data_.emplace_back(memory, capacity * type.width());
      valid_.emplace_back(memory, capacity);
    }
  }

  // Valid until the next call, and as long as the rows' strings are.
  void Gather(const uint8_t* const* rows, uint32_t count, Batch& batch) {
    batch.columns.resize(layout_.columns());
    for (size_t c = 0; c < layout_.columns(); ++c) {
      batch.columns[c] = GatherColumn(layout_, c, rows, nullptr, count, {data_[c].data(), valid_[c].data()});
    }
    batch.SetAll(count);
  }

 private:
  const RowLayout& layout_;
  std::vector<Array<uint8_t>> data_, valid_;
};

}  // namespace neap::engine
