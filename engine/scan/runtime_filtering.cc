// runtime_filtering.cc: bounds first, which are cheap, then the Bloom filter.
#include "engine/scan/runtime_filtering.h"

#include <algorithm>
#include <limits>
#include <type_traits>

#include "engine/core/hash.h"
#include "engine/scan/prune.h"

namespace neap::engine {
namespace {

// A filter is judged after so many rows, and dropped where it keeps more than kMostKept of them.
constexpr uint64_t kJudgedRows = uint64_t{16} * kBatchRows;
constexpr double kMostKept = 0.9;

constexpr Int128 kLeastInt128 = static_cast<Int128>(1) << 127;

// Keeps the rows for which keeps(row). The write is unconditional, so that nothing is to be predicted.
template <class F>
void Keep(Batch& batch, RowIndex* selection, F&& keeps) {
  uint32_t kept = 0;
  if (batch.selection == nullptr) {
    for (uint32_t row = 0; row < batch.rows; ++row) {
      selection[kept] = static_cast<RowIndex>(row);
      kept += keeps(row) ? 1 : 0;
    }
  } else {
    for (uint32_t i = 0; i < batch.selected; ++i) {
      const RowIndex row = batch.selection[i];
      selection[kept] = row;
      kept += keeps(row) ? 1 : 0;
    }
  }
  if (kept < batch.rows) batch.selection = selection;
  batch.selected = kept;
}

}  // namespace

RuntimeFiltering::RuntimeFiltering(const std::vector<RuntimeFilterUse>& uses, const Slots& slots, uint32_t batch_rows,
                                   Memory& memory) {
  for (const RuntimeFilterUse& use : uses) states_.push_back({use.filter.get(), slots.Find(use.column)});
  if (!uses.empty()) hashes_ = Array<uint64_t>(memory, batch_rows);
}

bool RuntimeFiltering::NothingMatches() const {
  return std::any_of(states_.begin(), states_.end(),
                     [](const State& state) { return state.filter->ready() && state.filter->empty(); });
}

void RuntimeFiltering::Prune(const ParquetFile& file, const RowGroup& group, const std::vector<size_t>& columns,
                             RowRanges& ranges) const {
  for (const State& state : states_) {
    if (!state.filter->ready() || !state.filter->has_bounds()) continue;
    const Leaf& leaf = file.schema->leaves[columns[state.column]];
    const ColumnChunk& chunk = group.chunks[leaf.column];
    if (!chunk.has_bounds || (leaf.nullable && chunk.nulls != 0)) continue;  // NULL may match NULL
    const auto min = NumberOfBound(leaf, chunk.min), max = NumberOfBound(leaf, chunk.max);
    if (min && max && (*max < state.filter->min() || *min > state.filter->max())) ranges.clear();
  }
}

void RuntimeFiltering::Check(State& state, Batch& batch, RowIndex* selection) {
  const uint32_t before = batch.selected;
  if (state.filter->empty()) {
    batch.selection = selection;
    batch.selected = 0;
    return;
  }
  if (state.filter->has_bounds()) CheckBounds(state, batch, selection);
  if (state.filter->has_bloom() && batch.selected > 0) CheckBloom(state, batch, selection);
  state.rows_in += before;
  state.rows_out += batch.selected;
  if (state.rows_in >= kJudgedRows) {
    state.active = static_cast<double>(state.rows_out) <= kMostKept * static_cast<double>(state.rows_in);
    state.rows_in = state.rows_out = 0;
  }
}

// NULL passes: whether it can match is for the hashes to say.
void RuntimeFiltering::CheckBounds(const State& state, Batch& batch, RowIndex* selection) {
  const Column& column = batch.columns[state.column];
  DispatchPhysical(column.type.physical(), [&](auto zero) {
    using T = decltype(zero);
    if constexpr (std::is_integral_v<T> || std::is_same_v<T, Int128>) {
      constexpr bool kWide = std::is_same_v<T, Int128>;
      constexpr Int128 kLeast = kWide ? kLeastInt128 : static_cast<Int128>(std::numeric_limits<T>::min());
      constexpr Int128 kMost = kWide ? ~kLeastInt128 : static_cast<Int128>(std::numeric_limits<T>::max());
      const auto min = static_cast<T>(std::clamp<Int128>(state.filter->min(), kLeast, kMost));
      const auto max = static_cast<T>(std::clamp<Int128>(state.filter->max(), kLeast, kMost));
      if (state.filter->min() > kMost || state.filter->max() < kLeast) {
        Keep(batch, selection, [&](uint32_t row) { return !column.is_valid(row); });
        return;
      }
      const T* values = column.values<T>();
      if (column.indices == nullptr && column.valid == nullptr) {
        Keep(batch, selection,
             [&](uint32_t row) { return static_cast<int>(values[row] >= min) & static_cast<int>(values[row] <= max); });
      } else {
        Keep(batch, selection, [&](uint32_t row) {
          const T value = values[column.position(row)];
          return !column.is_valid(row) || (value >= min && value <= max);
        });
      }
    }
  });
}

void RuntimeFiltering::CheckBloom(const State& state, Batch& batch, RowIndex* selection) {
  HashRows(batch, &state.column, 1, hashes_.data());
  const uint64_t* hashes = hashes_.data();
  Keep(batch, selection, [&](uint32_t row) { return state.filter->MayContain(hashes[row]); });
}

}  // namespace neap::engine
