// arrow_batch.cc: columns copied into Arrow's buffers, the rows that count close together.
#include "engine/result/arrow_batch.h"

#include <arrow/array/data.h>
#include <arrow/buffer.h>
#include <arrow/memory_pool.h>
#include <arrow/record_batch.h>
#include <arrow/type.h>
#include <arrow/util/bit_util.h>

#include <cstring>
#include <limits>
#include <utility>

#include "engine/core/error.h"

namespace neap::engine {
namespace {

template <class T>
T OrThrow(arrow::Result<T> result) {
  if (result.ok()) return std::move(result).ValueUnsafe();
  throw Error(result.status().IsOutOfMemory() ? ErrorKind::kMemory : ErrorKind::kData, result.status().ToString());
}

// One column on its way to Arrow.
class ColumnCopy {
 public:
  ColumnCopy(const Batch& batch, const Column& column, arrow::MemoryPool* pool)
      : batch_(batch), column_(column), pool_(pool) {}

  std::shared_ptr<arrow::ArrayData> Copy() {
    auto data = std::make_shared<arrow::ArrayData>(ArrowTypeOf(column_.type), batch_.selected);
    data->null_count = 0;
    if (column_.type.id == TypeId::kNull) {
      data->null_count = batch_.selected;
      data->buffers = {nullptr};
      return data;
    }
    data->buffers = {CopyValidity(data.get())};
    switch (column_.type.id) {
      case TypeId::kBool:
        data->buffers.push_back(CopyBools());
        break;
      case TypeId::kDecimal:
        data->buffers.push_back(CopyDecimals());
        break;
      case TypeId::kInterval:
        data->buffers.push_back(CopyIntervals());
        break;
      case TypeId::kString:
      case TypeId::kBinary:
        CopyStrings(data.get());
        break;
      default:
        data->buffers.push_back(CopyNumbers());
    }
    return data;
  }

 private:
  std::shared_ptr<arrow::Buffer> Allocate(size_t bytes) {
    std::shared_ptr<arrow::Buffer> buffer = OrThrow(arrow::AllocateBuffer(static_cast<int64_t>(bytes), pool_));
    buffer->ZeroPadding();
    return buffer;
  }

  // f(number in the result, position in the column) for every row that counts.
  template <class F>
  void ForEach(F&& f) const {
    uint32_t i = 0;
    batch_.ForEach([&](uint32_t row) { f(i++, column_.position(row)); });
  }

  std::shared_ptr<arrow::Buffer> CopyValidity(arrow::ArrayData* data) {
    if (column_.valid == nullptr) return nullptr;
    auto bits = Allocate((batch_.selected + 7) / 8);
    std::memset(bits->mutable_data(), 0, static_cast<size_t>(bits->size()));
    int64_t nulls = 0;
    ForEach([&](uint32_t i, uint32_t position) {
      const uint8_t valid = column_.valid[position];
      bits->mutable_data()[i / 8] |= static_cast<uint8_t>(valid << (i % 8));
      nulls += 1 - valid;
    });
    data->null_count = nulls;
    return nulls == 0 ? nullptr : bits;
  }

  std::shared_ptr<arrow::Buffer> CopyBools() {
    auto bits = Allocate((batch_.selected + 7) / 8);
    std::memset(bits->mutable_data(), 0, static_cast<size_t>(bits->size()));
    const auto* values = column_.values<uint8_t>();
    ForEach([&](uint32_t i, uint32_t position) {
      bits->mutable_data()[i / 8] |= static_cast<uint8_t>((values[position] & 1) << (i % 8));
    });
    return bits;
  }

  std::shared_ptr<arrow::Buffer> CopyNumbers() {
    const size_t width = column_.type.width();
    auto buffer = Allocate(batch_.selected * width);
    if (column_.indices == nullptr && batch_.selection == nullptr) {
      std::memcpy(buffer->mutable_data(), column_.data, batch_.selected * width);
      return buffer;
    }
    DispatchPhysical(column_.type.physical(), [&](auto zero) {
      using T = decltype(zero);
      auto* out = reinterpret_cast<T*>(buffer->mutable_data());
      ForEach([&](uint32_t i, uint32_t position) { out[i] = column_.values<T>()[position]; });
    });
    return buffer;
  }

  std::shared_ptr<arrow::Buffer> CopyDecimals() {
    auto buffer = Allocate(batch_.selected * sizeof(Int128));
    auto* out = reinterpret_cast<Int128*>(buffer->mutable_data());
    if (column_.type.physical() == Physical::kInt64) {
      ForEach([&](uint32_t i, uint32_t position) { out[i] = column_.values<int64_t>()[position]; });
    } else {
      ForEach([&](uint32_t i, uint32_t position) { out[i] = column_.values<Int128>()[position]; });
    }
    return buffer;
  }

