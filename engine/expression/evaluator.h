// evaluator.h: expressions compiled for batches of one shape. An Evaluator belongs to one thread and owns the memory of
// its results, which are valid until it is asked again.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "engine/core/column.h"
#include "engine/memory/memory.h"
#include "engine/plan/expression.h"

namespace neap::engine {

// Where the columns of a plan lie in a batch: column i of the batch is column ids[i] of the plan, and of type types[i]
// (what keeps rows must know it before the first batch, and an outer join also without any).
struct Slots {
  std::vector<ColumnId> ids;
  std::vector<Type> types;
  uint32_t Find(ColumnId id) const;  // throws Error(kPlan) where it is not there
  bool Has(ColumnId id) const;
};

class Evaluator {
 public:
  // Throws Error(kPlan), which names the function and the types that it does not take.
  Evaluator(const Expression& expression, const Slots& slots, Memory& memory);
  Evaluator(Evaluator&&) noexcept;
  Evaluator& operator=(Evaluator&&) noexcept;
  ~Evaluator();

  // The value for every row that counts, at the row's own number; other rows are undefined. Throws Error(kData) for
  // overflow, division by zero and casts that fail, in rows that count alone.
  Column Evaluate(const Batch& batch);

  // For boolean expressions: the rows that count and are TRUE, ascending, to `kept` (room for kBatchRows; may be the
  // batch's own selection). Conjunctions look only at rows that earlier terms left, and put the cheapest
  // and most selective terms first as they learn.
  uint32_t Select(const Batch& batch, RowIndex* kept);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// The columns flat (no indices): those that already are stay as they are. `buffer` has room for kBatchRows.
struct FlatBuffer {
  Array<uint8_t> data, valid;
};
void Flatten(const Batch& batch, Column& column, FlatBuffer& buffer, Memory& memory);

// The value of an expression without columns, for folding constants.
Literal EvaluateConstant(const Expression& expression);

}  // namespace neap::engine
