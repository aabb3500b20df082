// join_build.cc: from batches of the build side to tables and runtime filters.
#include "engine/operators/join_build.h"

#include <algorithm>
#include <type_traits>
#include <utility>

namespace neap::engine {
namespace {

// What all build rows start with: no match yet.
Column NoFlag() {
  static constexpr uint8_t kFalse = 0;
  return {.type = {TypeId::kBool}, .data = &kFalse, .indices = kZeroIndices, .positions = 1};
}

// Widens `bounds` by the rows that count.
void WidenBy(const Batch& batch, const Column& column, std::optional<KeyBounds>& bounds) {
  if (batch.selected == 0) return;
  DispatchPhysical(column.type.physical(), [&](auto zero) {
    using T = decltype(zero);
    if constexpr (std::is_same_v<T, Int128> || (std::is_integral_v<T> && !std::is_same_v<T, uint8_t>)) {
      const T* values = column.values<T>();
      T min{}, max{};
      bool any = false;
      const auto widen = [&](T value) {
        min = value < min ? value : min;
        max = value > max ? value : max;
      };
      if (column.indices == nullptr && column.valid == nullptr) {
        min = max = values[batch.selection == nullptr ? 0 : batch.selection[0]];
        any = true;
        batch.ForEach([&](uint32_t row) { widen(values[row]); });
      } else {
        batch.ForEach([&](uint32_t row) {
          if (!column.is_valid(row)) return;
          const T value = values[column.position(row)];
          if (!any) min = max = value;
          any = true;
          widen(value);
        });
      }
      if (any) Widen(bounds, KeyBounds{min, max});
    }
  });
}

}  // namespace

class JoinBuildStage final : public Stage {
 public:
  JoinBuildStage(JoinRun& run, JoinInput& input)
      : Stage(nullptr),
        run_(run),
        shape_(run_.shape),
        input_(input),
        keys_(shape_.spec.build, shape_.spec.build_keys, run_.memory),
        rows_(run_.memory, kBatchRows),
        hashes_(run_.memory, kBatchRows),
        bounds_(shape_.keys()) {}

  void Push(Batch& batch) override {
    keys_.Extend(batch, rows_in_);
    if (shape_.flags_build()) rows_in_.columns.push_back(NoFlag());
    const RowIndex* selection = rows_in_.selection;
    const uint32_t selected = rows_in_.selected;
    rows_in_.selected = shape_.RowsWithKeys(rows_in_, shape_.build_keys.data(), rows_.data(), &rows_in_.selection);
    const bool null_keys = rows_in_.selected != selected;
    if (!run_.has_build_rows) run_.has_build_rows = true;
    if (null_keys && !run_.has_null_keys) run_.has_null_keys = true;

    run_.filters.CountRows(rows_in_.selected);
    HashRows(rows_in_, shape_.build_keys.data(), shape_.keys(), hashes_.data());
    for (size_t k = 0; k < shape_.keys(); ++k) {
      WidenBy(rows_in_, rows_in_.columns[shape_.build_keys[k]], bounds_[k]);
    }
    if (null_keys && shape_.keeps_null_keys()) {
      // Rows that match nothing may lie in any partition: they are spread over all.
      RestOf(selection, selected, rows_in_.selection, rows_in_.selected);
      rows_in_.selection = selection;
      rows_in_.selected = selected;
    }
    if (rows_in_.selected == 0) return;
    input_.MakeRoom(rows_in_.selected);
    input_.rows().Append(rows_in_, shape_.build_kept.data(), hashes_.data(), rows_in_.selection, rows_in_.selected,
                         nullptr);
  }

  void End() override { run_.filters.Widen(bounds_); }

 private:
  void RestOf(const RowIndex* all, uint32_t all_count, const RowIndex* keyed, uint32_t keyed_count) {
    uint32_t k = 0;
    for (uint32_t i = 0; i < all_count; ++i) {
      const RowIndex row = all == nullptr ? static_cast<RowIndex>(i) : all[i];
      if (k < keyed_count && keyed[k] == row) {
        ++k;
      } else {
        hashes_[row] = MixHash(++spread_);
      }
    }
  }

  JoinRun& run_;
  const JoinShape& shape_;
  JoinInput& input_;
  JoinKeys keys_;
  Batch rows_in_;
  Array<RowIndex> rows_;
  Array<uint64_t> hashes_;
  std::vector<std::optional<KeyBounds>> bounds_;
  uint64_t spread_ = 0;
};

JoinBuild::JoinBuild(JoinRun& run, JoinPartitions& partitions) : run_(run), partitions_(partitions) {
  figures_.name = "build";
  for (uint32_t i = 0; i < run.query.threads(); ++i) inputs_.push_back(std::make_unique<JoinInput>(partitions));
}

std::unique_ptr<Stage> JoinBuild::MakeStage(Worker& worker, Stage* /*next*/) {
  return std::make_unique<JoinBuildStage>(run_, *inputs_[worker.index]);
}

size_t JoinBuild::Settle() {
  for (auto& input : inputs_) partitions_.Adopt(input->rows());
  inputs_.clear();
  partitions_.Settle(true, run_.shape.keys() == 1 ? run_.filters.bounds()[0] : std::nullopt);
  run_.filters.Settle();
  if (partitions_.rows() == 0) {
    run_.filters.Publish();
    return 0;
  }
  tasks_left_ = kPartitions;
  return kPartitions;
}

void JoinBuild::SettleTask(Worker& /*worker*/, size_t task) {
  const auto p = static_cast<uint32_t>(task);
  // First, as tables take the place of hashes.
  run_.filters.Add(partitions_.partition(p).rows);
  partitions_.BuildTable(p);
  if (tasks_left_.fetch_sub(1) == 1) run_.filters.Publish();
}

size_t JoinBuild::bytes() {
  size_t bytes = 0;
  for (const auto& input : inputs_) bytes += input->rows().bytes();
  return bytes;
}

void JoinBuild::Spill(size_t wanted) {
  for (const auto& input : inputs_) input->Spill(wanted / inputs_.size() + 1);
}

void JoinBuild::Close() { inputs_.clear(); }

}  // namespace neap::engine
