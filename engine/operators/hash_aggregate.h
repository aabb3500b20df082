// hash_aggregate.h: GROUP BY. Every thread groups its rows in a table of its own that stays within the cache; what
// overflows is kept as partial states in partitions by hash, in memory or on disk; then each partition is merged by
// itself, split further where it does not fit. States are ordinary columns (aggregate_function.h), so that partial
// results spill like any rows. Without groups: one row, also for no input.
#pragma once

#include <memory>
#include <vector>

#include "engine/expression/evaluator.h"
#include "engine/plan/plan.h"
#include "engine/run/operator.h"

namespace neap::engine {

struct HashAggregateSpec {
  Slots input;
  std::vector<Expression> groups;
  std::vector<ColumnId> group_outputs;  // one a group
  std::vector<AggregateCall> calls;     // none distinct, none kGrouping: the planner has rewritten those
  std::vector<Type> call_types;         // of calls[i].output
  std::vector<ColumnId> output;         // picks among group_outputs and the calls' outputs
};

std::unique_ptr<Operator> MakeHashAggregate(Query& query, HashAggregateSpec spec);

}  // namespace neap::engine
