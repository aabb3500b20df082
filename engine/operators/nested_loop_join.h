// nested_loop_join.h: joins without an equality: every pair, and those of them that pass the filter. Kinds: inner (a
// cross join where there is no filter), left, right, full, semi, anti, mark, single. The right input is kept, and goes
// to disk where it does not fit, block by block. A single row on the right, as scalar subqueries have, costs the left
// input nothing: its values become constant columns.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "engine/expression/evaluator.h"
#include "engine/plan/plan.h"
#include "engine/run/operator.h"

namespace neap::engine {

struct NestedLoopJoinSpec {
  JoinKind kind;
  Slots probe, build;
  std::optional<Expression> filter;
  std::vector<ColumnId> output;
  ColumnId mark = 0;  // kLeftMark
  // kLeftAnti and kLeftMark: a filter that is NULL for a pair leaves it open whether there is a match, as NOT IN and IN
  // have it. Otherwise NULL is no match.
  bool null_aware = false;
};

std::unique_ptr<Operator> MakeNestedLoopJoin(Query& query, NestedLoopJoinSpec spec, std::unique_ptr<Chain> build);

}  // namespace neap::engine
