// parquet_table.h: a table of Parquet files.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/scan/parquet_file.h"
#include "engine/scan/table.h"

namespace neap::engine {

class ParquetTable : public Table, public std::enable_shared_from_this<ParquetTable> {
 public:
  explicit ParquetTable(const std::vector<std::string>& paths);  // at least one

  const std::vector<TableColumn>& columns() const override { return columns_; }
  uint64_t rows() const override { return rows_; }
  ColumnStatistics Statistics(size_t column) const override;
  std::unique_ptr<Source> Scan(std::vector<size_t> columns, std::vector<ColumnId> ids, size_t given,
                               std::optional<Expression> filter, std::vector<RuntimeFilterUse> runtime_filters,
                               Memory& memory) override;

  uint32_t Parts() const override;
  std::unique_ptr<Source> ScanPart(uint32_t part, Memory& memory) override;

  const std::vector<ParquetFile>& files() const { return files_; }

 private:
  void AddFile(ParquetFile file);
  void CheckReadable(size_t column) const;

  std::vector<ParquetFile> files_;
  std::vector<TableColumn> columns_;
  std::vector<std::string> refusals_;  // one a column; "": can be read
  uint64_t rows_ = 0;
};

}  // namespace neap::engine
