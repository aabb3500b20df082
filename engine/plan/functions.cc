// functions.cc: the tables of functions.h. The names are those of Substrait's standard extensions first, then those of
// producers that write their own: DataFusion's and Calcite's.
#include "engine/plan/functions.h"

#include <algorithm>
#include <array>
#include <cctype>

namespace neap::engine {
namespace {

constexpr int kAny = 1 << 20;

struct ScalarRow {
  std::string_view name;
  ScalarFunction function;
};

// Arguments, where they are not those of SQL's operator of that name:
//   substring    text, first character from 1, length (to the end where it is missing)
//   position     text, what is looked for
//   date_part    literal string such as 'year', date or timestamp; date_trunc alike
//   round        value, digits (0); truncate alike
//   split_part   text, separator, number of the part from 1
//   lpad         text, length, filling (' '); rpad alike
//   trim         text, characters (' '); ltrim and rtrim alike
//   concat_ws    separator, texts: NULLs are left out
//   concat       NULL where one argument is
constexpr auto kScalars = std::to_array<ScalarRow>({
    {"add", {Function::kAdd, 2, 2}},
    {"subtract", {Function::kSubtract, 2, 2}},
    {"multiply", {Function::kMultiply, 2, 2}},
    {"divide", {Function::kDivide, 2, 2}},
    {"modulus", {Function::kModulus, 2, 2}},
    {"modulo", {Function::kModulus, 2, 2}},
    {"mod", {Function::kModulus, 2, 2}},
    {"negate", {Function::kNegate, 1, 1}},
    {"negative", {Function::kNegate, 1, 1}},
    {"abs", {Function::kAbs, 1, 1}},
    {"power", {Function::kPower, 2, 2}},
    {"pow", {Function::kPower, 2, 2}},
    {"sqrt", {Function::kSqrt, 1, 1}},
    {"exp", {Function::kExp, 1, 1}},
    {"ln", {Function::kLn, 1, 1}},
    {"log10", {Function::kLog10, 1, 1}},
    {"floor", {Function::kFloor, 1, 1}},
    {"ceil", {Function::kCeil, 1, 1}},
    {"ceiling", {Function::kCeil, 1, 1}},
    {"round", {Function::kRound, 1, 2}},
    {"truncate", {Function::kTruncate, 1, 2}},
    {"trunc", {Function::kTruncate, 1, 2}},
    {"sign", {Function::kSign, 1, 1}},
    {"signum", {Function::kSign, 1, 1}},
    {"equal", {Function::kEqual, 2, 2}},
    {"not_equal", {Function::kNotEqual, 2, 2}},
    {"lt", {Function::kLess, 2, 2}},
    {"lte", {Function::kLessEqual, 2, 2}},
    {"gt", {Function::kGreater, 2, 2}},
    {"gte", {Function::kGreaterEqual, 2, 2}},
    {"is_distinct_from", {Function::kIsDistinctFrom, 2, 2}},
    {"is_not_distinct_from", {Function::kIsNotDistinctFrom, 2, 2}},
    {"and", {Function::kAnd, 1, kAny}},
    {"or", {Function::kOr, 1, kAny}},
    {"not", {Function::kNot, 1, 1}},
    {"xor", {Function::kXor, 2, 2}},
    {"is_null", {Function::kIsNull, 1, 1}},
    {"is_unknown", {Function::kIsNull, 1, 1}},
    {"is_not_null", {Function::kIsNotNull, 1, 1}},
    {"is_not_unknown", {Function::kIsNotNull, 1, 1}},
    {"is_true", {Function::kIsTrue, 1, 1}},
    {"is_false", {Function::kIsFalse, 1, 1}},
    {"is_not_true", {Function::kIsNotTrue, 1, 1}},
    {"is_not_false", {Function::kIsNotFalse, 1, 1}},
    {"is_nan", {Function::kIsNan, 1, 1}},
    {"isnan", {Function::kIsNan, 1, 1}},
    {"bitwise_and", {Function::kBitwiseAnd, 2, 2}},
    {"bitwise_or", {Function::kBitwiseOr, 2, 2}},
    {"bitwise_xor", {Function::kBitwiseXor, 2, 2}},
    {"bitwise_not", {Function::kBitwiseNot, 1, 1}},
    {"shift_left", {Function::kShiftLeft, 2, 2}},
    {"bitwise_shift_left", {Function::kShiftLeft, 2, 2}},
    {"shift_right", {Function::kShiftRight, 2, 2}},
    {"bitwise_shift_right", {Function::kShiftRight, 2, 2}},
    {"coalesce", {Function::kCoalesce, 1, kAny}},
    {"nvl", {Function::kCoalesce, 2, 2}},
    {"ifnull", {Function::kCoalesce, 2, 2}},
    {"nullif", {Function::kNullIf, 2, 2}},
    {"greatest", {Function::kGreatest, 1, kAny}},
    {"least", {Function::kLeast, 1, kAny}},
    {"like", {Function::kLike, 2, 3}},
    {"not_like", {Function::kNotLike, 2, 3}},
    {"ilike", {Function::kILike, 2, 3}},
    {"like_imatch", {Function::kILike, 2, 2}},
    {"not_ilike", {Function::kNotILike, 2, 3}},
    {"like_not_match", {Function::kNotLike, 2, 2}},
    {"like_not_imatch", {Function::kNotILike, 2, 2}},
    {"like_match", {Function::kLike, 2, 2}},
    {"regexp_like", {Function::kRegexpLike, 2, 2}},
    {"regex_match", {Function::kRegexpLike, 2, 2}},
    {"substring", {Function::kSubstring, 2, 3}},
    {"substr", {Function::kSubstring, 2, 3}},
    {"concat", {Function::kConcat, 1, kAny}},
    {"str_concat", {Function::kConcat, 2, 2}},
    {"||", {Function::kConcat, 2, 2}},
    {"concat_ws", {Function::kConcatWs, 1, kAny}},
    {"upper", {Function::kUpper, 1, 1}},
    {"lower", {Function::kLower, 1, 1}},
    {"trim", {Function::kTrim, 1, 2}},
    {"btrim", {Function::kTrim, 1, 2}},
    {"ltrim", {Function::kLeftTrim, 1, 2}},
    {"rtrim", {Function::kRightTrim, 1, 2}},
    {"char_length", {Function::kLength, 1, 1}},
    {"character_length", {Function::kLength, 1, 1}},
    {"length", {Function::kLength, 1, 1}},
    {"octet_length", {Function::kOctetLength, 1, 1}},
    {"replace", {Function::kReplace, 3, 3}},
    {"strpos", {Function::kPosition, 2, 2}},
    {"instr", {Function::kPosition, 2, 2}},
    {"position", {Function::kPosition, 2, 2}},
    {"starts_with", {Function::kStartsWith, 2, 2}},
    {"ends_with", {Function::kEndsWith, 2, 2}},
    {"contains", {Function::kContains, 2, 2}},
    {"lpad", {Function::kLeftPad, 2, 3}},
    {"rpad", {Function::kRightPad, 2, 3}},
    {"reverse", {Function::kReverse, 1, 1}},
    {"repeat", {Function::kRepeat, 2, 2}},
    {"left", {Function::kLeft, 2, 2}},
    {"right", {Function::kRight, 2, 2}},
    {"split_part", {Function::kSplitPart, 3, 3}},
    {"date_part", {Function::kDatePart, 2, 2}},
    {"datepart", {Function::kDatePart, 2, 2}},
    {"extract", {Function::kDatePart, 2, 2}},
    {"date_trunc", {Function::kDateTrunc, 2, 2}},
    {"datetrunc", {Function::kDateTrunc, 2, 2}},
    {"make_date", {Function::kMakeDate, 3, 3}},
});

struct AggregateRow {
  std::string_view name;
  Aggregate aggregate;
};

constexpr auto kAggregates = std::to_array<AggregateRow>({
    {"count", Aggregate::kCount},
    {"sum", Aggregate::kSum},
    {"min", Aggregate::kMin},
    {"max", Aggregate::kMax},
    {"avg", Aggregate::kAvg},
    {"mean", Aggregate::kAvg},
    {"stddev", Aggregate::kStddevSample},
    {"stddev_samp", Aggregate::kStddevSample},
    {"std_dev", Aggregate::kStddevSample},
    {"stddev_pop", Aggregate::kStddevPopulation},
    {"var", Aggregate::kVarianceSample},
    {"var_samp", Aggregate::kVarianceSample},
    {"variance", Aggregate::kVarianceSample},
    {"var_sample", Aggregate::kVarianceSample},
    {"var_pop", Aggregate::kVariancePopulation},
    {"var_population", Aggregate::kVariancePopulation},
    {"bool_and", Aggregate::kBoolAnd},
    {"every", Aggregate::kBoolAnd},
    {"bool_or", Aggregate::kBoolOr},
    {"any_value", Aggregate::kAnyValue},
    {"first_value", Aggregate::kAnyValue},
});

struct WindowRow {
  std::string_view name;
  WindowFunction function;
};

constexpr auto kWindows = std::to_array<WindowRow>({
    {"row_number", WindowFunction::kRowNumber},
    {"rank", WindowFunction::kRank},
    {"dense_rank", WindowFunction::kDenseRank},
    {"percent_rank", WindowFunction::kPercentRank},
    {"cume_dist", WindowFunction::kCumeDist},
    {"ntile", WindowFunction::kNtile},
    {"lag", WindowFunction::kLag},
    {"lead", WindowFunction::kLead},
    {"first_value", WindowFunction::kFirstValue},
    {"last_value", WindowFunction::kLastValue},
    {"nth_value", WindowFunction::kNthValue},
});

}  // namespace

std::string PlainFunctionName(std::string_view name) {
  std::string plain(name.substr(0, name.find(':')));
  std::transform(plain.begin(), plain.end(), plain.begin(), [](unsigned char c) { return std::tolower(c); });
  return plain;
}

std::optional<ScalarFunction> FindScalarFunction(std::string_view name) {
  for (const ScalarRow& row : kScalars) {
    if (row.name == name) return row.function;
  }
  return std::nullopt;
}

std::optional<Aggregate> FindAggregate(std::string_view name) {
  for (const AggregateRow& row : kAggregates) {
    if (row.name == name) return row.aggregate;
  }
  return std::nullopt;
}

std::optional<WindowFunction> FindWindowFunction(std::string_view name) {
  for (const WindowRow& row : kWindows) {
    if (row.name == name) return row.function;
  }
  return std::nullopt;
}

const char* AggregateName(Aggregate aggregate) {
  if (aggregate == Aggregate::kGrouping) return "grouping";
  if (aggregate == Aggregate::kAnyValue) return "any_value";
  for (const AggregateRow& row : kAggregates) {
    if (row.aggregate == aggregate) return row.name.data();
  }
  __builtin_unreachable();
}

const char* WindowFunctionName(WindowFunction function) {
  for (const WindowRow& row : kWindows) {
    if (row.function == function) return row.name.data();
  }
  __builtin_unreachable();
}

}  // namespace neap::engine
