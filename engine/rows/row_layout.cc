// row_layout.cc: where values lie in a row, and the kernels that read rows column by column.
#include "engine/rows/row_layout.h"

#include <algorithm>

#include "engine/core/hash.h"

namespace neap::engine {

RowLayout::RowLayout(std::vector<Type> types) : types_(std::move(types)) {
  width_ = static_cast<uint32_t>((types_.size() + 7) / 8);
  for (const Type& type : types_) {
    offsets_.push_back(width_);
    width_ += static_cast<uint32_t>(type.width());
    has_views_ |= type.is_view();
  }
  // Rows without columns are still counted by their pages.
  width_ = std::max(width_, 1U);
}

namespace {

template <class T>
T LoadValue(const uint8_t* row, uint32_t offset) {
  T value;
  std::memcpy(&value, row + offset, sizeof value);
  return value;
}

// Says whether all are valid.
template <class T>
bool GatherValues(const RowLayout& layout, size_t column, const uint8_t* const* rows, const RowIndex* at,
                  uint32_t count, ColumnBuffer out) {
  const uint32_t offset = layout.offset(column);
  const size_t byte = column >> 3;
  const int bit = static_cast<int>(column & 7);
  T* data = static_cast<T*>(out.data);
  uint8_t all = 1;
  const auto gather = [&](uint32_t i, uint32_t position) {
    const uint8_t* row = rows[i];
    if (row == nullptr) {
      data[position] = T{};
      out.valid[position] = 0;
      all = 0;
      return;
    }
    const auto valid = static_cast<uint8_t>((row[byte] >> bit) & 1);
    data[position] = LoadValue<T>(row, offset);
    out.valid[position] = valid;
    all &= valid;
  };
  if (at == nullptr) {
    for (uint32_t i = 0; i < count; ++i) gather(i, i);
  } else {
    for (uint32_t i = 0; i < count; ++i) gather(i, at[i]);
  }
  return all != 0;
}

struct KeyMatch {
  const Column& column;
  bool null_equals;
  uint32_t offset;
  size_t byte;
  int bit;
  const RowIndex* batch_rows;
  const uint8_t* const* rows;
};

// Writes without a branch: an i that does not match is overwritten by the next.
template <class T>
uint32_t MatchKey(const KeyMatch& key, const RowIndex* candidates, uint32_t count, RowIndex* kept) {
  const T* values = key.column.values<T>();
  const uint8_t* valid = key.column.valid;
  const uint32_t* indices = key.column.indices;
  uint32_t matched = 0;
  const auto match = [&](uint32_t position, RowIndex i) {
    const uint8_t* row = key.rows[i];
    const bool row_valid = (row[key.byte] >> key.bit) & 1;
    bool equal;
    if constexpr (std::is_same_v<T, View>) {
      equal = row_valid && KeysEqual(values[position], LoadValue<T>(row, key.offset));
    } else {
      equal = row_valid & KeysEqual(values[position], LoadValue<T>(row, key.offset));
    }
    kept[matched] = i;
    matched += equal;
  };
  const auto match_null = [&](uint32_t position, RowIndex i) {
    if (valid[position] != 0) {
      match(position, i);
      return;
    }
    const bool row_valid = (key.rows[i][key.byte] >> key.bit) & 1;
    kept[matched] = i;
    matched += key.null_equals & !row_valid;
  };
  if (valid != nullptr) {
    for (uint32_t c = 0; c < count; ++c) {
      const RowIndex i = candidates[c];
      match_null(key.column.position(key.batch_rows[i]), i);
    }
  } else if (indices != nullptr) {
    for (uint32_t c = 0; c < count; ++c) {
      const RowIndex i = candidates[c];
      match(indices[key.batch_rows[i]], i);
    }
  } else {
    for (uint32_t c = 0; c < count; ++c) {
      const RowIndex i = candidates[c];
      match(key.batch_rows[i], i);
    }
  }
  return matched;
}

}  // namespace

Column GatherColumn(const RowLayout& layout, size_t column, const uint8_t* const* rows, const RowIndex* at,
                    uint32_t count, ColumnBuffer out) {
  const Type type = layout.types()[column];
  const bool all_valid = DispatchPhysical(
      type.physical(), [&](auto zero) { return GatherValues<decltype(zero)>(layout, column, rows, at, count, out); });
  return {.type = type, .data = out.data, .valid = all_valid ? nullptr : out.valid};
}

uint32_t MatchKeys(const RowLayout& layout, const Batch& batch, const uint32_t* batch_columns,
                   const uint8_t* null_equals, size_t keys, const RowIndex* batch_rows, const uint8_t* const* rows,
                   const RowIndex* candidates, uint32_t count, RowIndex* kept) {
  if (keys == 0) std::copy_n(candidates, count, kept);
  for (size_t k = 0; k < keys && count != 0; ++k) {
    const Column& column = batch.columns[batch_columns[k]];
    const KeyMatch key{column, null_equals[k] != 0, layout.offset(k), k >> 3, static_cast<int>(k & 7), batch_rows,
                       rows};
    count = DispatchPhysical(column.type.physical(),
                             [&](auto zero) { return MatchKey<decltype(zero)>(key, candidates, count, kept); });
    candidates = kept;
  }
  return count;
}

}  // namespace neap::engine
