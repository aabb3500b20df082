// writer.h: rows on their way out, in one of the formats.
#pragma once

#include <arrow/type_fwd.h>

#include <memory>
#include <string>

#include "tools/neap_sql/options.h"

namespace neap::command {

// Where the bytes go: a file, or the standard output.
class Output {
 public:
  explicit Output(const std::string& path);  // "": standard output. Throws Failure.
  ~Output();                                 // removes the file unless Close was called
  Output(const Output&) = delete;
  Output& operator=(const Output&) = delete;

  void Write(const char* data, size_t size);  // throws Failure, or ReaderGone
  void Close();
  bool is_terminal() const;

 private:
  void Flush();

  std::string path_;
  int file_ = -1;
  std::string buffer_;
  bool closed_ = false;
};

// The other end of a pipe is closed: nobody wants the rest.
class ReaderGone {};

class Writer {
 public:
  virtual ~Writer() = default;
  virtual void Write(const arrow::RecordBatch& batch) = 0;
  virtual void Finish() = 0;  // of one statement's rows
};

std::unique_ptr<Writer> MakeWriter(Format format, const std::shared_ptr<arrow::Schema>& schema, Output& output);

}  // namespace neap::command
