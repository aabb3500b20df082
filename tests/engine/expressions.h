// expressions.h: short names for expressions in tests, and a check that computes one in every way there is.
//
// Check takes an expression of literals and the text of its value. It is computed folded, and with every choice of its
// literals made columns instead: flat, with NULLs, under a selection, from a dictionary. Rows that do not count hold
// what would show if a kernel looked at it: numbers that overflow, strings that point nowhere.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <initializer_list>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/core/error.h"
#include "engine/expression/calendar.h"
#include "engine/expression/decimal.h"
#include "engine/expression/evaluator.h"

namespace neap::engine::expressions {

constexpr Type kBoolean{TypeId::kBool};
constexpr Type kTinyint{TypeId::kInt8};
constexpr Type kSmallint{TypeId::kInt16};
constexpr Type kInteger{TypeId::kInt32};
constexpr Type kBigint{TypeId::kInt64};
constexpr Type kFloat{TypeId::kFloat};
constexpr Type kDouble{TypeId::kDouble};
constexpr Type kDate{TypeId::kDate};
constexpr Type kTimestamp{TypeId::kTimestamp};
constexpr Type kInterval{TypeId::kInterval};
constexpr Type kText{TypeId::kString};

inline Expression Literally(Type type, decltype(Literal::value) value) {
  return Expression::Constant({false, std::move(value)}, type);
}
inline Expression Null(Type type) { return Expression::Constant({}, type); }
inline Expression Bool(bool value) { return Literally(kBoolean, value); }
inline Expression Int(int64_t value, Type type = kBigint) { return Literally(type, value); }
inline Expression Double(double value, Type type = kDouble) { return Literally(type, value); }
inline Expression Text(const std::string& value) { return Literally(kText, value); }
inline Expression Decimal(Int128 value, int precision, int scale) {
  return Literally(Type::Decimal(precision, scale), value);
}
inline Expression Date(const std::string& text) {
  int32_t days = 0;
  EXPECT_TRUE(ParseDate(text, &days)) << text;
  return Literally(kDate, int64_t{days});
}
inline Expression Timestamp(const std::string& text) {
  int64_t micros = 0;
  EXPECT_TRUE(ParseTimestamp(text, &micros)) << text;
  return Literally(kTimestamp, micros);
}
inline Expression Span(int32_t months, int32_t days, int64_t micros) {
  return Literally(kInterval, Interval{months, days, micros});
}
inline Expression Call(Function function, Type type, std::vector<Expression> args) {
  return Expression::Call(function, type, std::move(args));
}
inline Expression Case(Type type, std::vector<Expression> args) {
  Expression result;
  result.kind = Expression::Kind::kCase;
  result.type = type;
  result.args = std::move(args);
  return result;
}
inline Expression In(std::vector<Expression> args) {
  Expression result;
  result.kind = Expression::Kind::kIn;
  result.type = kBoolean;
  result.args = std::move(args);
  return result;
}

inline std::string ValueText(const Literal& literal, Type type) {
  if (literal.null) return "NULL";
  switch (type.id) {
    case TypeId::kNull:
    case TypeId::kBool:
      return std::get<bool>(literal.value) ? "true" : "false";
    case TypeId::kFloat:
    case TypeId::kDouble: {
      if (std::isnan(std::get<double>(literal.value))) return "nan";
      char text[40];
      std::snprintf(text, sizeof(text), "%.10g", std::get<double>(literal.value));
      return text;
    }
    case TypeId::kDecimal:
      return DecimalText(std::get<Int128>(literal.value), type.scale);
    case TypeId::kDate:
      return DateText(static_cast<int32_t>(std::get<int64_t>(literal.value)));
    case TypeId::kTimestamp:
    case TypeId::kTimestampTz:
      return TimestampText(std::get<int64_t>(literal.value));
    case TypeId::kInterval:
      return IntervalText(std::get<Interval>(literal.value));
    case TypeId::kString:
    case TypeId::kBinary:
      return std::get<std::string>(literal.value);
    default:
      return std::to_string(std::get<int64_t>(literal.value));
  }
}

// The value of a row of a column.
inline Literal LiteralOf(const Column& column, uint32_t row) {
  Literal result;
  if (!column.is_valid(row)) return result;
  result.null = false;
  const uint32_t position = column.position(row);
  DispatchPhysical(column.type.physical(), [&](auto zero) {
    using T = decltype(zero);
    const T& value = column.values<T>()[position];
    if constexpr (std::is_same_v<T, uint8_t>) {
      EXPECT_LE(value, 1);
      result.value = value != 0;
    } else if constexpr (std::is_same_v<T, View>) {
      result.value = std::string(value.text());
    } else if constexpr (std::is_same_v<T, Interval>) {
      result.value = value;
    } else if constexpr (std::is_floating_point_v<T>) {
      result.value = static_cast<double>(value);
    } else if (column.type.id == TypeId::kDecimal) {
      result.value = static_cast<Int128>(value);
    } else {
      result.value = static_cast<int64_t>(value);
    }
  });
  return result;
}

// Values of one type with memory of their own, as a test writes them.
class Values {
 public:
  explicit Values(Type type) : type_(type) {}

