// join_probe.h: what joins do with a batch of probe rows, once there is a way to find candidates: which pairs and which
// rows come out, for every kind of join. HashProbe (hash_join_probe.h) finds build rows of the same keys, LoopProbe
// (nested_loop_probe.h) takes all.
//
// A probe belongs to one thread. Begin takes a batch, Next gives its results one batch at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "engine/core/column.h"
#include "engine/expression/evaluator.h"
#include "engine/memory/memory.h"
#include "engine/operators/join_columns.h"
#include "engine/operators/join_partitions.h"
#include "engine/operators/join_shape.h"
#include "engine/rows/row_store.h"

namespace neap::engine {

// Probe rows of one thread whose partition is on disk, on their way there.
class WaitingRows {
 public:
  explicit WaitingRows(JoinPartitions& partitions);
  void Append(const Batch& batch, const uint64_t* hashes, const RowIndex* rows, uint32_t count);
  void Flush();

 private:
  JoinPartitions& partitions_;
  PartitionedRows rows_;
};

class JoinProbe {
 public:
  // What is known of a probe row.
  enum : uint8_t {
    kFound = 1,    // it has a match
    kUnknown = 2,  // null-aware: a NULL leaves open whether it has
  };

  explicit JoinProbe(JoinRun& run);
  virtual ~JoinProbe() = default;

  // The rows that count of `batch`, a probe batch with its keys, which outlives its results. Those of partitions on
  // disk are taken out of it and given to `waiting`. hashes: of rows that have keys, where they are known; else null.
  void Begin(JoinPartitions& build, WaitingRows& waiting, Batch& batch, const uint64_t* hashes);
  // The same where the build side comes block by block: `state` has a byte a row of the batch, which is kept from block
  // to block. last: no block follows, so that rows without a match are known.
  void BeginBlock(JoinPartitions& build, Batch& batch, const uint64_t* hashes, uint8_t* state, bool last);

  // False at the end of the batch that was begun.
  bool Next(Batch& out);

  // Columns of results, for build rows that come out alone.
  JoinedColumns& output() { return output_; }

 protected:
  // Begins to look for what matches rows keyed(i), i < keyed_count_.
  virtual void Start() = 0;
  // The next batch of pairs that match, for kinds that give them; false at the end. Sets state_ and flags.
  virtual bool NextPairs(Batch& out) = 0;
  // All matches at once, for the other kinds. Sets state_ or flags.
  virtual void Match() = 0;

  RowIndex keyed(uint32_t i) const { return keyed_ == nullptr ? static_cast<RowIndex>(i) : keyed_[i]; }
  const uint64_t* Hashes();
  void SetFound(uint32_t row);
  [[noreturn]] static void ThrowSecondMatch();  // of a scalar subquery
  void SetFlag(const uint8_t* row) const;
  bool HasFlag(const uint8_t* row) const;

  JoinRun& run_;
  const JoinShape& shape_;
  JoinedColumns output_;
  std::optional<JoinedColumns> filtered_;  // what the filter reads
  std::optional<Evaluator> filter_;
  Batch filter_batch_;

  // The batch at hand.
  JoinPartitions* build_ = nullptr;
  Batch* batch_ = nullptr;
  const RowIndex* keyed_ = nullptr;  // null: all rows
  uint32_t keyed_count_ = 0;
  uint8_t* state_ = nullptr;
  bool whole_ = true;  // not one block of several
  bool last_ = true;
  enum class Phase : uint8_t { kMatches, kRows, kDone } phase_ = Phase::kDone;

 private:
  void FindKeyed();
  void TakeOutWaiting(WaitingRows& waiting);
  void SetUnknown();
  uint32_t RowsWhere(uint8_t mask, uint8_t wanted);
  bool Rows(Batch& out);
  void SetMarks();

  const uint64_t* hashes_ = nullptr;
  Array<uint64_t> own_hashes_;
  Array<uint8_t> own_state_, mark_, mark_valid_;
  Array<RowIndex> keyed_rows_, rows_;
};

std::unique_ptr<JoinProbe> MakeProbe(JoinRun& run);

}  // namespace neap::engine
