// parquet_scan.cc: morsels, and the cursor that reads one after the other: the filter's columns first, then those of
// runtime filters, then the rest where rows are left.
#include "engine/scan/parquet_scan.h"

#include <algorithm>
#include <utility>

#include "engine/core/error.h"
#include "engine/memory/arrow_pool.h"
#include "engine/run/query.h"
#include "engine/scan/column_reader.h"
#include "engine/scan/prune.h"
#include "engine/scan/runtime_filtering.h"

namespace neap::engine {
namespace {

// Row groups are split where threads would be idle otherwise: so many morsels a thread, so that all end at about the
// same time.
constexpr int64_t kMorselsPerThread = 4;

}  // namespace

class ParquetScan::Reader : public Cursor {
 public:
  Reader(ParquetScan& scan, uint32_t batch_rows);
  bool Next(Batch& batch) override;

 private:
  // When a column is read.
  enum class Turn : uint8_t { kFilter, kRuntimeFilter, kRest };

  bool OpenNext();
  bool NextRange();
  void OpenColumns();
  bool ReadBatch(uint32_t rows);
  void ReadColumn(size_t column, uint32_t rows);

  ParquetScan& scan_;
  const uint32_t batch_rows_;
  ArrowPool pool_;
  std::vector<std::unique_ptr<ColumnReader>> columns_;
  std::vector<Turn> turns_;
  std::vector<uint8_t> read_;  // one a column: it has been read for this batch
  std::optional<Evaluator> filter_;
  Pruner pruner_;
  RuntimeFiltering runtime_;
  Array<RowIndex> selection_;
  Batch batch_;  // with all columns of the scan

