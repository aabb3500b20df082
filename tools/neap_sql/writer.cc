// writer.cc: the formats.
#include "tools/neap_sql/writer.h"

#include <arrow/array.h>
#include <arrow/io/interfaces.h>
#include <arrow/ipc/writer.h>
#include <arrow/record_batch.h>
#include <arrow/type.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <parquet/arrow/writer.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <vector>

#include "tools/neap/failure.h"
#include "tools/neap_sql/cell_text.h"

namespace neap::command {
namespace {

constexpr size_t kBufferBytes = 1 << 16;
// Held in memory until it is complete.
constexpr int64_t kRowGroupRows = 1 << 17;
// The widths of a table's columns are those of its first rows: the others do not wait for the last.
constexpr size_t kRowsForWidths = 1000;

void Check(const arrow::Status& status) {
  if (!status.ok()) throw Failure(kNo, status.ToString());
}

template <class T>
T Value(arrow::Result<T> result) {
  Check(result.status());
  return std::move(result).ValueUnsafe();
}

// Characters of UTF-8, as most terminals show them: one column each.
size_t Width(const std::string& text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; }));
}

class CsvWriter : public Writer {
 public:
  CsvWriter(const arrow::Schema& schema, Output& output) : output_(output) {
    for (const auto& field : schema.fields()) {
      Separate();
      Quote(field->name(), false);
    }
    EndLine();
  }

  void Write(const arrow::RecordBatch& batch) override {
    for (int64_t row = 0; row < batch.num_rows(); ++row) {
      for (const auto& column : batch.columns()) {
        Separate();
        if (column->IsNull(row)) continue;
        cell_.clear();
        AppendCell(*column, row, &cell_);
        if (IsText(*column->type())) {
          Quote(cell_, true);
        } else {
          line_ += cell_;
        }
      }
      EndLine();
    }
  }
  void Finish() override {}

 private:
  void Separate() {
    if (!first_) line_ += ',';
    first_ = false;
  }
  // An empty string is quoted, which tells it from NULL.
  void Quote(const std::string& text, bool empty_too) {
    if (text.find_first_of(",\"\r\n") == std::string::npos && !(empty_too && text.empty())) {
      line_ += text;
      return;
    }
    line_ += '"';
    for (const char c : text) {
      if (c == '"') line_ += '"';
      line_ += c;
    }
    line_ += '"';
  }
  void EndLine() {
    line_ += '\n';
    output_.Write(line_.data(), line_.size());
    line_.clear();
    first_ = true;
  }

  Output& output_;
  std::string line_, cell_;
  bool first_ = true;
};

void AppendJson(const std::string& text, std::string* json) {
  *json += '"';
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      *json += '\\';
      *json += c;
    } else if (c == '\n') {
      *json += "\\n";
    } else if (static_cast<unsigned char>(c) < 0x20) {
      *json += fmt::format("\\u{:04x}", c);
    } else {
      *json += c;
    }
  }
  *json += '"';
}

class JsonWriter : public Writer {
 public:
  JsonWriter(const arrow::Schema& schema, Output& output) : output_(output) {
    for (const auto& field : schema.fields()) {
      std::string& key = keys_.emplace_back(keys_.empty() ? "{" : ",");
      AppendJson(field->name(), &key);
      key += ':';
    }
  }

  void Write(const arrow::RecordBatch& batch) override {
    for (int64_t row = 0; row < batch.num_rows(); ++row) {
      line_.clear();
      for (int i = 0; i < batch.num_columns(); ++i) {
        line_ += keys_[static_cast<size_t>(i)];
        AppendValue(*batch.column(i), row);
      }
      line_ += keys_.empty() ? "{}\n" : "}\n";
      output_.Write(line_.data(), line_.size());
    }
  }
  void Finish() override {}

