// substrait_types.cc: types, literals, and what is refused wherever it stands.
//
// Type variations are those that DataFusion writes: on integers 1 is unsigned, which becomes the next wider signed type
// (64 bits stay: values from 2^63 on do not fit); on strings and binaries 1 and 2 are other layouts of the same values.
#include "engine/plan/substrait_types.h"

#include <fmt/format.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>
#include <google/protobuf/unknown_field_set.h>

#include <cstring>
#include <utility>

namespace neap::engine {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using substrait::Expression_Literal;

constexpr uint32_t kUnsigned = 1;
constexpr int64_t kMicrosPerSecond = 1'000'000;

TypeId IntegerType(int bits, uint32_t variation) {
  if (variation > kUnsigned) RefusePlan(fmt::format("variation {} of the type i{}", variation, bits));
  if (variation == kUnsigned && bits < 64) bits *= 2;
  switch (bits) {
    case 8:
      return TypeId::kInt8;
    case 16:
      return TypeId::kInt16;
    case 32:
      return TypeId::kInt32;
    default:
      return TypeId::kInt64;
  }
}

TypeId Plain(TypeId id, const char* name, uint32_t variation, uint32_t known = 0) {
  if (variation > known) RefusePlan(fmt::format("variation {} of the type {}", variation, name));
  return id;
}

Type DecimalType(int precision, int scale) {
  if (precision < 1 || precision > kMaxPrecision || scale < 0 || scale > precision)
    RefusePlan(fmt::format("the type decimal({},{})", precision, scale));
  return Type::Decimal(precision, scale);
}

// `value` in units of 10^-precision seconds. What is finer than a microsecond is cut off, as everywhere in the engine.
int64_t ToMicros(int64_t value, int precision) {
  if (precision < 0 || precision > 9) RefusePlan(fmt::format("a timestamp of precision {}", precision));
  for (; precision < 6; ++precision) {
    if (__builtin_mul_overflow(value, 10, &value)) RefusePlan("a timestamp outside the range of microseconds");
  }
  int64_t unit = 1;
  for (; precision > 6; --precision) unit *= 10;
  return value / unit - (value % unit < 0 ? 1 : 0);
}

Int128 DecimalValue(const std::string& bytes) {
  if (bytes.size() != sizeof(Int128)) RefusePlan(fmt::format("a decimal literal of {} bytes", bytes.size()));
  Int128 value;
  std::memcpy(&value, bytes.data(), sizeof value);
  return value;
}

Interval YearMonth(const Expression_Literal::IntervalYearToMonth& value) {
  return {value.years() * 12 + value.months(), 0, 0};
}

Interval DaySecond(const Expression_Literal::IntervalDayToSecond& value) {
  int64_t micros = value.precision_mode_case() == Expression_Literal::IntervalDayToSecond::kMicroseconds
                       ? value.microseconds()
                       : ToMicros(value.subseconds(), value.precision());
  return {0, value.days(), value.seconds() * kMicrosPerSecond + micros};
}

Literal Value(decltype(Literal::value) value) { return {false, std::move(value)}; }

Expression Integer(int bits, int64_t value, uint32_t variation) {
  // Unsigned values come in the signed type's bits.
  if (variation == kUnsigned && bits < 64) value &= (int64_t{1} << bits) - 1;
  if (variation == kUnsigned && value < 0) RefusePlan("an unsigned literal of 2^63 or more");
  return Expression::Constant(Value(value), {IntegerType(bits, variation)});
}

}  // namespace

void RefusePlan(const std::string& what) {
  throw Error(ErrorKind::kPlan, fmt::format("the plan holds {}, which the engine does not have", what));
}

std::string OneofName(const Message& message, const char* oneof) {
  const auto* descriptor = message.GetDescriptor()->FindOneofByName(oneof);
  const FieldDescriptor* field = message.GetReflection()->GetOneofFieldDescriptor(message, descriptor);
  return field == nullptr ? "nothing" : field->name();
}

void RefuseUnknownFields(const Message& message) {
  const auto* reflection = message.GetReflection();
  const auto& unknown = reflection->GetUnknownFields(message);
  const std::string& name = message.GetDescriptor()->full_name();
  if (!unknown.empty()) {
    throw Error(ErrorKind::kPlan,
                fmt::format("the plan has field {} of {}, which Substrait 0.85 does not know: have it written by a "
                            "producer of version 0.85 to 0.89",
                            unknown.field(0).number(), name));
  }
  std::vector<const FieldDescriptor*> fields;
  reflection->ListFields(message, &fields);
  for (const FieldDescriptor* field : fields) {
    if (field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) continue;
    if (name == "substrait.extensions.AdvancedExtension") {
      if (field->name() == "enhancement") RefusePlan("an extension that changes what it means");
      continue;
    }
    if (field->is_repeated()) {
      for (int i = 0, n = reflection->FieldSize(message, field); i < n; ++i)
        RefuseUnknownFields(reflection->GetRepeatedMessage(message, field, i));
    } else {
      RefuseUnknownFields(reflection->GetMessage(message, field));
    }
  }
}