  std::optional<FileHandle> file_;
  const ParquetFile* file_of_ = nullptr;
  Morsel morsel_;
  RowRanges ranges_;  // of the row group, ascending: rows that may pass the filter
  size_t range_ = 0;
  int64_t row_ = 0;  // of the row group: the next one to be read
  int64_t range_end_ = 0;
};

ParquetScan::ParquetScan(std::shared_ptr<const ParquetTable> table, std::vector<size_t> columns,
                         std::vector<ColumnId> ids, size_t given, std::optional<Expression> filter,
                         std::vector<RuntimeFilterUse> runtime_filters, Memory& memory)
    : table_(std::move(table)),
      columns_(std::move(columns)),
      slots_([&] {
        Slots slots{std::move(ids), {}};
        for (const size_t column : columns_) slots.types.push_back(table_->columns()[column].type);
        return slots;
      }()),
      given_(given),
      filter_(std::move(filter)),
      runtime_filters_(std::move(runtime_filters)),
      memory_(memory) {}

ParquetScan::ParquetScan(std::shared_ptr<const ParquetTable> table, std::vector<size_t> columns,
                         std::vector<ColumnId> ids, const Morsel& morsel, Memory& memory)
    : ParquetScan(std::move(table), columns, std::move(ids), columns.size(), std::nullopt, {}, memory) {
  only_ = morsel;
  next_file_ = table_->files().size();
}

ParquetScan::~ParquetScan() = default;

std::unique_ptr<Cursor> ParquetScan::MakeCursor(Worker& worker) {
  {
    const std::lock_guard lock(mutex_);
    const int64_t share = static_cast<int64_t>(table_->rows()) / (kMorselsPerThread * worker.query->threads());
    most_rows_ = std::max(share, kLeastPart);
  }
  return std::make_unique<Reader>(*this, worker.query->options().batch_rows);
}

bool ParquetScan::TakeMorsel(Morsel& morsel) {
  const std::lock_guard lock(mutex_);
  if (only_) {
    morsel = *std::exchange(only_, std::nullopt);
    return true;
  }
  for (; next_file_ < table_->files().size(); ++next_file_, next_group_ = 0) {
    const ParquetFile& file = table_->files()[next_file_];
    for (; next_group_ < file.row_groups.size(); ++next_group_, next_row_ = 0) {
      const RowGroup& group = file.row_groups[next_group_];
      if (next_row_ >= group.rows) continue;
      const int64_t rows = std::min(PartRows(group, most_rows_), group.rows - next_row_);
      morsel = {&file, &group, next_row_, rows};
      next_row_ += rows;
      return true;
    }
  }
  return false;
}

ParquetScan::Reader::Reader(ParquetScan& scan, uint32_t batch_rows)
    : scan_(scan),
      batch_rows_(batch_rows),
      pool_(scan.memory_),
      turns_(scan.columns_.size(), Turn::kRest),
      read_(scan.columns_.size()),
      pruner_(scan.filter_, scan.slots_, scan.columns_),
      runtime_(scan.runtime_filters_, scan.slots_, batch_rows, scan.memory_),
      selection_(scan.memory_, batch_rows) {
  for (const Type& type : scan.slots_.types) {
    columns_.push_back(std::make_unique<ColumnReader>(type, batch_rows, scan.memory_, &pool_));
  }
  batch_.columns.resize(columns_.size());
  for (const RuntimeFilterUse& use : scan.runtime_filters_) turns_[scan.slots_.Find(use.column)] = Turn::kRuntimeFilter;
  if (scan.filter_) {
    filter_.emplace(*scan.filter_, scan.slots_, scan.memory_);
    scan.filter_->ForEachColumn([&](ColumnId id) { turns_[scan.slots_.Find(id)] = Turn::kFilter; });
  }
}

bool ParquetScan::Reader::Next(Batch& batch) {
  while (true) {
    if (row_ == range_end_ && !NextRange()) return false;
    const auto rows = static_cast<uint32_t>(std::min<int64_t>(batch_rows_, range_end_ - row_));
    row_ += rows;
    if (!ReadBatch(rows)) continue;
    batch.columns.assign(batch_.columns.begin(), batch_.columns.begin() + static_cast<ptrdiff_t>(scan_.given_));
    batch.rows = batch_.rows;
    batch.selection = batch_.selection;
    batch.selected = batch_.selected;
    return true;
  }
}

// On to the next rows that may pass; false at the end of the table.
bool ParquetScan::Reader::NextRange() {
  while (range_ == ranges_.size()) {
    if (!OpenNext()) return false;
  }
  const RowRange& range = ranges_[range_++];
  for (const auto& column : columns_) column->Skip(static_cast<uint64_t>(range.first - row_));
  row_ = range.first;
  range_end_ = range.end;
  return true;
}

bool ParquetScan::Reader::OpenNext() {
  if (runtime_.NothingMatches() || !scan_.TakeMorsel(morsel_)) return false;
  if (morsel_.file != file_of_) {
    file_.emplace(morsel_.file->path);
    file_of_ = morsel_.file;
    if (file_->Size() != morsel_.file->bytes) {
      throw Error(ErrorKind::kData, morsel_.file->path + ": has changed since the query began; run it again");
    }
  }
  ranges_ = {{morsel_.first, morsel_.first + morsel_.rows}};
  range_ = 0;
  row_ = range_end_ = 0;
  pruner_.Prune(*file_, *morsel_.file, *morsel_.group, ranges_);
  runtime_.Prune(*morsel_.file, *morsel_.group, scan_.columns_, ranges_);
  if (!ranges_.empty()) OpenColumns();
  return true;
}

void ParquetScan::Reader::OpenColumns() {
  for (size_t i = 0; i < columns_.size(); ++i) {
    const Leaf& leaf = morsel_.file->schema->leaves[scan_.columns_[i]];
    columns_[i]->Open(*file_, morsel_.group->chunks[leaf.column], leaf);
  }
}

void ParquetScan::Reader::ReadColumn(size_t column, uint32_t rows) {
  columns_[column]->Read(rows, batch_.columns[column]);
  read_[column] = 1;
}

// False where no row is left. Columns that have not been needed until then are not read.
bool ParquetScan::Reader::ReadBatch(uint32_t rows) {
  std::fill(read_.begin(), read_.end(), uint8_t{0});
  batch_.SetAll(rows);
  const auto read_all = [&](Turn turn) {
    for (size_t i = 0; i < columns_.size(); ++i) {
      if (turns_[i] == turn) ReadColumn(i, rows);
    }
  };
  if (filter_) {
    read_all(Turn::kFilter);
    batch_.selected = filter_->Select(batch_, selection_.data());
    if (batch_.selected < rows) batch_.selection = selection_.data();
  }
  runtime_.Apply(batch_, selection_.data(), [&](size_t column) {
    if (read_[column] == 0) ReadColumn(column, rows);
  });
  const bool any = batch_.selected > 0;
  for (size_t i = 0; i < columns_.size(); ++i) {
    if (read_[i] != 0) continue;
    if (any) {
      ReadColumn(i, rows);
    } else {
      columns_[i]->Skip(rows);
    }
  }
  return any;
}

}  // namespace neap::engine
