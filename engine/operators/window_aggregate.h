// window_aggregate.h: an aggregate over the frame of every row. Where all frames of a partition start with its first
// row, rows are added to one state. Else states of the rows in the frame are kept, so that only merging is asked of an
// aggregate. Source: the two stacks of Tangwongsan, Hirzel, Schneider and Wu, "General Incremental Sliding-Window
// Aggregation", PVLDB 2015: two merges a row.
#pragma once

#include <memory>

#include "engine/memory/memory.h"
#include "engine/operators/window_call.h"

namespace neap::engine {

std::unique_ptr<WindowEvaluator> MakeWindowAggregate(const BoundWindowCall& call, const WindowLayout& layout,
                                                     Memory& memory);

}  // namespace neap::engine
