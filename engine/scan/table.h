// table.h: tables of Parquet files: what a plan may know of them, and how they are read.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/core/type.h"
#include "engine/plan/expression.h"
#include "engine/run/operator.h"
#include "engine/scan/runtime_filter.h"

namespace neap::engine {

struct TableColumn {
  std::string name;
  Type type;
  bool nullable = true;
};

// From the files' footers, summed over all row groups. For integers, dates, timestamps and decimals min and max are the
// raw values.
struct ColumnStatistics {
  std::optional<Int128> min, max;
  uint64_t nulls = 0;
  uint64_t compressed_bytes = 0;
  double distinct = 0;  // estimate: of dictionary sizes or of the range; 0: unknown
};

class Table {
 public:
  // Files, folders, or glob patterns; all files must have the same schema. Throws Error(kData), which names the file.
  static std::shared_ptr<Table> Open(const std::vector<std::string>& paths);
  static std::shared_ptr<Table> Open(const std::string& path) { return Open(std::vector<std::string>{path}); }
  virtual ~Table() = default;

  virtual const std::vector<TableColumn>& columns() const = 0;
  virtual uint64_t rows() const = 0;
  virtual ColumnStatistics Statistics(size_t column) const = 0;

  // Parts that together are the table, of some 100,000 rows, each of which has the same rows whenever it is read; none
  // where the table has no such parts.
  virtual uint32_t Parts() const { return 0; }
  // All rows and columns of one part, for one cursor.
  virtual std::unique_ptr<Source> ScanPart(uint32_t /*part*/, Memory& /*memory*/) { return nullptr; }

  // The rows that pass `filter`, with table columns `columns` in order (as columns `ids` for the filter). Row groups
  // and pages that statistics rule out are not read; the filter's columns are read first, others only where rows are
  // left. Rows that a runtime filter rules out may be left out. Columns that the filter alone needs are among `columns`
  // too and come last: `given` is how many come out.
  virtual std::unique_ptr<Source> Scan(std::vector<size_t> columns, std::vector<ColumnId> ids, size_t given,
                                       std::optional<Expression> filter, std::vector<RuntimeFilterUse> runtime_filters,
                                       Memory& memory) = 0;
};

}  // namespace neap::engine
