// aggregate_function.h: aggregate calls over states (aggregate_state.h). Calls share states: avg(x) is sum(x) over
// count(x), and where rows are counted more than once, count(x) is count(*) less the NULLs of x, which costs nothing
// for a batch that has none.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/core/column.h"
#include "engine/operators/aggregate_state.h"
#include "engine/plan/plan.h"
#include "engine/rows/row_layout.h"

namespace neap::engine {

// A call whose argument and filter have been computed and numbered; equal ones have equal numbers.
struct NumberedCall {
  Aggregate function = Aggregate::kCount;
  int value = AggregateState::kNone;  // the argument; count(*) has none
  Type value_type;
  int filter = AggregateState::kNone;
  Type output;
};

class AggregateStates {
 public:
  // Throws Error(kPlan) where a function does not take its argument's type or cannot give its output's.
  explicit AggregateStates(const std::vector<NumberedCall>& calls);

  std::vector<Type> types() const;  // of all columns of all states
  // From here on the states lie in rows of `layout`, which outlives this, in its columns from `first` on.
  void Bind(const RowLayout& layout, size_t first);
  const std::vector<AggregateState>& states() const { return states_; }

  // The columns of types() as a new group has them, and the same for a row that AppendEmpty made.
  std::vector<Column> Initial() const;
  void Initialize(uint8_t* row) const;

  // Adds rows of states to others.
  void Merge(uint8_t* const* into, const uint8_t* const* from, uint32_t count, StringKeeper& keeper) const;

  // The results of a call for rows[0..count), at positions 0 to count-1 of `out`. Views point into the rows' store.
  Column Finish(size_t call, const uint8_t* const* rows, uint32_t count, ColumnBuffer out) const;

 private:
  // What a call is made of: numbers of states, kNone where it has none.
  struct Result {
    NumberedCall call;
    int main = AggregateState::kNone;  // the sum, the one value, the moments
    int count = AggregateState::kNone;
    int nulls = AggregateState::kNone;  // to be taken off the count
  };

  const AggregateState& StateAt(int number) const { return states_[static_cast<size_t>(number)]; }
  int Add(AggregateState state, const NumberedCall& call, bool counts_rows = false);
  int64_t CountIn(const Result& result, const uint8_t* row) const;
  template <class S>
  Column FinishSum(const Result& result, const uint8_t* const* rows, uint32_t count, ColumnBuffer out) const;
  Column FinishMoments(const Result& result, const uint8_t* const* rows, uint32_t count, ColumnBuffer out) const;

  std::vector<AggregateState> states_;
  std::vector<Result> results_;
  const RowLayout* layout_ = nullptr;
};

}  // namespace neap::engine
