// expression.h: expressions of a plan, typed, over the plan's columns.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "engine/core/column.h"
#include "engine/core/type.h"

namespace neap::engine {

// A column of a plan: every column that any relation makes has a number of its own (Plan::columns).
using ColumnId = uint32_t;

// A function of one row. The names are Substrait's where it has one (functions.cc has the table, and says which
// arguments each takes).
enum class Function : uint8_t {
  kAdd,
  kSubtract,
  kMultiply,
  kDivide,
  kModulus,
  kNegate,
  kAbs,
  kPower,
  kSqrt,
  kExp,
  kLn,
  kLog10,
  kFloor,
  kCeil,
  kRound,
  kTruncate,
  kSign,
  kEqual,
  kNotEqual,
  kLess,
  kLessEqual,
  kGreater,
  kGreaterEqual,
  kIsDistinctFrom,
  kIsNotDistinctFrom,
  kAnd,
  kOr,
  kNot,
  kXor,
  kIsNull,
  kIsNotNull,
  kIsTrue,
  kIsFalse,
  kIsNotTrue,
  kIsNotFalse,
  kIsNan,
  kBitwiseAnd,
  kBitwiseOr,
  kBitwiseXor,
  kBitwiseNot,
  kShiftLeft,
  kShiftRight,
  kCoalesce,
  kNullIf,
  kGreatest,
  kLeast,
  kLike,
  kNotLike,
  kILike,
  kNotILike,
  kRegexpLike,
  kSubstring,
  kConcat,
  kConcatWs,
  kUpper,
  kLower,
  kTrim,
  kLeftTrim,
  kRightTrim,
  kLength,
  kOctetLength,
  kReplace,
  kPosition,
  kStartsWith,
  kEndsWith,
  kContains,
  kLeftPad,
  kRightPad,
  kReverse,
  kRepeat,
  kLeft,
  kRight,
  kSplitPart,
  kDatePart,   // argument 0: a literal string such as 'year'
  kDateTrunc,  // argument 0: a literal string
  kMakeDate,
};

struct Literal {
  bool null = true;
  // bool, int64_t (integers, date, timestamps), double (float, double), Int128 (decimal), Interval, std::string
  std::variant<bool, int64_t, double, Int128, Interval, std::string> value = false;

  friend bool operator==(const Literal&, const Literal&) = default;
};

struct Rel;

struct Expression {
  enum class Kind : uint8_t {
    kColumn,
    kLiteral,
    kCall,            // function(args)
    kCast,            // args[0] to `type`; try_cast: NULL where it fails
    kCase,            // args: condition, value, condition, value, ..., else
    kIn,              // args[0] IN (args[1], ...), three-valued
    kScalarSubquery,  // `subquery` gives at most one row with one column
  };

  Kind kind = Kind::kLiteral;
  Type type;
  ColumnId column = 0;
  Literal literal;
  Function function = Function::kAdd;
  bool try_cast = false;
  std::vector<Expression> args;
  std::shared_ptr<Rel> subquery;

  friend bool operator==(const Expression&, const Expression&) = default;
  static Expression Column(ColumnId id, Type type);
  static Expression Constant(Literal literal, Type type);
  static Expression Call(Function function, Type type, std::vector<Expression> args);
  static Expression Cast(Expression from, Type type, bool try_cast = false);

  bool is_column() const { return kind == Kind::kColumn; }
  // Calls f(ColumnId) for every column read, subqueries left out.
  template <class F>
  void ForEachColumn(F&& f) const {
    if (kind == Kind::kColumn) f(column);
    for (const Expression& arg : args) arg.ForEachColumn(f);
  }
};

inline bool IsLiteral(const Expression& expression) { return expression.kind == Expression::Kind::kLiteral; }
inline bool IsNullLiteral(const Expression& expression) { return IsLiteral(expression) && expression.literal.null; }
// The expression in this type: as it is where it has it.
Expression CastTo(Expression expression, Type type);

const char* FunctionName(Function function);

}  // namespace neap::engine
