// frame.h: the body of one frame of a spill file: some rows as an Arrow IPC record batch, compressed with LZ4. Values
// go by their width alone (a decimal as an integer, an interval as 16 bytes, a string as large binary).
// For .cc files alone: it includes Arrow.
#pragma once

#include <arrow/ipc/options.h>
#include <arrow/type_fwd.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "engine/core/column.h"
#include "engine/core/type.h"
#include "engine/memory/arrow_pool.h"
#include "engine/memory/memory.h"

namespace neap::engine {

// A frame is closed at about so many bytes, so that sixteen files that are being written cost a thread about 1 MiB.
constexpr size_t kFrameBytes = size_t{64} << 10;

std::shared_ptr<arrow::Schema> FrameSchema(const std::vector<Type>& types);

// Collects rows column by column until a frame is full.
class FrameWriter {
 public:
  FrameWriter(const std::vector<Type>& types, Memory& memory, ArrowPool& pool);

  // Copies rows of the batch that count, from the `first`th of them on, until there are no more or the frame is full;
  // returns how many.
  uint32_t Append(const Batch& batch, uint32_t first);
  bool full() const { return rows_ == capacity_ || bytes_ >= kFrameBytes; }
  uint32_t rows() const { return rows_; }

  // The rows as an IPC message, behind `before` bytes left free, in a buffer that stays valid until the next call.
  // Empties the frame.
  struct Bytes {
    uint8_t* data;
    size_t size;  // with `before`
  };
  Bytes Encode(const std::shared_ptr<arrow::Schema>& schema, size_t before);

 private:
  struct Field {
    Array<uint8_t> values;  // of a view column: int64 ends, one more than rows
    Array<uint8_t> valid;   // Arrow's bits, all set at first
    Array<uint8_t> text;
    size_t text_used = 0;
    uint32_t nulls = 0;
  };

  uint32_t RowsThatFit(const Batch& batch, uint32_t first, uint32_t count) const;
  template <class T, class Row>
  void AppendColumn(const Column& column, Field& field, uint32_t count, Row&& row);
  void ReserveText(Field& field, size_t bytes);
  void Clear();

  const std::vector<Type>& types_;
  Memory& memory_;
  arrow::ipc::IpcWriteOptions options_;
  size_t width_ = 0;   // bytes of a row without its strings
  uint32_t capacity_;  // rows
  uint32_t rows_ = 0;
  size_t bytes_ = 0;
  std::vector<Field> fields_;
  Array<uint8_t> encoded_;
};

// The way back.
class FrameReader {
 public:
  FrameReader(const std::vector<Type>& types, Memory& memory, ArrowPool& pool);
  ~FrameReader();

  // The batch points into `data` and into this, and is valid until the next call. Throws Error(kSpill) without a name
  // of the file where this is no such message.
  void Decode(const std::shared_ptr<arrow::Schema>& schema, const uint8_t* data, size_t size, Batch& batch);

 private:
  const std::vector<Type>& types_;
  Memory& memory_;
  arrow::ipc::IpcReadOptions options_;
  std::shared_ptr<arrow::RecordBatch> record_batch_;
  std::vector<Array<uint8_t>> valid_;  // as long as the longest frame so far
  std::vector<Array<View>> views_;
};

}  // namespace neap::engine
