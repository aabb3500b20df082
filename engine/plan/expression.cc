// expression.cc: making expressions, and the names of functions.
#include "engine/plan/expression.h"

#include <utility>

namespace neap::engine {

Expression Expression::Column(ColumnId id, Type type) {
  Expression result;
  result.kind = Kind::kColumn;
  result.type = type;
  result.column = id;
  return result;
}

Expression Expression::Constant(Literal literal, Type type) {
  Expression result;
  result.kind = Kind::kLiteral;
  result.type = type;
  result.literal = std::move(literal);
  return result;
}

Expression Expression::Call(Function function, Type type, std::vector<Expression> args) {
  Expression result;
  result.kind = Kind::kCall;
  result.type = type;
  result.function = function;
  result.args = std::move(args);
  return result;
}

Expression Expression::Cast(Expression from, Type type, bool try_cast) {
  Expression result;
  result.kind = Kind::kCast;
  result.type = type;
  result.try_cast = try_cast;
  result.args.push_back(std::move(from));
  return result;
}

Expression CastTo(Expression expression, Type type) {
  if (expression.type == type) return expression;
  if (IsNullLiteral(expression)) return Expression::Constant({}, type);
  return Expression::Cast(std::move(expression), type);
}

const char* FunctionName(Function function) {
  switch (function) {
    case Function::kAdd:
      return "+";
    case Function::kSubtract:
      return "-";
    case Function::kMultiply:
      return "*";
    case Function::kDivide:
      return "/";
    case Function::kModulus:
      return "%";
    case Function::kNegate:
      return "negate";
    case Function::kAbs:
      return "abs";
    case Function::kPower:
      return "power";
    case Function::kSqrt:
      return "sqrt";
    case Function::kExp:
      return "exp";
    case Function::kLn:
      return "ln";
    case Function::kLog10:
      return "log10";
    case Function::kFloor:
      return "floor";
    case Function::kCeil:
      return "ceil";
    case Function::kRound:
      return "round";
    case Function::kTruncate:
      return "truncate";
    case Function::kSign:
      return "sign";
    case Function::kEqual:
      return "=";
    case Function::kNotEqual:
      return "<>";
    case Function::kLess:
      return "<";
    case Function::kLessEqual:
      return "<=";
    case Function::kGreater:
      return ">";
    case Function::kGreaterEqual:
      return ">=";
    case Function::kIsDistinctFrom:
      return "is distinct from";
    case Function::kIsNotDistinctFrom:
      return "is not distinct from";
    case Function::kAnd:
      return "and";
    case Function::kOr:
      return "or";
    case Function::kNot:
      return "not";
    case Function::kXor:
      return "xor";
    case Function::kIsNull:
      return "is null";
    case Function::kIsNotNull:
      return "is not null";
    case Function::kIsTrue:
      return "is true";
    case Function::kIsFalse:
      return "is false";
    case Function::kIsNotTrue:
      return "is not true";
    case Function::kIsNotFalse:
      return "is not false";
    case Function::kIsNan:
      return "is nan";
    case Function::kBitwiseAnd:
      return "&";
    case Function::kBitwiseOr:
      return "|";
    case Function::kBitwiseXor:
      return "bitwise xor";
    case Function::kBitwiseNot:
      return "~";
    case Function::kShiftLeft:
      return "<<";
    case Function::kShiftRight:
      return ">>";
    case Function::kCoalesce:
      return "coalesce";
    case Function::kNullIf:
      return "nullif";
    case Function::kGreatest:
      return "greatest";
    case Function::kLeast:
      return "least";
    case Function::kLike:
      return "like";
    case Function::kNotLike:
      return "not like";
    case Function::kILike:
      return "ilike";
    case Function::kNotILike:
      return "not ilike";
    case Function::kRegexpLike:
      return "regexp_like";
    case Function::kSubstring:
      return "substring";
    case Function::kConcat:
      return "concat";
    case Function::kConcatWs:
      return "concat_ws";
    case Function::kUpper:
      return "upper";
    case Function::kLower:
      return "lower";
    case Function::kTrim:
      return "trim";
    case Function::kLeftTrim:
      return "ltrim";
    case Function::kRightTrim:
      return "rtrim";
    case Function::kLength:
      return "length";
    case Function::kOctetLength:
      return "octet_length";
    case Function::kReplace:
      return "replace";
    case Function::kPosition:
      return "position";
    case Function::kStartsWith:
      return "starts_with";
    case Function::kEndsWith:
      return "ends_with";
    case Function::kContains:
      return "contains";
    case Function::kLeftPad:
      return "lpad";
    case Function::kRightPad:
      return "rpad";
    case Function::kReverse:
      return "reverse";
    case Function::kRepeat:
      return "repeat";
    case Function::kLeft:
      return "left";
    case Function::kRight:
      return "right";
    case Function::kSplitPart:
      return "split_part";
    case Function::kDatePart:
      return "date_part";
    case Function::kDateTrunc:
      return "date_trunc";
    case Function::kMakeDate:
      return "make_date";
  }
  __builtin_unreachable();
}

}  // namespace neap::engine
