// join_operator.cc: hash joins and nested loop joins as operators of the probe side's chain. They differ in how
// candidates are found (join_probe.h) and in nothing else: a join without keys has all its rows in one partition.
#include <atomic>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/operators/hash_join.h"
#include "engine/operators/join_build.h"
#include "engine/operators/join_partitions.h"
#include "engine/operators/join_probe.h"
#include "engine/operators/join_rest.h"
#include "engine/operators/nested_loop_join.h"
#include "engine/run/query.h"

namespace neap::engine {
namespace {

const char* KindName(JoinKind kind) {
  switch (kind) {
    case JoinKind::kInner:
      return "inner";
    case JoinKind::kLeft:
      return "left";
    case JoinKind::kRight:
      return "right";
    case JoinKind::kFull:
      return "full";
    case JoinKind::kLeftSemi:
      return "left semi";
    case JoinKind::kLeftAnti:
      return "left anti";
    case JoinKind::kLeftMark:
      return "left mark";
    case JoinKind::kLeftSingle:
      return "left single";
    case JoinKind::kRightSemi:
      return "right semi";
    case JoinKind::kRightAnti:
      return "right anti";
  }
  __builtin_unreachable();
}

// Tells the arenas of joins apart.
std::atomic<uint32_t> g_number{0};

class JoinStage final : public Stage {
 public:
  JoinStage(JoinRun& run, JoinPartitions& partitions, Stage* next)
      : Stage(next),
        run_(run),
        partitions_(partitions),
        keys_(run.shape.spec.probe, run.shape.spec.probe_keys, run.memory),
        probe_(MakeProbe(run)),
        waiting_(partitions) {}

  void Push(Batch& batch) override {
    keys_.Extend(batch, with_keys_);
    probe_->Begin(partitions_, waiting_, with_keys_, nullptr);
    while (!next_->Done() && probe_->Next(out_)) {
      next_->Push(out_);
      run_.query.CheckCancelled();
    }
  }
  void End() override { waiting_.Flush(); }
  bool Done() const override {
    if (run_.shape.empty_without_build() && partitions_.rows() == 0 && !partitions_.any_on_disk()) return true;
    return next_->Done();
  }

 private:
  JoinRun& run_;
  JoinPartitions& partitions_;
  JoinKeys keys_;
  std::unique_ptr<JoinProbe> probe_;
  WaitingRows waiting_;
  Batch with_keys_, out_;
};

class Join final : public Operator {
 public:
  Join(Query& query, HashJoinSpec spec, std::unique_ptr<Chain> build, const std::string& name)
      : run_(query, std::move(spec), name + " " + std::to_string(++g_number)),
        partitions_(std::make_unique<JoinPartitions>(run_, 0)),
        chain_(std::move(build)) {
    figures_.name = name;
    figures_.detail = KindName(run_.shape.spec.kind);
    auto keep = std::make_unique<JoinBuild>(run_, *partitions_);
    build_ = keep.get();
    chain_->operators.push_back(std::move(keep));
    query.Register(this);
  }
  ~Join() override { Join::Close(); }

  std::vector<Chain*> Before() override { return {chain_.get()}; }
  std::unique_ptr<Stage> MakeStage(Worker& /*worker*/, Stage* next) override {
    return std::make_unique<JoinStage>(run_, *partitions_, next);
  }

  size_t Settle() override {
    partitions_->FinishProbe();
    partitions_->DropTables();
    rest_.emplace(run_, *partitions_);
    return 0;
  }
  Source* Rest() override { return rest_->empty() ? nullptr : &*rest_; }

  void Close() override {
    if (partitions_ == nullptr) return;
    run_.query.Unregister(this);
    rest_.reset();
    partitions_.reset();
    run_.filters.Close();
    figures_.peak = run_.memory.Peak();
    figures_.spilled = run_.spilled;
    figures_.spilled_rows = run_.spilled_rows;
    figures_.freed = run_.freed;
    figures_.spills = run_.spills;
  }

  size_t Spillable() override {
    if (rest_.has_value()) return 0;
    const size_t held = build_->building() ? build_->bytes() : partitions_->bytes();
    return held < kWorthSpilling ? 0 : held;
  }

  size_t SpillAtBoundary(size_t wanted) override {
    const size_t before = run_.memory.Resident();
    const auto freed = [&] {
      const size_t now = run_.memory.Resident();
      return now < before ? before - now : 0;
    };
    if (build_->building()) {
      build_->Spill(wanted);
    } else {
      while (freed() < wanted && partitions_->SpillLargest()) {
      }
    }
    return freed();
  }

 private:
  JoinRun run_;
  std::unique_ptr<JoinPartitions> partitions_;  // until Close
  std::unique_ptr<Chain> chain_;
  JoinBuild* build_;
  std::optional<JoinRest> rest_;
};

}  // namespace

std::unique_ptr<Operator> MakeHashJoin(Query& query, HashJoinSpec spec, std::unique_ptr<Chain> build) {
  return std::make_unique<Join>(query, std::move(spec), std::move(build), "hash join");
}

std::unique_ptr<Operator> MakeNestedLoopJoin(Query& query, NestedLoopJoinSpec spec, std::unique_ptr<Chain> build) {
  HashJoinSpec without_keys;
  without_keys.kind = spec.kind;
  without_keys.probe = std::move(spec.probe);
  without_keys.build = std::move(spec.build);
  without_keys.filter = std::move(spec.filter);
  without_keys.output = std::move(spec.output);
  without_keys.mark = spec.mark;
  without_keys.null_aware = spec.null_aware;
  return std::make_unique<Join>(query, std::move(without_keys), std::move(build), "nested loop join");
}

}  // namespace neap::engine
