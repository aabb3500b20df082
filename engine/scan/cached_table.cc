// cached_table.cc: blocks read, and made of what is read from the source.
#include "engine/scan/cached_table.h"

#include <string>
#include <utility>

#include "engine/core/error.h"
#include "engine/expression/evaluator.h"
#include "engine/run/query.h"
#include "engine/scan/runtime_filtering.h"

namespace neap::engine {
namespace {

// Of a block of a table that has no parts.
constexpr uint64_t kBlockRows = 128 << 10;

std::vector<Type> TypesOf(const std::vector<TableColumn>& columns) {
  std::vector<Type> types;
  for (const TableColumn& column : columns) types.push_back(column.type);
  return types;
}

// One part on its way into a block.
class Filling : public Cursor {
 public:
  Filling(std::unique_ptr<Source> source, Worker& worker, BlockStore::Writer writer)
      : source_(std::move(source)), rows_(source_->MakeCursor(worker)), writer_(std::move(writer)) {}

  bool Next(Batch& batch) override {
    const bool more = rows_->Next(batch);
    if (!more && writer_) writer_->Finish();
    if (!more || (writer_ && !writer_->Write(batch))) writer_.reset();
    return more;
  }

 private:
  const std::unique_ptr<Source> source_;
  const std::unique_ptr<Cursor> rows_;
  std::optional<BlockStore::Writer> writer_;
};

}  // namespace

// Blocks 0 to blocks-1; they go with the last who may read them.
struct CachedTable::Dataset {
  explicit Dataset(std::shared_ptr<BlockCache> of) : cache(std::move(of)), id(cache->next.fetch_add(1)) {}
  ~Dataset() { cache->blocks.RemoveDataset(id); }
  Dataset(const Dataset&) = delete;
  Dataset& operator=(const Dataset&) = delete;

  const std::shared_ptr<BlockCache> cache;
  const DatasetId id;
  std::atomic<uint32_t> blocks{0};
  std::atomic<uint64_t> rows{0};
};

// What a scan takes of the rows: its columns, those that pass.
class CachedTable::Narrowed : public Source {
 public:
  struct Wanted {
    std::vector<size_t> columns;
    Slots slots;
    size_t given;
    std::optional<Expression> filter;
    std::vector<RuntimeFilterUse> runtime_filters;
    Memory& memory;
  };
  Narrowed(std::shared_ptr<CachedTable> table, Wanted wanted) : table_(std::move(table)), wanted_(std::move(wanted)) {
    figures_.name = "cached scan";
  }

  std::unique_ptr<Cursor> MakeCursor(Worker& worker) override { return std::make_unique<Reader>(*this, worker); }

 protected:
  // Rows with all columns of the table; null at the end.
  virtual std::unique_ptr<Cursor> NextRows(Worker& worker) = 0;

  const std::shared_ptr<CachedTable> table_;
  const Wanted wanted_;

 private:
  class Reader : public Cursor {
   public:
    Reader(Narrowed& source, Worker& worker)
        : source_(source),
          worker_(worker),
          runtime_(source.wanted_.runtime_filters, source.wanted_.slots, kBatchRows, source.wanted_.memory) {
      if (source.wanted_.filter) filter_.emplace(*source.wanted_.filter, source.wanted_.slots, source.wanted_.memory);
    }

    bool Next(Batch& batch) override {
      const Wanted& wanted = source_.wanted_;
      while (rows_ == nullptr || !rows_->Next(whole_)) {
        if (runtime_.NothingMatches()) return false;
        rows_ = source_.NextRows(worker_);
        if (rows_ == nullptr) return false;
      }
      batch.columns.clear();
      for (const size_t column : wanted.columns) batch.columns.push_back(whole_.columns[column]);
      batch.rows = whole_.rows;
      batch.selected = whole_.selected;
      batch.selection = whole_.selection;
      if (filter_) {
        batch.selected = filter_->Select(batch, kept_);
        batch.selection = kept_;
      }
      if (!wanted.runtime_filters.empty()) {
        if (batch.selection == whole_.selection && batch.selection != nullptr) {
          std::copy_n(batch.selection, batch.selected, kept_);
          batch.selection = kept_;
        }
        runtime_.Apply(batch, kept_, [](size_t) {});
      }
      batch.columns.resize(wanted.given);
      return true;
    }

   private:
    Narrowed& source_;
    Worker& worker_;
    RuntimeFiltering runtime_;
    std::optional<Evaluator> filter_;
    std::unique_ptr<Cursor> rows_;
    Batch whole_;
    RowIndex kept_[kBatchRows];
  };
};

class CachedTable::Parts : public Narrowed {
 public:
  using Narrowed::Narrowed;

 private:
  std::unique_ptr<Cursor> NextRows(Worker& worker) override {
    const uint32_t part = next_.fetch_add(1, std::memory_order_relaxed);
    if (part >= table_->parts_) return nullptr;
    BlockStore& blocks = table_->cache_->blocks;
    Task& task = worker.query->task();
    const BlockId id{table_->by_part_->id, part};
    if (auto kept = blocks.Get(task, id)) return kept;
    return std::make_unique<Filling>(table_->source_->ScanPart(part, wanted_.memory), worker,
                                     blocks.Start(task, id, table_->level_, table_->types_));
  }

  std::atomic<uint32_t> next_{0};
};

// Blocks of a table that is there as a whole.
class CachedTable::Kept : public Narrowed {
 public:
  Kept(std::shared_ptr<CachedTable> table, Wanted wanted, std::shared_ptr<Dataset> dataset, BlockStore::Hold hold)
      : Narrowed(std::move(table), std::move(wanted)), dataset_(std::move(dataset)), hold_(std::move(hold)) {}

