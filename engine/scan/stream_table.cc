// stream_table.cc: a scan of an Arrow stream: columns chosen, the filter tested row by row.
#include "engine/scan/stream_table.h"

#include <arrow/c/abi.h>

#include <mutex>
#include <utility>

#include "engine/expression/evaluator.h"
#include "engine/result/arrow_stream.h"
#include "engine/run/query.h"

namespace neap::engine {
namespace {

// What the estimates start from where nobody says how many rows there are.
constexpr uint64_t kUnknownRows = 100'000;

class Stream {
 public:
  explicit Stream(const OpenStream& open) { open(&stream_); }
  ~Stream() {
    if (stream_.release != nullptr) stream_.release(&stream_);
  }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  ArrowArrayStream* get() { return &stream_; }

 private:
  ArrowArrayStream stream_{};
};

class StreamSource : public Source {
 public:
  StreamSource(std::unique_ptr<ArrowImport> import, std::vector<size_t> columns, Slots slots, size_t given,
               std::optional<Expression> filter, Memory& memory)
      : import_(std::move(import)),
        columns_(std::move(columns)),
        slots_(std::move(slots)),
        given_(given),
        filter_(std::move(filter)),
        memory_(memory) {}

  std::unique_ptr<Cursor> MakeCursor(Worker& worker) override {
    return std::make_unique<StreamCursor>(*this, import_->MakeCursor(worker));
  }

 private:
  class StreamCursor : public Cursor {
   public:
    StreamCursor(StreamSource& source, std::unique_ptr<Cursor> all) : source_(source), all_(std::move(all)) {
      if (source.filter_) filter_.emplace(*source.filter_, source.slots_, source.memory_);
    }

    bool Next(Batch& batch) override {
      if (!all_->Next(whole_)) return false;
      batch.columns.clear();
      for (const size_t column : source_.columns_) batch.columns.push_back(whole_.columns[column]);
      batch.SetAll(whole_.rows);
      if (filter_) {
        batch.selected = filter_->Select(batch, kept_);
        batch.selection = kept_;
      }
      batch.columns.resize(source_.given_);
      return true;
    }

   private:
    StreamSource& source_;
    std::unique_ptr<Cursor> all_;
    std::optional<Evaluator> filter_;
    Batch whole_;
    RowIndex kept_[kBatchRows];
  };

  std::unique_ptr<ArrowImport> import_;
  std::vector<size_t> columns_;
  Slots slots_;
  size_t given_;
  std::optional<Expression> filter_;
  Memory& memory_;
};

class StreamTable : public Table {
 public:
  StreamTable(OpenStream open, uint64_t rows, std::vector<TableColumn> columns)
      : open_(std::move(open)), rows_(rows == 0 ? kUnknownRows : rows), columns_(std::move(columns)) {}
  StreamTable(OpenStream open, uint64_t rows) : StreamTable(std::move(open), rows, {}) {
    first_ = std::make_unique<Stream>(open_);
    for (const ResultColumn& column : ColumnsOfStream(*first_->get()))
      columns_.push_back({column.name, column.type, true});
  }

  const std::vector<TableColumn>& columns() const override { return columns_; }
  uint64_t rows() const override { return rows_; }
  ColumnStatistics Statistics(size_t) const override { return {}; }

  std::unique_ptr<Source> Scan(std::vector<size_t> columns, std::vector<ColumnId> ids, size_t given,
                               std::optional<Expression> filter, std::vector<RuntimeFilterUse> /*runtime_filters*/,
                               Memory& memory) override {
    std::unique_ptr<Stream> stream;
    {
      const std::lock_guard lock(mutex_);
      stream = std::move(first_);
    }
    if (stream == nullptr) stream = std::make_unique<Stream>(open_);
    auto import = std::make_unique<ArrowImport>(stream->get(), memory);
    Slots slots;
    slots.ids = std::move(ids);
    for (const size_t column : columns) slots.types.push_back(columns_[column].type);
    return std::make_unique<StreamSource>(std::move(import), std::move(columns), std::move(slots), given,
                                          std::move(filter), memory);
  }

 private:
  const OpenStream open_;
  const uint64_t rows_;
  std::vector<TableColumn> columns_;
  std::mutex mutex_;
  std::unique_ptr<Stream> first_;  // opened, not yet read
};

}  // namespace

std::shared_ptr<Table> MakeStreamTable(OpenStream open, uint64_t rows) {
  return std::make_shared<StreamTable>(std::move(open), rows);
}

std::shared_ptr<Table> MakeStreamTable(OpenStream open, uint64_t rows, std::vector<TableColumn> columns) {
  return std::make_shared<StreamTable>(std::move(open), rows, std::move(columns));
}

}  // namespace neap::engine
