// arrow_import.cc: Arrow arrays as columns: numbers of the same width where they lie, all else converted.
#include <arrow/array.h>
#include <arrow/c/bridge.h>
#include <arrow/extension_type.h>
#include <arrow/record_batch.h>
#include <arrow/type.h>
#include <arrow/util/float16.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

#include "engine/core/error.h"
#include "engine/result/arrow_stream.h"
#include "engine/run/query.h"
#include "engine/scan/bit_packing.h"

namespace neap::engine {
namespace {

std::shared_ptr<arrow::Array> StorageOf(std::shared_ptr<arrow::Array> array) {
  while (array->type_id() == arrow::Type::EXTENSION) {
    array = static_cast<const arrow::ExtensionArray&>(*array).storage();
  }
  return array;
}

// Nothing for types that the engine does not have.
std::optional<Type> TypeOfArrow(const arrow::DataType& type) {
  switch (type.id()) {
    case arrow::Type::NA:
      return Type{TypeId::kNull};
    case arrow::Type::BOOL:
      return Type{TypeId::kBool};
    case arrow::Type::INT8:
      return Type{TypeId::kInt8};
    case arrow::Type::INT16:
    case arrow::Type::UINT8:
      return Type{TypeId::kInt16};
    case arrow::Type::INT32:
    case arrow::Type::UINT16:
      return Type{TypeId::kInt32};
    case arrow::Type::INT64:
    case arrow::Type::UINT32:
      return Type{TypeId::kInt64};
    case arrow::Type::UINT64:
      return Type::Decimal(20, 0);
    case arrow::Type::HALF_FLOAT:
    case arrow::Type::FLOAT:
      return Type{TypeId::kFloat};
    case arrow::Type::DOUBLE:
      return Type{TypeId::kDouble};
    case arrow::Type::DECIMAL32:
    case arrow::Type::DECIMAL64:
    case arrow::Type::DECIMAL128: {
      const auto& decimal = static_cast<const arrow::DecimalType&>(type);
      if (decimal.scale() < 0 || decimal.scale() > decimal.precision()) return std::nullopt;
      return Type::Decimal(decimal.precision(), decimal.scale());
    }
    case arrow::Type::DATE32:
    case arrow::Type::DATE64:
      return Type{TypeId::kDate};
    case arrow::Type::TIMESTAMP: {
      const bool zone = !static_cast<const arrow::TimestampType&>(type).timezone().empty();
      return Type{zone ? TypeId::kTimestampTz : TypeId::kTimestamp};
    }
    case arrow::Type::INTERVAL_MONTHS:
    case arrow::Type::INTERVAL_DAY_TIME:
    case arrow::Type::INTERVAL_MONTH_DAY_NANO:
      return Type{TypeId::kInterval};
    case arrow::Type::STRING:
    case arrow::Type::LARGE_STRING:
    case arrow::Type::STRING_VIEW:
      return Type{TypeId::kString};
    case arrow::Type::BINARY:
    case arrow::Type::LARGE_BINARY:
    case arrow::Type::BINARY_VIEW:
    case arrow::Type::FIXED_SIZE_BINARY:
      return Type{TypeId::kBinary};
    case arrow::Type::DICTIONARY:
      return TypeOfArrow(*static_cast<const arrow::DictionaryType&>(type).value_type());
    case arrow::Type::EXTENSION:
      return TypeOfArrow(*static_cast<const arrow::ExtensionType&>(type).storage_type());
    default:
      return std::nullopt;
  }
}

std::vector<ResultColumn> ColumnsOfSchema(const arrow::Schema& schema) {
  std::vector<ResultColumn> columns;
  for (const auto& field : schema.fields()) {
    const std::optional<Type> type = TypeOfArrow(*field->type());
    if (!type) {
      throw Error(ErrorKind::kData, "column " + field->name() + " of the Arrow stream has the type " +
                                        field->type()->ToString() + ", which is not supported");
    }
    columns.push_back({field->name(), *type});
  }
  return columns;
}

int64_t ScaleToMicros(int64_t value, arrow::TimeUnit::type unit) {
  int64_t micros = value;
  const int64_t factor = unit == arrow::TimeUnit::SECOND ? 1'000'000 : unit == arrow::TimeUnit::MILLI ? 1000 : 1;
  if (__builtin_mul_overflow(value, factor, &micros)) {
    throw Error(ErrorKind::kData, "a timestamp of the Arrow stream does not fit into microseconds");
  }
  return unit == arrow::TimeUnit::NANO ? value / 1000 - (value % 1000 < 0 ? 1 : 0) : micros;
}

// Rows of one array as a column.
class ColumnImport {
 public:
  ColumnImport(const Type& type, uint32_t batch_rows, Memory& memory)
      : type_(type), memory_(memory), data_(memory, batch_rows * type.width()), valid_(memory, batch_rows) {}

