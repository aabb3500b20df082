// type.cc: facts about types, and the constant indices.
#include "engine/core/type.h"

#include "engine/core/column.h"

namespace neap::engine {

const uint32_t kZeroIndices[kBatchRows] = {};

constinit const std::array<RowIndex, kBatchRows> kAllRows = [] {
  std::array<RowIndex, kBatchRows> rows{};
  for (uint32_t i = 0; i < kBatchRows; ++i) rows[i] = static_cast<RowIndex>(i);
  return rows;
}();

Physical Type::physical() const {
  switch (id) {
    case TypeId::kNull:
    case TypeId::kBool:
      return Physical::kBool;
    case TypeId::kInt8:
      return Physical::kInt8;
    case TypeId::kInt16:
      return Physical::kInt16;
    case TypeId::kInt32:
    case TypeId::kDate:
      return Physical::kInt32;
    case TypeId::kInt64:
    case TypeId::kTimestamp:
    case TypeId::kTimestampTz:
      return Physical::kInt64;
    case TypeId::kFloat:
      return Physical::kFloat;
    case TypeId::kDouble:
      return Physical::kDouble;
    case TypeId::kDecimal:
      return precision <= kMaxPrecision64 ? Physical::kInt64 : Physical::kInt128;
    case TypeId::kInterval:
      return Physical::kInterval;
    case TypeId::kString:
    case TypeId::kBinary:
      return Physical::kView;
  }
  __builtin_unreachable();
}

size_t PhysicalWidth(Physical physical) {
  return DispatchPhysical(physical, [](auto zero) { return sizeof(zero); });
}

size_t Type::width() const { return PhysicalWidth(physical()); }

std::string Type::Name() const {
  switch (id) {
    case TypeId::kNull:
      return "null";
    case TypeId::kBool:
      return "boolean";
    case TypeId::kInt8:
      return "tinyint";
    case TypeId::kInt16:
      return "smallint";
    case TypeId::kInt32:
      return "integer";
    case TypeId::kInt64:
      return "bigint";
    case TypeId::kFloat:
      return "float";
    case TypeId::kDouble:
      return "double";
    case TypeId::kDecimal:
      return "decimal(" + std::to_string(precision) + "," + std::to_string(scale) + ")";
    case TypeId::kDate:
      return "date";
    case TypeId::kTimestamp:
      return "timestamp";
    case TypeId::kTimestampTz:
      return "timestamp with time zone";
    case TypeId::kInterval:
      return "interval";
    case TypeId::kString:
      return "varchar";
    case TypeId::kBinary:
      return "varbinary";
  }
  __builtin_unreachable();
}

}  // namespace neap::engine
