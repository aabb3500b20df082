// page_source.h: the pages of one column chunk, in order, decompressed. Headers and compression are Arrow's
// (parquet::PageReader); bytes come through a buffer of our own, so that a chunk is never held whole.
#pragma once

#include <cstdint>
#include <memory>

#include "engine/memory/memory.h"
#include "engine/scan/parquet_file.h"
#include "engine/scan/parquet_schema.h"

namespace arrow {
class MemoryPool;
}

namespace neap::engine {

struct Page {
  enum class Kind : uint8_t { kEnd, kDictionary, kPlain, kIndices };

  Kind kind = Kind::kEnd;
  uint32_t rows = 0;                // of a dictionary: its values
  const uint8_t* levels = nullptr;  // definition levels as runs; null where the column has none
  const uint8_t* levels_end = nullptr;
  const uint8_t* values = nullptr;  // PLAIN; of kIndices: the bit width, then runs
  const uint8_t* values_end = nullptr;
};

class PageSource {
 public:
  PageSource(Memory& memory, arrow::MemoryPool* pool);
  ~PageSource();

  void Open(const FileHandle& file, const ColumnChunk& chunk, const Leaf& leaf);

  // The next page; whatever an earlier page pointed to is gone. A data page whose rows are all to be skipped is not
  // even read, and its rows are taken from *skip. Throws parquet::ParquetException or std::runtime_error.
  Page Next(uint64_t* skip);

 private:
  class Stream;
  struct Impl;

  std::unique_ptr<Impl> impl_;
};

}  // namespace neap::engine