  Column Import(const arrow::Array& array, int64_t first, uint32_t rows) {
    Column column;
    column.type = type_;
    column.data = data_.data();
    if (type_.id == TypeId::kNull) {
      std::memset(valid_.data(), 0, rows);
      std::memset(data_.data(), 0, rows);
      column.valid = valid_.data();
      return column;
    }
    if (array.type_id() == arrow::Type::DICTIONARY) {
      return ImportDictionary(static_cast<const arrow::DictionaryArray&>(array), first, rows);
    }
    if (array.null_count() > 0) {
      UnpackBits(array.null_bitmap_data(), static_cast<uint64_t>(array.offset() + first), rows, valid_.data());
      column.valid = valid_.data();
    }
    if (const void* in_place = InPlace(array, first)) {
      column.data = in_place;
    } else {
      Convert(array, first, rows);
    }
    return column;
  }

 private:
  template <class T>
  static const T* Values(const arrow::Array& array, int64_t first) {
    return array.data()->GetValues<T>(1) + first;
  }

  // Where the values lie as the engine has them. Null where they must be converted.
  static const void* InPlace(const arrow::Array& array, int64_t first) {
    switch (array.type_id()) {
      case arrow::Type::INT8:
        return Values<int8_t>(array, first);
      case arrow::Type::INT16:
        return Values<int16_t>(array, first);
      case arrow::Type::INT32:
      case arrow::Type::DATE32:
      case arrow::Type::FLOAT:
        return Values<int32_t>(array, first);
      case arrow::Type::INT64:
      case arrow::Type::DOUBLE:
      case arrow::Type::DECIMAL64:
        return Values<int64_t>(array, first);
      case arrow::Type::TIMESTAMP: {
        const bool micros = static_cast<const arrow::TimestampType&>(*array.type()).unit() == arrow::TimeUnit::MICRO;
        return micros ? Values<int64_t>(array, first) : nullptr;
      }
      case arrow::Type::DECIMAL128: {  // aligned to 8 bytes alone where it came from elsewhere
        const bool wide = static_cast<const arrow::DecimalType&>(*array.type()).precision() > kMaxPrecision64;
        const auto* values = Values<Int128>(array, first);
        return wide && reinterpret_cast<uintptr_t>(values) % alignof(Int128) == 0 ? values : nullptr;
      }
      default:
        return nullptr;
    }
  }

  template <class To, class From, class F>
  void Each(const arrow::Array& array, int64_t first, uint32_t rows, F&& f) {
    const auto* from = reinterpret_cast<const uint8_t*>(Values<From>(array, first));
    auto* to = reinterpret_cast<To*>(data_.data());
    const bool nulls = array.null_count() > 0;  // what lies there may be out of range
    for (uint32_t row = 0; row < rows; ++row) {
      From value;
      std::memcpy(static_cast<void*>(&value), from + size_t{row} * sizeof(From), sizeof(From));
      to[row] = nulls && valid_[row] == 0 ? To{} : static_cast<To>(f(value));
    }
  }
  template <class To, class From>
  void Widen(const arrow::Array& array, int64_t first, uint32_t rows) {
    Each<To, From>(array, first, rows, [](From value) { return value; });
  }

  template <class ArrayType>
  void Strings(const arrow::Array& array, int64_t first, uint32_t rows) {
    const auto& strings = static_cast<const ArrayType&>(array);
    auto* views = reinterpret_cast<View*>(data_.data());
    for (uint32_t row = 0; row < rows; ++row) {
      const bool null = array.null_count() > 0 && valid_[row] == 0;
      const std::string_view text = null ? std::string_view() : strings.GetView(first + row);
      if (text.size() > UINT32_MAX) throw Error(ErrorKind::kData, "a string of the Arrow stream is longer than 4 GiB");
      views[row] = View(text);
    }
  }