 private:
  std::unique_ptr<Cursor> NextRows(Worker& worker) override {
    const uint32_t block = next_.fetch_add(1, std::memory_order_relaxed);
    if (block >= dataset_->blocks) return nullptr;
    auto rows = dataset_->cache->blocks.Get(worker.query->task(), {dataset_->id, block});
    if (rows == nullptr)
      throw Error(ErrorKind::kSpill, "a cached table has lost rows, as the disk could not take them: run it again");
    return rows;
  }

  const std::shared_ptr<Dataset> dataset_;
  const BlockStore::Hold hold_;
  std::atomic<uint32_t> next_{0};
};

// All rows from the source, on their way into blocks of a new dataset.
class CachedTable::Whole : public Narrowed {
 public:
  Whole(std::shared_ptr<CachedTable> table, Wanted wanted, std::unique_ptr<Source> rows)
      : Narrowed(std::move(table), std::move(wanted)),
        rows_(std::move(rows)),
        dataset_(std::make_shared<Dataset>(table_->cache_)),
        failed_(!table_->level_.kept()) {}

 private:
  class Rows : public Cursor {
   public:
    Rows(Whole& source, Worker& worker)
        : source_(source), task_(worker.query->task()), rows_(source.rows_->MakeCursor(worker)) {}

    bool Next(Batch& batch) override {
      const bool more = rows_->Next(batch);
      if (source_.failed_) {
        writer_.reset();
        return more;
      }
      if (more && batch.selected != 0) {
        if (!writer_) StartBlock();
        if (!writer_->Write(batch)) return Fail();
        in_block_ += batch.selected;
      }
      if (writer_ && (!more || in_block_ >= kBlockRows)) {
        if (writer_->Finish() == BlockPlace::kNowhere) return Fail();
        writer_.reset();
        source_.dataset_->rows += std::exchange(in_block_, 0);
      }
      return more;
    }

   private:
    void StartBlock() {
      const BlockId id{source_.dataset_->id, source_.dataset_->blocks.fetch_add(1)};
      writer_.emplace(source_.table_->cache_->blocks.Start(task_, id, source_.table_->level_, source_.table_->types_));
    }
    // There is no room for them; the rows go on.
    bool Fail() {
      writer_.reset();
      source_.failed_ = true;
      return true;
    }

    Whole& source_;
    Task& task_;
    const std::unique_ptr<Cursor> rows_;
    std::optional<BlockStore::Writer> writer_;
    uint64_t in_block_ = 0;
  };

  // One cursor a thread. Once all of them have come to their end every row has come by.
  std::unique_ptr<Cursor> NextRows(Worker& worker) override {
    const uint32_t threads = worker.query->threads();
    const uint32_t turn = turn_.fetch_add(1);
    if (turn < threads) return std::make_unique<Rows>(*this, worker);
    if (turn == 2 * threads - 1 && !failed_) table_->KeepWhole(dataset_);
    return nullptr;
  }

  const std::unique_ptr<Source> rows_;
  const std::shared_ptr<Dataset> dataset_;
  std::atomic<bool> failed_;
  std::atomic<uint32_t> turn_{0};
};

CachedTable::CachedTable(std::shared_ptr<Table> source, std::shared_ptr<BlockCache> cache, StorageLevel level)
    : source_(std::move(source)),
      cache_(std::move(cache)),
      level_(level),
      parts_(source_->Parts()),
      types_(TypesOf(source_->columns())),
      by_part_(std::make_shared<Dataset>(cache_)) {}

uint64_t CachedTable::rows() const {
  const auto dataset = whole();
  return dataset == nullptr ? source_->rows() : dataset->rows.load();
}

std::shared_ptr<CachedTable::Dataset> CachedTable::whole() const {
  std::lock_guard lock(mutex_);
  return whole_;
}

void CachedTable::KeepWhole(std::shared_ptr<Dataset> dataset) {
  std::lock_guard lock(mutex_);
  whole_.swap(dataset);
}

std::unique_ptr<Source> CachedTable::Scan(std::vector<size_t> columns, std::vector<ColumnId> ids, size_t given,
                                          std::optional<Expression> filter,
                                          std::vector<RuntimeFilterUse> runtime_filters, Memory& memory) {
  Narrowed::Wanted wanted{std::move(columns), {std::move(ids), {}},       given,
                          std::move(filter),  std::move(runtime_filters), memory};
  for (const size_t column : wanted.columns) wanted.slots.types.push_back(types_[column]);
  if (parts_ != 0) return std::make_unique<Parts>(shared_from_this(), std::move(wanted));
  if (auto dataset = whole()) {
    if (auto hold = cache_->blocks.HoldAll(dataset->id, dataset->blocks))
      return std::make_unique<Kept>(shared_from_this(), std::move(wanted), std::move(dataset), *std::move(hold));
  }
  std::vector<size_t> all(types_.size());
  std::vector<ColumnId> all_ids(types_.size());
  for (size_t i = 0; i < all.size(); ++i) {
    all[i] = i;
    all_ids[i] = static_cast<ColumnId>(i);
  }
  auto rows = source_->Scan(std::move(all), std::move(all_ids), types_.size(), std::nullopt, {}, memory);
  return std::make_unique<Whole>(shared_from_this(), std::move(wanted), std::move(rows));
}

}  // namespace neap::engine
