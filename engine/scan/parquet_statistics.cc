// parquet_statistics.cc: what the footers and the first dictionaries tell of a column.
#include <algorithm>
#include <cmath>
#include <exception>

#include "engine/memory/arrow_pool.h"
#include "engine/scan/page_source.h"
#include "engine/scan/parquet_table.h"
#include "engine/scan/prune.h"

namespace neap::engine {
namespace {

// How many different values there are where `rows` draws at random gave `distinct` of them.
double Universe(double distinct, double rows) {
  if (distinct >= rows) return HUGE_VAL;
  double low = distinct, high = 1e18;
  for (int step = 0; step < 100; ++step) {
    const double middle = (low + high) / 2;
    (-middle * std::expm1(-rows / middle) < distinct ? low : high) = middle;
  }
  return low;
}

// The number of values in a chunk's dictionary; 0 where it cannot be told.
double DictionarySize(const ParquetFile& file, const ColumnChunk& chunk, const Leaf& leaf) {
  try {
    Memory memory(nullptr, "statistics");
    const FileHandle handle(file.path);
    ArrowPool pool(memory);
    PageSource source(memory, &pool);
    source.Open(handle, chunk, leaf);
    uint64_t skip = 0;
    const Page page = source.Next(&skip);
    return page.kind == Page::Kind::kDictionary ? page.rows : 0;
  } catch (const std::exception&) {
    return 0;  // whoever reads the column is told what is wrong
  }
}

// From the dictionary of one chunk that is wholly dictionary-encoded. Where the file is sorted or clustered by the
// column a chunk has only part of the range, and as small a part of the values.
double DistinctByDictionary(const ParquetFile& file, const RowGroup& group, const Leaf& leaf,
                            const ColumnStatistics& all) {
  const ColumnChunk& chunk = group.chunks[leaf.column];
  if (!chunk.dictionary) return 0;
  const double filled = static_cast<double>(chunk.values - std::max<int64_t>(chunk.nulls, 0));
  const double distinct = chunk.plain ? filled : DictionarySize(file, chunk, leaf);
  if (distinct <= 0) return 0;
  double share = 1;
  const auto min = NumberOfBound(leaf, chunk.min), max = NumberOfBound(leaf, chunk.max);
  if (chunk.has_bounds && min && max && all.min && all.max && *all.max > *all.min) {
    share = (static_cast<double>(*max) - static_cast<double>(*min) + 1) /
            (static_cast<double>(*all.max) - static_cast<double>(*all.min) + 1);
  }
  return Universe(distinct, filled) / std::clamp(share, 1e-6, 1.0);
}

}  // namespace

ColumnStatistics ParquetTable::Statistics(size_t column) const {
  ColumnStatistics result;
  if (!refusals_[column].empty()) return result;
  bool bounds = true;
  for (const ParquetFile& file : files_) {
    const Leaf& leaf = file.schema->leaves[column];
    for (const RowGroup& group : file.row_groups) {
      const ColumnChunk& chunk = group.chunks[leaf.column];
      result.compressed_bytes += static_cast<uint64_t>(chunk.pages.bytes);
      if (chunk.nulls > 0) result.nulls += static_cast<uint64_t>(chunk.nulls);
      if (group.rows == 0 || chunk.nulls == group.rows) continue;
      const auto min = chunk.has_bounds ? NumberOfBound(leaf, chunk.min) : std::nullopt;
      const auto max = chunk.has_bounds ? NumberOfBound(leaf, chunk.max) : std::nullopt;
      bounds = bounds && min && max;
      if (!bounds) continue;
      result.min = result.min ? std::min(*result.min, *min) : *min;
      result.max = result.max ? std::max(*result.max, *max) : *max;
    }
  }
  if (!bounds) result.min = result.max = std::nullopt;

  const auto rows = static_cast<double>(rows_ - result.nulls);
  double most = rows;
  if (result.min) most = std::min(most, static_cast<double>(*result.max) - static_cast<double>(*result.min) + 1);
  for (const ParquetFile& file : files_) {
    if (file.row_groups.empty()) continue;
    result.distinct = DistinctByDictionary(file, file.row_groups.front(), file.schema->leaves[column], result);
    break;
  }
  if (result.distinct > 0 || result.min) {
    result.distinct = result.distinct > 0 ? std::min(result.distinct, most) : most;
  }
  return result;
}

}  // namespace neap::engine
