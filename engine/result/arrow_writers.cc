// arrow_writers.cc: Arrow IPC and Parquet by Arrow's own writers; and which writer a format has.
#include <arrow/io/interfaces.h>
#include <arrow/ipc/writer.h>
#include <arrow/record_batch.h>
#include <arrow/type.h>
#include <parquet/arrow/writer.h>
#include <parquet/properties.h>

#include <utility>

#include "engine/core/error.h"
#include "engine/memory/arrow_pool.h"
#include "engine/result/output_file.h"
#include "engine/result/result_writer.h"

namespace neap::engine {
namespace {

// A row group is held in memory, encoded, until it is full.
constexpr int64_t kRowGroupRows = 122'880;

void OrThrow(const arrow::Status& status) {
  if (status.ok()) return;
  throw Error(status.IsOutOfMemory() ? ErrorKind::kMemory : ErrorKind::kData, status.ToString());
}

template <class T>
T OrThrow(arrow::Result<T> result) {
  OrThrow(result.status());
  return std::move(result).ValueUnsafe();
}

// Our file for Arrow.
class Sink : public arrow::io::OutputStream {
 public:
  explicit Sink(const std::string& path) : file_(path) {}
  using arrow::io::Writable::Write;
  arrow::Status Write(const void* data, int64_t bytes) override {
    file_.Write(data, static_cast<size_t>(bytes));
    return arrow::Status::OK();
  }
  arrow::Status Close() override { return arrow::Status::OK(); }
  arrow::Result<int64_t> Tell() const override { return file_.written(); }
  bool closed() const override { return false; }
  void CloseFile() { file_.Close(); }

 private:
  OutputFile file_;
};

class IpcWriter : public ResultWriter {
 public:
  IpcWriter(bool with_footer, const std::vector<ResultColumn>& columns, const std::string& path, Memory& memory)
      : pool_(memory), schema_(ArrowSchemaOf(columns)), sink_(std::make_shared<Sink>(path)) {
    auto options = arrow::ipc::IpcWriteOptions::Defaults();
    options.memory_pool = &pool_;
    options.use_threads = false;
    writer_ = OrThrow(with_footer ? arrow::ipc::MakeFileWriter(sink_, schema_, options)
                                  : arrow::ipc::MakeStreamWriter(sink_, schema_, options));
  }

  void Write(const Batch& batch) override { OrThrow(writer_->WriteRecordBatch(*ToArrow(batch, schema_, &pool_))); }

  void Finish() override {
    OrThrow(writer_->Close());
    sink_->CloseFile();
  }

 private:
  ArrowPool pool_;
  const std::shared_ptr<arrow::Schema> schema_;
  const std::shared_ptr<Sink> sink_;
  std::shared_ptr<arrow::ipc::RecordBatchWriter> writer_;
};

class ParquetWriter : public ResultWriter {
 public:
  ParquetWriter(const std::vector<ResultColumn>& columns, const std::string& path, Memory& memory)
      : pool_(memory), schema_(ArrowSchemaOf(columns)), sink_(std::make_shared<Sink>(path)) {
    for (const ResultColumn& column : columns) {
      if (column.type.id == TypeId::kInterval) {
        throw Error(ErrorKind::kData, "column " + column.name + ": intervals cannot be written to Parquet; cast it");
      }
    }
    const auto properties = parquet::WriterProperties::Builder()
                                .memory_pool(&pool_)
                                ->compression(parquet::Compression::ZSTD)
                                ->enable_store_decimal_as_integer()
                                ->max_row_group_length(kRowGroupRows)
                                ->build();
    const auto arrow_properties = parquet::ArrowWriterProperties::Builder().store_schema()->build();
    writer_ = OrThrow(parquet::arrow::FileWriter::Open(*schema_, &pool_, sink_, properties, arrow_properties));
  }

  void Write(const Batch& batch) override { OrThrow(writer_->WriteRecordBatch(*ToArrow(batch, schema_, &pool_))); }

  void Finish() override {
    OrThrow(writer_->Close());
    sink_->CloseFile();
  }

 private:
  ArrowPool pool_;
  const std::shared_ptr<arrow::Schema> schema_;
  const std::shared_ptr<Sink> sink_;
  std::unique_ptr<parquet::arrow::FileWriter> writer_;
};

}  // namespace

std::unique_ptr<ResultWriter> MakeArrowWriter(ResultFormat format, std::vector<ResultColumn> columns,
                                              const std::string& path, Memory& memory) {
  if (format == ResultFormat::kParquet) return std::make_unique<ParquetWriter>(columns, path, memory);
  return std::make_unique<IpcWriter>(format == ResultFormat::kArrowFile, columns, path, memory);
}

std::unique_ptr<ResultWriter> MakeResultWriter(ResultFormat format, std::vector<ResultColumn> columns,
                                               const std::string& path, const ResultOptions& options, Memory& memory) {
  switch (format) {
    case ResultFormat::kTable:
      return MakeTableWriter(std::move(columns), path, options);
    case ResultFormat::kCsv:
      return MakeCsvWriter(std::move(columns), path);
    case ResultFormat::kJsonLines:
      return MakeJsonWriter(std::move(columns), path);
    case ResultFormat::kArrowFile:
    case ResultFormat::kArrowStream:
    case ResultFormat::kParquet:
      return MakeArrowWriter(format, std::move(columns), path, memory);
  }
  __builtin_unreachable();
}

}  // namespace neap::engine