  // Converts everything that InPlace does not give.
  void Convert(const arrow::Array& array, int64_t first, uint32_t rows) {
    switch (array.type_id()) {
      case arrow::Type::BOOL:
        UnpackBits(array.data()->buffers[1]->data(), static_cast<uint64_t>(array.offset() + first), rows, data_.data());
        return;
      case arrow::Type::UINT8:
        return Widen<int16_t, uint8_t>(array, first, rows);
      case arrow::Type::UINT16:
        return Widen<int32_t, uint16_t>(array, first, rows);
      case arrow::Type::UINT32:
        return Widen<int64_t, uint32_t>(array, first, rows);
      case arrow::Type::UINT64:
        return Widen<Int128, uint64_t>(array, first, rows);
      case arrow::Type::DECIMAL32:
        return Widen<int64_t, int32_t>(array, first, rows);
      case arrow::Type::DECIMAL128:
        return type_.physical() == Physical::kInt64 ? Widen<int64_t, Int128>(array, first, rows)
                                                    : Widen<Int128, Int128>(array, first, rows);
      case arrow::Type::HALF_FLOAT:
        return Each<float, uint16_t>(array, first, rows,
                                     [](uint16_t bits) { return arrow::util::Float16::FromBits(bits).ToFloat(); });
      case arrow::Type::DATE64:
        return Each<int32_t, int64_t>(array, first, rows, [](int64_t millis) { return millis / 86'400'000; });
      case arrow::Type::TIMESTAMP: {
        const auto unit = static_cast<const arrow::TimestampType&>(*array.type()).unit();
        return Each<int64_t, int64_t>(array, first, rows, [&](int64_t value) { return ScaleToMicros(value, unit); });
      }
      case arrow::Type::INTERVAL_MONTHS:
        return Each<Interval, int32_t>(array, first, rows, [](int32_t months) { return Interval{months, 0, 0}; });
      case arrow::Type::INTERVAL_DAY_TIME:
        return Each<Interval, arrow::DayTimeIntervalType::DayMilliseconds>(array, first, rows, [](const auto& value) {
          return Interval{0, value.days, int64_t{value.milliseconds} * 1000};
        });
      case arrow::Type::INTERVAL_MONTH_DAY_NANO:
        return Each<Interval, arrow::MonthDayNanoIntervalType::MonthDayNanos>(
            array, first, rows, [](const auto& value) {
              return Interval{value.months, value.days, value.nanoseconds / 1000};
            });
      case arrow::Type::STRING:
      case arrow::Type::BINARY:
        return Strings<arrow::BinaryArray>(array, first, rows);
      case arrow::Type::LARGE_STRING:
      case arrow::Type::LARGE_BINARY:
        return Strings<arrow::LargeBinaryArray>(array, first, rows);
      case arrow::Type::STRING_VIEW:
      case arrow::Type::BINARY_VIEW:
        return Strings<arrow::BinaryViewArray>(array, first, rows);
      case arrow::Type::FIXED_SIZE_BINARY:
        return Strings<arrow::FixedSizeBinaryArray>(array, first, rows);
      default:
        __builtin_unreachable();  // TypeOfArrow has refused it
    }
  }

  // Indices into the values of the dictionary, which are imported once, and one entry more for NULL.
  Column ImportDictionary(const arrow::DictionaryArray& array, int64_t first, uint32_t rows) {
    const size_t width = type_.width();
    const auto size = static_cast<uint32_t>(array.dictionary()->length());
    if (array.data()->dictionary != dictionary_) {
      ColumnImport values(type_, size, memory_);
      const Column column = values.Import(*StorageOf(array.dictionary()), 0, size);
      dictionary_data_ = Array<uint8_t>(memory_, (size_t{size} + 1) * width);
      std::memcpy(dictionary_data_.data(), column.data, size * width);
      std::memset(dictionary_data_.data() + size * width, 0, width);
      dictionary_valid_ = Array<uint8_t>(memory_, size_t{size} + 1);
      std::memset(dictionary_valid_.data(), 1, size);
      if (column.valid != nullptr) std::memcpy(dictionary_valid_.data(), column.valid, size);
      dictionary_valid_[size] = 0;
      dictionary_ = array.data()->dictionary;
    }
    if (indices_.size() < rows) indices_ = Array<uint32_t>(memory_, rows);
    for (uint32_t row = 0; row < rows; ++row) {
      indices_[row] = array.IsNull(first + row) ? size : static_cast<uint32_t>(array.GetValueIndex(first + row));
    }
    Column column;
    column.type = type_;
    column.data = dictionary_data_.data();
    column.valid = dictionary_valid_.data();
    column.indices = indices_.data();
    column.positions = size + 1;
    return column;
  }

