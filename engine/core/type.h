// type.h: the types of SQL that the engine knows, and how a value of each lies in memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace neap::engine {

using Int128 = __int128;

enum class TypeId : uint8_t {
  kNull,  // only NULL; lies like a bool
  kBool,
  kInt8,
  kInt16,
  kInt32,
  kInt64,
  kFloat,
  kDouble,
  kDecimal,      // precision up to 38: int64 up to precision 18, Int128 beyond; the value times 10^scale
  kDate,         // days since 1970-01-01, int32
  kTimestamp,    // microseconds since 1970-01-01 00:00, no zone, int64
  kTimestampTz,  // microseconds since 1970-01-01 00:00 UTC, int64
  kInterval,     // Interval below
  kString,       // UTF-8, View
  kBinary,       // View
};

// How a value lies in memory: what the kernels are made for.
enum class Physical : uint8_t { kBool, kInt8, kInt16, kInt32, kInt64, kInt128, kFloat, kDouble, kInterval, kView };

struct Interval {
  int32_t months;
  int32_t days;
  int64_t micros;
  friend bool operator==(const Interval&, const Interval&) = default;
};

struct Type {
  TypeId id = TypeId::kNull;
  uint8_t precision = 0;  // kDecimal alone
  uint8_t scale = 0;      // kDecimal alone

  friend bool operator==(const Type&, const Type&) = default;
  Physical physical() const;
  size_t width() const;      // bytes of a value in memory
  std::string Name() const;  // "decimal(15,2)"

  bool is_integer() const { return id >= TypeId::kInt8 && id <= TypeId::kInt64; }
  bool is_view() const { return id == TypeId::kString || id == TypeId::kBinary; }
  static Type Decimal(int precision, int scale) {
    return {TypeId::kDecimal, static_cast<uint8_t>(precision), static_cast<uint8_t>(scale)};
  }
};

constexpr int kMaxPrecision = 38;
constexpr int kMaxPrecision64 = 18;

size_t PhysicalWidth(Physical physical);

}  // namespace neap::engine
