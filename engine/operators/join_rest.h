// join_rest.h: what a join gives after all probe rows came: build rows by their flags, and the partitions that are on
// disk, one a thread at a time. A partition's build rows are read back and split by the next level of the hash, with
// the same rule as at first: what does not fit stays on disk, its probe rows join it there, and it is treated likewise
// afterwards. A partition that splitting does not make smaller (one key has most of its rows, or there are no keys) is
// joined block by block: as many build rows as fit, then all its probe rows, and again.
#pragma once

#include <atomic>
#include <memory>
#include <vector>

#include "engine/operators/join_partitions.h"
#include "engine/run/operator.h"

namespace neap::engine {

class JoinRest final : public Source {
 public:
  // Once no more probe rows come. `partitions`: of level 0.
  JoinRest(JoinRun& run, JoinPartitions& partitions);
  std::unique_ptr<Cursor> MakeCursor(Worker& worker) override;
  bool empty() const { return tasks_.empty(); }

 private:
  friend class JoinRestCursor;

  JoinRun& run_;
  JoinPartitions& partitions_;
  uint64_t build_rows_ = 0;      // of all partitions
  std::vector<uint32_t> tasks_;  // partitions in memory, then those on disk
  std::atomic<size_t> next_{0};
};

}  // namespace neap::engine
