// aggregate_state.h: what an aggregate keeps of a group: a state of one to three columns of ordinary types in the
// group's row (rows/row_layout.h). So partial results are rows like any others: they can be gathered, written to disk
// and merged later. All work is done by functions made for one type that take whole batches.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/core/column.h"
#include "engine/rows/row_layout.h"

namespace neap::engine {

// Keeps the long strings of states (min, max, any_value).
class StringKeeper {
 public:
  // A copy of `text` that lives as long as the state at `row`. The state held `old` until now, which is empty or was
  // kept too, and may be overwritten.
  virtual View Keep(uint8_t* row, const View& old, const View& text) = 0;

 protected:
  ~StringKeeper() = default;
};

struct AggregateState {
  static constexpr int kNone = -1;
  static constexpr size_t kMaxColumns = 3;

  // `values` is null for a state that counts rows.
  using UpdateOneFunction = void(const AggregateState& state, uint8_t* group, const Column* values,
                                 const RowIndex* rows, uint32_t count, StringKeeper& keeper);
  using UpdateEachFunction = void(const AggregateState& state, uint8_t* const* groups, const Column* values,
                                  const RowIndex* rows, uint32_t count, StringKeeper& keeper);
  using MergeFunction = void(const AggregateState& state, uint8_t* const* into, const uint8_t* const* from,
                             uint32_t count, StringKeeper& keeper);

  int value = kNone;   // number of the column that it reads
  int filter = kNone;  // number of the FILTER whose rows count; kNone: all
  Type value_type;
  std::vector<Type> types;             // of its columns
  bool starts_as_zero = false;         // else as NULL
  uint32_t column = 0;                 // the first of them in the layout
  uint32_t offsets[kMaxColumns] = {};  // of them in a row
  UpdateOneFunction* update_one = nullptr;
  UpdateEachFunction* update_each = nullptr;
  MergeFunction* merge = nullptr;

  // All of the rows belong to one group. They are listed by number in any order; null: 0 to count-1.
  void UpdateOne(uint8_t* group, const Column* values, const RowIndex* rows, uint32_t count,
                 StringKeeper& keeper) const {
    update_one(*this, group, values, rows, count, keeper);
  }
  // Row r belongs to groups[r].
  void UpdateEach(uint8_t* const* groups, const Column* values, const RowIndex* rows, uint32_t count,
                  StringKeeper& keeper) const {
    update_each(*this, groups, values, rows, count, keeper);
  }
  // Adds from[i] to into[i], one after the other.
  void Merge(uint8_t* const* into, const uint8_t* const* from, uint32_t count, StringKeeper& keeper) const {
    merge(*this, into, from, count, keeper);
  }
};

// The states there are. Throw Error(kPlan), which names `function`, where the type is not one that it takes.
AggregateState CountRows();
AggregateState CountValues();
AggregateState CountNulls();
AggregateState SumState(const Type& type, const char* function);      // kInt64, Decimal(38) or kDouble
AggregateState ExtremeState(const Type& type, bool minimum);          // of the type itself
AggregateState AnyState(const Type& type);                            // of the type itself; the first that is not NULL
AggregateState MomentsState(const Type& type, const char* function);  // count, mean, sum of squared differences from it

}  // namespace neap::engine
