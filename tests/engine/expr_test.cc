// expr_test.cc: expressions over small batches: NULLs, selections, constants on either side, dictionaries, errors.
#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "engine/core/error.h"
#include "engine/expression/evaluator.h"

namespace neap::engine {
namespace {

constexpr Type kBoolean{TypeId::kBool};
constexpr Type kInteger{TypeId::kInt32};
constexpr Type kBigint{TypeId::kInt64};
constexpr Type kDouble{TypeId::kDouble};

Expression Int(int64_t value, Type type = kBigint) { return Expression::Constant({false, value}, type); }
Expression Dec(Int128 value, int precision, int scale) {
  return Expression::Constant({false, value}, Type::Decimal(precision, scale));
}
Expression Null(Type type) { return Expression::Constant({}, type); }
Expression Col(ColumnId id, Type type) { return Expression::Column(id, type); }
template <class... Args>
Expression Call(Function function, Type type, Args... args) {
  return Expression::Call(function, type, {args...});
}

std::string Text(const Literal& literal, Type type) {
  if (literal.null) return "NULL";
  switch (type.id) {
    case TypeId::kBool:
      return std::get<bool>(literal.value) ? "true" : "false";
    case TypeId::kDecimal:
      return std::to_string(static_cast<int64_t>(std::get<Int128>(literal.value))) + "e-" + std::to_string(type.scale);
    case TypeId::kDouble:
      return std::to_string(std::get<double>(literal.value));
    case TypeId::kString:
      return std::get<std::string>(literal.value);
    default:
      return std::to_string(std::get<int64_t>(literal.value));
  }
}

std::string Value(const Expression& expression) { return Text(EvaluateConstant(expression), expression.type); }

TEST(Expr, Constants) {
  EXPECT_EQ(Value(Call(Function::kAdd, kBigint, Int(2), Int(3))), "5");
  EXPECT_EQ(Value(Call(Function::kAdd, kBigint, Int(2), Null(kBigint))), "NULL");
  EXPECT_EQ(Value(Call(Function::kMultiply, Type::Decimal(38, 4), Dec(12345, 15, 2), Dec(100, 15, 2))), "1234500e-4");
  EXPECT_EQ(Value(Call(Function::kDivide, Type::Decimal(20, 6), Dec(1, 15, 0), Dec(3, 15, 0))), "333333e-6");
  EXPECT_EQ(Value(Call(Function::kDivide, Type::Decimal(20, 1), Dec(250, 15, 2), Dec(100, 15, 0))), "0e-1");
  EXPECT_EQ(Value(Call(Function::kLess, kBoolean, Int(2), Int(3))), "true");
  EXPECT_EQ(Value(Call(Function::kAnd, kBoolean, Call(Function::kLess, kBoolean, Int(3), Int(2)), Null(kBoolean))),
            "false");
  EXPECT_EQ(Value(Call(Function::kOr, kBoolean, Call(Function::kLess, kBoolean, Int(3), Int(2)), Null(kBoolean))),
            "NULL");
  EXPECT_THROW(Value(Call(Function::kDivide, kBigint, Int(2), Int(0))), Error);
  EXPECT_THROW(Value(Call(Function::kAdd, kBigint, Int(INT64_MAX), Int(1))), Error);
}

TEST(Expr, SelectsAndEvaluatesOverABatch) {
  Memory memory(nullptr, "test");
  {
    std::vector<int64_t> values;
    std::vector<uint8_t> valid;
    for (int i = 0; i < 100; ++i) values.push_back(i), valid.push_back(i % 3 != 0);
    Batch batch;
    batch.columns.push_back({kBigint, values.data(), valid.data(), nullptr, 0, 0});
    batch.SetAll(100);
    Slots slots{{7}};
    Evaluator filter(Call(Function::kAnd, kBoolean, Call(Function::kGreater, kBoolean, Col(7, kBigint), Int(10)),
                          Call(Function::kLess, kBoolean, Col(7, kBigint), Int(20))),
                     slots, memory);
    RowIndex kept[kBatchRows];
    const uint32_t count = filter.Select(batch, kept);
    EXPECT_EQ(std::vector<RowIndex>(kept, kept + count), (std::vector<RowIndex>{11, 13, 14, 16, 17, 19}));
    const Column result = filter.Evaluate(batch);
    for (uint32_t row = 0; row < 100; ++row) {
      ASSERT_EQ(result.is_valid(row), row % 3 != 0 || false) << row;
    }
  }
  EXPECT_EQ(memory.Stats().live, 0U);
}

}  // namespace
}  // namespace neap::engine