SubstraitType ReadType(const substrait::Type& type) {
  using Kind = substrait::Type::KindCase;
  auto with = [](Type result, const auto& from) {
    return SubstraitType{result, from.nullability() != substrait::Type::NULLABILITY_REQUIRED};
  };
  auto plain = [&](TypeId id, const char* name, const auto& from, uint32_t known = 0) {
    return with({Plain(id, name, from.type_variation_reference(), known)}, from);
  };
  auto integer = [&](int bits, const auto& from) {
    return with({IntegerType(bits, from.type_variation_reference())}, from);
  };
  auto timestamp = [&](TypeId id, const char* name, const auto& from) {
    if (from.precision() < 0 || from.precision() > 9)
      RefusePlan(fmt::format("a timestamp of precision {}", from.precision()));
    return plain(id, name, from);
  };
  switch (type.kind_case()) {
    case Kind::kBool:
      return plain(TypeId::kBool, "bool", type.bool_());
    case Kind::kI8:
      return integer(8, type.i8());
    case Kind::kI16:
      return integer(16, type.i16());
    case Kind::kI32:
      return integer(32, type.i32());
    case Kind::kI64:
      return integer(64, type.i64());
    case Kind::kFp32:
      return plain(TypeId::kFloat, "fp32", type.fp32());
    case Kind::kFp64:
      return plain(TypeId::kDouble, "fp64", type.fp64());
    case Kind::kString:
      return plain(TypeId::kString, "string", type.string(), 2);
    case Kind::kFixedChar:
      return plain(TypeId::kString, "fixedchar", type.fixed_char());
    case Kind::kVarchar:
      return plain(TypeId::kString, "varchar", type.varchar());
    case Kind::kBinary:
      return plain(TypeId::kBinary, "binary", type.binary(), 2);
    case Kind::kFixedBinary:
      return plain(TypeId::kBinary, "fixedbinary", type.fixed_binary());
    case Kind::kDate:
      return plain(TypeId::kDate, "date", type.date(), 1);
    case Kind::kTimestamp:
      return plain(TypeId::kTimestamp, "timestamp", type.timestamp());
    case Kind::kTimestampTz:
      return plain(TypeId::kTimestampTz, "timestamp_tz", type.timestamp_tz());
    case Kind::kPrecisionTimestamp:
      return timestamp(TypeId::kTimestamp, "precision_timestamp", type.precision_timestamp());
    case Kind::kPrecisionTimestampTz:
      return timestamp(TypeId::kTimestampTz, "precision_timestamp_tz", type.precision_timestamp_tz());
    case Kind::kIntervalYear:
      return plain(TypeId::kInterval, "interval_year", type.interval_year());
    case Kind::kIntervalDay:
      return plain(TypeId::kInterval, "interval_day", type.interval_day(), 1);
    case Kind::kIntervalCompound:
      return plain(TypeId::kInterval, "interval_compound", type.interval_compound());
    case Kind::kDecimal:
      if (type.decimal().type_variation_reference() != 0) RefusePlan("a decimal of 256 bits");
      return with(DecimalType(type.decimal().precision(), type.decimal().scale()), type.decimal());
    default:
      RefusePlan(fmt::format("the type {}", OneofName(type, "kind")));
  }
}

Expression ReadLiteral(const Expression_Literal& literal) {
  using Kind = Expression_Literal::LiteralTypeCase;
  uint32_t variation = literal.type_variation_reference();
  auto make = [](auto value, TypeId id) { return Expression::Constant(Value(std::move(value)), {id}); };
  switch (literal.literal_type_case()) {
    case Kind::kBoolean:
      return make(literal.boolean(), TypeId::kBool);
    case Kind::kI8:
      return Integer(8, literal.i8(), variation);
    case Kind::kI16:
      return Integer(16, literal.i16(), variation);
    case Kind::kI32:
      return Integer(32, literal.i32(), variation);
    case Kind::kI64:
      return Integer(64, literal.i64(), variation);
    case Kind::kFp32:
      return make(static_cast<double>(literal.fp32()), TypeId::kFloat);
    case Kind::kFp64:
      return make(literal.fp64(), TypeId::kDouble);
    case Kind::kString:
      return make(literal.string(), TypeId::kString);
    case Kind::kFixedChar:
      return make(literal.fixed_char(), TypeId::kString);
    case Kind::kVarChar:
      return make(literal.var_char().value(), TypeId::kString);
    case Kind::kBinary:
      return make(literal.binary(), TypeId::kBinary);
    case Kind::kFixedBinary:
      return make(literal.fixed_binary(), TypeId::kBinary);
    case Kind::kDate:
      return make(int64_t{literal.date()}, TypeId::kDate);
    case Kind::kTimestamp:
      return make(literal.timestamp(), TypeId::kTimestamp);
    case Kind::kTimestampTz:
      return make(literal.timestamp_tz(), TypeId::kTimestampTz);
    case Kind::kPrecisionTimestamp: {
      const auto& value = literal.precision_timestamp();
      return make(ToMicros(value.value(), value.precision()), TypeId::kTimestamp);
    }
    case Kind::kPrecisionTimestampTz: {
      const auto& value = literal.precision_timestamp_tz();
      return make(ToMicros(value.value(), value.precision()), TypeId::kTimestampTz);
    }
    case Kind::kIntervalYearToMonth:
      return make(YearMonth(literal.interval_year_to_month()), TypeId::kInterval);
    case Kind::kIntervalDayToSecond:
      return make(DaySecond(literal.interval_day_to_second()), TypeId::kInterval);
    case Kind::kIntervalCompound: {
      Interval months = YearMonth(literal.interval_compound().interval_year_to_month());
      Interval days = DaySecond(literal.interval_compound().interval_day_to_second());
      return make(Interval{months.months, days.days, days.micros}, TypeId::kInterval);
    }
    case Kind::kDecimal: {
      const auto& value = literal.decimal();
      return Expression::Constant(Value(DecimalValue(value.value())), DecimalType(value.precision(), value.scale()));
    }
    case Kind::kNull:
      if (literal.null().has_user_defined()) return Expression::Constant({}, {});  // DataFusion's NULL without a type
      return Expression::Constant({}, ReadType(literal.null()).type);
    default:
      RefusePlan(fmt::format("a literal of the type {}", OneofName(literal, "literal_type")));
  }
}

}  // namespace neap::engine
