// substrait_expression.cc: Substrait's expressions as the engine's.
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

Expression Text(std::string text) { return Expression::Constant({false, std::move(text)}, {TypeId::kString}); }

// The finest unit that a timestamp of this precision has, for date_trunc; null where the engine has none finer.
const char* UnitOfPrecision(int precision) {
  if (precision >= 6) return nullptr;
  if (precision == 3) return "millisecond";
  if (precision == 0) return "second";
  RefusePlan(fmt::format("a cast to a timestamp of precision {}", precision));
}

const char* TimestampUnit(const substrait::Type& type) {
  if (type.has_precision_timestamp()) return UnitOfPrecision(type.precision_timestamp().precision());
  if (type.has_precision_timestamp_tz()) return UnitOfPrecision(type.precision_timestamp_tz().precision());
  return nullptr;
}

int64_t TextLimit(const substrait::Type& type) {
  if (type.has_varchar()) return type.varchar().length();
  if (type.has_fixed_char()) return type.fixed_char().length();
  return 0;
}

// A type that holds the values of both, or kNull.
Type CommonType(Type a, Type b) {
  if (a == b || b.id == TypeId::kNull) return a;
  if (a.id == TypeId::kNull) return b;
  if (a.is_integer() && b.is_integer()) return a.id > b.id ? a : b;
  if (a.id == TypeId::kDecimal && b.id == TypeId::kDecimal) {
    const int scale = std::max(a.scale, b.scale);
    const int whole = std::max(a.precision - a.scale, b.precision - b.scale);
    return Type::Decimal(std::min(whole + scale, kMaxPrecision), scale);
  }
  if (a.id == TypeId::kFloat && b.id == TypeId::kDouble) return b;
  if (a.id == TypeId::kDouble && b.id == TypeId::kFloat) return a;
  return {};
}

Expression MakeEqual(Expression left, Expression right) {
  if (!Unify(&left, &right)) RefusePlan(fmt::format("a CASE of {} WHEN {}", left.type.Name(), right.type.Name()));
  return Expression::Call(Function::kEqual, kBoolean, {std::move(left), std::move(right)});
}

}  // namespace

void SplitConjunction(Expression condition, std::vector<Expression>* terms) {
  if (condition.kind != Expression::Kind::kCall || condition.function != Function::kAnd) {
    terms->push_back(std::move(condition));
    return;
  }
  for (Expression& arg : condition.args) SplitConjunction(std::move(arg), terms);
}

Expression Conjunction(std::vector<Expression> terms) {
  if (terms.size() == 1) return std::move(terms[0]);
  return Expression::Call(Function::kAnd, kBoolean, std::move(terms));
}

bool Unify(Expression* left, Expression* right) {
  const Type common = CommonType(left->type, right->type);
  if (common.id == TypeId::kNull) return left->type == right->type;
  *left = CastTo(std::move(*left), common);
  *right = CastTo(std::move(*right), common);
  return true;
}

Expression SubstraitReader::Read(const Message& expression, Scope& scope) {
  switch (expression.rex_type_case()) {
    case Message::kLiteral:
      return ReadLiteral(expression.literal());
    case Message::kSelection:
      return ReadReference(expression.selection(), scope);
    case Message::kScalarFunction:
      return ReadCall(expression.scalar_function(), scope);
    case Message::kWindowFunction:
      return ReadWindowFunction(expression.window_function(), scope);
    case Message::kIfThen:
      return ReadIfThen(expression.if_then(), scope);
    case Message::kSwitchExpression:
      return ReadSwitch(expression.switch_expression(), scope);
    case Message::kSingularOrList:
      return ReadOrList(expression.singular_or_list(), scope);
    case Message::kCast:
      return ReadCast(expression.cast(), scope);
    case Message::kSubquery:
      return ReadSubquery(expression.subquery(), scope);
    default:
      RefusePlan(fmt::format("an expression of the kind {}", OneofName(expression, "rex_type")));
  }
}

Expression SubstraitReader::ReadReference(const Message::FieldReference& reference, const Scope& scope) {
  if (reference.has_outer_reference()) {
    throw Error(ErrorKind::kPlan,
                "the plan holds a subquery that refers to the query around it: have the producer decorrelate it, as "
                "DataFusion's optimized plans are, or write it as a join");
  }
  if (reference.root_type_case() != Message::FieldReference::kRootReference &&
      reference.root_type_case() != Message::FieldReference::ROOT_TYPE_NOT_SET) {
    RefusePlan(fmt::format("a reference of the kind {}", OneofName(reference, "root_type")));
  }
  const auto& segment = reference.direct_reference();
  if (!reference.has_direct_reference() || !segment.has_struct_field() || segment.struct_field().has_child())
    RefusePlan("a reference into a nested value");
  const int field = segment.struct_field().field();
  if (field < 0 || static_cast<size_t>(field) >= scope.columns.size()) {
    throw Error(ErrorKind::kPlan, fmt::format("the plan refers to field {} of {}: it is broken or of another dialect",
                                              field, scope.columns.size()));
  }
  return ColumnOf(scope.columns[static_cast<size_t>(field)]);
}

