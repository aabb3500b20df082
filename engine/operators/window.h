// window.h: window functions of one PARTITION BY and ORDER BY: rows are sorted by both (rows/external_sort.h), then
// read partition by partition; a partition that does not fit is kept on disk and read twice.
#pragma once

#include <memory>
#include <vector>

#include "engine/expression/evaluator.h"
#include "engine/plan/plan.h"
#include "engine/run/operator.h"

namespace neap::engine {

struct WindowSpec {
  Slots input;
  std::vector<Expression> partition;
  std::vector<SortKey> order;
  std::vector<WindowCall> calls;
  std::vector<Type> call_types;
  std::vector<ColumnId> output;  // of the input's columns and the calls' outputs
};

std::unique_ptr<Operator> MakeWindow(Query& query, WindowSpec spec);

}  // namespace neap::engine
