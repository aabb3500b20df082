// rewrite_aggregates.cc: grouping sets and DISTINCT, by replicating rows and by aggregating twice.
#include <algorithm>
#include <functional>
#include <utility>

#include "engine/core/error.h"
#include "engine/plan/rewrite.h"

namespace neap::engine {
namespace {

const Type kBigint{TypeId::kInt64};
const Type kBool{TypeId::kBool};

Expression Integer(int64_t value) { return Expression::Constant({false, value}, kBigint); }
Expression Null(Type type) { return Expression::Constant({}, type); }

RelPtr MakeRel(Rel::Kind kind, RelPtr input) {
  auto rel = std::make_shared<Rel>(kind);
  rel->inputs.push_back(std::move(input));
  return rel;
}

Expression ColumnOf(const Plan& plan, ColumnId id) { return Expression::Column(id, plan.columns[id].type); }

bool IsDistinct(const AggregateCall& call) {
  return call.distinct && call.function != Aggregate::kMin && call.function != Aggregate::kMax &&
         call.function != Aggregate::kBoolAnd && call.function != Aggregate::kBoolOr &&
         call.function != Aggregate::kAnyValue;
}

// Puts a projection below `rel` that computes every argument and filter of its aggregates; each becomes a column.
void ArgumentsToColumns(Plan& plan, Rel& rel) {
  RelPtr project = MakeRel(Rel::Kind::kProject, rel.inputs[0]);
  project->output = rel.inputs[0]->output;
  const auto to_column = [&](Expression& expression) {
    if (expression.is_column()) return;
    const ColumnId id = plan.NewColumn("argument", expression.type);
    project->expressions.push_back(std::exchange(expression, Expression::Column(id, expression.type)));
    project->defines.push_back(id);
    project->output.push_back(id);
  };
  for (AggregateCall& call : rel.aggregates) {
    for (Expression& arg : call.args) to_column(arg);
    if (call.filter) to_column(*call.filter);
  }
  for (Expression& group : rel.expressions) to_column(group);
  if (!project->defines.empty()) rel.inputs[0] = project;
}

// ---- Grouping sets. Every row goes in once for each set, with NULL for the columns that the set leaves out, and the
// number of the set as one more group, so that equal sets and NULLs of the data stay apart.

// An empty set has a row of its own also where there is no input: a row that no aggregate counts. `expand` gives its
// columns under new numbers to a union with those rows, which gives them under theirs, and the column that tells.
RelPtr WithRowsOfNothing(Plan& plan, RelPtr expand, ColumnId set_number, const std::vector<size_t>& empty_sets,
                         ColumnId counts) {
  for (auto& projection : expand->projections) projection.push_back(Expression::Constant({false, true}, kBool));
  RelPtr nothing = std::make_shared<Rel>(Rel::Kind::kValues);
  RelPtr both = std::make_shared<Rel>(Rel::Kind::kSet);
  both->output = std::exchange(expand->defines, {});
  both->output.push_back(counts);
  for (const size_t set : empty_sets) {
    auto& row = nothing->rows.emplace_back();
    for (ColumnId id : both->output) {
      row.push_back(id == set_number ? Integer(static_cast<int64_t>(set))
                    : id == counts   ? Expression::Constant({false, false}, kBool)
                                     : Null(plan.columns[id].type));
    }
  }
  for (ColumnId id : both->output) {
    const ColumnInfo column = plan.columns[id];
    for (const RelPtr& input : {expand, nothing}) input->defines.push_back(plan.NewColumn(column.name, column.type));
  }
  expand->output = expand->defines;
  nothing->output = nothing->defines;
  both->set = Rel::Set::kUnionAll;
  both->set_inputs = {expand->output, nothing->output};
  both->inputs = {std::move(expand), std::move(nothing)};
  return both;
}

void RewriteGroupingSets(Plan& plan, RelPtr& rel) {
  const bool grouping = std::any_of(rel->aggregates.begin(), rel->aggregates.end(),
                                    [](const AggregateCall& call) { return call.function == Aggregate::kGrouping; });
  if (rel->grouping_sets.empty() && grouping) {
    rel->grouping_sets.emplace_back();
    for (uint32_t i = 0; i < rel->expressions.size(); ++i) rel->grouping_sets[0].push_back(i);
  }
  if (rel->grouping_sets.size() == 1 && !grouping && rel->grouping_sets[0].size() == rel->expressions.size()) {
    rel->grouping_sets.clear();
  }
  if (rel->grouping_sets.empty()) return;

  ArgumentsToColumns(plan, *rel);
  RelPtr expand = MakeRel(Rel::Kind::kExpand, rel->inputs[0]);
  std::vector<ColumnId> arguments;
  for (const AggregateCall& call : rel->aggregates) {
    if (call.function == Aggregate::kGrouping) continue;
    const auto need = [&](ColumnId id) {
      if (std::find(arguments.begin(), arguments.end(), id) == arguments.end()) arguments.push_back(id);
    };
    for (const Expression& arg : call.args) arg.ForEachColumn(need);
    if (call.filter) call.filter->ForEachColumn(need);
  }
  const ColumnId set_number = plan.NewColumn("grouping set", kBigint, false);
  std::vector<ColumnId> groups;
  for (const Expression& group : rel->expressions) {
    groups.push_back(plan.NewColumn(plan.columns[group.column].name, group.type));
  }
  expand->defines = groups;
  expand->defines.push_back(set_number);
  // The arguments keep their values in all sets, also where they are grouping columns: so they get names of their own.
  std::vector<ColumnId> copies;
  for (ColumnId id : arguments) copies.push_back(plan.NewColumn(plan.columns[id].name, plan.columns[id].type));
  expand->defines.insert(expand->defines.end(), copies.begin(), copies.end());
  expand->output = expand->defines;
  for (size_t s = 0; s < rel->grouping_sets.size(); ++s) {
    const auto& set = rel->grouping_sets[s];
    auto& projection = expand->projections.emplace_back();
    for (uint32_t i = 0; i < rel->expressions.size(); ++i) {
      const bool in = std::find(set.begin(), set.end(), i) != set.end();
      projection.push_back(in ? rel->expressions[i] : Null(rel->expressions[i].type));
    }
    projection.push_back(Integer(static_cast<int64_t>(s)));
    for (ColumnId id : arguments) projection.push_back(ColumnOf(plan, id));
  }

  // Aggregates leave NULLs out, so that the rows of nothing matter to those alone that see rows.
  std::vector<size_t> empty_sets;
  for (size_t s = 0; s < rel->grouping_sets.size(); ++s) {
    if (rel->grouping_sets[s].empty()) empty_sets.push_back(s);
  }
  std::optional<Expression> counts;
  if (!empty_sets.empty()) {
    counts = Expression::Column(plan.NewColumn("counts", kBool, false), kBool);
    expand = WithRowsOfNothing(plan, std::move(expand), set_number, empty_sets, counts->column);
  }

  // GROUPING(a, b): a bit a column, set where the set leaves it out. Known from the number of the set.
  std::vector<std::pair<ColumnId, Expression>> computed;
  std::vector<AggregateCall> calls;
  for (AggregateCall& call : rel->aggregates) {
    if (call.function != Aggregate::kGrouping) {
      const std::function<void(Expression&)> rename = [&](Expression& arg) {
        const auto at = std::find(arguments.begin(), arguments.end(), arg.column);
        arg.column = copies[static_cast<size_t>(at - arguments.begin())];
      };
      for (Expression& arg : call.args) rename(arg);
      if (call.filter) rename(*call.filter);
      if (!call.filter && (call.args.empty() || call.function == Aggregate::kAnyValue)) call.filter = counts;
      calls.push_back(std::move(call));
      continue;
    }
    const Type type = plan.columns[call.output].type;
    std::vector<Expression> cases;
    for (size_t s = 0; s < rel->grouping_sets.size(); ++s) {
      int64_t bits = 0;
      for (const Expression& arg : call.args) {
        const auto at = std::find_if(rel->expressions.begin(), rel->expressions.end(), [&](const Expression& group) {
          return arg.is_column() && group.column == arg.column;
        });
        if (at == rel->expressions.end()) throw Error(ErrorKind::kPlan, "GROUPING() takes columns of GROUP BY alone");
        const auto& set = rel->grouping_sets[s];
        const auto number = static_cast<uint32_t>(at - rel->expressions.begin());
        bits = bits * 2 + (std::find(set.begin(), set.end(), number) == set.end() ? 1 : 0);
      }
      cases.push_back(Expression::Call(Function::kEqual, {TypeId::kBool},
                                       {Expression::Column(set_number, kBigint), Integer(static_cast<int64_t>(s))}));
      cases.push_back(Expression::Constant({false, bits}, type));
    }
    cases.push_back(Null(type));
    Expression value;
    value.kind = Expression::Kind::kCase;
    value.type = type;
    value.args = std::move(cases);
    computed.emplace_back(call.output, std::move(value));
  }

  const std::vector<ColumnId> output = rel->output;
  rel->inputs[0] = expand;
  for (size_t i = 0; i < rel->expressions.size(); ++i) rel->expressions[i] = ColumnOf(plan, groups[i]);
  rel->expressions.push_back(Expression::Column(set_number, kBigint));
  const ColumnId set_output = plan.NewColumn("grouping set", kBigint, false);
  rel->defines.push_back(set_output);
  rel->aggregates = std::move(calls);
  rel->grouping_sets.clear();
  rel->output = rel->defines;
  for (const AggregateCall& call : rel->aggregates) rel->output.push_back(call.output);
  if (computed.empty()) return;
  RelPtr project = MakeRel(Rel::Kind::kProject, rel);
  for (auto& [id, value] : computed) {
    const std::function<void(Expression&)> rename = [&](Expression& expression) {
      if (expression.is_column() && expression.column == set_number) expression.column = set_output;
      for (Expression& arg : expression.args) rename(arg);
    };
    rename(value);
    project->defines.push_back(id);
    project->expressions.push_back(std::move(value));
  }
  project->output = output;
  rel = project;
}

// ---- DISTINCT. The first aggregate groups by the distinct argument too, so that each of its values is there once; the
// second counts or sums those, and merges what the first made of the other aggregates.

// The partial aggregate below, and the one above that merges it. avg is sum and count, divided at the end.
struct Merged {
  std::vector<AggregateCall> above;
  std::optional<Expression> finish;  // of the outputs of `above`
};

Merged Split(Plan& plan, const AggregateCall& call, std::vector<AggregateCall>& below) {
  const auto partial = [&](Aggregate function, Type type, Aggregate merge) {
    AggregateCall inner{
        .function = function, .args = call.args, .filter = call.filter, .output = plan.NewColumn("partial", type)};
    AggregateCall outer{
        .function = merge, .args = {Expression::Column(inner.output, type)}, .output = plan.NewColumn("merged", type)};
    below.push_back(std::move(inner));
    return outer;
  };
  const Type type = plan.columns[call.output].type;
  Merged merged;
  switch (call.function) {
    case Aggregate::kSum:
    case Aggregate::kMin:
    case Aggregate::kMax:
    case Aggregate::kBoolAnd:
    case Aggregate::kBoolOr:
    case Aggregate::kAnyValue:
      merged.above.push_back(partial(call.function, type, call.function));
      merged.above[0].output = call.output;
      return merged;
    case Aggregate::kCount: {
      merged.above.push_back(partial(Aggregate::kCount, kBigint, Aggregate::kSum));
      merged.finish = Expression::Call(Function::kCoalesce, kBigint,
                                       {Expression::Column(merged.above[0].output, kBigint), Integer(0)});
      return merged;
    }
    case Aggregate::kAvg: {
      const Type arg = call.args[0].type;
      const bool decimal = arg.id == TypeId::kDecimal;
      const Type sum_type = decimal ? Type::Decimal(kMaxPrecision, arg.scale) : Type{TypeId::kDouble};
      AggregateCall as_number = call;
      if (!decimal && arg.id != TypeId::kDouble) as_number.args[0] = Expression::Cast(as_number.args[0], sum_type);
      std::vector<AggregateCall> sums;
      {
        AggregateCall inner{.function = Aggregate::kSum,
                            .args = as_number.args,
                            .filter = call.filter,
                            .output = plan.NewColumn("partial", sum_type)};
        merged.above.push_back({.function = Aggregate::kSum,
                                .args = {Expression::Column(inner.output, sum_type)},
                                .output = plan.NewColumn("merged", sum_type)});
        below.push_back(std::move(inner));
      }
      merged.above.push_back(partial(Aggregate::kCount, kBigint, Aggregate::kSum));
      const Expression sum = Expression::Column(merged.above[0].output, sum_type);
      const Expression count = Expression::Column(merged.above[1].output, kBigint);
      const Type divisor = decimal ? Type::Decimal(19, 0) : Type{TypeId::kDouble};
      merged.finish = Expression::Call(
          Function::kDivide, type,
          {sum, Expression::Cast(Expression::Call(Function::kNullIf, kBigint, {count, Integer(0)}), divisor)});
      return merged;
    }
    default:
      // Of part 0, whose rows are all below one group; it is NULL in the others.
      merged.above.push_back(partial(call.function, type, Aggregate::kMax));
      merged.above[0].output = call.output;
      return merged;
  }
}

// Standard deviations and variances cannot be merged by sums alone.
bool IsMerged(const AggregateCall& call) {
  switch (call.function) {
    case Aggregate::kStddevSample:
    case Aggregate::kStddevPopulation:
    case Aggregate::kVarianceSample:
    case Aggregate::kVariancePopulation:
      return false;
    default:
      return true;
  }
}

void RewriteDistinct(Plan& plan, RelPtr& rel) {
  for (AggregateCall& call : rel->aggregates) call.distinct = IsDistinct(call);
  if (std::none_of(rel->aggregates.begin(), rel->aggregates.end(), [](const auto& call) { return call.distinct; }))
    return;
  const std::vector<ColumnId> output = rel->output;

  // DISTINCT with FILTER: an argument that is NULL where the filter is not TRUE.
  for (AggregateCall& call : rel->aggregates) {
    if (!call.distinct) continue;
    if (call.args.size() != 1) throw Error(ErrorKind::kPlan, "a DISTINCT aggregate takes one argument");
    if (!call.filter) continue;
    Expression value;
    value.kind = Expression::Kind::kCase;
    value.type = call.args[0].type;
    value.args = {*std::exchange(call.filter, std::nullopt), call.args[0], Null(value.type)};
    call.args[0] = std::move(value);
  }
  ArgumentsToColumns(plan, *rel);

  std::vector<ColumnId> distinct;  // arguments
  for (const AggregateCall& call : rel->aggregates) {
    if (call.distinct && std::find(distinct.begin(), distinct.end(), call.args[0].column) == distinct.end()) {
      distinct.push_back(call.args[0].column);
    }
  }

  // One argument: rows stay as they are. Several, or others that are not merged: every row goes in once for each of
  // them, the others NULL, and once, as part 0, for the aggregates that are not distinct; `part` tells which.
  RelPtr below = MakeRel(Rel::Kind::kAggregate, rel->inputs[0]);
  std::vector<Expression> groups = rel->expressions;
  std::vector<AggregateCall> plain;
  for (const AggregateCall& call : rel->aggregates) {
    if (!call.distinct) plain.push_back(call);
  }
  std::optional<ColumnId> part;
  if (distinct.size() > 1 || !std::all_of(plain.begin(), plain.end(), IsMerged)) {
    part = plan.NewColumn("part", kBigint, false);
    RelPtr expand = MakeRel(Rel::Kind::kExpand, rel->inputs[0]);
    std::vector<ColumnId> plain_columns;
    for (const AggregateCall& call : plain) {
      const auto need = [&](ColumnId id) {
        if (std::find(plain_columns.begin(), plain_columns.end(), id) == plain_columns.end())
          plain_columns.push_back(id);
      };
      for (const Expression& arg : call.args) need(arg.column);
      if (call.filter) need(call.filter->column);
    }
    const auto define = [&](ColumnId id) {
      const ColumnId copy = plan.NewColumn(plan.columns[id].name, plan.columns[id].type);
      expand->defines.push_back(copy);
      return copy;
    };
    std::vector<ColumnId> group_copies, distinct_copies, plain_copies;
    for (const Expression& group : groups) group_copies.push_back(define(group.column));
    for (ColumnId id : distinct) distinct_copies.push_back(define(id));
    for (ColumnId id : plain_columns) plain_copies.push_back(define(id));
    expand->defines.push_back(*part);
    expand->output = expand->defines;
    for (size_t p = plain.empty() ? 1 : 0; p <= distinct.size(); ++p) {
      auto& projection = expand->projections.emplace_back();
      for (const Expression& group : groups) projection.push_back(group);
      for (size_t d = 0; d < distinct.size(); ++d) {
        const Expression column = ColumnOf(plan, distinct[d]);
        projection.push_back(d + 1 == p ? column : Null(column.type));
      }
      for (ColumnId id : plain_columns) {
        const Expression column = ColumnOf(plan, id);
        projection.push_back(p == 0 ? column : Null(column.type));
      }
      projection.push_back(Integer(static_cast<int64_t>(p)));
    }
    below->inputs[0] = expand;
    for (size_t i = 0; i < groups.size(); ++i) groups[i] = ColumnOf(plan, group_copies[i]);
    for (AggregateCall& call : plain) {
      const auto rename = [&](Expression& arg) {
        const auto at = std::find(plain_columns.begin(), plain_columns.end(), arg.column) - plain_columns.begin();
        arg.column = plain_copies[static_cast<size_t>(at)];
      };
      for (Expression& arg : call.args) rename(arg);
      if (call.filter) rename(*call.filter);
      if (call.function == Aggregate::kCount && call.args.empty()) {
        // count(*) counts the rows of part 0 alone.
        Expression only_first;
        only_first.kind = Expression::Kind::kCase;
        only_first.type = kBigint;
        only_first.args = {Expression::Call(Function::kEqual, {TypeId::kBool}, {ColumnOf(plan, *part), Integer(0)}),
                           Integer(1), Null(kBigint)};
        call.args.push_back(std::move(only_first));
      }
    }
    distinct = distinct_copies;
  }

  const auto group_below = [&](const Expression& expression) {
    const ColumnId id = plan.NewColumn(plan.columns[expression.column].name, expression.type);
    below->expressions.push_back(expression);
    below->defines.push_back(id);
    return Expression::Column(id, expression.type);
  };
  std::vector<Expression> outer_groups;
  for (const Expression& group : groups) outer_groups.push_back(group_below(group));
  std::vector<Expression> outer_distinct;
  for (ColumnId id : distinct) outer_distinct.push_back(group_below(ColumnOf(plan, id)));
  if (part) group_below(ColumnOf(plan, *part));

  RelPtr above = MakeRel(Rel::Kind::kAggregate, below);
  above->expressions = outer_groups;
  above->defines = rel->defines;
  RelPtr project = MakeRel(Rel::Kind::kProject, above);
  size_t next_plain = 0;
  std::vector<ColumnId> seen;
  for (const AggregateCall& call : rel->aggregates) {
    if (call.distinct) {
      auto at = std::find(seen.begin(), seen.end(), call.args[0].column);
      if (at == seen.end()) {
        seen.push_back(call.args[0].column);
        at = seen.end() - 1;
      }
      AggregateCall outer{.function = call.function,
                          .args = {outer_distinct[static_cast<size_t>(at - seen.begin())]},
                          .output = call.output};
      above->aggregates.push_back(std::move(outer));
      continue;
    }
    Merged merged = Split(plan, plain[next_plain++], below->aggregates);
    for (AggregateCall& outer : merged.above) above->aggregates.push_back(std::move(outer));
    if (merged.finish) {
      project->defines.push_back(call.output);
      project->expressions.push_back(*std::move(merged.finish));
    }
  }
  const auto all_columns = [](Rel& of) {
    of.output = of.defines;
    for (const AggregateCall& call : of.aggregates) of.output.push_back(call.output);
  };
  all_columns(*below);
  all_columns(*above);
  project->output = output;
  rel = project->defines.empty() ? above : project;
  if (rel == above) above->output = output;
}

void Rewrite(Plan& plan, RelPtr& rel) {
  for (RelPtr& input : rel->inputs) Rewrite(plan, input);
  if (rel->kind != Rel::Kind::kAggregate) return;
  RewriteGroupingSets(plan, rel);
  // A projection may stand above it now.
  RelPtr& aggregate = rel->kind == Rel::Kind::kAggregate ? rel : rel->inputs[0];
  RewriteDistinct(plan, aggregate);
}

}  // namespace

void RewriteAggregates(Plan& plan) { Rewrite(plan, plan.root); }

}  // namespace neap::engine
