// arrow_batch.h: batches as record batches of Arrow C++, for what writes files; and where both sides meet, the types.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engine/core/column.h"
#include "engine/core/type.h"

namespace arrow {
class DataType;
class MemoryPool;
class RecordBatch;
class Schema;
}  // namespace arrow

namespace neap::engine {

// A column of a result.
struct ResultColumn {
  std::string name;
  Type type;
};

// decimal128, date32, timestamp in microseconds (with zone UTC), interval month_day_nano, utf8, binary.
std::shared_ptr<arrow::DataType> ArrowTypeOf(const Type& type);
std::shared_ptr<arrow::Schema> ArrowSchemaOf(const std::vector<ResultColumn>& columns);

// The rows that count, copied. Throws Error(kData) for what Arrow cannot hold.
std::shared_ptr<arrow::RecordBatch> ToArrow(const Batch& batch, const std::shared_ptr<arrow::Schema>& schema,
                                            arrow::MemoryPool* pool);

}  // namespace neap::engine
