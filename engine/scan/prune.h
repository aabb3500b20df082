// prune.h: which rows of a row group a filter can be sure to refuse, by the least and the greatest value of the row
// group (footer) and of its pages (page index).
#pragma once

#include <optional>
#include <vector>

#include "engine/expression/evaluator.h"
#include "engine/plan/expression.h"
#include "engine/scan/parquet_file.h"
#include "engine/scan/row_ranges.h"

namespace neap::engine {

// A bound as statistics have it (PLAIN), as the raw value of an integer, a decimal, a date, a timestamp or a bool;
// nothing for other types and where the bytes are wrong.
std::optional<Int128> NumberOfBound(const Leaf& leaf, const std::string& bytes);

// One of a thread: it stops reading page indexes that never help.
class Pruner {
 public:
  // Column slots.ids[i] of the filter is column columns[i] of the table. Both must outlive the pruner.
  Pruner(const std::optional<Expression>& filter, const Slots& slots, const std::vector<size_t>& columns);

  // Takes rows out of `ranges` that cannot pass.
  void Prune(const FileHandle& handle, const ParquetFile& file, const RowGroup& group, RowRanges& ranges);

 private:
  const Expression* filter_;
  const Slots& slots_;
  const std::vector<size_t>& columns_;
  uint32_t indexes_read_ = 0;  // row groups whose page index was read
  uint32_t indexes_used_ = 0;  // of them, those of which it took rows
};

}  // namespace neap::engine
