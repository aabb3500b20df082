// sort.h: ORDER BY, by external merge sort (rows/external_sort.h); with a limit, top-N: only rows that can still be
// among the first offset + limit are kept.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "engine/expression/evaluator.h"
#include "engine/plan/plan.h"
#include "engine/run/operator.h"

namespace neap::engine {

struct SortSpec {
  Slots input;
  std::vector<SortKey> keys;
  int64_t limit = -1;  // none
  int64_t offset = 0;
  std::vector<ColumnId> output;  // of the input's columns
};

std::unique_ptr<Operator> MakeSort(Query& query, SortSpec spec);

}  // namespace neap::engine
