// runtime_filtering.h: the runtime filters of a scan on one thread: checked once they are ready, and left alone when
// they turn out to keep nearly every row.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/core/column.h"
#include "engine/expression/evaluator.h"
#include "engine/memory/memory.h"
#include "engine/scan/parquet_file.h"
#include "engine/scan/row_ranges.h"
#include "engine/scan/runtime_filter.h"

namespace neap::engine {

class RuntimeFiltering {
 public:
  RuntimeFiltering(const std::vector<RuntimeFilterUse>& uses, const Slots& slots, uint32_t batch_rows, Memory& memory);

  // Whether a filter says that no row can pass.
  bool NothingMatches() const;

  // Empties `ranges` where the row group's bounds are outside those of a filter. Column i of the scan is column
  // columns[i] of the table.
  void Prune(const ParquetFile& file, const RowGroup& group, const std::vector<size_t>& columns,
             RowRanges& ranges) const;

  // Leaves only rows that may match, in `selection` (room for a batch; may be the batch's own). read(column) is called
  // before a column of the batch is looked at.
  template <class F>
  void Apply(Batch& batch, RowIndex* selection, F&& read) {
    for (State& state : states_) {
      if (batch.selected == 0) return;
      if (!state.active || !state.filter->ready()) continue;
      read(state.column);
      Check(state, batch, selection);
    }
  }

 private:
  struct State {
    const RuntimeFilter* filter;
    uint32_t column;
    bool active = true;
    uint64_t rows_in = 0, rows_out = 0;
  };

  void Check(State& state, Batch& batch, RowIndex* selection);
  void CheckBounds(const State& state, Batch& batch, RowIndex* selection);
  void CheckBloom(const State& state, Batch& batch, RowIndex* selection);

  std::vector<State> states_;
  Array<uint64_t> hashes_;
};

}  // namespace neap::engine
