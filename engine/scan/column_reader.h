// column_reader.h: one column of a table, decoded batch by batch.
//
// Strings of dictionary-encoded pages come out as indices into the chunk's dictionary; all else comes out flat. Rows to
// be passed over are only noted until the next Read, so that whole pages of them are never decompressed.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/core/column.h"
#include "engine/memory/memory.h"
#include "engine/scan/bit_packing.h"
#include "engine/scan/page_source.h"
#include "engine/scan/parquet_file.h"
#include "engine/scan/plain_decoding.h"

namespace neap::engine {

// Copies of the strings of one batch. What was kept before Clear is reused.
class StringKeeper {
 public:
  explicit StringKeeper(Memory& memory) : memory_(memory) {}
  const char* Keep(const char* data, uint32_t size);
  void Clear() { block_ = used_ = 0; }

 private:
  Memory& memory_;
  std::vector<Array<char>> blocks_;
  size_t block_ = 0;  // the one that is being filled
  size_t used_ = 0;   // of it
};

class ColumnReader {
 public:
  ColumnReader(const Type& type, uint32_t batch_rows, Memory& memory, arrow::MemoryPool* pool);

  // From the first row of a chunk on. The leaf has the reader's type; all three must outlive the reading of the chunk.
  void Open(const FileHandle& file, const ColumnChunk& chunk, const Leaf& leaf);

  void Skip(uint64_t rows) { skip_ += rows; }

  // The next rows, at most batch_rows; the column is valid until the next Read or Open. Throws Error(kData), which
  // names file and column.
  void Read(uint32_t rows, Column& column);

 private:
  void ReadRows(uint32_t rows, Column& column);
  void LoadPage();
  void LoadDictionary(const Page& page);
  void SkipRows();
  uint32_t DecodeLevels(uint32_t rows, uint32_t done);
  void DecodeValues(uint32_t count, uint32_t done);
  void DecodeIndices(uint32_t count, uint32_t* out);
  void SpreadValues(uint32_t rows, uint32_t filled, uint32_t done);
  void Flatten(uint32_t rows);
  void KeepStrings(uint32_t end);
  uint8_t* DataAt(uint32_t row) { return data_.data() + size_t{row} * width_; }

  const Type type_;
  const uint32_t width_;
  const uint32_t batch_rows_;
  Memory& memory_;
  PageSource source_;

  // Of the chunk.
  const FileHandle* file_ = nullptr;
  const Leaf* leaf_ = nullptr;
  PlainDecoder decode_ = nullptr;
  PlainSkipper skip_values_ = nullptr;
  bool has_nulls_ = false;  // may have: then dictionaries have an entry more, which is NULL
  Array<uint8_t> dictionary_;
  Array<uint8_t> dictionary_text_;
  Array<uint8_t> dictionary_valid_;
  uint32_t dictionary_size_ = 0;  // without the entry for NULL
  uint64_t dictionary_id_ = 0;
  uint64_t skip_ = 0;  // rows to be passed over before the next Read

  // Of the page.
  Page page_;
  uint32_t page_left_ = 0;  // rows
  HybridDecoder levels_;
  HybridDecoder runs_;
  PlainValues values_;

  // Of the batch.
  bool as_indices_ = false;
  uint32_t kept_ = 0;  // rows whose strings need the page no longer
  Array<uint8_t> data_;
  Array<uint8_t> valid_;
  Array<uint32_t> indices_;
  StringKeeper strings_;
};

}  // namespace neap::engine