std::vector<Expression> SubstraitReader::ReadArguments(
    const google::protobuf::RepeatedPtrField<substrait::FunctionArgument>& arguments,
    const google::protobuf::RepeatedPtrField<Message>& old, Scope& scope) {
  std::vector<Expression> result;
  for (const substrait::FunctionArgument& argument : arguments) {
    if (argument.has_value()) {
      result.push_back(Read(argument.value(), scope));
    } else if (argument.arg_type_case() == substrait::FunctionArgument::kEnum) {
      result.push_back(Text(PlainFunctionName(argument.enum_())));
    } else {
      RefusePlan("a function argument that is a type");
    }
  }
  for (const Message& argument : old) {
    if (argument.has_enum_()) {
      result.push_back(Text(PlainFunctionName(argument.enum_().specified())));
    } else {
      result.push_back(Read(argument, scope));
    }
  }
  return result;
}

Expression SubstraitReader::ReadCast(const Message::Cast& cast, Scope& scope) {
  const Type type = ReadType(cast.type()).type;
  const bool try_cast = cast.failure_behavior() == Message::Cast::FAILURE_BEHAVIOR_RETURN_NULL;
  Expression value = Read(cast.input(), scope);
  if (IsNullLiteral(value)) return Expression::Constant({}, type);
  if (value.type != type) value = Expression::Cast(std::move(value), type, try_cast);
  if (const char* unit = TimestampUnit(cast.type()); unit != nullptr) {
    value = Expression::Call(Function::kDateTrunc, type, {Text(unit), std::move(value)});
  }
  if (const int64_t limit = TextLimit(cast.type()); limit > 0) {
    Expression length = Expression::Constant({false, limit}, {TypeId::kInt64});
    value = Expression::Call(Function::kLeft, type, {std::move(value), std::move(length)});
  }
  return value;
}

// args: condition, value, condition, value, ..., else. The values get one type.
Expression SubstraitReader::MakeCase(std::vector<Expression> args) {
  Type type;
  auto for_values = [&](auto&& f) {
    for (size_t i = 1; i < args.size(); i += 2) f(args[i]);
    f(args.back());
  };
  for_values([&](const Expression& value) {
    const Type common = CommonType(type, value.type);
    if (common.id == TypeId::kNull && type != value.type)
      RefusePlan(fmt::format("a CASE of {} and {}", type.Name(), value.type.Name()));
    type = common;
  });
  for_values([&](Expression& value) { value = CastTo(std::move(value), type); });
  Expression result;
  result.kind = Expression::Kind::kCase;
  result.type = type;
  result.args = std::move(args);
  return result;
}

// DataFusion writes CASE x WHEN ... with x as a first condition that has no value.
Expression SubstraitReader::ReadIfThen(const Message::IfThen& rel, Scope& scope) {
  std::optional<Expression> match;
  std::vector<Expression> args;
  for (const auto& clause : rel.ifs()) {
    Expression condition = Read(clause.if_(), scope);
    if (!clause.has_then() && &clause == &rel.ifs(0)) {
      match = std::move(condition);
      continue;
    }
    args.push_back(match ? MakeEqual(*match, std::move(condition)) : std::move(condition));
    args.push_back(Read(clause.then(), scope));
  }
  args.push_back(rel.has_else_() ? Read(rel.else_(), scope) : Expression::Constant({}, {}));
  return MakeCase(std::move(args));
}

Expression SubstraitReader::ReadSwitch(const Message::SwitchExpression& rel, Scope& scope) {
  const Expression match = Read(rel.match(), scope);
  std::vector<Expression> args;
  for (const auto& clause : rel.ifs()) {
    args.push_back(MakeEqual(match, ReadLiteral(clause.if_())));
    args.push_back(Read(clause.then(), scope));
  }
  args.push_back(rel.has_else_() ? Read(rel.else_(), scope) : Expression::Constant({}, {}));
  return MakeCase(std::move(args));
}

Expression SubstraitReader::ReadOrList(const Message::SingularOrList& list, Scope& scope) {
  Expression result;
  result.kind = Expression::Kind::kIn;
  result.type = kBoolean;
  result.args.push_back(Read(list.value(), scope));
  for (const Message& option : list.options()) result.args.push_back(Read(option, scope));
  Type common;
  for (const Expression& arg : result.args) common = CommonType(common, arg.type);
  if (common.id == TypeId::kNull) RefusePlan("an IN list of different types");
  for (Expression& arg : result.args) arg = CastTo(std::move(arg), common);
  return result;
}

// ---- Subqueries.

