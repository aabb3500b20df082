// hash_aggregate_merge.h: partial results of groups in, finished groups out: partition by partition, each on one
// thread. A partition that does not fit is split by further bits of the hash, on disk; one group is one row, so that
// ends.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "engine/operators/aggregate_function.h"
#include "engine/rows/row_store.h"
#include "engine/run/query.h"
#include "engine/spill/spill_file.h"

namespace neap::engine {

// Rows with equal bits of the hash up to `level`, in memory and in finished files.
struct GroupPartition {
  RowStore rows;
  std::vector<SpillFile> files;
  int level = 0;
  bool is_unique = false;  // no group lies in two of the rows
};

// What a batch of the result has in one column.
struct GroupOutput {
  bool is_key;
  size_t index;  // of the key or of the call
  Type type;
};

class GroupMerge : public Source {
 public:
  // The layout is the keys, the states and the hash. `figures` are of the operator that this belongs to.
  GroupMerge(Query& query, Memory& memory, const RowLayout& layout, size_t keys, const AggregateStates& states,
             const std::vector<GroupOutput>& outputs, std::vector<GroupPartition> partitions, OperatorFigures& figures);

  std::unique_ptr<Cursor> MakeCursor(Worker& worker) override;

  // Of the partitions that no cursor has begun.
  size_t Spillable();
  size_t Spill(size_t wanted);

 private:
  class Merger;
  class MergeCursor;
  class Splitter;

  std::optional<GroupPartition> Take();
  // What became of a partition that was split; `resident`: the bytes of memory_ before.
  void PutBack(std::vector<GroupPartition> parts, size_t resident);
  size_t AddSpill(uint64_t rows, uint64_t bytes, size_t resident);  // returns what was freed

  Query& query_;
  Memory& memory_;
  const RowLayout& layout_;
  const size_t keys_;
  const AggregateStates& states_;
  const std::vector<GroupOutput>& outputs_;

  std::mutex mutex_;  // guards what follows
  std::vector<GroupPartition> waiting_;
  OperatorFigures& figures_of_operator_;
};

}  // namespace neap::engine
