// rewrite.h: relations that have no operator of their own, said with those that have one.
#pragma once

#include "engine/plan/plan.h"

namespace neap::engine {

// A column that a projection merely renames is replaced by what it renames, everywhere; projections that compute
// nothing go.
void RemoveAliases(Plan& plan);

// Scalar subqueries become single joins of the relation below.
void RewriteSubqueries(Plan& plan);

// UNION DISTINCT, INTERSECT and EXCEPT become unions, aggregates and joins.
void RewriteSets(Plan& plan);

// Grouping sets, GROUPING() and DISTINCT aggregates become kExpand and aggregates without them.
void RewriteAggregates(Plan& plan);

// Calls f(Expression&) for every expression of one relation.
template <class F>
void ForEachExpression(Rel& rel, F&& f) {
  for (auto& row : rel.rows) {
    for (Expression& value : row) f(value);
  }
  if (rel.filter) f(*rel.filter);
  for (Expression& expression : rel.expressions) f(expression);
  for (auto& projection : rel.projections) {
    for (Expression& expression : projection) f(expression);
  }
  for (Expression& key : rel.left_keys) f(key);
  for (Expression& key : rel.right_keys) f(key);
  for (AggregateCall& call : rel.aggregates) {
    for (Expression& arg : call.args) f(arg);
    if (call.filter) f(*call.filter);
  }
  for (SortKey& key : rel.sort) f(key.expression);
  for (WindowCall& call : rel.windows) WindowCall::ForEachExpression(call, f);
}

}  // namespace neap::engine