  std::shared_ptr<arrow::Buffer> CopyIntervals() {
    using MonthDayNano = arrow::MonthDayNanoIntervalType::MonthDayNanos;
    auto buffer = Allocate(batch_.selected * sizeof(MonthDayNano));
    auto* out = reinterpret_cast<MonthDayNano*>(buffer->mutable_data());
    ForEach([&](uint32_t i, uint32_t position) {
      const bool valid = column_.valid == nullptr || column_.valid[position] != 0;
      const Interval interval = valid ? column_.values<Interval>()[position] : Interval{};
      int64_t nanos;
      if (__builtin_mul_overflow(interval.micros, 1000, &nanos)) {
        throw Error(ErrorKind::kData,
                    "an interval is too long for Arrow's nanoseconds; make it shorter than 292 years");
      }
      out[i] = {interval.months, interval.days, nanos};
    });
    return buffer;
  }

  void CopyStrings(arrow::ArrayData* data) {
    const View* views = column_.values<View>();
    auto offsets = Allocate((size_t{batch_.selected} + 1) * sizeof(int32_t));
    auto* ends = reinterpret_cast<int32_t*>(offsets->mutable_data());
    int64_t total = 0;
    ends[0] = 0;
    const auto size_of = [&](uint32_t position) {
      return column_.valid == nullptr || column_.valid[position] != 0 ? views[position].size : 0;
    };
    ForEach([&](uint32_t i, uint32_t position) {
      total += size_of(position);
      ends[i + 1] = static_cast<int32_t>(total);
    });
    if (total > std::numeric_limits<int32_t>::max()) {
      throw Error(ErrorKind::kData, "the strings of one batch are longer than the 2 GiB that Arrow's utf8 holds");
    }
    auto text = Allocate(static_cast<size_t>(total));
    auto* out = reinterpret_cast<char*>(text->mutable_data());
    ForEach([&](uint32_t, uint32_t position) {
      const uint32_t size = size_of(position);
      if (size > 0) std::memcpy(out, views[position].data(), size);
      out += size;
    });
    data->buffers.push_back(std::move(offsets));
    data->buffers.push_back(std::move(text));
  }

  const Batch& batch_;
  const Column& column_;
  arrow::MemoryPool* pool_;
};

}  // namespace

std::shared_ptr<arrow::DataType> ArrowTypeOf(const Type& type) {
  switch (type.id) {
    case TypeId::kNull:
      return arrow::null();
    case TypeId::kBool:
      return arrow::boolean();
    case TypeId::kInt8:
      return arrow::int8();
    case TypeId::kInt16:
      return arrow::int16();
    case TypeId::kInt32:
      return arrow::int32();
    case TypeId::kInt64:
      return arrow::int64();
    case TypeId::kFloat:
      return arrow::float32();
    case TypeId::kDouble:
      return arrow::float64();
    case TypeId::kDecimal:
      return arrow::decimal128(type.precision, type.scale);
    case TypeId::kDate:
      return arrow::date32();
    case TypeId::kTimestamp:
      return arrow::timestamp(arrow::TimeUnit::MICRO);
    case TypeId::kTimestampTz:
      return arrow::timestamp(arrow::TimeUnit::MICRO, "UTC");
    case TypeId::kInterval:
      return arrow::month_day_nano_interval();
    case TypeId::kString:
      return arrow::utf8();
    case TypeId::kBinary:
      return arrow::binary();
  }
  __builtin_unreachable();
}

std::shared_ptr<arrow::Schema> ArrowSchemaOf(const std::vector<ResultColumn>& columns) {
  arrow::FieldVector fields;
  for (const ResultColumn& column : columns) fields.push_back(arrow::field(column.name, ArrowTypeOf(column.type)));
  return arrow::schema(std::move(fields));
}

std::shared_ptr<arrow::RecordBatch> ToArrow(const Batch& batch, const std::shared_ptr<arrow::Schema>& schema,
                                            arrow::MemoryPool* pool) {
  std::vector<std::shared_ptr<arrow::ArrayData>> columns;
  for (const Column& column : batch.columns) columns.push_back(ColumnCopy(batch, column, pool).Copy());
  return arrow::RecordBatch::Make(schema, batch.selected, std::move(columns));
}

}  // namespace neap::engine
