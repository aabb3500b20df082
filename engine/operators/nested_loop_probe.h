// nested_loop_probe.h: a join without keys: every build row is a candidate for every probe row. The longer one of the
// batch and the build rows at hand is worked on as a whole, with one row of the other side as constants beside it.
#pragma once

#include <cstdint>

#include "engine/operators/join_probe.h"

namespace neap::engine {

class LoopProbe final : public JoinProbe {
 public:
  explicit LoopProbe(JoinRun& run);

 private:
  void Start() override;
  bool NextPairs(Batch& out) override;
  void Match() override;

  bool NextMatch() { return by_build_row_ ? NextBuildRow() : NextProbeRow(); }
  bool NextBuildRow();
  bool NextProbeRow();
  void TakeBlock();
  void Filter();

  const uint8_t* const* rows_ = nullptr;  // all build rows at hand
  uint64_t row_count_ = 0;
  bool by_build_row_ = true;  // one build row at a time with the batch, else one probe row with a block of build rows

  uint64_t row_ = 0;         // the build row at hand, or the first of the block
  uint64_t next_row_ = 0;    // the one after it, or after the block
  uint32_t probe_row_ = 0;   // the probe row at hand
  uint32_t next_probe_ = 0;  // number of the next one among keyed rows

  // What matches: rows of the batch for the build row at hand, or rows of the block for the probe row at hand.
  const RowIndex* matches_ = nullptr;  // null: all
  uint32_t match_count_ = 0;
  // Probe rows to look at for the next build row: those without a match yet, where one is all that is wanted.
  const RowIndex* open_ = nullptr;  // null: all
  uint32_t open_count_ = 0;
  Array<RowIndex> open_rows_, kept_;
};

}  // namespace neap::engine
