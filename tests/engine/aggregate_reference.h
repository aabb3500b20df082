// aggregate_reference.h: aggregates computed row by row, to compare with.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "engine/plan/plan.h"
#include "tests/engine/random_batch.h"

namespace neap::engine {

template <class T>
T FromCell(const Cell& cell) {
  T value;
  std::memcpy(&value, cell->data(), sizeof value);
  return value;
}
template <class T>
Cell ToCell(const T& value) {
  return std::string(reinterpret_cast<const char*>(&value), sizeof value);
}

inline bool IsFloating(const Type& type) { return type.id == TypeId::kFloat || type.id == TypeId::kDouble; }
inline bool IsNumber(const Type& type) { return type.is_integer() || type.id == TypeId::kDecimal || IsFloating(type); }

// The value of a number times 10^scale as it is, or as a double.
inline Int128 Whole(const Type& type, const Cell& cell) {
  return DispatchPhysical(type.physical(), [&](auto zero) -> Int128 {
    using T = decltype(zero);
    if constexpr (std::is_integral_v<T> || std::is_same_v<T, Int128>) return FromCell<T>(cell);
    return 0;
  });
}
inline double Real(const Type& type, const Cell& cell) {
  if (type.id == TypeId::kFloat) return FromCell<float>(cell);
  if (type.id == TypeId::kDouble) return FromCell<double>(cell);
  const double whole = static_cast<double>(Whole(type, cell));
  return type.id == TypeId::kDecimal ? whole / std::pow(10, type.scale) : whole;
}

inline int Order(const Type& type, const Cell& a, const Cell& b) {
  return DispatchPhysical(type.physical(), [&](auto zero) -> int {
    using T = decltype(zero);
    if constexpr (std::is_same_v<T, View>) {
      return a->compare(*b);
    } else if constexpr (std::is_same_v<T, Interval>) {
      const auto micros = [](const Interval& v) {
        return static_cast<Int128>(v.months) * 30 * 86400000000 + static_cast<Int128>(v.days) * 86400000000 + v.micros;
      };
      const Int128 x = micros(FromCell<T>(a)), y = micros(FromCell<T>(b));
      return x < y ? -1 : x > y;
    } else {
      const T x = FromCell<T>(a), y = FromCell<T>(b);
      if constexpr (std::is_floating_point_v<T>) {
        if (std::isnan(x) || std::isnan(y)) return int{std::isnan(x)} - int{std::isnan(y)};
      }
      return x < y ? -1 : x > y;
    }
  });
}

// Equal keys as equal cells.
inline Cell KeyCell(const Type& type, const Cell& cell) {
  if (!cell || !IsFloating(type)) return cell;
  const double value = Real(type, cell);
  return ToCell(std::isnan(value) ? std::nan("") : value == 0 ? 0.0 : value);
}

struct TestCall {
  Aggregate function;
  int column;  // of the batch; -1: count(*)
  Type type;   // of the column
  Type output;
  int filter = -1;  // a boolean column
};

// All the functions that take a column.
inline std::vector<TestCall> CallsOf(int column, const Type& type) {
  std::vector<TestCall> calls = {{Aggregate::kCount, column, type, {TypeId::kInt64}},
                                 {Aggregate::kMin, column, type, type},
                                 {Aggregate::kMax, column, type, type},
                                 {Aggregate::kAnyValue, column, type, type}};
  const auto add = [&](Aggregate function, const Type& output) { calls.push_back({function, column, type, output}); };
  if (type.id == TypeId::kBool) {
    add(Aggregate::kBoolAnd, type);
    add(Aggregate::kBoolOr, type);
  }
  if (!IsNumber(type)) return calls;
  for (Aggregate moments : {Aggregate::kStddevSample, Aggregate::kStddevPopulation, Aggregate::kVarianceSample,
                            Aggregate::kVariancePopulation}) {
    add(moments, {TypeId::kDouble});
  }
  add(Aggregate::kAvg, {TypeId::kDouble});
  if (type.is_integer()) add(Aggregate::kSum, {TypeId::kInt64});
  if (IsFloating(type)) add(Aggregate::kSum, {TypeId::kDouble});
  if (type.id == TypeId::kDecimal) {
    add(Aggregate::kSum, Type::Decimal(38, type.scale));
    add(Aggregate::kAvg, Type::Decimal(38, type.scale + 4));
  }
  return calls;
}

using Group = std::vector<std::vector<Cell>>;  // rows

inline std::vector<Cell> ValuesOf(const TestCall& call, const Group& group) {
  std::vector<Cell> values;
  for (const auto& row : group) {
    if (call.filter >= 0) {
      const Cell& passes = row[static_cast<size_t>(call.filter)];
      if (!passes || passes->at(0) == 0) continue;
    }
    if (call.column < 0) {
      values.push_back("");
    } else if (row[static_cast<size_t>(call.column)]) {
      values.push_back(row[static_cast<size_t>(call.column)]);
    }
  }
  return values;
}

inline bool Close(double a, double b, double scale) {
  if (std::isnan(a) || std::isnan(b)) return std::isnan(a) && std::isnan(b);
  return a == b || std::abs(a - b) <= 1e-9 * scale;
}

inline void CheckAggregate(const TestCall& call, const Group& group, const Cell& got) {
  const std::vector<Cell> values = ValuesOf(call, group);
  const auto function = static_cast<int>(call.function);
  SCOPED_TRACE("function " + std::to_string(function) + " of " + call.type.Name());
  if (call.function == Aggregate::kCount) {
    ASSERT_EQ(got, ToCell(static_cast<int64_t>(values.size())));
    return;
  }
  const bool sample = call.function == Aggregate::kStddevSample || call.function == Aggregate::kVarianceSample;
  if (values.size() < (sample ? 2 : 1)) {
    ASSERT_FALSE(got.has_value());
    return;
  }
  ASSERT_TRUE(got.has_value());
  switch (call.function) {
    case Aggregate::kMin:
    case Aggregate::kMax:
    case Aggregate::kBoolAnd:
    case Aggregate::kBoolOr: {
      const bool low = call.function == Aggregate::kMin || call.function == Aggregate::kBoolAnd;
      Cell best = values[0];
      for (const Cell& value : values) {
        if (Order(call.type, value, best) * (low ? 1 : -1) < 0) best = value;
      }
      ASSERT_EQ(Order(call.type, got, best), 0);
      break;
    }
    case Aggregate::kAnyValue:
      ASSERT_NE(std::find(values.begin(), values.end(), got), values.end());
      break;
    case Aggregate::kSum:
    case Aggregate::kAvg: {
      const bool average = call.function == Aggregate::kAvg;
      const auto count = static_cast<double>(values.size());
      if (IsFloating(call.output)) {
        double sum = 0, size = 0;
        for (const Cell& value : values) {
          sum += Real(call.type, value);
          if (std::isfinite(Real(call.type, value))) size += std::abs(Real(call.type, value));
        }
        ASSERT_TRUE(Close(FromCell<double>(got), average ? sum / count : sum, size)) << FromCell<double>(got) << sum;
        break;
      }
      Int128 sum = 0;
      for (const Cell& value : values) sum += Whole(call.type, value);
      if (average) {
        for (int i = call.type.scale; i < call.output.scale; ++i) sum *= 10;
        const auto n = static_cast<Int128>(values.size());
        sum = sum >= 0 ? (2 * sum + n) / (2 * n) : -((-2 * sum + n) / (2 * n));
      }
      ASSERT_TRUE(Whole(call.output, got) == sum);
      break;
    }
    default: {
      double mean = 0, squares = 0, size = 0;
      const auto count = static_cast<double>(values.size());
      for (const Cell& value : values) mean += Real(call.type, value) / count;
      for (const Cell& value : values) {
        squares += (Real(call.type, value) - mean) * (Real(call.type, value) - mean);
        size += Real(call.type, value) * Real(call.type, value);
      }
      const bool root = call.function == Aggregate::kStddevSample || call.function == Aggregate::kStddevPopulation;
      const double variance = squares / (sample ? count - 1 : count);
      const double result = FromCell<double>(got);
      ASSERT_TRUE(Close(root ? result * result : result, variance, size)) << result << " " << variance;
    }
  }
}

}  // namespace neap::engine
