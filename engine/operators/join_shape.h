// join_shape.h: what a join is, worked out once: which columns its build rows have, what is kept of a probe row that
// waits on disk, and where every output column comes from. A join without keys is one too: all its rows are of one
// partition, and all pairs are looked at.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "engine/core/column.h"
#include "engine/expression/evaluator.h"
#include "engine/operators/hash_join.h"
#include "engine/plan/plan.h"
#include "engine/rows/row_layout.h"

namespace neap::engine {

// A column of the joined rows.
struct JoinColumn {
  enum class Side : uint8_t { kProbe, kBuild, kMark } side;
  uint32_t column;  // of a probe batch with its keys; of the layout of build rows
  Type type;
};

struct JoinShape {
  explicit JoinShape(HashJoinSpec given);

  // Build rows of these kinds say whether they had a match, and come out at the end by that.
  bool flags_build() const;
  // A build row with a NULL key, which matches nothing, can come out all the same.
  bool keeps_null_keys() const;
  // Probe rows without a match come out, with NULLs or alone.
  bool gives_unmatched_probe() const;
  // Of a probe row it counts only whether there is a match.
  bool wants_one_match() const;
  // Pairs come out.
  bool gives_pairs() const;
  // An empty build side means an empty result.
  bool empty_without_build() const;
  size_t keys() const { return spec.probe_keys.size(); }

  // The rows that count of a batch and have no NULL that matches nothing, in key_columns. The answer is in `rows` or is
  // the batch's own selection (null: all rows).
  uint32_t RowsWithKeys(const Batch& batch, const uint32_t* key_columns, RowIndex* rows, const RowIndex** found) const;

  HashJoinSpec spec;

  // Probe batches: the input's columns and then those keys that are more than a column.
  std::vector<uint32_t> probe_keys;  // where the keys lie
  uint32_t probe_columns;
  std::vector<uint32_t> probe_kept;  // what of a row waits on disk
  RowLayout probe_rows;              // probe_kept and the hash

  // Build batches likewise, and build rows: keys, what else is needed of the row, flag, link.
  std::vector<uint32_t> build_keys;
  uint32_t build_columns;
  std::vector<uint32_t> build_kept;  // the layout's columns up to the flag
  RowLayout build_rows;
  uint32_t flag = UINT32_MAX;  // its column, a bool, where flags_build(); comes from batch column build_columns
  uint32_t link = 0;           // its column: the hash, until a table holds the row; then the next row of the same keys

  std::vector<JoinColumn> output;
  std::vector<JoinColumn> filtered;  // what spec.filter reads
  Slots filter_slots;                // and where it finds it

 private:
  void CompareInFilter();
};

// A side's keys, batch by batch, on one thread.
class JoinKeys {
 public:
  JoinKeys(const Slots& slots, const std::vector<Expression>& keys, Memory& memory);
  // `with_keys` becomes `batch` and the keys that are more than a column.
  void Extend(const Batch& batch, Batch& with_keys);

 private:
  std::vector<Evaluator> computed_;
};

}  // namespace neap::engine
