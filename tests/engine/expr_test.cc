// expr_test.cc: arithmetic, comparisons, logic, conditions and functions of numbers.
#include <climits>
#include <cmath>
#include <limits>

#include "tests/engine/expressions.h"

namespace neap::engine {
namespace {

using namespace expressions;

TEST(Arithmetic, OfIntegersIsChecked) {
  Check(Call(Function::kAdd, kBigint, {Int(2), Int(3)}), "5");
  Check(Call(Function::kAdd, kBigint, {Int(2), Null(kBigint)}), "NULL");
  Check(Call(Function::kSubtract, kInteger, {Int(2, kInteger), Int(5, kInteger)}), "-3");
  Check(Call(Function::kMultiply, kBigint, {Int(-3), Int(5)}), "-15");
  Check(Call(Function::kAdd, kBigint, {Int(1, kTinyint), Int(5, kInteger)}), "6");
  Check(Call(Function::kAdd, kBigint, {Int(INT64_MAX - 1), Int(1)}), "9223372036854775807");
  Check(Call(Function::kSubtract, kTinyint, {Int(-100, kTinyint), Int(28, kTinyint)}), "-128");
  CheckFails(Call(Function::kAdd, kBigint, {Int(INT64_MAX), Int(1)}), "overflow in bigint + bigint");
  CheckFails(Call(Function::kSubtract, kInteger, {Int(INT32_MIN, kInteger), Int(1, kInteger)}),
             "overflow in integer - integer");
  CheckFails(Call(Function::kAdd, kTinyint, {Int(100, kTinyint), Int(28, kTinyint)}), "overflow in tinyint");
  CheckFails(Call(Function::kMultiply, kBigint, {Int(INT64_MAX), Int(2)}), "overflow in bigint * bigint");
  CheckFails(Call(Function::kMultiply, kSmallint, {Int(300, kSmallint), Int(300, kSmallint)}), "overflow in smallint");
}

TEST(Arithmetic, OfIntegersDividesTowardsZero) {
  Check(Call(Function::kDivide, kBigint, {Int(-7), Int(2)}), "-3");
  Check(Call(Function::kModulus, kBigint, {Int(-7), Int(2)}), "-1");
  Check(Call(Function::kModulus, kBigint, {Int(INT64_MIN), Int(-1)}), "0");
  CheckFails(Call(Function::kDivide, kBigint, {Int(7), Int(0)}), "division by zero");
  CheckFails(Call(Function::kModulus, kInteger, {Int(7, kInteger), Int(0, kInteger)}), "division by zero");
  CheckFails(Call(Function::kDivide, kBigint, {Int(INT64_MIN), Int(-1)}), "overflow in bigint / bigint");
}

TEST(Arithmetic, OfFloatsFollowsIeee) {
  Check(Call(Function::kDivide, kDouble, {Double(1), Double(0)}), "inf");
  Check(Call(Function::kDivide, kDouble, {Int(1), Int(4)}), "0.25");
  Check(Call(Function::kModulus, kDouble, {Double(5.5), Double(2)}), "1.5");
  Check(Call(Function::kAdd, kFloat, {Double(0.5, kFloat), Double(0.25, kFloat)}), "0.75");
}

TEST(Arithmetic, OfBits) {
  Check(Call(Function::kBitwiseAnd, kBigint, {Int(12), Int(10)}), "8");
  Check(Call(Function::kBitwiseOr, kBigint, {Int(12), Int(10)}), "14");
  Check(Call(Function::kBitwiseXor, kBigint, {Int(12), Int(10)}), "6");
  Check(Call(Function::kBitwiseNot, kBigint, {Int(0)}), "-1");
  Check(Call(Function::kShiftLeft, kBigint, {Int(1), Int(62)}), "4611686018427387904");
  Check(Call(Function::kShiftRight, kBigint, {Int(-8), Int(1)}), "-4");
  CheckFails(Call(Function::kShiftLeft, kInteger, {Int(1, kInteger), Int(32, kInteger)}), "0 to 31");
}

TEST(Arithmetic, OfDecimalsIsExact) {
  const Type d38_4 = Type::Decimal(38, 4);
  Check(Call(Function::kMultiply, Type::Decimal(30, 4), {Decimal(12345, 15, 2), Decimal(-101, 15, 2)}), "-124.6845");
  Check(Call(Function::kMultiply, d38_4, {Decimal(12345, 15, 2), Decimal(-101, 15, 2)}), "-124.6845");
  Check(Call(Function::kMultiply, Type::Decimal(20, 1), {Decimal(25, 15, 2), Decimal(100, 15, 2)}), "0.3");
  Check(Call(Function::kMultiply, Type::Decimal(20, 1), {Decimal(-25, 15, 2), Decimal(100, 15, 2)}), "-0.3");
  Check(Call(Function::kMultiply, Type::Decimal(20, 6), {Decimal(-25, 15, 2), Decimal(100, 15, 2)}), "-0.250000");
  Check(Call(Function::kAdd, Type::Decimal(16, 2), {Decimal(100, 15, 2), Decimal(5, 15, 1)}), "1.50");
  Check(Call(Function::kSubtract, Type::Decimal(23, 2), {Decimal(1, 20, 0), Decimal(7, 15, 2)}), "0.93");
  Check(Call(Function::kAdd, Type::Decimal(22, 2), {Int(5), Decimal(7, 15, 2)}), "5.07");
  Check(Call(Function::kAdd, Type::Decimal(15, 1), {Decimal(125, 15, 2), Decimal(20, 15, 2)}), "1.5");
  Check(Call(Function::kDivide, Type::Decimal(20, 6), {Decimal(1, 15, 0), Decimal(3, 15, 0)}), "0.333333");
  Check(Call(Function::kDivide, Type::Decimal(20, 6), {Decimal(-2, 15, 0), Decimal(3, 15, 0)}), "-0.666667");
  Check(Call(Function::kDivide, Type::Decimal(20, 1), {Decimal(250, 15, 2), Decimal(-1000, 15, 0)}), "0.0");
  Check(Call(Function::kDivide, Type::Decimal(20, 0), {Decimal(250, 15, 2), Decimal(5, 15, 0)}), "1");
  Check(Call(Function::kDivide, Type::Decimal(38, 30), {Decimal(1, 38, 10), Decimal(3, 38, 10)}),
        "0.333333333333333333333333333333");
  Check(Call(Function::kModulus, Type::Decimal(15, 2), {Decimal(-750, 15, 2), Decimal(2, 15, 0)}), "-1.50");
  CheckFails(Call(Function::kDivide, Type::Decimal(20, 6), {Decimal(1, 15, 0), Decimal(0, 15, 0)}), "division by zero");
  CheckFails(Call(Function::kModulus, Type::Decimal(15, 2), {Decimal(1, 15, 2), Decimal(0, 15, 2)}),
             "division by zero");
}

TEST(Arithmetic, OfDecimalsKnowsTheDigitsItHas) {
  const Int128 big = kPowersOfTen[37];
  Check(Call(Function::kAdd, Type::Decimal(38, 0), {Decimal(big, 38, 0), Decimal(-1, 38, 0)}),
        "9999999999999999999999999999999999999");
  CheckFails(Call(Function::kAdd, Type::Decimal(38, 0), {Decimal(big * 9, 38, 0), Decimal(big * 9, 38, 0)}),
             "more digits than decimal(38,0)");
  CheckFails(Call(Function::kMultiply, Type::Decimal(38, 0), {Decimal(big, 38, 0), Decimal(big, 38, 0)}),
             "more digits than decimal(38,0)");
  CheckFails(Call(Function::kAdd, Type::Decimal(3, 0), {Decimal(999, 3, 0), Decimal(1, 3, 0)}), "decimal(3,0)");
  CheckFails(
      Call(Function::kSubtract, Type::Decimal(18, 0), {Decimal(-kPowersOfTen[18] + 1, 18, 0), Decimal(1, 18, 0)}),
      "decimal(18,0)");
  // The product has more than 128 bits before it is rounded.
  const Int128 wide = kPowersOfTen[25];
  Check(Call(Function::kMultiply, Type::Decimal(38, 6), {Decimal(wide + 5, 38, 10), Decimal(wide, 38, 10)}),
        "1000000000000000000000000500000.000000");
  Check(Call(Function::kDivide, Type::Decimal(38, 6), {Decimal(big, 38, 6), Decimal(-big, 38, 6)}), "-1.000000");
}

TEST(Compare, EveryTypeBothWays) {
  const std::vector<std::pair<Expression, Expression>> ascending = {
      {Int(-1), Int(1)},
      {Int(1, kTinyint), Int(2, kTinyint)},
      {Int(1, kSmallint), Int(2, kSmallint)},
      {Int(1, kInteger), Int(2, kInteger)},
      {Int(1, kInteger), Int(2)},
      {Double(1, kFloat), Double(2, kFloat)},
      {Double(1), Double(std::nan(""))},
      {Double(-INFINITY), Int(3)},
      {Bool(false), Bool(true)},
      {Decimal(199, 5, 2), Decimal(2, 5, 0)},
      {Decimal(199, 25, 2), Decimal(200, 15, 2)},
      {Decimal(199, 5, 2), Int(2)},
      {Decimal(199, 5, 2), Double(2.5)},
      {Date("1994-01-01"), Date("1994-01-02")},
      {Date("1994-01-01"), Timestamp("1994-01-01 00:00:01")},
      {Span(0, 29, 0), Span(1, 0, 0)},
      {Text("abc"), Text("abd")},
      {Text("abc"), Text("abca")},
      {Text(""), Text("a")},
      {Text("a long string, the first of two"), Text("a long string, the second of two")},
      {Text("abcd and then more"), Text("abcd and then much more")},
  };
  for (const auto& [a, b] : ascending) {
    SCOPED_TRACE(a.type.Name() + ", " + b.type.Name());
    Check(Call(Function::kLess, kBoolean, {a, b}), "true");
    Check(Call(Function::kLess, kBoolean, {b, a}), "false");
    Check(Call(Function::kLess, kBoolean, {a, a}), "false");
    Check(Call(Function::kLessEqual, kBoolean, {a, b}), "true");
    Check(Call(Function::kLessEqual, kBoolean, {a, a}), "true");
    Check(Call(Function::kGreater, kBoolean, {b, a}), "true");
    Check(Call(Function::kGreater, kBoolean, {a, b}), "false");
    Check(Call(Function::kGreaterEqual, kBoolean, {b, b}), "true");
    Check(Call(Function::kEqual, kBoolean, {a, b}), "false");
    Check(Call(Function::kEqual, kBoolean, {b, b}), "true");
    Check(Call(Function::kNotEqual, kBoolean, {a, b}), "true");
    Check(Call(Function::kNotEqual, kBoolean, {b, b}), "false");
    Check(Call(Function::kEqual, kBoolean, {a, Null(b.type)}), "NULL");
    Check(Call(Function::kLess, kBoolean, {Null(a.type), b}), "NULL");
    Check(Call(Function::kIsDistinctFrom, kBoolean, {a, b}), "true");
    Check(Call(Function::kIsDistinctFrom, kBoolean, {b, b}), "false");
    Check(Call(Function::kIsDistinctFrom, kBoolean, {a, Null(b.type)}), "true");
    Check(Call(Function::kIsNotDistinctFrom, kBoolean, {Null(a.type), Null(b.type)}), "true");
    Check(Call(Function::kIsNotDistinctFrom, kBoolean, {b, b}), "true");
  }
  Check(Call(Function::kEqual, kBoolean, {Double(0.0), Double(-0.0)}), "true");
  Check(Call(Function::kEqual, kBoolean, {Span(0, 30, 0), Span(1, 0, 0)}), "true");
  CheckNoPlan(Call(Function::kEqual, kBoolean, {Text("1"), Int(1)}), "varchar and bigint have no type in common");
}

TEST(Logic, IsThreeValued) {
  const Expression values[] = {Bool(false), Null(kBoolean), Bool(true)};
  const char* names[] = {"false", "NULL", "true"};
  for (int a = 0; a < 3; ++a) {
    for (int b = 0; b < 3; ++b) {
      Check(Call(Function::kAnd, kBoolean, {values[a], values[b]}), names[std::min(a, b)]);
      Check(Call(Function::kOr, kBoolean, {values[a], values[b]}), names[std::max(a, b)]);
      for (int c = 0; c < 3; ++c) {
        Check(Call(Function::kAnd, kBoolean, {values[a], Call(Function::kOr, kBoolean, {values[b], values[c]})}),
              names[std::min(a, std::max(b, c))]);
      }
      const bool null = a == 1 || b == 1;
      Check(Call(Function::kXor, kBoolean, {values[a], values[b]}), null ? "NULL" : a != b ? "true" : "false");
    }
    Check(Call(Function::kNot, kBoolean, {values[a]}), names[2 - a]);
    Check(Call(Function::kIsNull, kBoolean, {values[a]}), a == 1 ? "true" : "false");
    Check(Call(Function::kIsNotNull, kBoolean, {values[a]}), a == 1 ? "false" : "true");
    Check(Call(Function::kIsTrue, kBoolean, {values[a]}), a == 2 ? "true" : "false");
    Check(Call(Function::kIsFalse, kBoolean, {values[a]}), a == 0 ? "true" : "false");
    Check(Call(Function::kIsNotTrue, kBoolean, {values[a]}), a == 2 ? "false" : "true");
    Check(Call(Function::kIsNotFalse, kBoolean, {values[a]}), a == 0 ? "false" : "true");
  }
}

TEST(Logic, WhatIsDecidedKeepsTheRestFromFailing) {
  const Expression fails =
      Call(Function::kEqual, kBoolean, {Call(Function::kDivide, kBigint, {Int(1), Int(0)}), Int(1)});
  Check(Call(Function::kAnd, kBoolean, {Bool(false), fails}), "false");
  Check(Call(Function::kOr, kBoolean, {Bool(true), fails}), "true");
  CheckFails(Call(Function::kAnd, kBoolean, {Bool(true), fails}), "division by zero");
}

TEST(Conditional, CaseTakesTheFirstBranchThatIsTrue) {
  const Expression fails = Call(Function::kDivide, kBigint, {Int(1), Int(0)});
  Check(Case(kBigint, {Bool(false), Int(1), Bool(true), Int(2), Int(3)}), "2");
  Check(Case(kBigint, {Null(kBoolean), Int(1), Bool(false), Int(2), Int(3)}), "3");
  Check(Case(kBigint, {Bool(false), Int(1)}), "NULL");
  Check(Case(kText, {Bool(true), Text("yes, that is so"), Text("no")}), "yes, that is so");
  Check(Case(kBigint, {Bool(true), Null(kBigint), Int(3)}), "NULL");
  Check(Case(kBigint, {Bool(false), fails, Int(3)}), "3");
  Check(Case(kBigint, {Bool(true), Int(3), fails}), "3");
  Check(Case(Type::Decimal(20, 2), {Bool(true), Decimal(5, 3, 0), Decimal(1, 30, 2)}), "5.00");
  CheckFails(Case(kBigint, {Bool(true), fails, Int(3)}), "division by zero");
}

TEST(Conditional, OthersThanCase) {
  Check(Call(Function::kCoalesce, kBigint, {Null(kBigint), Int(2), Int(3)}), "2");
  Check(Call(Function::kCoalesce, kBigint, {Int(1), Call(Function::kDivide, kBigint, {Int(1), Int(0)})}), "1");
  Check(Call(Function::kCoalesce, kText, {Null(kText), Null(kText)}), "NULL");
  Check(Call(Function::kCoalesce, kText, {Null(kText), Text("a string of some length")}), "a string of some length");
  Check(Call(Function::kNullIf, kBigint, {Int(1), Int(1)}), "NULL");
  Check(Call(Function::kNullIf, kBigint, {Int(1), Int(2)}), "1");
  Check(Call(Function::kNullIf, kBigint, {Int(1), Null(kBigint)}), "1");
  Check(Call(Function::kGreatest, kBigint, {Int(1), Null(kBigint), Int(3)}), "3");
  Check(Call(Function::kGreatest, kBigint, {Null(kBigint), Int(1), Int(-3)}), "1");
  Check(Call(Function::kLeast, kText, {Text("banana and more of it"), Text("apple"), Null(kText)}), "apple");
  Check(Call(Function::kLeast, kDouble, {Null(kDouble), Null(kDouble)}), "NULL");
}

TEST(Conditional, InIsThreeValued) {
  Check(In({Int(2), Int(1), Int(2)}), "true");
  Check(In({Int(3), Int(1), Int(2)}), "false");
  Check(In({Int(3), Int(1), Null(kBigint)}), "NULL");
  Check(In({Int(1), Int(1), Null(kBigint)}), "true");
  Check(In({Null(kBigint), Int(1), Int(2)}), "NULL");
  Check(In({Decimal(150, 5, 2), Decimal(15, 5, 1), Int(2)}), "true");
  Check(In({Text("a long string, by all means"), Text("a long string, by no means"), Text("b")}), "false");
  std::vector<Expression> numbers = {Int(500)}, texts = {Text("text number 77")};
  for (int i = 0; i < 100; ++i) {
    numbers.push_back(Int(i * 10));
    texts.push_back(Text("text number " + std::to_string(i)));
  }
  Check(In(numbers), "true");
  Check(In(texts), "true");
  numbers[0] = Int(501), texts[0] = Text("text number 777");
  Check(In(numbers), "false");
  Check(In(texts), "false");
  numbers.push_back(Null(kBigint));
  Check(In(numbers), "NULL");
}

TEST(Casts, AmongNumbers) {
  Check(Expression::Cast(Int(300), kInteger), "300");
  Check(Expression::Cast(Int(-5, kTinyint), kBigint), "-5");
  CheckFails(Expression::Cast(Int(300), kTinyint), "cannot cast 300 to tinyint");
  Check(Expression::Cast(Int(300), kTinyint, true), "NULL");
  Check(Expression::Cast(Double(2.9), kBigint), "2");
  Check(Expression::Cast(Double(-2.9), kInteger), "-2");
  CheckFails(Expression::Cast(Double(3e9), kInteger), "to integer");
  CheckFails(Expression::Cast(Double(std::nan("")), kBigint), "to bigint");
  CheckFails(Expression::Cast(Double(9223372036854775808.0), kBigint), "to bigint");
  Check(Expression::Cast(Double(-9223372036854775808.0), kBigint), "-9223372036854775808");
  Check(Expression::Cast(Double(3e9), kInteger, true), "NULL");
  Check(Expression::Cast(Int(2), kDouble), "2");
  Check(Expression::Cast(Int(2), kBoolean), "true");
  Check(Expression::Cast(Bool(true), kInteger), "1");
  Check(Expression::Cast(Int(7), Type::Decimal(15, 2)), "7.00");
  Check(Expression::Cast(Int(7), Type::Decimal(38, 20)), "7.00000000000000000000");
  CheckFails(Expression::Cast(Int(1000), Type::Decimal(4, 2)), "cannot cast 1000 to decimal(4,2)");
  Check(Expression::Cast(Decimal(12345, 15, 3), Type::Decimal(15, 2)), "12.35");
  Check(Expression::Cast(Decimal(-12345, 15, 3), Type::Decimal(15, 2)), "-12.35");
  Check(Expression::Cast(Decimal(12344, 15, 3), Type::Decimal(4, 2)), "12.34");
  CheckFails(Expression::Cast(Decimal(99999, 5, 3), Type::Decimal(4, 2)), "cannot cast 99.999 to decimal(4,2)");
  Check(Expression::Cast(Decimal(99999, 5, 3), Type::Decimal(4, 2), true), "NULL");
  Check(Expression::Cast(Decimal(-12999, 15, 3), kBigint), "-12");
  Check(Expression::Cast(Decimal(-12999, 35, 3), kInteger), "-12");
  CheckFails(Expression::Cast(Decimal(kPowersOfTen[30], 38, 3), kBigint), "to bigint");
  Check(Expression::Cast(Decimal(12345, 15, 3), kDouble), "12.345");
  Check(Expression::Cast(Double(12.345), Type::Decimal(15, 2)), "12.35");
  Check(Expression::Cast(Double(-0.5), Type::Decimal(15, 0)), "-1");
  CheckFails(Expression::Cast(Double(1e20), Type::Decimal(15, 2)), "to decimal(15,2)");
  Check(Expression::Cast(Double(1e20), Type::Decimal(15, 2), true), "NULL");
  Check(Expression::Cast(Null({}), kBigint), "NULL");
}

TEST(Math, OfOneNumber) {
  Check(Call(Function::kNegate, kBigint, {Int(5)}), "-5");
  CheckFails(Call(Function::kNegate, kBigint, {Int(INT64_MIN)}), "overflow in negate");
  Check(Call(Function::kAbs, kInteger, {Int(-5, kInteger)}), "5");
  CheckFails(Call(Function::kAbs, kTinyint, {Int(-128, kTinyint)}), "overflow in abs");
  Check(Call(Function::kAbs, Type::Decimal(30, 2), {Decimal(-1234, 30, 2)}), "12.34");
  Check(Call(Function::kNegate, kDouble, {Double(-1.5)}), "1.5");
  Check(Call(Function::kSqrt, kDouble, {Int(16)}), "4");
  Check(Call(Function::kSqrt, kDouble, {Double(-1)}), "nan");
  Check(Call(Function::kExp, kDouble, {Double(1)}), "2.718281828");
  Check(Call(Function::kLn, kDouble, {Double(10)}), "2.302585093");
  Check(Call(Function::kLog10, kDouble, {Decimal(1000, 5, 0)}), "3");
  Check(Call(Function::kPower, kDouble, {Int(2), Double(0.5)}), "1.414213562");
  Check(Call(Function::kFloor, kDouble, {Double(-1.5)}), "-2");
  Check(Call(Function::kCeil, kDouble, {Double(-1.5)}), "-1");
  Check(Call(Function::kFloor, Type::Decimal(15, 0), {Decimal(-150, 15, 2)}), "-2");
  Check(Call(Function::kCeil, Type::Decimal(15, 0), {Decimal(101, 15, 2)}), "2");
  Check(Call(Function::kFloor, kBigint, {Int(7)}), "7");
  Check(Call(Function::kSign, kTinyint, {Double(-2.5)}), "-1");
  Check(Call(Function::kSign, kDouble, {Decimal(0, 30, 2)}), "0");
  Check(Call(Function::kIsNan, kBoolean, {Double(std::nan(""))}), "true");
  Check(Call(Function::kIsNan, kBoolean, {Double(1)}), "false");
  Check(Call(Function::kSqrt, kDouble, {Null(kDouble)}), "NULL");
  CheckNoPlan(Call(Function::kSqrt, kDouble, {Text("x")}), "no function sqrt(varchar) giving double");
}

TEST(Math, Rounds) {
  Check(Call(Function::kRound, kDouble, {Double(2.5)}), "3");
  Check(Call(Function::kRound, kDouble, {Double(-2.5)}), "-3");
  Check(Call(Function::kRound, kDouble, {Double(1234.567), Int(2)}), "1234.57");
  Check(Call(Function::kRound, kDouble, {Double(1234.567), Int(-2)}), "1200");
  Check(Call(Function::kRound, Type::Decimal(15, 2), {Decimal(12345, 15, 3), Int(2)}), "12.35");
  Check(Call(Function::kRound, Type::Decimal(15, 0), {Decimal(-12500, 15, 3)}), "-13");
  Check(Call(Function::kRound, Type::Decimal(4, 1), {Decimal(999, 3, 2), Int(1)}), "10.0");
  Check(Call(Function::kRound, Type::Decimal(15, 3), {Decimal(12345, 15, 3), Int(-1)}), "10.000");
  Check(Call(Function::kRound, Type::Decimal(15, 3), {Decimal(12345, 15, 3), Int(-40)}), "0.000");
  Check(Call(Function::kRound, kBigint, {Int(1250), Int(-2)}), "1300");
  Check(Call(Function::kRound, kBigint, {Int(1250), Int(2)}), "1250");
  Check(Call(Function::kTruncate, kDouble, {Double(-2.7)}), "-2");
  Check(Call(Function::kTruncate, Type::Decimal(15, 1), {Decimal(-1299, 15, 2), Int(1)}), "-12.9");
  Check(Call(Function::kRound, kDouble, {Double(INFINITY), Int(2)}), "inf");
}

}  // namespace
}  // namespace neap::engine