 private:
  void AppendValue(const arrow::Array& array, int64_t row) {
    if (array.IsNull(row)) {
      line_ += "null";
      return;
    }
    cell_.clear();
    AppendCell(array, row, &cell_);
    // JSON has no NaN and no infinity.
    const bool bare = array.type_id() == arrow::Type::BOOL ||
                      (IsNumber(*array.type()) && cell_.find_first_not_of("+-.0123456789e") == std::string::npos);
    if (bare) {
      line_ += cell_;
    } else {
      AppendJson(cell_, &line_);
    }
  }

  Output& output_;
  std::vector<std::string> keys_;  // with what stands before and after them
  std::string line_, cell_;
};

class TableWriter : public Writer {
 public:
  TableWriter(const arrow::Schema& schema, Output& output) : output_(output) {
    for (const auto& field : schema.fields()) {
      columns_.push_back({field->name(), IsNumber(*field->type()), Width(field->name())});
    }
  }

  void Write(const arrow::RecordBatch& batch) override {
    for (int64_t row = 0; row < batch.num_rows(); ++row) {
      std::vector<std::string> cells;
      for (int i = 0; i < batch.num_columns(); ++i) {
        std::string& cell = cells.emplace_back();
        if (batch.column(i)->IsNull(row)) {
          cell = "NULL";
        } else {
          AppendCell(*batch.column(i), row, &cell);
        }
        // What would break the line, or command a terminal.
        std::replace_if(
            cell.begin(), cell.end(), [](char c) { return static_cast<unsigned char>(c) < ' ' || c == 0x7f; }, ' ');
      }
      ++rows_;
      if (headed_) {
        PrintRow(cells);
      } else {
        waiting_.push_back(std::move(cells));
        if (waiting_.size() == kRowsForWidths) PrintWaiting();
      }
    }
  }

  void Finish() override {
    if (!headed_) PrintWaiting();
    const std::string count = fmt::format("({} row{})\n", rows_, rows_ == 1 ? "" : "s");
    output_.Write(count.data(), count.size());
  }

 private:
  struct TableColumn {
    std::string name;
    bool number;
    size_t width;
  };

  void PrintWaiting() {
    headed_ = true;
    for (const auto& cells : waiting_) {
      for (size_t i = 0; i < cells.size(); ++i) columns_[i].width = std::max(columns_[i].width, Width(cells[i]));
    }
    std::vector<std::string> names;
    for (const TableColumn& column : columns_) names.push_back(column.name);
    PrintRow(names);
    std::string rule;
    for (const TableColumn& column : columns_)
      rule += fmt::format("{}{:-<{}}", rule.empty() ? "" : "+", "", column.width + 2);
    rule += '\n';
    output_.Write(rule.data(), rule.size());
    for (const auto& cells : waiting_) PrintRow(cells);
    waiting_.clear();
  }

  void PrintRow(const std::vector<std::string>& cells) {
    std::string line;
    for (size_t i = 0; i < cells.size(); ++i) {
      const size_t width = Width(cells[i]);
      const std::string gap(columns_[i].width > width ? columns_[i].width - width : 0, ' ');
      const bool last = i + 1 == cells.size();
      line += i == 0 ? " " : "| ";
      if (columns_[i].number) line += gap;
      line += cells[i];
      if (!columns_[i].number && !last) line += gap;
      if (!last) line += ' ';
    }
    line += '\n';
    output_.Write(line.data(), line.size());
  }

  Output& output_;
  std::vector<TableColumn> columns_;
  std::vector<std::vector<std::string>> waiting_;
  bool headed_ = false;
  uint64_t rows_ = 0;
};

// Output as Arrow's writers want it. What Write throws passes through them.
class ArrowOutput : public arrow::io::OutputStream {
 public:
  explicit ArrowOutput(Output& output) : output_(output) {}
  arrow::Status Close() override {
    closed_ = true;
    return arrow::Status::OK();
  }
  arrow::Result<int64_t> Tell() const override { return written_; }
  bool closed() const override { return closed_; }
  using arrow::io::Writable::Write;
  arrow::Status Write(const void* data, int64_t size) override {
    output_.Write(static_cast<const char*>(data), static_cast<size_t>(size));
    written_ += size;
    return arrow::Status::OK();
  }

