// window_call.h: one window function, computed for a block of rows at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "engine/core/column.h"
#include "engine/operators/window_segment.h"
#include "engine/plan/plan.h"

namespace neap::engine {

// Rows first to first+count-1, by position in the block: where the partition and the peers of each lie, by number. Ends
// are known where a call needs them.
struct WindowBlock {
  uint64_t first = 0;
  uint32_t count = 0;
  const uint8_t* rows[kBatchRows];
  uint64_t partition_begin[kBatchRows];
  uint64_t partition_end[kBatchRows];
  uint64_t peers_begin[kBatchRows];
  uint64_t peers_end[kBatchRows];
  uint64_t dense_rank[kBatchRows];
};

// A call whose arguments are columns of the rows, or constants.
struct BoundWindowCall {
  static constexpr int kNone = -1;

  WindowCall call;
  Type output;
  int value = kNone;  // column of what the function is of
  int key = kNone;    // of RANGE with an offset: columns of the key, and of the values at the bounds
  int start_value = kNone, end_value = kNone;
  int fallback = kNone;  // of lag and lead: column of what they give outside of the partition
  int64_t constant = 1;  // of lag and lead: how far; of nth_value: which; of ntile: how many
  bool constant_null = false;
};

class WindowEvaluator {
 public:
  virtual ~WindowEvaluator() = default;
  virtual void Begin(const WindowSegment& /*segment*/) {}
  virtual void End() {}
  // The results for a block, at positions 0 to count-1; valid until the next call, and End.
  virtual Column Evaluate(const WindowBlock& block, ColumnBuffer out) = 0;
};

// Throw Error(kPlan) where a function does not take what it is given.
WindowNeed NeedOf(const WindowCall& call);
std::unique_ptr<WindowEvaluator> MakeWindowEvaluator(const BoundWindowCall& call, const WindowLayout& layout,
                                                     Memory& memory);

}  // namespace neap::engine
