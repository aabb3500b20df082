// join_build.h: the end of a join's build side: keeps its rows, makes tables of them, and says to the scans of the
// probe side what keys there are.
#pragma once

#include <atomic>
#include <memory>
#include <vector>

#include "engine/operators/join_partitions.h"
#include "engine/run/operator.h"

namespace neap::engine {

class JoinBuild final : public Operator {
 public:
  JoinBuild(JoinRun& run, JoinPartitions& partitions);

  std::unique_ptr<Stage> MakeStage(Worker& worker, Stage* next) override;
  size_t Settle() override;
  void SettleTask(Worker& worker, size_t task) override;

  // While rows come in: what all threads hold, and its way to disk.
  bool building() const { return !inputs_.empty(); }
  size_t bytes();
  void Spill(size_t wanted);
  void Close() override;

 private:
  JoinRun& run_;
  JoinPartitions& partitions_;
  std::vector<std::unique_ptr<JoinInput>> inputs_;  // one a thread
  std::atomic<size_t> tasks_left_{0};
};

}  // namespace neap::engine