Expression SubstraitReader::ReadSubquery(const Message::Subquery& subquery, Scope& scope) {
  switch (subquery.subquery_type_case()) {
    case Message::Subquery::kScalar: {
      RelPtr input = ReadRelation(subquery.scalar().input());
      if (input->output.size() != 1) RefusePlan(fmt::format("a scalar subquery of {} columns", input->output.size()));
      Expression result;
      result.kind = Expression::Kind::kScalarSubquery;
      result.type = plan_.columns[input->output[0]].type;
      result.subquery = std::move(input);
      return result;
    }
    case Message::Subquery::kInPredicate:
      return ReadIn(subquery.in_predicate(), scope);
    case Message::Subquery::kSetPredicate:
      return ReadExists(subquery.set_predicate(), scope);
    default:
      RefusePlan("a subquery with ANY or ALL");
  }
}

// x IN (SELECT ...): a mark join of the relation that the expression stands in.
Expression SubstraitReader::ReadIn(const Message::Subquery::InPredicate& in, Scope& scope) {
  if (scope.input == nullptr) RefusePlan("IN (SELECT ...) in the condition of a join");
  if (in.needles_size() != 1) RefusePlan("(a, b) IN (SELECT ...)");
  auto join = std::make_shared<Rel>(Rel::Kind::kJoin);
  Expression left = Read(in.needles(0), scope);
  RelPtr right = ReadRelation(in.haystack());
  if (right->output.size() != 1) RefusePlan(fmt::format("IN (SELECT ...) of {} columns", right->output.size()));
  Expression key = ColumnOf(right->output[0]);
  if (!Unify(&left, &key)) RefusePlan(fmt::format("{} IN (SELECT {} ...)", left.type.Name(), key.type.Name()));
  join->join = JoinKind::kLeftMark;
  join->null_aware = MayBeNull(left) || MayBeNull(key);
  join->mark = NewColumn(kBoolean, join->null_aware);
  join->left_keys.push_back(std::move(left));
  join->right_keys.push_back(std::move(key));
  join->null_equals.push_back(0);
  join->output = (*scope.input)->output;
  join->output.push_back(join->mark);
  join->inputs = {std::move(*scope.input), std::move(right)};
  *scope.input = join;
  return Expression::Column(join->mark, kBoolean);
}

// EXISTS (SELECT ...): whether the first row alone, counted, is 1.
Expression SubstraitReader::ReadExists(const Message::Subquery::SetPredicate& exists, Scope& /*scope*/) {
  using Predicate = Message::Subquery::SetPredicate;
  if (exists.predicate_op() != Predicate::PREDICATE_OP_EXISTS) RefusePlan("UNIQUE (SELECT ...)");
  RelPtr limit = Unary(Rel::Kind::kLimit, ReadRelation(exists.tuples()));
  limit->limit = 1;
  auto count = std::make_shared<Rel>(Rel::Kind::kAggregate);
  AggregateCall call;
  call.function = Aggregate::kCount;
  call.output = NewColumn({TypeId::kInt64}, false);
  count->output = {call.output};
  count->aggregates.push_back(std::move(call));
  count->inputs.push_back(std::move(limit));
  Expression rows;
  rows.kind = Expression::Kind::kScalarSubquery;
  rows.type = {TypeId::kInt64};
  rows.subquery = std::move(count);
  return Expression::Call(Function::kEqual, kBoolean,
                          {std::move(rows), Expression::Constant({false, int64_t{1}}, {TypeId::kInt64})});
}

// Whether the value can be NULL, as far as one can tell.
bool SubstraitReader::MayBeNull(const Expression& expression) const {
  using Kind = Expression::Kind;
  auto any = [&](size_t from, size_t step) {
    for (size_t i = from; i < expression.args.size(); i += step) {
      if (MayBeNull(expression.args[i])) return true;
    }
    return false;
  };
  switch (expression.kind) {
    case Kind::kColumn:
      return plan_.columns[expression.column].nullable;
    case Kind::kLiteral:
      return expression.literal.null;
    case Kind::kCast:
      return expression.try_cast || any(0, 1);
    case Kind::kCase:
      return any(1, 2) || MayBeNull(expression.args.back());
    case Kind::kIn:
      return any(0, 1);
    case Kind::kScalarSubquery:
      return true;
    case Kind::kCall:
      switch (expression.function) {
        case Function::kNullIf:
          return true;
        case Function::kIsNull:
        case Function::kIsNotNull:
        case Function::kIsTrue:
        case Function::kIsFalse:
        case Function::kIsNotTrue:
        case Function::kIsNotFalse:
        case Function::kIsDistinctFrom:
        case Function::kIsNotDistinctFrom:
          return false;
        case Function::kCoalesce:
          return std::all_of(expression.args.begin(), expression.args.end(),
                             [&](const Expression& arg) { return MayBeNull(arg); });
        default:
          return any(0, 1);
      }
  }
  return true;
}

}  // namespace neap::engine
