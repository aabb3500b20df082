// row_ranges.h: sets of rows of a row group, as ascending ranges that do not touch.
#pragma once

#include <cstdint>
#include <vector>

namespace neap::engine {

struct RowRange {
  int64_t first;
  int64_t end;  // the row after the last
  friend bool operator==(const RowRange&, const RowRange&) = default;
};

using RowRanges = std::vector<RowRange>;

RowRanges Intersect(const RowRanges& a, const RowRanges& b);
RowRanges Union(const RowRanges& a, const RowRanges& b);

}  // namespace neap::engine
