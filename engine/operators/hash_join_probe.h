// hash_join_probe.h: the candidates of a hash join: build rows of the same keys, found for a whole batch at a time.
#pragma once

#include <cstdint>

#include "engine/operators/join_probe.h"

namespace neap::engine {

class HashProbe final : public JoinProbe {
 public:
  explicit HashProbe(JoinRun& run);

 private:
  void Start() override;
  bool NextPairs(Batch& out) override;
  void Match() override;

  void LookUp();
  void LookUpDense();
  uint32_t LookUpMissed(const RowIndex* rows, uint32_t candidates, uint32_t kept);
  bool AtPlaces(Batch& out);
  bool InChains(Batch& out);
  uint32_t Fill(uint32_t from, uint32_t end);
  uint32_t FilterPairs(uint32_t from, uint32_t end);
  void FilterPlaces();
  void DropFound();

  // Probe rows with a match and the next build row of each, in ascending order: [next_, matches_) are still to be
  // looked at in this round, [0, again_) come again with the next row of their chain.
  Array<RowIndex> match_rows_;
  Array<const uint8_t*> match_ptrs_;
  uint32_t matches_ = 0, next_ = 0, again_ = 0;

  Array<RowIndex> candidates_, kept_, found_late_;
  // Pairs one after the other; also, of a left join, the build row of each of the batch's rows.
  Array<uint32_t> pair_rows_;
  Array<const uint8_t*> pair_ptrs_;
  uint32_t link_;
  uint32_t batch_rows_;
};

}  // namespace neap::engine