  const Type type_;
  Memory& memory_;
  Array<uint8_t> data_;
  Array<uint8_t> valid_;
  std::shared_ptr<arrow::ArrayData> dictionary_;  // the one that lies in the next two
  Array<uint8_t> dictionary_data_;
  Array<uint8_t> dictionary_valid_;
  Array<uint32_t> indices_;
};

// Streams of Python's add a traceback.
std::string FirstLine(std::string text) { return text.substr(0, std::min(text.find('\n'), text.find(". Detail:"))); }

}  // namespace

std::vector<ResultColumn> ColumnsOfStream(ArrowArrayStream& stream) {
  ArrowSchema exported;
  if (stream.get_schema(&stream, &exported) != 0) {
    const char* why = stream.get_last_error(&stream);
    throw Error(ErrorKind::kData, std::string("the Arrow stream cannot be read: ") + (why == nullptr ? "" : why));
  }
  const auto schema = arrow::ImportSchema(&exported);
  if (!schema.ok()) throw Error(ErrorKind::kData, "the Arrow stream cannot be read: " + schema.status().ToString());
  return ColumnsOfSchema(**schema);
}

struct ArrowImport::Stream {
  std::shared_ptr<arrow::RecordBatchReader> reader;
};

// Record batches are taken one at a time and given in pieces.
class ArrowImport::Reader : public Cursor {
 public:
  Reader(ArrowImport& source, uint32_t batch_rows) : source_(source), batch_rows_(batch_rows) {
    for (const ResultColumn& column : source.columns_) columns_.emplace_back(column.type, batch_rows, source.memory_);
  }

  bool Next(Batch& batch) override {
    while (batch_ == nullptr || row_ == batch_->num_rows()) {
      batch_ = source_.Take();
      if (batch_ == nullptr) return false;
      row_ = 0;
      arrays_.clear();
      for (const auto& array : batch_->columns()) arrays_.push_back(StorageOf(array));
    }
    const auto rows = static_cast<uint32_t>(std::min<int64_t>(batch_rows_, batch_->num_rows() - row_));
    batch.columns.clear();
    for (size_t i = 0; i < columns_.size(); ++i) batch.columns.push_back(columns_[i].Import(*arrays_[i], row_, rows));
    batch.SetAll(rows);
    row_ += rows;
    return true;
  }

 private:
  ArrowImport& source_;
  const uint32_t batch_rows_;
  std::vector<ColumnImport> columns_;
  std::shared_ptr<arrow::RecordBatch> batch_;
  std::vector<std::shared_ptr<arrow::Array>> arrays_;
  int64_t row_ = 0;
};

ArrowImport::ArrowImport(ArrowArrayStream* stream, Memory& memory)
    : memory_(memory), stream_(std::make_unique<Stream>()) {
  auto reader = arrow::ImportRecordBatchReader(stream);
  if (!reader.ok()) throw Error(ErrorKind::kData, "the Arrow stream cannot be read: " + reader.status().ToString());
  stream_->reader = std::move(reader).ValueUnsafe();
  columns_ = ColumnsOfSchema(*stream_->reader->schema());
}

ArrowImport::~ArrowImport() = default;

std::unique_ptr<Cursor> ArrowImport::MakeCursor(Worker& worker) {
  return std::make_unique<Reader>(*this, worker.query->options().batch_rows);
}

std::shared_ptr<arrow::RecordBatch> ArrowImport::Take() {
  const std::lock_guard lock(mutex_);
  std::shared_ptr<arrow::RecordBatch> batch;
  const arrow::Status status = stream_->reader->ReadNext(&batch);
  if (!status.ok()) throw Error(ErrorKind::kData, "the Arrow stream cannot be read: " + FirstLine(status.message()));
  return batch;
}

}  // namespace neap::engine
