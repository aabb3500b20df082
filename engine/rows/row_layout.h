// row_layout.h: rows as records, for what is looked up or sorted row by row: hash tables, sorts, windows.
//
// A row is `width()` bytes, not aligned: one validity bit a column (1: not NULL), then every value at its offset.
// A View of more than 12 bytes points into the RowStore's string pages.
#pragma once

#include <cstdint>
#include <cstring>
#include <vector>

#include "engine/core/column.h"
#include "engine/core/type.h"

namespace neap::engine {

class RowLayout {
 public:
  RowLayout() = default;
  explicit RowLayout(std::vector<Type> types);

  const std::vector<Type>& types() const { return types_; }
  size_t columns() const { return types_.size(); }
  uint32_t width() const { return width_; }
  uint32_t offset(size_t column) const { return offsets_[column]; }
  bool has_views() const { return has_views_; }

  static bool IsValid(const uint8_t* row, size_t column) { return (row[column >> 3] >> (column & 7)) & 1; }
  static void SetValid(uint8_t* row, size_t column, bool valid) {
    const auto bit = static_cast<uint8_t>(1U << (column & 7));
    row[column >> 3] = static_cast<uint8_t>(valid ? row[column >> 3] | bit : row[column >> 3] & ~bit);
  }
  template <class T>
  T Load(const uint8_t* row, size_t column) const {
    T value;
    std::memcpy(&value, row + offsets_[column], sizeof value);
    return value;
  }
  template <class T>
  void Store(uint8_t* row, size_t column, const T& value) const {
    std::memcpy(row + offsets_[column], &value, sizeof value);
  }

 private:
  std::vector<Type> types_;
  std::vector<uint32_t> offsets_;
  uint32_t width_ = 0;
  bool has_views_ = false;
};

// Where gathered values go: a flat column in a buffer of at least kBatchRows values and as many validity bytes.
struct ColumnBuffer {
  void* data;
  uint8_t* valid;
};

// The value of `column` of rows[i] goes to position at[i] (at null: i) of `out`, for i < count. A null rows[i] gives
// NULL. The result names `valid` only where there was a NULL; views point into the row store.
Column GatherColumn(const RowLayout& layout, size_t column, const uint8_t* const* rows, const RowIndex* at,
                    uint32_t count, ColumnBuffer out);

// Keeps those i for which columns `batch_columns` of batch row batch_rows[i] equal columns 0, 1, ... of rows[i]; writes
// them to kept (may be the same as an input list of i: ascending). `candidates` lists the i to look at.
// null_equals[k]: two NULLs of key k are equal (IS NOT DISTINCT FROM); else a NULL equals nothing.
uint32_t MatchKeys(const RowLayout& layout, const Batch& batch, const uint32_t* batch_columns,
                   const uint8_t* null_equals, size_t keys, const RowIndex* batch_rows, const uint8_t* const* rows,
                   const RowIndex* candidates, uint32_t count, RowIndex* kept);

}  // namespace neap::engine
