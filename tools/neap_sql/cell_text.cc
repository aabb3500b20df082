// cell_text.cc: the types that results have (engine/result/arrow_batch.h), each by the engine's own way to write it.
#include "tools/neap_sql/cell_text.h"

#include <arrow/array.h>
#include <arrow/type.h>
#include <fmt/format.h>
#include <string.h>

#include "engine/core/value_text.h"

namespace neap::command {

using namespace neap::engine;

void AppendCell(const arrow::Array& array, int64_t row, std::string* text) {
  char buffer[kMaxValueText];
  char* end = buffer;
  switch (array.type_id()) {
    case arrow::Type::BOOL:
      *text += static_cast<const arrow::BooleanArray&>(array).Value(row) ? "true" : "false";
      return;
    case arrow::Type::INT8:
      end = WriteInteger(static_cast<const arrow::Int8Array&>(array).Value(row), buffer);
      break;
    case arrow::Type::INT16:
      end = WriteInteger(static_cast<const arrow::Int16Array&>(array).Value(row), buffer);
      break;
    case arrow::Type::INT32:
      end = WriteInteger(static_cast<const arrow::Int32Array&>(array).Value(row), buffer);
      break;
    case arrow::Type::INT64:
      end = WriteInteger(static_cast<const arrow::Int64Array&>(array).Value(row), buffer);
      break;
    case arrow::Type::FLOAT:
      end = WriteFloat(static_cast<const arrow::FloatArray&>(array).Value(row), buffer);
      break;
    case arrow::Type::DOUBLE:
      end = WriteDouble(static_cast<const arrow::DoubleArray&>(array).Value(row), buffer);
      break;
    case arrow::Type::DECIMAL128: {
      Int128 value;
      memcpy(&value, static_cast<const arrow::Decimal128Array&>(array).Value(row), sizeof value);
      end = WriteDecimal(value, static_cast<const arrow::Decimal128Type&>(*array.type()).scale(), buffer);
      break;
    }
    case arrow::Type::DATE32:
      end = WriteDate(static_cast<const arrow::Date32Array&>(array).Value(row), buffer);
      break;
    case arrow::Type::TIMESTAMP: {
      const bool utc = !static_cast<const arrow::TimestampType&>(*array.type()).timezone().empty();
      end = WriteTimestamp(static_cast<const arrow::TimestampArray&>(array).Value(row), utc, buffer);
      break;
    }
    case arrow::Type::INTERVAL_MONTH_DAY_NANO: {
      const auto value = static_cast<const arrow::MonthDayNanoIntervalArray&>(array).GetValue(row);
      end = WriteInterval({value.months, value.days, value.nanoseconds / 1000}, buffer);
      break;
    }
    case arrow::Type::STRING:
      *text += static_cast<const arrow::StringArray&>(array).GetView(row);
      return;
    case arrow::Type::BINARY:
      for (const char byte : static_cast<const arrow::BinaryArray&>(array).GetView(row))
        *text += fmt::format("{:02x}", static_cast<unsigned char>(byte));
      return;
    default:
      return;
  }
  text->append(buffer, end);
}

bool IsNumber(const arrow::DataType& type) {
  return arrow::is_integer(type.id()) || arrow::is_floating(type.id()) || arrow::is_decimal(type.id());
}

bool IsText(const arrow::DataType& type) { return type.id() == arrow::Type::STRING; }

}  // namespace neap::command