 private:
  Output& output_;
  int64_t written_ = 0;
  bool closed_ = false;
};

class ArrowWriter : public Writer {
 public:
  ArrowWriter(const std::shared_ptr<arrow::Schema>& schema, Output& output)
      : stream_(output), writer_(Value(arrow::ipc::MakeStreamWriter(&stream_, schema))) {}
  void Write(const arrow::RecordBatch& batch) override { Check(writer_->WriteRecordBatch(batch)); }
  void Finish() override { Check(writer_->Close()); }

 private:
  ArrowOutput stream_;
  std::shared_ptr<arrow::ipc::RecordBatchWriter> writer_;
};

class ParquetWriter : public Writer {
 public:
  ParquetWriter(const std::shared_ptr<arrow::Schema>& schema, Output& output)
      : writer_(Value(parquet::arrow::FileWriter::Open(*schema, arrow::default_memory_pool(),
                                                       std::make_shared<ArrowOutput>(output), Properties()))) {}
  void Write(const arrow::RecordBatch& batch) override { Check(writer_->WriteRecordBatch(batch)); }
  void Finish() override { Check(writer_->Close()); }

 private:
  static std::shared_ptr<parquet::WriterProperties> Properties() {
    return parquet::WriterProperties::Builder()
        .max_row_group_length(kRowGroupRows)
        ->compression(parquet::Compression::SNAPPY)
        ->build();
  }

  std::unique_ptr<parquet::arrow::FileWriter> writer_;
};

}  // namespace

Output::Output(const std::string& path) : path_(path), file_(STDOUT_FILENO) {
  if (path.empty()) return;
  file_ = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (file_ < 0) throw Failure(kNoAccess, fmt::format("--output {}: cannot be written: {}", path, strerror(errno)));
}

Output::~Output() {
  if (closed_) return;
  struct stat status;
  const bool regular = fstat(file_, &status) == 0 && S_ISREG(status.st_mode);
  if (path_.empty()) return;
  close(file_);
  if (regular) unlink(path_.c_str());
}

bool Output::is_terminal() const { return isatty(file_) != 0; }

void Output::Write(const char* data, size_t size) {
  buffer_.append(data, size);
  if (buffer_.size() >= kBufferBytes) Flush();
}

void Output::Flush() {
  for (size_t written = 0; written < buffer_.size();) {
    const ssize_t now = write(file_, buffer_.data() + written, buffer_.size() - written);
    if (now < 0 && errno == EINTR) continue;
    if (now < 0 && errno == EPIPE) throw ReaderGone();
    if (now < 0)
      throw Failure(kNoAccess, fmt::format("{}: cannot be written: {}", path_.empty() ? "the standard output" : path_,
                                           strerror(errno)));
    written += static_cast<size_t>(now);
  }
  buffer_.clear();
}

void Output::Close() {
  Flush();
  if (!path_.empty() && close(file_) != 0)
    throw Failure(kNoAccess, fmt::format("{}: cannot be written: {}", path_, strerror(errno)));
  closed_ = true;
}

std::unique_ptr<Writer> MakeWriter(Format format, const std::shared_ptr<arrow::Schema>& schema, Output& output) {
  switch (format) {
    case Format::kTable:
      return std::make_unique<TableWriter>(*schema, output);
    case Format::kCsv:
      return std::make_unique<CsvWriter>(*schema, output);
    case Format::kJson:
      return std::make_unique<JsonWriter>(*schema, output);
    case Format::kArrow:
      return std::make_unique<ArrowWriter>(schema, output);
    case Format::kParquet:
      return std::make_unique<ParquetWriter>(schema, output);
  }
  __builtin_unreachable();
}

}  // namespace neap::command
