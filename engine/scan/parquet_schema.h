// parquet_schema.h: which Type a Parquet column has in the engine, and what must be done to its stored values.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/core/type.h"

namespace parquet {
class ColumnDescriptor;
class SchemaDescriptor;
}  // namespace parquet

namespace neap::engine {

// From what is stored to what lies in memory (Type::physical()). The kernels are in plain_decoding.cc.
enum class Conversion : uint8_t {
  kBool,
  kInt8,  // stored as INT32, as are the next three
  kInt16,
  kInt32,
  kInt32ToInt64,
  kUint32,
  kInt64,
  kUint64,  // to decimal(20,0)
  kMillis,  // to microseconds, as are the next two
  kNanos,
  kInt96,
  kFloat,
  kDouble,
  kHalf,            // FIXED_LEN_BYTE_ARRAY(2) to float
  kFixedDecimal64,  // FIXED_LEN_BYTE_ARRAY, big-endian
  kFixedDecimal128,
  kBytesDecimal64,  // BYTE_ARRAY, big-endian
  kBytesDecimal128,
  kInterval,    // FIXED_LEN_BYTE_ARRAY(12): months, days, milliseconds
  kFixedBytes,  // FIXED_LEN_BYTE_ARRAY to View
  kBytes,       // BYTE_ARRAY to View
  kNull,        // no value at all
};

// One column at the top level of a file.
struct Leaf {
  std::string name;
  Type type;
  bool nullable = true;
  Conversion conversion = Conversion::kNull;
  uint32_t bytes = 0;   // of a stored value where that is fixed
  uint32_t column = 0;  // its number among the file's column chunks
  const parquet::ColumnDescriptor* descriptor = nullptr;
  std::string refusal;  // why it cannot be read; "": it can
};

struct ParquetSchema {
  std::shared_ptr<const parquet::SchemaDescriptor> descriptor;
  std::vector<Leaf> leaves;
};

std::shared_ptr<const ParquetSchema> ReadSchema(const parquet::SchemaDescriptor& descriptor);

}  // namespace neap::engine
