// arrow_export.cc: a bounded queue of record batches behind Arrow's C stream.
#include <arrow/c/bridge.h>
#include <arrow/record_batch.h>
#include <arrow/type.h>

#include <utility>

#include "engine/core/error.h"
#include "engine/memory/arrow_pool.h"
#include "engine/result/arrow_stream.h"

namespace neap::engine {
namespace {

// Never taken down: nobody knows how long readers keep what they were given.
struct Results {
  Memory memory{nullptr, "results"};
  ArrowPool pool{memory};
};

Results& TheResults() {
  static auto& results = *new Results;
  return results;
}

}  // namespace

// The reading end as Arrow wraps it up.
class ArrowExport::Stream : public arrow::RecordBatchReader {
 public:
  explicit Stream(std::shared_ptr<ArrowExport> owner) : owner_(std::move(owner)) {}
  ~Stream() override {
    const std::lock_guard lock(owner_->mutex_);
    owner_->abandoned_ = true;
    owner_->waiting_.clear();
    owner_->changed_.notify_all();
  }

  std::shared_ptr<arrow::Schema> schema() const override { return owner_->schema_; }
  arrow::Status ReadNext(std::shared_ptr<arrow::RecordBatch>* batch) override {
    try {
      *batch = owner_->Pop();
      return arrow::Status::OK();
    } catch (const Error& error) {
      return arrow::Status::UnknownError(error.what());
    }
  }

 private:
  const std::shared_ptr<ArrowExport> owner_;
};

ArrowExport::ArrowExport(std::vector<ResultColumn> columns) : schema_(ArrowSchemaOf(columns)) {}

ArrowExport::~ArrowExport() = default;

std::shared_ptr<ArrowExport> ArrowExport::Make(std::vector<ResultColumn> columns) {
  return std::shared_ptr<ArrowExport>(new ArrowExport(std::move(columns)));
}

void ArrowExport::Export(ArrowArrayStream* out) {
  const arrow::Status status = arrow::ExportRecordBatchReader(std::make_shared<Stream>(shared_from_this()), out);
  if (!status.ok()) throw Error(ErrorKind::kData, status.ToString());
}

void ArrowExport::Push(const Batch& batch) {
  // What Arrow keeps beside the buffers must not be of the query's arena either, whose scope this thread is in.
  Results& results = TheResults();
  const neap::Scope scope(results.memory.arena());
  auto copy = ToArrow(batch, schema_, &results.pool);
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return waiting_.size() < kBatches || abandoned_ || finished_; });
  if (abandoned_ || finished_) return;
  waiting_.push_back(std::move(copy));
  changed_.notify_all();
}

void ArrowExport::Finish() {
  const std::lock_guard lock(mutex_);
  finished_ = true;
  changed_.notify_all();
}

void ArrowExport::Fail(const std::string& message) {
  const std::lock_guard lock(mutex_);
  if (finished_) return;
  failure_ = message;
  finished_ = true;
  changed_.notify_all();
}

bool ArrowExport::abandoned() const {
  const std::lock_guard lock(mutex_);
  return abandoned_;
}

std::shared_ptr<arrow::RecordBatch> ArrowExport::Pop() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return finished_ || !waiting_.empty(); });
  if (!failure_.empty()) throw Error(ErrorKind::kData, failure_);
  if (waiting_.empty()) return nullptr;
  auto batch = std::move(waiting_.front());
  waiting_.pop_front();
  changed_.notify_all();
  return batch;
}

}  // namespace neap::engine
