// arrow_stream.h: rows in and out by Arrow's C stream interface
// (https://arrow.apache.org/docs/format/CStreamInterface.html), so that a caller needs nothing of Arrow but its ABI.
#pragma once

#include <condition_variable>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "engine/memory/memory.h"
#include "engine/result/arrow_batch.h"
#include "engine/run/operator.h"

struct ArrowArrayStream;

namespace neap::engine {

// What a query gives, as a stream that another thread reads while the query runs. The batches are copied; at most
// kBatches wait, and Push waits while they do. The reader may keep them for longer than query and stream live: they
// are of an arena of the process, `results`.
class ArrowExport : public std::enable_shared_from_this<ArrowExport> {
 public:
  static std::shared_ptr<ArrowExport> Make(std::vector<ResultColumn> columns);
  ~ArrowExport();

  // The reading end; once. It may be released before its end: then what is pushed is dropped.
  void Export(ArrowArrayStream* out);

  void Push(const Batch& batch);          // any thread
  void Finish();                          // no batch follows
  void Fail(const std::string& message);  // the reader gets the message instead of what is missing; nobody waits in
                                          // Push any more; nothing after Finish
  bool abandoned() const;                 // the stream has been released

 private:
  class Stream;
  static constexpr size_t kBatches = 16;

  explicit ArrowExport(std::vector<ResultColumn> columns);
  std::shared_ptr<arrow::RecordBatch> Pop();  // null at the end; throws Error after Fail

  const std::shared_ptr<arrow::Schema> schema_;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::shared_ptr<arrow::RecordBatch>> waiting_;
  bool finished_ = false;
  bool abandoned_ = false;
  std::string failure_;
};

// Takes nothing from the stream. Throws as ArrowImport does.
std::vector<ResultColumn> ColumnsOfStream(ArrowArrayStream& stream);

// The rows of an Arrow stream. Takes the stream over. Flat types alone; dictionaries are resolved.
class ArrowImport : public Source {
 public:
  ArrowImport(ArrowArrayStream* stream, Memory& memory);  // throws Error(kData), which names the column
  ~ArrowImport() override;

  const std::vector<ResultColumn>& columns() const { return columns_; }
  std::unique_ptr<Cursor> MakeCursor(Worker& worker) override;

 private:
  class Reader;
  struct Stream;

  std::shared_ptr<arrow::RecordBatch> Take();  // null at the end

  Memory& memory_;
  std::vector<ResultColumn> columns_;
  std::mutex mutex_;
  std::unique_ptr<Stream> stream_;
};

}  // namespace neap::engine
