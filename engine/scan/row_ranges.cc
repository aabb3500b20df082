// row_ranges.cc: both walk the two sets side by side.
#include "engine/scan/row_ranges.h"

#include <algorithm>

namespace neap::engine {

RowRanges Intersect(const RowRanges& a, const RowRanges& b) {
  RowRanges result;
  for (size_t i = 0, j = 0; i < a.size() && j < b.size();) {
    const RowRange both{std::max(a[i].first, b[j].first), std::min(a[i].end, b[j].end)};
    if (both.first < both.end) result.push_back(both);
    if (a[i].end < b[j].end) {
      ++i;
    } else {
      ++j;
    }
  }
  return result;
}

RowRanges Union(const RowRanges& a, const RowRanges& b) {
  RowRanges result;
  for (size_t i = 0, j = 0; i < a.size() || j < b.size();) {
    const bool from_a = j == b.size() || (i < a.size() && a[i].first < b[j].first);
    const RowRange& next = from_a ? a[i++] : b[j++];
    if (!result.empty() && next.first <= result.back().end) {
      result.back().end = std::max(result.back().end, next.end);
    } else {
      result.push_back(next);
    }
  }
  return result;
}

}  // namespace neap::engine
