// substrait_functions.cc: calls of scalar, aggregate and window functions, and sort keys.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "engine/core/error.h"
#include "engine/expression/evaluator.h"
#include "engine/plan/substrait_scope.h"

namespace neap::engine {
namespace {

using Message = substrait::Expression;

const Type kBoolean{TypeId::kBool};

// Options that the engine keeps without doing anything, and those that change what is computed.
void CheckOptions(const std::string& name, const google::protobuf::RepeatedPtrField<substrait::FunctionOption>& options,
                  Function* function, bool* nulls_left_out) {
  for (const substrait::FunctionOption& option : options) {
    auto prefers = [&](const char* value) {
      return option.preference_size() > 0 && PlainFunctionName(option.preference(0)) == value;
    };
    const std::string key = PlainFunctionName(option.name());
    if (key == "case_sensitivity" && prefers("case_insensitive")) {
      if (*function != Function::kLike) RefusePlan(fmt::format("{} without regard to case", name));
      *function = Function::kILike;
    } else if (key == "null_handling" && prefers("ignore_nulls") && *function == Function::kConcat) {
      *nulls_left_out = true;
    } else if (key == "overflow" && option.preference_size() > 0 &&
               std::none_of(option.preference().begin(), option.preference().end(),
                            [](const std::string& value) { return PlainFunctionName(value) == "error"; })) {
      RefusePlan(fmt::format("{} with overflow {}: it ends with an error where a number overflows", name,
                             option.preference(0)));
    }
  }
}

bool IsPredicate(Function function) {
  return (function >= Function::kEqual && function <= Function::kIsNan) ||
         (function >= Function::kLike && function <= Function::kRegexpLike) ||
         (function >= Function::kStartsWith && function <= Function::kContains);
}

// What DataFusion gives, which writes types for scalar functions alone.
Type AggregateType(Aggregate function, const std::vector<Expression>& args) {
  const Type arg = args.empty() ? Type{} : args[0].type;
  const bool decimal = arg.id == TypeId::kDecimal;
  switch (function) {
    case Aggregate::kCount:
    case Aggregate::kGrouping:
      return {TypeId::kInt64};
    case Aggregate::kSum:
      if (decimal) return Type::Decimal(std::min(arg.precision + 10, kMaxPrecision), arg.scale);
      if (arg.id == TypeId::kInterval) return arg;
      return {arg.is_integer() ? TypeId::kInt64 : TypeId::kDouble};
    case Aggregate::kAvg:
      if (decimal) {
        return Type::Decimal(std::min(arg.precision + 4, kMaxPrecision), std::min(arg.scale + 4, kMaxPrecision));
      }
      return {TypeId::kDouble};
    case Aggregate::kMin:
    case Aggregate::kMax:
    case Aggregate::kAnyValue:
      return arg;
    case Aggregate::kBoolAnd:
    case Aggregate::kBoolOr:
      return kBoolean;
    case Aggregate::kStddevSample:
    case Aggregate::kStddevPopulation:
    case Aggregate::kVarianceSample:
    case Aggregate::kVariancePopulation:
      return {TypeId::kDouble};
  }
  __builtin_unreachable();
}

Type WindowType(const WindowCall& call) {
  switch (call.function) {
    case WindowFunction::kRowNumber:
    case WindowFunction::kRank:
    case WindowFunction::kDenseRank:
    case WindowFunction::kNtile:
      return {TypeId::kInt64};
    case WindowFunction::kPercentRank:
    case WindowFunction::kCumeDist:
      return {TypeId::kDouble};
    case WindowFunction::kAggregate:
      return AggregateType(call.aggregate, call.args);
    default:
      if (call.args.empty()) RefusePlan(fmt::format("{}() without an argument", WindowFunctionName(call.function)));
      return call.args[0].type;
  }
}

}  // namespace

Expression SubstraitReader::ReadCall(const Message::ScalarFunction& call, Scope& scope) {
  const std::string& name = FunctionNameOf(call.function_reference());
  std::vector<Expression> args = ReadArguments(call.arguments(), call.args(), scope);

  if (name == "between" && args.size() == 3) {
    Expression above = Expression::Call(Function::kGreaterEqual, kBoolean, {args[0], args[1]});
    Expression below = Expression::Call(Function::kLessEqual, kBoolean, {args[0], args[2]});
    return Expression::Call(Function::kAnd, kBoolean, {std::move(above), std::move(below)});
  }
  if (name == "regex_not_match" && args.size() == 2) {
    return Expression::Call(Function::kNot, kBoolean,
                            {Expression::Call(Function::kRegexpLike, kBoolean, std::move(args))});
  }
  const std::optional<ScalarFunction> found = FindScalarFunction(name);
  if (!found) RefusePlan(fmt::format("the function {}", name));
  const auto count = static_cast<int>(args.size());
  if (count < found->min_args || count > found->max_args)
    RefusePlan(fmt::format("the function {} with {} arguments", name, count));
  Type type = kBoolean;
  if (call.has_output_type()) {
    type = ReadType(call.output_type()).type;
  } else if (found->function == Function::kNegate) {
    type = args[0].type;
  } else if (!IsPredicate(found->function)) {
    throw Error(ErrorKind::kPlan,
                fmt::format("the plan does not say the type of {}(...): Substrait asks for it", name));
  }

  Function function = found->function;
  // DataFusion's concat leaves out NULLs; its || is str_concat.
  bool nulls_left_out = datafusion_ && name == "concat";
  CheckOptions(name, call.options(), &function, &nulls_left_out);
  if (nulls_left_out) {
    for (Expression& arg : args) {
      if (MayBeNull(arg)) {
        const Type text = arg.type;
        arg = Expression::Call(Function::kCoalesce, text,
                               {std::move(arg), Expression::Constant({false, std::string()}, text)});
      }
    }
  }
  // LIKE without ESCAPE comes with a NULL for it.
  const bool like = function >= Function::kLike && function <= Function::kNotILike;
  if (like && args.size() == 3 && IsNullLiteral(args[2])) args.pop_back();
  if ((function == Function::kAnd || function == Function::kOr) && args.size() == 1) return std::move(args[0]);
  if (function == Function::kNot && args[0].kind == Expression::Kind::kCall) {
    if (args[0].function == Function::kLike)
      args[0].function = Function::kNotLike;
    else if (args[0].function == Function::kILike)
      args[0].function = Function::kNotILike;
    else
      return Expression::Call(function, type, std::move(args));
    return std::move(args[0]);
  }
  return Expression::Call(function, type, std::move(args));
}

AggregateCall SubstraitReader::ReadMeasure(const substrait::AggregateFunction& call, Scope& scope) {
  const std::string& name = FunctionNameOf(call.function_reference());
  if (call.phase() != substrait::AGGREGATION_PHASE_UNSPECIFIED &&
      call.phase() != substrait::AGGREGATION_PHASE_INITIAL_TO_RESULT) {
    RefusePlan(fmt::format("a partial aggregate ({})", name));
  }
  AggregateCall result;
  result.args = ReadArguments(call.arguments(), call.args(), scope);
  result.distinct = call.invocation() == substrait::AggregateFunction::AGGREGATION_INVOCATION_DISTINCT;
  const bool counts_distinct = name == "approx_distinct" || name == "approx_count_distinct";
  if (counts_distinct) result.distinct = true;  // exactly
  const std::optional<Aggregate> found =
      counts_distinct ? Aggregate::kCount : FindAggregate(name == "sum0" ? "sum" : name);
  if (!found) RefusePlan(fmt::format("the aggregate {}", name));
  result.function = *found;
  if (call.sorts_size() > 0 && name != "any_value" && result.function == Aggregate::kAnyValue)
    RefusePlan(fmt::format("the aggregate {} with ORDER BY", name));

  if (result.function == Aggregate::kCount) {
    if (!result.distinct && result.args.size() == 1 && IsLiteral(result.args[0]) && !IsNullLiteral(result.args[0]))
      result.args.clear();
    if (result.args.size() > 1) {
      if (result.distinct) RefusePlan("count(DISTINCT a, b)");
      // Rows where none of them is NULL.
      std::vector<Expression> terms;
      for (Expression& arg : result.args)
        terms.push_back(Expression::Call(Function::kIsNotNull, kBoolean, {std::move(arg)}));
      Expression one = Expression::Constant({false, true}, kBoolean);
      result.args = {MakeCase({Conjunction(std::move(terms)), std::move(one), Expression::Constant({}, kBoolean)})};
    }
  } else if (result.args.size() != 1) {
    RefusePlan(fmt::format("the aggregate {} with {} arguments", name, result.args.size()));
  }
  const Type type =
      call.has_output_type() ? ReadType(call.output_type()).type : AggregateType(result.function, result.args);
  result.output = NewColumn(type, result.function != Aggregate::kCount);
  return result;
}

WindowCall SubstraitReader::ReadWindowCall(const std::string& name, std::vector<Expression> args, bool distinct,
                                           const substrait::Type* type) {
  WindowCall result;
  if (const auto window = FindWindowFunction(name)) {
    result.function = *window;
  } else if (const auto aggregate = FindAggregate(name)) {
    result.function = WindowFunction::kAggregate;
    result.aggregate = *aggregate;
    if (*aggregate == Aggregate::kCount && args.size() == 1 && IsLiteral(args[0]) && !IsNullLiteral(args[0]))
      args.clear();
  } else {
    RefusePlan(fmt::format("the window function {}", name));
  }
  if (distinct) RefusePlan(fmt::format("the window function {}(DISTINCT ...)", name));
  result.args = std::move(args);
  result.output = NewColumn(type != nullptr ? ReadType(*type).type : WindowType(result));
  return result;
}

std::vector<SortKey> SubstraitReader::ReadSortFields(
    const google::protobuf::RepeatedPtrField<substrait::SortField>& fields, Scope& scope) {
  std::vector<SortKey> keys;
  for (const substrait::SortField& field : fields) {
    SortKey key;
    key.expression = Read(field.expr(), scope);
    switch (field.direction()) {
      case substrait::SortField::SORT_DIRECTION_ASC_NULLS_FIRST:
        key.nulls_first = true;
        break;
      case substrait::SortField::SORT_DIRECTION_ASC_NULLS_LAST:
        break;
      case substrait::SortField::SORT_DIRECTION_DESC_NULLS_FIRST:
        key.descending = key.nulls_first = true;
        break;
      case substrait::SortField::SORT_DIRECTION_DESC_NULLS_LAST:
        key.descending = true;
        break;
      default:
        RefusePlan("a sort order other than ascending or descending");
    }
    // A constant orders nothing.
    if (!IsLiteral(key.expression)) keys.push_back(std::move(key));
  }
  return keys;
}

int64_t SubstraitReader::ReadCount(const Message& expression, int64_t if_null) {
  Scope nothing;
  const Expression value = Read(expression, nothing);
  const Literal literal = IsLiteral(value) ? value.literal : EvaluateConstant(value);
  if (literal.null) return if_null;
  const auto* number = std::get_if<int64_t>(&literal.value);
  if (number == nullptr || *number < 0)
    throw Error(ErrorKind::kPlan, "LIMIT and OFFSET take whole numbers that are not negative");
  return *number;
}

Expression SubstraitReader::ReadWindowFunction(const Message::WindowFunction& function, Scope& scope) {
  if (scope.windows == nullptr) RefusePlan("a window function outside the list of a SELECT");
  std::vector<WindowGroup>& windows = *scope.windows;
  WindowGroup group;
  for (const Message& partition : function.partitions()) {
    Expression key = Read(partition, scope);
    if (!IsLiteral(key)) group.partition.push_back(std::move(key));
  }
  group.order = ReadSortFields(function.sorts(), scope);
  WindowCall call = ReadWindowCall(
      FunctionNameOf(function.function_reference()), ReadArguments(function.arguments(), function.args(), scope),
      function.invocation() == substrait::AggregateFunction::AGGREGATION_INVOCATION_DISTINCT,
      function.has_output_type() ? &function.output_type() : nullptr);
  const PlanNotes::Frame* note = notes_.frames.empty() ? nullptr : &notes_.frames[windows_.at(&function)];
  ReadFrame(function.bounds_type(), function.lower_bound(), function.upper_bound(), group.order, note, &call);
  Expression result = ColumnOf(call.output);
  auto same = std::find_if(windows.begin(), windows.end(), [&](const WindowGroup& other) {
    return other.partition == group.partition && other.order == group.order;
  });
  if (same == windows.end()) same = windows.insert(same, std::move(group));
  same->calls.push_back(std::move(call));
  return result;
}

}  // namespace neap::engine
