// parquet_schema.cc: Parquet's physical and logical types mapped to ours.
#include "engine/scan/parquet_schema.h"

#include <parquet/schema.h>
#include <parquet/types.h>

namespace neap::engine {
namespace {

void Refuse(Leaf& leaf, const std::string& why) { leaf.refusal = why; }

void SetType(Leaf& leaf, Type type, Conversion conversion) {
  leaf.type = type;
  leaf.conversion = conversion;
}

void MapDecimal(Leaf& leaf, const parquet::ColumnDescriptor& column) {
  const auto& logical = dynamic_cast<const parquet::DecimalLogicalType&>(*column.logical_type());
  const int precision = logical.precision(), scale = logical.scale();
  if (precision > kMaxPrecision) return Refuse(leaf, "decimals of more than 38 digits are not supported");
  const Type type = Type::Decimal(precision, scale);
  const bool narrow = precision <= kMaxPrecision64;
  switch (column.physical_type()) {
    case parquet::Type::INT32:
      if (narrow) return SetType(leaf, type, Conversion::kInt32ToInt64);
      break;
    case parquet::Type::INT64:
      if (narrow) return SetType(leaf, type, Conversion::kInt64);
      break;
    case parquet::Type::FIXED_LEN_BYTE_ARRAY:
      if (leaf.bytes <= 16) {
        return SetType(leaf, type, narrow ? Conversion::kFixedDecimal64 : Conversion::kFixedDecimal128);
      }
      break;
    case parquet::Type::BYTE_ARRAY:
      return SetType(leaf, type, narrow ? Conversion::kBytesDecimal64 : Conversion::kBytesDecimal128);
    default:
      break;
  }
  Refuse(leaf, type.Name() + " is not supported as it is stored here");
}

void MapInteger(Leaf& leaf, const parquet::LogicalType& logical) {
  const auto& integer = dynamic_cast<const parquet::IntLogicalType&>(logical);
  switch (integer.bit_width()) {
    case 8:
      return integer.is_signed() ? SetType(leaf, {TypeId::kInt8}, Conversion::kInt8)
                                 : SetType(leaf, {TypeId::kInt16}, Conversion::kInt16);
    case 16:
      return integer.is_signed() ? SetType(leaf, {TypeId::kInt16}, Conversion::kInt16)
                                 : SetType(leaf, {TypeId::kInt32}, Conversion::kInt32);
    case 32:
      return integer.is_signed() ? SetType(leaf, {TypeId::kInt32}, Conversion::kInt32)
                                 : SetType(leaf, {TypeId::kInt64}, Conversion::kUint32);
    default:
      return integer.is_signed() ? SetType(leaf, {TypeId::kInt64}, Conversion::kInt64)
                                 : SetType(leaf, Type::Decimal(20, 0), Conversion::kUint64);
  }
}

void MapTimestamp(Leaf& leaf, const parquet::LogicalType& logical) {
  const auto& timestamp = dynamic_cast<const parquet::TimestampLogicalType&>(logical);
  const Type type{timestamp.is_adjusted_to_utc() ? TypeId::kTimestampTz : TypeId::kTimestamp};
  switch (timestamp.time_unit()) {
    case parquet::LogicalType::TimeUnit::MILLIS:
      return SetType(leaf, type, Conversion::kMillis);
    case parquet::LogicalType::TimeUnit::MICROS:
      return SetType(leaf, type, Conversion::kInt64);
    case parquet::LogicalType::TimeUnit::NANOS:
      return SetType(leaf, type, Conversion::kNanos);
    default:
      return Refuse(leaf, "its unit of time is unknown");
  }
}

void MapPhysical(Leaf& leaf, parquet::Type::type physical) {
  switch (physical) {
    case parquet::Type::BOOLEAN:
      return SetType(leaf, {TypeId::kBool}, Conversion::kBool);
    case parquet::Type::INT32:
      return SetType(leaf, {TypeId::kInt32}, Conversion::kInt32);
    case parquet::Type::INT64:
      return SetType(leaf, {TypeId::kInt64}, Conversion::kInt64);
    case parquet::Type::INT96:
      return SetType(leaf, {TypeId::kTimestamp}, Conversion::kInt96);
    case parquet::Type::FLOAT:
      return SetType(leaf, {TypeId::kFloat}, Conversion::kFloat);
    case parquet::Type::DOUBLE:
      return SetType(leaf, {TypeId::kDouble}, Conversion::kDouble);
    case parquet::Type::BYTE_ARRAY:
      return SetType(leaf, {TypeId::kBinary}, Conversion::kBytes);
    case parquet::Type::FIXED_LEN_BYTE_ARRAY:
      return SetType(leaf, {TypeId::kBinary}, Conversion::kFixedBytes);
    default:
      return Refuse(leaf, "its type is unknown");
  }
}

uint32_t StoredBytes(const parquet::ColumnDescriptor& column) {
  switch (column.physical_type()) {
    case parquet::Type::INT32:
    case parquet::Type::FLOAT:
      return 4;
    case parquet::Type::INT64:
    case parquet::Type::DOUBLE:
      return 8;
    case parquet::Type::INT96:
      return 12;
    case parquet::Type::FIXED_LEN_BYTE_ARRAY:
      return static_cast<uint32_t>(column.type_length());
    default:
      return 0;
  }
}

void MapColumn(Leaf& leaf, const parquet::ColumnDescriptor& column) {
  leaf.descriptor = &column;
  leaf.nullable = column.max_definition_level() > 0;
  leaf.bytes = StoredBytes(column);
  const auto& logical = *column.logical_type();
  const parquet::Type::type physical = column.physical_type();
  switch (logical.type()) {
    case parquet::LogicalType::Type::STRING:
    case parquet::LogicalType::Type::ENUM:
    case parquet::LogicalType::Type::JSON:
      if (physical != parquet::Type::BYTE_ARRAY) return MapPhysical(leaf, physical);
      return SetType(leaf, {TypeId::kString}, Conversion::kBytes);
    case parquet::LogicalType::Type::DECIMAL:
      return MapDecimal(leaf, column);
    case parquet::LogicalType::Type::DATE:
      return SetType(leaf, {TypeId::kDate}, Conversion::kInt32);
    case parquet::LogicalType::Type::TIMESTAMP:
      return MapTimestamp(leaf, logical);
    case parquet::LogicalType::Type::INT:
      return MapInteger(leaf, logical);
    case parquet::LogicalType::Type::INTERVAL:
      return SetType(leaf, {TypeId::kInterval}, Conversion::kInterval);
    case parquet::LogicalType::Type::FLOAT16:
      return SetType(leaf, {TypeId::kFloat}, Conversion::kHalf);
    case parquet::LogicalType::Type::NIL:
      return SetType(leaf, {TypeId::kNull}, Conversion::kNull);
    case parquet::LogicalType::Type::TIME:
      return Refuse(leaf, "times of day are not supported");
    default:
      return MapPhysical(leaf, physical);
  }
}

}  // namespace

std::shared_ptr<const ParquetSchema> ReadSchema(const parquet::SchemaDescriptor& descriptor) {
  auto schema = std::make_shared<ParquetSchema>();
  auto own = std::make_shared<parquet::SchemaDescriptor>();
  own->Init(descriptor.schema_root());
  const parquet::schema::GroupNode& root = *own->group_node();
  uint32_t column = 0;
  for (int i = 0; i < root.field_count(); ++i) {
    const parquet::schema::Node& node = *root.field(i);
    Leaf leaf;
    leaf.name = node.name();
    leaf.column = column;
    if (node.is_primitive() && !node.is_repeated()) {
      MapColumn(leaf, *own->Column(static_cast<int>(column++)));
    } else {
      Refuse(leaf, "nested columns are not supported");
      while (column < static_cast<uint32_t>(own->num_columns()) &&
             own->GetColumnRoot(static_cast<int>(column)) == &node) {
        ++column;
      }
    }
    schema->leaves.push_back(std::move(leaf));
  }
  schema->descriptor = std::move(own);
  return schema;
}

}  // namespace neap::engine
