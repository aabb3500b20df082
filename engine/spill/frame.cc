// frame.cc: rows to Arrow's bytes and back.
#include "engine/spill/frame.h"

#include <arrow/array/array_base.h>
#include <arrow/array/data.h>
#include <arrow/buffer.h>
#include <arrow/io/memory.h>
#include <arrow/ipc/dictionary.h>
#include <arrow/ipc/message.h>
#include <arrow/ipc/reader.h>
#include <arrow/ipc/writer.h>
#include <arrow/record_batch.h>
#include <arrow/type.h>
#include <arrow/util/compression.h>

#include <algorithm>

#include "engine/core/error.h"

namespace neap::engine {
namespace {

// How many rows are looked at together to see whether their strings fit.
constexpr uint32_t kStep = 256;

void Check(const arrow::Status& status) {
  if (status.IsOutOfMemory()) throw Error(ErrorKind::kMemory, status.message());
  if (!status.ok()) throw Error(ErrorKind::kSpill, status.message());
}

template <class T>
T Value(arrow::Result<T> result) {
  Check(result.status());
  return std::move(result).ValueUnsafe();
}

std::shared_ptr<arrow::DataType> ArrowType(Physical physical) {
  switch (physical) {
    case Physical::kBool:
    case Physical::kInt8:
      return arrow::uint8();
    case Physical::kInt16:
      return arrow::int16();
    case Physical::kInt32:
      return arrow::int32();
    case Physical::kInt64:
      return arrow::int64();
    case Physical::kFloat:
      return arrow::float32();
    case Physical::kDouble:
      return arrow::float64();
    case Physical::kInt128:
    case Physical::kInterval:
      return arrow::fixed_size_binary(16);
    case Physical::kView:
      return arrow::large_binary();
  }
  __builtin_unreachable();
}

size_t WidthInFrame(const Type& type) { return type.is_view() ? sizeof(int64_t) : type.width(); }

}  // namespace

std::shared_ptr<arrow::Schema> FrameSchema(const std::vector<Type>& types) {
  arrow::FieldVector fields;
  for (const Type& type : types) fields.push_back(arrow::field("", ArrowType(type.physical())));
  return arrow::schema(std::move(fields));
}

FrameWriter::FrameWriter(const std::vector<Type>& types, Memory& memory, ArrowPool& pool)
    : types_(types), memory_(memory) {
  options_ = arrow::ipc::IpcWriteOptions::Defaults();
  options_.memory_pool = &pool;
  options_.use_threads = false;
  options_.alignment = 64;
  options_.codec = Value(arrow::util::Codec::Create(arrow::Compression::LZ4_FRAME));
  for (const Type& type : types) width_ += WidthInFrame(type);
  capacity_ = static_cast<uint32_t>(std::clamp<size_t>(kFrameBytes / std::max<size_t>(width_, 1), 64, kBatchRows));
  fields_.resize(types.size());
  for (size_t c = 0; c < types.size(); ++c) {
    fields_[c].values = {memory, (capacity_ + 1) * WidthInFrame(types[c])};
    fields_[c].valid = {memory, capacity_ / 8 + 1};
    if (types[c].is_view()) fields_[c].text = {memory, size_t{1} << 10};
  }
  Clear();
}

void FrameWriter::Clear() {
  rows_ = 0;
  bytes_ = 0;
  for (Field& field : fields_) {
    std::memset(field.values.data(), 0, sizeof(int64_t));
    std::memset(field.valid.data(), 0xff, field.valid.size());
    field.text_used = 0;
    field.nulls = 0;
  }
}

// At least one, however long its strings are.
uint32_t FrameWriter::RowsThatFit(const Batch& batch, uint32_t first, uint32_t count) const {
  size_t bytes[kStep];
  std::fill_n(bytes, count, width_);
  for (size_t c = 0; c < types_.size(); ++c) {
    if (!types_[c].is_view()) continue;
    const Column& column = batch.columns[c];
    for (uint32_t i = 0; i < count; ++i) {
      const uint32_t row = batch.selection != nullptr ? batch.selection[first + i] : first + i;
      const uint32_t position = column.position(row);
      if (column.valid == nullptr || column.valid[position] != 0) bytes[i] += column.values<View>()[position].size;
    }
  }
  size_t sum = bytes_ + bytes[0];
  uint32_t fit = 1;
  while (fit < count && sum + bytes[fit] <= kFrameBytes) sum += bytes[fit++];
  return fit;
}

void FrameWriter::ReserveText(Field& field, size_t bytes) {
  if (field.text_used + bytes <= field.text.size()) return;
  Array<uint8_t> grown(memory_, std::max(field.text_used + bytes, field.text.size() * 2));
  std::memcpy(grown.data(), field.text.data(), field.text_used);
  field.text = std::move(grown);
}

template <class T, class Row>
void FrameWriter::AppendColumn(const Column& column, Field& field, uint32_t count, Row&& row) {
  const T* values = column.values<T>();
  const auto is_null = [&](uint32_t position) { return column.valid != nullptr && column.valid[position] == 0; };
  const auto set_null = [&](uint32_t at) {
    field.valid[at / 8] = static_cast<uint8_t>(field.valid[at / 8] & ~(1U << (at % 8)));
    ++field.nulls;
  };
  if constexpr (std::is_same_v<T, View>) {
    int64_t* ends = reinterpret_cast<int64_t*>(field.values.data()) + 1;
    const size_t text_before = field.text_used;
    for (uint32_t i = 0; i < count; ++i) {
      const uint32_t position = column.position(row(i));
      if (is_null(position)) {
        set_null(rows_ + i);
      } else {
        const View& view = values[position];
        ReserveText(field, view.size);
        std::memcpy(field.text.data() + field.text_used, view.data(), view.size);
        field.text_used += view.size;
      }
      ends[rows_ + i] = static_cast<int64_t>(field.text_used);
    }
    bytes_ += field.text_used - text_before;
  } else {
    T* to = reinterpret_cast<T*>(field.values.data()) + rows_;
    for (uint32_t i = 0; i < count; ++i) {
      const uint32_t position = column.position(row(i));
      if (is_null(position)) {
        set_null(rows_ + i);
        to[i] = T{};
      } else {
        to[i] = values[position];
      }
    }
  }
}

uint32_t FrameWriter::Append(const Batch& batch, uint32_t first) {
  uint32_t done = 0;
  while (first + done < batch.selected && !full()) {
    uint32_t count = std::min({batch.selected - first - done, capacity_ - rows_, kStep});
    count = RowsThatFit(batch, first + done, count);
    for (size_t c = 0; c < types_.size(); ++c) {
      DispatchPhysical(types_[c].physical(), [&](auto zero) {
        using T = decltype(zero);
        const uint32_t begin = first + done;
        if (batch.selection == nullptr) {
          AppendColumn<T>(batch.columns[c], fields_[c], count, [&](uint32_t i) { return begin + i; });
        } else {
          AppendColumn<T>(batch.columns[c], fields_[c], count,
                          [&](uint32_t i) { return uint32_t{batch.selection[begin + i]}; });
        }
      });
    }
    rows_ += count;
    bytes_ += count * width_;
    done += count;
  }
  return done;
}

FrameWriter::Bytes FrameWriter::Encode(const std::shared_ptr<arrow::Schema>& schema, size_t before) {
  const auto wrap = [](const Array<uint8_t>& array, size_t size) {
    return std::make_shared<arrow::Buffer>(array.data(), static_cast<int64_t>(size));
  };
  std::vector<std::shared_ptr<arrow::ArrayData>> columns;
  for (size_t c = 0; c < types_.size(); ++c) {
    const Field& field = fields_[c];
    std::vector<std::shared_ptr<arrow::Buffer>> buffers = {nullptr};
    if (field.nulls != 0) buffers[0] = wrap(field.valid, (rows_ + 7) / 8);
    const bool is_view = types_[c].is_view();
    buffers.push_back(wrap(field.values, (rows_ + is_view) * WidthInFrame(types_[c])));
    if (is_view) buffers.push_back(wrap(field.text, field.text_used));
    columns.push_back(
        arrow::ArrayData::Make(schema->field(static_cast<int>(c))->type(), rows_, std::move(buffers), field.nulls));
  }
  const auto batch = arrow::RecordBatch::Make(schema, rows_, std::move(columns));
  arrow::ipc::IpcPayload payload;
  Check(arrow::ipc::GetRecordBatchPayload(*batch, options_, &payload));
  const size_t size = before + static_cast<size_t>(arrow::ipc::GetPayloadSize(payload, options_));
  if (encoded_.size() < size) encoded_ = {memory_, size + size / 4};
  arrow::io::FixedSizeBufferWriter stream(
      std::make_shared<arrow::MutableBuffer>(encoded_.data() + before, static_cast<int64_t>(size - before)));
  int32_t metadata_length = 0;
  Check(arrow::ipc::WriteIpcPayload(payload, options_, &stream, &metadata_length));
  Clear();
  return {encoded_.data(), size};
}

FrameReader::FrameReader(const std::vector<Type>& types, Memory& memory, ArrowPool& pool)
    : types_(types), memory_(memory), valid_(types.size()), views_(types.size()) {
  options_ = arrow::ipc::IpcReadOptions::Defaults();
  options_.memory_pool = &pool;
  options_.use_threads = false;
}

FrameReader::~FrameReader() = default;

void FrameReader::Decode(const std::shared_ptr<arrow::Schema>& schema, const uint8_t* data, size_t size, Batch& batch) {
  arrow::io::BufferReader stream(std::make_shared<arrow::Buffer>(data, static_cast<int64_t>(size)));
  const std::unique_ptr<arrow::ipc::Message> message = Value(arrow::ipc::ReadMessage(&stream, options_.memory_pool));
  if (message == nullptr) throw Error(ErrorKind::kSpill, "an empty frame");
  const arrow::ipc::DictionaryMemo dictionaries;
  record_batch_ = Value(arrow::ipc::ReadRecordBatch(*message, schema, &dictionaries, options_));
  const auto rows = static_cast<uint32_t>(record_batch_->num_rows());
  if (rows > kBatchRows) throw Error(ErrorKind::kSpill, "a frame of too many rows");
  batch.columns.assign(types_.size(), Column{});
  batch.SetAll(rows);
  for (size_t c = 0; c < types_.size(); ++c) {
    const arrow::ArrayData& from = *record_batch_->column_data(static_cast<int>(c));
    Column& column = batch.columns[c];
    column.type = types_[c];
    column.data = from.buffers[1]->data();
    if (from.GetNullCount() != 0) {
      if (valid_[c].size() < rows) valid_[c] = {memory_, rows};
      const uint8_t* bits = from.buffers[0]->data();
      for (uint32_t row = 0; row < rows; ++row) valid_[c][row] = (bits[row / 8] >> (row % 8)) & 1;
      column.valid = valid_[c].data();
    }
    if (types_[c].is_view()) {
      if (views_[c].size() < rows) views_[c] = {memory_, rows};
      const auto* ends = reinterpret_cast<const int64_t*>(from.buffers[1]->data());
      const char* text = reinterpret_cast<const char*>(from.buffers[2]->data());
      for (uint32_t row = 0; row < rows; ++row) {
        views_[c][row] = View(text + ends[row], static_cast<uint32_t>(ends[row + 1] - ends[row]));
      }
      column.data = views_[c].data();
    }
  }
}

}  // namespace neap::engine
