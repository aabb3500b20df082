// rewrite.cc: aliases, subqueries, set operations. Aggregates are in rewrite_aggregates.cc.
#include "engine/plan/rewrite.h"

#include <algorithm>
#include <functional>
#include <unordered_map>
#include <utility>

namespace neap::engine {
namespace {

// Calls f(RelPtr&) for every relation, inputs and subqueries first; f may put another in its place.
template <class F>
void ForEachRel(RelPtr& rel, const F& f) {
  for (RelPtr& input : rel->inputs) ForEachRel(input, f);
  const std::function<void(Expression&)> subqueries = [&](Expression& expression) {
    if (expression.subquery != nullptr) ForEachRel(expression.subquery, f);
    for (Expression& arg : expression.args) subqueries(arg);
  };
  ForEachExpression(*rel, subqueries);
  f(rel);
}

using Aliases = std::unordered_map<ColumnId, ColumnId>;

void Rename(Expression& expression, const Aliases& aliases) {
  if (expression.is_column()) {
    if (const auto found = aliases.find(expression.column); found != aliases.end()) expression.column = found->second;
  }
  for (Expression& arg : expression.args) Rename(arg, aliases);
}

void Rename(std::vector<ColumnId>& columns, const Aliases& aliases) {
  for (ColumnId& id : columns) {
    if (const auto found = aliases.find(id); found != aliases.end()) id = found->second;
  }
}

RelPtr MakeRel(Rel::Kind kind, std::vector<RelPtr> inputs) {
  auto rel = std::make_shared<Rel>(kind);
  rel->inputs = std::move(inputs);
  return rel;
}

}  // namespace

void RemoveAliases(Plan& plan) {
  Aliases aliases;
  ForEachRel(plan.root, [&](RelPtr& rel) {
    ForEachExpression(*rel, [&](Expression& expression) { Rename(expression, aliases); });
    if (rel->kind == Rel::Kind::kProject) {
      size_t kept = 0;
      for (size_t i = 0; i < rel->defines.size(); ++i) {
        const Expression& expression = rel->expressions[i];
        if (expression.is_column() && plan.columns[expression.column].type == plan.columns[rel->defines[i]].type) {
          aliases[rel->defines[i]] = expression.column;
          continue;
        }
        if (kept != i) {
          rel->defines[kept] = rel->defines[i];
          rel->expressions[kept] = std::move(rel->expressions[i]);
        }
        ++kept;
      }
      rel->defines.resize(kept);
      rel->expressions.resize(kept);
    }
    Rename(rel->output, aliases);
    for (auto& columns : rel->set_inputs) Rename(columns, aliases);
    if (rel->kind == Rel::Kind::kProject && rel->defines.empty() && rel != plan.root) rel = rel->inputs[0];
  });
}

void RewriteSubqueries(Plan& plan) {
  ForEachRel(plan.root, [&](RelPtr& rel) {
    std::vector<RelPtr> found;
    const std::function<void(Expression&)> replace = [&](Expression& expression) {
      if (expression.kind == Expression::Kind::kScalarSubquery) {
        found.push_back(expression.subquery);
        expression = Expression::Column(expression.subquery->output[0], expression.type);
      }
      for (Expression& arg : expression.args) replace(arg);
    };
    ForEachExpression(*rel, replace);
    if (found.empty()) return;
    const std::vector<ColumnId> output = rel->output;
    if (rel->kind == Rel::Kind::kRead) {
      RelPtr filter = MakeRel(Rel::Kind::kFilter, {rel});
      filter->filter = std::exchange(rel->filter, std::nullopt);
      rel->output = rel->defines;
      filter->output = output;
      rel = filter;
    }
    for (RelPtr& subquery : found) {
      RelPtr join = MakeRel(Rel::Kind::kJoin, {rel->inputs[0], subquery});
      join->join = JoinKind::kLeftSingle;
      join->output = rel->inputs[0]->output;
      join->output.push_back(subquery->output[0]);
      rel->inputs[0] = join;
    }
  });
}

namespace {

// One row of each distinct combination of the columns; the groups are named `names`.
RelPtr Distinct(const Plan& plan, RelPtr input, const std::vector<ColumnId>& columns, std::vector<ColumnId> names) {
  RelPtr rel = MakeRel(Rel::Kind::kAggregate, {std::move(input)});
  for (ColumnId id : columns) rel->expressions.push_back(Expression::Column(id, plan.columns[id].type));
  rel->defines = rel->output = std::move(names);
  return rel;
}

std::vector<ColumnId> CopiesOf(Plan& plan, const std::vector<ColumnId>& columns) {
  std::vector<ColumnId> copies;
  for (ColumnId id : columns) copies.push_back(plan.NewColumn(plan.columns[id].name, plan.columns[id].type));
  return copies;
}

// The input with its columns cast to the types of `like` and one column more: the how many-th of its equals a row is.
struct Numbered {
  RelPtr rel;
  std::vector<Expression> keys;
};

Numbered KeysOf(Plan& plan, RelPtr input, const std::vector<ColumnId>& columns, const std::vector<ColumnId>& like,
                bool numbered) {
  Numbered result{input, {}};
  for (size_t i = 0; i < columns.size(); ++i) {
    Expression key = Expression::Column(columns[i], plan.columns[columns[i]].type);
    const Type type = plan.columns[like[i]].type;
    result.keys.push_back(CastTo(std::move(key), type));
  }
  if (!numbered) return result;
  RelPtr window = MakeRel(Rel::Kind::kWindow, {std::move(input)});
  window->expressions = result.keys;
  WindowCall call{.function = WindowFunction::kRowNumber, .output = plan.NewColumn("row_number", {TypeId::kInt64})};
  window->output = window->inputs[0]->output;
  window->output.push_back(call.output);
  result.keys.push_back(Expression::Column(call.output, {TypeId::kInt64}));
  window->windows.push_back(std::move(call));
  result.rel = window;
  return result;
}

}  // namespace

void RewriteSets(Plan& plan) {
  ForEachRel(plan.root, [&](RelPtr& rel) {
    if (rel->kind != Rel::Kind::kSet || rel->set == Rel::Set::kUnionAll) return;
    const std::vector<ColumnId> output = rel->output;
    if (rel->set == Rel::Set::kUnionDistinct) {
      rel->set = Rel::Set::kUnionAll;
      rel->output = CopiesOf(plan, output);
      rel = Distinct(plan, rel, rel->output, output);
      return;
    }
    const bool all = rel->set == Rel::Set::kIntersectAll || rel->set == Rel::Set::kExceptAll;
    const bool intersect = rel->set == Rel::Set::kIntersectAll || rel->set == Rel::Set::kIntersectDistinct;
    RelPtr left = rel->inputs[0];
    const std::vector<ColumnId>& columns = rel->set_inputs[0];
    for (size_t i = 1; i < rel->inputs.size(); ++i) {
      Numbered a = KeysOf(plan, left, columns, output, all);
      Numbered b = KeysOf(plan, rel->inputs[i], rel->set_inputs[i], output, all);
      RelPtr join = MakeRel(Rel::Kind::kJoin, {a.rel, b.rel});
      join->join = intersect ? JoinKind::kLeftSemi : JoinKind::kLeftAnti;
      join->left_keys = std::move(a.keys);
      join->right_keys = std::move(b.keys);
      join->null_equals.assign(join->left_keys.size(), 1);
      join->output = columns;
      left = join;
    }
    RelPtr project = MakeRel(Rel::Kind::kProject, {left});
    project->defines = all ? output : CopiesOf(plan, output);
    for (size_t i = 0; i < columns.size(); ++i) {
      Expression column = Expression::Column(columns[i], plan.columns[columns[i]].type);
      const Type type = plan.columns[output[i]].type;
      project->expressions.push_back(CastTo(std::move(column), type));
    }
    project->output = project->defines;
    rel = all ? project : Distinct(plan, project, project->defines, output);
  });
}

}  // namespace neap::engine
