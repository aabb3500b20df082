// parquet_file.h: what the footer of a Parquet file says, kept in little memory.
#pragma once

#include <cstdint>
#include <exception>
#include <memory>
#include <string>
#include <vector>

#include "engine/scan/parquet_schema.h"

namespace neap::engine {

// Where part of a file lies.
struct FileRange {
  int64_t offset = 0;
  int64_t bytes = 0;
};

// One column of one row group.
struct ColumnChunk {
  FileRange pages;  // dictionary page and data pages
  int64_t values = 0;
  int64_t nulls = -1;       // -1: unknown
  int compression = 0;      // parquet::Compression::type
  bool dictionary = false;  // a dictionary page is there
  bool plain = false;       // some data page is not dictionary-encoded, or it is unknown
  bool has_bounds = false;  // min and max are known
  std::string min, max;     // as PLAIN has them; of strings they may be cut, but bound the values all the same
  FileRange column_index, offset_index;  // 0 bytes: not there
};

struct RowGroup {
  int64_t rows = 0;
  std::vector<ColumnChunk> chunks;  // by Leaf::column
};

// So many rows are worth a part of their own.
constexpr int64_t kLeastPart = int64_t{128} << 10;
// Rows of each part, but for the last, where the row group is divided into equal ones of about so many.
int64_t PartRows(const RowGroup& group, int64_t about);

struct ParquetFile {
  std::string path;
  int64_t bytes = 0;
  std::shared_ptr<const ParquetSchema> schema;
  std::vector<RowGroup> row_groups;
};

// Reads the footer. `known`: a schema that is shared where it is the same. Throws Error(kData), which names the file.
ParquetFile ReadFooter(const std::string& path, const std::shared_ptr<const ParquetSchema>& known);

// What Arrow says of a file, which may be several lines, as one.
std::string OneLine(const std::exception& error);

// An open file, for reading at offsets from any thread.
class FileHandle {
 public:
  explicit FileHandle(const std::string& path);  // throws Error(kData)
  FileHandle(FileHandle&& other) noexcept;
  FileHandle& operator=(FileHandle&& other) noexcept;
  ~FileHandle();

  int64_t Size() const;
  // Throws Error(kData) where the file ends before.
  void Read(int64_t offset, int64_t bytes, void* out) const;
  // Has the kernel read these on its own, if it will.
  void ReadAhead(int64_t offset, int64_t bytes) const noexcept;

  const std::string& path() const { return path_; }

 private:
  std::string path_;
  int descriptor_;
};

}  // namespace neap::engine
