// result_writer.h: results written batch by batch, in the formats that people and programs read.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/core/column.h"
#include "engine/memory/memory.h"
#include "engine/result/arrow_batch.h"

namespace neap::engine {

enum class ResultFormat : uint8_t {
  kTable,        // aligned columns for people; only the first rows
  kCsv,          // RFC 4180 with a header; NULL is nothing, an empty string ""
  kJsonLines,    // an object a row; decimals and integers as exact numbers, NaN and infinities as null
  kArrowFile,    // Arrow IPC with a footer
  kArrowStream,  // Arrow IPC without
  kParquet,
};

struct ResultOptions {
  uint64_t most_rows = 40;     // kTable: so many are shown; 0: all
  uint32_t longest_cell = 60;  // kTable: characters of a value; 0: all
};

// One thread at a time. Throws Error(kData) where the output cannot be written.
class ResultWriter {
 public:
  virtual ~ResultWriter() = default;
  virtual void Write(const Batch& batch) = 0;
  virtual void Finish() = 0;  // after the last batch; without it a file is removed again
};

// To a file, or to standard output where the path is "". The time that a table names runs from here on.
std::unique_ptr<ResultWriter> MakeResultWriter(ResultFormat format, std::vector<ResultColumn> columns,
                                               const std::string& path, const ResultOptions& options, Memory& memory);

// The makers of each kind.
std::unique_ptr<ResultWriter> MakeTableWriter(std::vector<ResultColumn> columns, const std::string& path,
                                              const ResultOptions& options);
std::unique_ptr<ResultWriter> MakeCsvWriter(std::vector<ResultColumn> columns, const std::string& path);
std::unique_ptr<ResultWriter> MakeJsonWriter(std::vector<ResultColumn> columns, const std::string& path);
std::unique_ptr<ResultWriter> MakeArrowWriter(ResultFormat format, std::vector<ResultColumn> columns,
                                              const std::string& path, Memory& memory);

}  // namespace neap::engine
