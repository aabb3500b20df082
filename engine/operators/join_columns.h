// join_columns.h: the columns of joined rows as batches, in every way that a join puts probe rows and build rows side
// by side. Probe columns are never copied: they stay where they are, or are read through indices. Build columns are
// gathered from rows.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/core/column.h"
#include "engine/memory/memory.h"
#include "engine/operators/join_shape.h"

namespace neap::engine {

// Belongs to one thread. A batch that it made is valid until it makes the next one, and while the probe batch is.
class JoinedColumns {
 public:
  JoinedColumns(const JoinShape& shape, const std::vector<JoinColumn>& columns, Memory& memory);

  // Rows at[0..count) of the probe batch, at their own places, with build row rows[i] (null: NULLs) beside at[i].
  void AtPlaces(const Batch& probe, const RowIndex* at, const uint8_t* const* rows, uint32_t count, Batch& out);
  // The same with NULLs alone.
  void WithoutBuild(const Batch& probe, const RowIndex* at, uint32_t count, Batch& out);
  // The same with one build row for all.
  void WithOneBuildRow(const Batch& probe, const RowIndex* at, uint32_t count, const uint8_t* row, Batch& out);
  // Pairs one after the other: row pairs[i] of the probe batch and build row rows[i].
  void Pairs(const Batch& probe, const uint32_t* pairs, const uint8_t* const* rows, uint32_t count, Batch& out);
  // Build rows alone, and NULLs for the probe side.
  void WithoutProbe(const uint8_t* const* rows, uint32_t count, Batch& out);
  // Gathers build rows for what follows; then one probe row with those of them that kept[0..kept_count) lists (null:
  // all).
  void TakeBlock(const uint8_t* const* rows, uint32_t count);
  void WithOneProbeRow(const Batch& probe, uint32_t row, const RowIndex* kept, uint32_t kept_count, Batch& out);

  // The column of a mark join, for AtPlaces and WithoutBuild.
  void SetMark(const Column& mark) { mark_ = mark; }

 private:
  Column Gather(size_t i, const uint8_t* const* rows, const RowIndex* at, uint32_t count);
  const uint32_t* Compose(const uint32_t* indices, const uint32_t* pairs, uint32_t count);
  static void Select(const Batch& probe, const RowIndex* at, uint32_t count, Batch& out);

  struct Composed {
    const uint32_t* from;
    Array<uint32_t> indices;
  };

  const JoinShape& shape_;
  const std::vector<JoinColumn>& columns_;
  Memory& memory_;
  std::vector<Array<uint8_t>> data_, valid_;  // of build columns, by number of the column
  std::vector<Composed> composed_;            // indices of the probe batch, through those of the pairs
  size_t composed_count_ = 0;                 // of them made for the batch at hand
  std::vector<Column> block_;
  uint32_t block_rows_ = 0;
  Column mark_;
};

// One NULL for all rows.
Column NullColumn(Type type);

}  // namespace neap::engine