  void Add(const Literal& literal) {
    const size_t width = type_.width();
    bytes_.resize(bytes_.size() + width);
    valid_.push_back(literal.null ? 0 : 1);
    uint8_t* to = bytes_.data() + bytes_.size() - width;
    if (literal.null) {
      std::memset(to, 0x7f, width);  // a string that points nowhere, a number near its bound
      return;
    }
    DispatchPhysical(type_.physical(), [&](auto value) {
      using T = decltype(value);
      if constexpr (std::is_same_v<T, uint8_t>) {
        value = std::get<bool>(literal.value) ? 1 : 0;
      } else if constexpr (std::is_same_v<T, View>) {
        texts_.push_back(std::make_unique<std::string>(std::get<std::string>(literal.value)));
        value = View(*texts_.back());
      } else if constexpr (std::is_same_v<T, Interval>) {
        value = std::get<Interval>(literal.value);
      } else if constexpr (std::is_floating_point_v<T>) {
        value = static_cast<T>(std::get<double>(literal.value));
      } else if (type_.id == TypeId::kDecimal) {
        value = static_cast<T>(std::get<Int128>(literal.value));
      } else {
        value = static_cast<T>(std::get<int64_t>(literal.value));
      }
      std::memcpy(to, &value, sizeof(value));
    });
  }
  // What no kernel may look at, though it is marked as valid.
  void AddPoison() {
    Add(Literal{});
    valid_.back() = 1;
    if (type_.physical() == Physical::kBool) bytes_.back() = 1;
  }
  size_t size() const { return valid_.size(); }
  Type type() const { return type_; }

  Column Flat() const { return {type_, bytes_.data(), HasNulls() ? valid_.data() : nullptr, nullptr, 0, 0}; }
  Column Indexed(const std::vector<uint32_t>& indices, uint64_t dictionary_id) const {
    return {type_,
            bytes_.data(),
            HasNulls() ? valid_.data() : nullptr,
            indices.data(),
            static_cast<uint32_t>(size()),
            dictionary_id};
  }

 private:
  bool HasNulls() const { return std::find(valid_.begin(), valid_.end(), 0) != valid_.end(); }

  Type type_;
  std::vector<uint8_t> bytes_;
  std::vector<uint8_t> valid_;
  std::vector<std::unique_ptr<std::string>> texts_;
};

// Calls f(Expression&) for the literals that may be columns: not the part of a date, the escape of LIKE, a list of IN.
template <class F>
void ForEachLiteral(Expression& expression, F&& f) {
  if (expression.kind == Expression::Kind::kLiteral) return f(expression);
  const bool date_part = expression.kind == Expression::Kind::kCall &&
                         (expression.function == Function::kDatePart || expression.function == Function::kDateTrunc);
  const bool like = expression.kind == Expression::Kind::kCall && expression.function >= Function::kLike &&
                    expression.function <= Function::kNotILike;
  for (size_t i = 0; i < expression.args.size(); ++i) {
    if (date_part && i == 0) continue;
    if (like && i == 2) continue;
    if (expression.kind == Expression::Kind::kIn && i > 0) continue;
    ForEachLiteral(expression.args[i], f);
  }
}

enum class Shape { kFlat, kSelected, kSparse, kDictionary, kJoined, kConstant };
constexpr Shape kShapes[] = {Shape::kFlat,       Shape::kSelected, Shape::kSparse,
                             Shape::kDictionary, Shape::kJoined,   Shape::kConstant};

// A batch with a column for every literal that `mask` names; the expression is changed to read them. Rows 3, 4, ... of
// every 5 (or 50) count and have the literals' values.
struct Arranged {
  Batch batch;
  Slots slots;
  std::vector<Values> values;
  std::vector<RowIndex> selection;
  std::vector<uint32_t> indices;

