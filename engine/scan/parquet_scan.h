// parquet_scan.h: reading a Parquet table on all threads of a query.
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "engine/expression/evaluator.h"
#include "engine/memory/memory.h"
#include "engine/run/operator.h"
#include "engine/scan/parquet_table.h"
#include "engine/scan/runtime_filter.h"

namespace neap::engine {

// Rows of one row group that one thread reads.
struct Morsel {
  const ParquetFile* file = nullptr;
  const RowGroup* group = nullptr;
  int64_t first = 0;
  int64_t rows = 0;
};

class ParquetScan : public Source {
 public:
  ParquetScan(std::shared_ptr<const ParquetTable> table, std::vector<size_t> columns, std::vector<ColumnId> ids,
              size_t given, std::optional<Expression> filter, std::vector<RuntimeFilterUse> runtime_filters,
              Memory& memory);
  // Of one morsel, whole.
  ParquetScan(std::shared_ptr<const ParquetTable> table, std::vector<size_t> columns, std::vector<ColumnId> ids,
              const Morsel& morsel, Memory& memory);
  ~ParquetScan() override;

  std::unique_ptr<Cursor> MakeCursor(Worker& worker) override;

 private:
  class Reader;

  bool TakeMorsel(Morsel& morsel);

  const std::shared_ptr<const ParquetTable> table_;
  const std::vector<size_t> columns_;
  const Slots slots_;
  const size_t given_;
  const std::optional<Expression> filter_;
  const std::vector<RuntimeFilterUse> runtime_filters_;
  Memory& memory_;

  // What is left to read: only_, or from next_row_ of this row group on.
  std::mutex mutex_;
  std::optional<Morsel> only_;
  size_t next_file_ = 0;
  size_t next_group_ = 0;
  int64_t next_row_ = 0;
  int64_t most_rows_ = 0;  // of a morsel
};

}  // namespace neap::engine
