// substrait_aggregate.cc: aggregates, and the forms in which their grouping sets come.
#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "engine/core/error.h"
#include "engine/plan/substrait_scope.h"

namespace neap::engine {

RelPtr SubstraitReader::ReadAggregate(const substrait::AggregateRel& rel) {
  RelPtr input = ReadRelation(rel.input());
  Scope scope{input->output, &input, nullptr};
  auto aggregate = std::make_shared<Rel>(Rel::Kind::kAggregate);
  ReadGroupings(rel, scope, *aggregate);
  const bool several = aggregate->grouping_sets.size() > 1;
  aggregate->output = aggregate->defines;

  // GROUPING() of all grouping columns tells the sets apart, if no two are equal; DataFusion asks for no more.
  ColumnId grouping = 0;
  if (several) {
    const size_t groups = aggregate->defines.size();
    if (groups > 62) RefusePlan(fmt::format("grouping sets of {} columns", groups));
    const TypeId id = groups <= 8 ? TypeId::kInt16 : groups <= 16 ? TypeId::kInt32 : TypeId::kInt64;
    grouping = NewColumn({datafusion_ ? id : TypeId::kInt64}, false);
    AggregateCall call;
    call.function = Aggregate::kGrouping;
    call.args = aggregate->expressions;
    call.output = grouping;
    aggregate->aggregates.push_back(std::move(call));
    // DataFusion counts it as a column between the groups and the aggregates, and does not have Substrait's at the end.
    if (datafusion_) aggregate->output.push_back(grouping);
  }

  auto finish = std::make_shared<Rel>(Rel::Kind::kProject);
  auto define = [&](Expression value) {
    const ColumnId id = NewColumn(value.type, false);
    finish->expressions.push_back(std::move(value));
    finish->defines.push_back(id);
    return id;
  };
  for (const auto& measure : rel.measures()) {
    AggregateCall call = ReadMeasure(measure.measure(), scope);
    if (measure.has_filter()) call.filter = Read(measure.filter(), scope);
    const Type type = plan_.columns[call.output].type;
    ColumnId output = call.output;
    aggregate->aggregates.push_back(std::move(call));
    if (FunctionNameOf(measure.measure().function_reference()) == "sum0") {
      Expression zero = type.id == TypeId::kDecimal ? Expression::Constant({false, Int128{0}}, type)
                        : type.is_integer()         ? Expression::Constant({false, int64_t{0}}, type)
                                                    : Expression::Constant({false, 0.0}, type);
      output = define(Expression::Call(Function::kCoalesce, type, {ColumnOf(output), std::move(zero)}));
    }
    aggregate->output.push_back(output);
  }
  if (several && !datafusion_) aggregate->output.push_back(define(SetNumber(*aggregate, grouping)));

  aggregate->inputs.push_back(std::move(input));
  if (finish->defines.empty()) return aggregate;
  finish->output = std::exchange(aggregate->output, aggregate->defines);
  for (const AggregateCall& call : aggregate->aggregates) aggregate->output.push_back(call.output);
  finish->inputs.push_back(std::move(aggregate));
  return finish;
}

// Substrait's last column of an aggregate with several grouping sets: the number of the set.
Expression SubstraitReader::SetNumber(const Rel& aggregate, ColumnId grouping) {
  std::vector<Expression> args;
  const size_t groups = aggregate.defines.size();
  for (size_t s = 0; s < aggregate.grouping_sets.size(); ++s) {
    int64_t bits = (int64_t{1} << groups) - 1;
    for (uint32_t group : aggregate.grouping_sets[s]) bits &= ~(int64_t{1} << (groups - 1 - group));
    args.push_back(Expression::Call(Function::kEqual, {TypeId::kBool},
                                    {ColumnOf(grouping), Expression::Constant({false, bits}, {TypeId::kInt64})}));
    args.push_back(Expression::Constant({false, static_cast<int64_t>(s)}, {TypeId::kInt32}));
  }
  args.push_back(Expression::Constant({}, {TypeId::kInt32}));
  return MakeCase(std::move(args));
}

void SubstraitReader::ReadGroupings(const substrait::AggregateRel& rel, Scope& scope, Rel& aggregate) {
  // In the old form, and in what DataFusion writes, an expression is there once for every set that has it. The same is
  // what the plan says in the same words: two of its fields may be one column here.
  const bool old = rel.grouping_expressions().empty();
  std::vector<std::string> written;
  auto add = [&](const substrait::Expression& expression) {
    std::string words = old || datafusion_ ? expression.SerializeAsString() : std::string();
    const auto same = words.empty() ? written.end() : std::find(written.begin(), written.end(), words);
    const auto number = static_cast<uint32_t>(same - written.begin());
    if (same == written.end()) {
      written.push_back(std::move(words));
      aggregate.expressions.push_back(Read(expression, scope));
    }
    return number;
  };
  std::vector<uint32_t> numbers;
  for (const auto& expression : rel.grouping_expressions()) numbers.push_back(add(expression));
  for (const auto& grouping : rel.groupings()) {
    std::vector<uint32_t>& set = aggregate.grouping_sets.emplace_back();
    if (old) {
      for (const auto& expression : grouping.grouping_expressions()) set.push_back(add(expression));
    } else {
      for (uint32_t reference : grouping.expression_references()) {
        if (reference >= numbers.size())
          throw Error(ErrorKind::kPlan,
                      fmt::format("the plan groups by expression {} of {}", reference, numbers.size()));
        set.push_back(numbers[reference]);
      }
    }
    std::sort(set.begin(), set.end());
    set.erase(std::unique(set.begin(), set.end()), set.end());
  }
  auto& sets = aggregate.grouping_sets;
  if (sets.size() == 1 && sets[0].size() == aggregate.expressions.size()) sets.clear();
  if (sets.size() > 1 && !datafusion_) {
    for (size_t i = 0; i < sets.size(); ++i) {
      if (std::find(sets.begin(), sets.begin() + static_cast<ptrdiff_t>(i), sets[i]) !=
          sets.begin() + static_cast<ptrdiff_t>(i))
        RefusePlan("the same grouping set twice");
    }
  }

  // GROUPING() asks for columns.
  RelPtr project;
  for (Expression& group : aggregate.expressions) {
    if (sets.size() > 1 && !group.is_column()) {
      if (project == nullptr) project = Unary(Rel::Kind::kProject, std::move(*scope.input));
      const ColumnId id = NewColumn(group.type, MayBeNull(group));
      project->defines.push_back(id);
      project->output.push_back(id);
      project->expressions.push_back(std::exchange(group, ColumnOf(id)));
    }
    aggregate.defines.push_back(plan_.NewColumn(group.is_column() ? plan_.columns[group.column].name : "", group.type,
                                                sets.size() > 1 || MayBeNull(group)));
  }
  if (project != nullptr) *scope.input = std::move(project);
}

}  // namespace neap::engine