  Arranged(Expression& expression, uint32_t mask, Shape shape) {
    constexpr uint32_t kRows = 200;
    const uint32_t every = shape == Shape::kSparse ? 50 : 5;
    const bool some = shape == Shape::kSelected || shape == Shape::kSparse;
    for (uint32_t row = 0; row < kRows; ++row) {
      const bool counts = row % every == 3 || (row % every == 4 && !(shape == Shape::kSparse));
      if (counts) selection.push_back(static_cast<RowIndex>(row));
      indices.push_back(shape == Shape::kConstant ? 0 : 1 + row % 2);
    }
    uint32_t literal = 0;
    std::vector<std::pair<Expression*, Literal>> chosen;
    ForEachLiteral(expression, [&](Expression& node) {
      if ((mask >> literal++ & 1) != 0) chosen.emplace_back(&node, node.literal);
    });
    for (const auto& [node, value] : chosen) {
      Values column(node->type);
      if (shape == Shape::kDictionary || shape == Shape::kJoined) {
        column.AddPoison();  // an entry that no row has
        column.Add(value);
        column.Add(value);
      } else if (shape == Shape::kConstant) {
        column.Add(value);
      } else {
        for (uint32_t row = 0; row < kRows; ++row) {
          const bool counts = row % every == 3 || (row % every == 4 && !(shape == Shape::kSparse));
          if (!some || counts) {
            column.Add(value);
          } else if (row % 2 == 0) {
            column.Add(Literal{});
          } else {
            column.AddPoison();
          }
        }
      }
      values.push_back(std::move(column));
      const auto id = static_cast<ColumnId>(100 + values.size());
      slots.ids.push_back(id);
      slots.types.push_back(node->type);
      *node = Expression::Column(id, node->type);
    }
    for (size_t i = 0; i < values.size(); ++i) {
      const bool indexed = shape == Shape::kDictionary || shape == Shape::kJoined || shape == Shape::kConstant;
      // A dictionary whose entries must not be looked at would be a broken one: poison is for joins alone.
      if (shape == Shape::kDictionary) {
        Values entries(values[i].type());
        entries.Add(Literal{});
        const Literal value = LiteralOf(values[i].Flat(), 1);
        entries.Add(value);
        entries.Add(value);
        values[i] = std::move(entries);
      }
      batch.columns.push_back(indexed ? values[i].Indexed(indices, shape == Shape::kDictionary ? 70 + i : 0)
                                      : values[i].Flat());
    }
    batch.SetAll(kRows);
    if (some) {
      batch.selection = selection.data();
      batch.selected = static_cast<uint32_t>(selection.size());
    }
  }
};

inline uint32_t CountLiterals(Expression expression) {
  uint32_t count = 0;
  ForEachLiteral(expression, [&](Expression&) { ++count; });
  return count;
}

inline void CheckArranged(const Expression& original, const std::string& expected, uint32_t mask, Shape shape) {
  SCOPED_TRACE("columns " + std::to_string(mask) + ", shape " + std::to_string(static_cast<int>(shape)));
  Expression expression = original;
  Arranged arranged(expression, mask, shape);
  Memory memory(nullptr, "test");
  Evaluator evaluator(expression, arranged.slots, memory);
  for (int again = 0; again < 2; ++again) {  // the second time from what was kept of a dictionary
    const Column result = evaluator.Evaluate(arranged.batch);
    ASSERT_EQ(result.type, original.type);
    arranged.batch.ForEach(
        [&](uint32_t row) { ASSERT_EQ(ValueText(LiteralOf(result, row), result.type), expected) << "row " << row; });
  }
  if (original.type.id != TypeId::kBool) return;
  RowIndex kept[kBatchRows];
  const uint32_t count = evaluator.Select(arranged.batch, kept);
  ASSERT_EQ(count, expected == "true" ? arranged.batch.selected : 0U);
}

inline void Check(const Expression& expression, const std::string& expected) {
  SCOPED_TRACE("expects " + expected);
  ASSERT_EQ(ValueText(EvaluateConstant(expression), expression.type), expected);
  const uint32_t literals = CountLiterals(expression);
  ASSERT_LE(literals, 6U);
  for (uint32_t mask = 1; mask < (1U << literals); ++mask) {
    for (Shape shape : kShapes) CheckArranged(expression, expected, mask, shape);
  }
}

// The message must hold `part`.
inline void CheckFails(const Expression& original, const std::string& part) {
  const uint32_t literals = CountLiterals(original);
  for (uint32_t mask = 0; mask < (1U << literals); ++mask) {
    for (Shape shape : kShapes) {
      SCOPED_TRACE("columns " + std::to_string(mask) + ", shape " + std::to_string(static_cast<int>(shape)));
      Expression expression = original;
      Arranged arranged(expression, mask, shape);
      Memory memory(nullptr, "test");
      Evaluator evaluator(expression, arranged.slots, memory);
      try {
        evaluator.Evaluate(arranged.batch);
        FAIL() << "no error, but one with '" << part << "' is expected";
      } catch (const Error& error) {
        ASSERT_EQ(error.kind(), ErrorKind::kData);
        ASSERT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
      }
    }
  }
}

// An expression that cannot be compiled.
inline void CheckNoPlan(const Expression& expression, const std::string& part) {
  try {
    EvaluateConstant(expression);
    FAIL() << "no error, but one with '" << part << "' is expected";
  } catch (const Error& error) {
    ASSERT_EQ(error.kind(), ErrorKind::kPlan);
    ASSERT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
  }
}

}  // namespace neap::engine::expressions
