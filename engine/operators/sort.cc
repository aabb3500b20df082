// sort.cc: the operator around an ExternalSort: keys are evaluated in Push, the rows given in Rest.
#include "engine/operators/sort.h"

#include <algorithm>
#include <atomic>
#include <utility>

#include "engine/rows/external_sort.h"
#include "engine/run/query.h"

namespace neap::engine {
namespace {

// The columns that are kept: the output's first, then what keys need beyond. A key that is not a column of the input
// is evaluated into one.
struct SortPlan {
  std::vector<uint32_t> slots;          // of the input
  std::vector<Expression> expressions;  // columns behind those
  std::vector<SortColumn> order;
  std::vector<Type> types;
};

SortPlan PlanOf(const SortSpec& spec) {
  SortPlan plan;
  for (const ColumnId id : spec.output) plan.slots.push_back(spec.input.Find(id));
  std::vector<uint32_t> columns;  // of the keys; those of expressions counted from 0
  for (const SortKey& key : spec.keys) {
    if (!key.expression.is_column()) {
      columns.push_back(static_cast<uint32_t>(plan.expressions.size()));
      plan.expressions.push_back(key.expression);
      continue;
    }
    const uint32_t slot = spec.input.Find(key.expression.column);
    const auto found = std::find(plan.slots.begin(), plan.slots.end(), slot);
    columns.push_back(static_cast<uint32_t>(found - plan.slots.begin()));
    if (found == plan.slots.end()) plan.slots.push_back(slot);
  }
  for (size_t i = 0; i < columns.size(); ++i) {
    const SortKey& key = spec.keys[i];
    if (!key.expression.is_column()) columns[i] += static_cast<uint32_t>(plan.slots.size());
    plan.order.push_back({columns[i], key.descending, key.nulls_first});
  }
  for (const uint32_t slot : plan.slots) plan.types.push_back(spec.input.types[slot]);
  for (const Expression& expression : plan.expressions) plan.types.push_back(expression.type);
  return plan;
}

class SortStage final : public Stage {
 public:
  SortStage(Worker& worker, const SortPlan& plan, const Slots& input, Memory& memory, ExternalSort& sort, Stage* next)
      : Stage(next), worker_(worker.index), plan_(plan), sort_(sort) {
    for (const Expression& expression : plan.expressions) evaluators_.emplace_back(expression, input, memory);
  }

  void Push(Batch& batch) override {
    kept_.columns.clear();
    for (const uint32_t slot : plan_.slots) kept_.columns.push_back(batch.columns[slot]);
    for (Evaluator& evaluator : evaluators_) kept_.columns.push_back(evaluator.Evaluate(batch));
    kept_.rows = batch.rows;
    kept_.selection = batch.selection;
    kept_.selected = batch.selected;
    sort_.Append(worker_, kept_);
  }

  void End() override { sort_.End(worker_); }

 private:
  uint32_t worker_;
  const SortPlan& plan_;
  ExternalSort& sort_;
  std::vector<Evaluator> evaluators_;
  Batch kept_;
};

// The rows behind the offset, of the output's columns.
class SortedRows final : public Cursor {
 public:
  SortedRows(ExternalSort& sort, uint64_t offset, size_t columns) : sort_(sort), offset_(offset), columns_(columns) {}

  bool Next(Batch& batch) override {
    do {
      if (!sort_.Next(batch)) return false;
      skipped_ = static_cast<uint32_t>(std::min<uint64_t>(offset_, batch.rows));
      offset_ -= skipped_;
    } while (skipped_ == batch.rows);
    batch.columns.resize(columns_);
    if (skipped_ != 0) {
      for (uint32_t row = skipped_; row < batch.rows; ++row) rest_[row - skipped_] = static_cast<RowIndex>(row);
      batch.selection = rest_;
      batch.selected = batch.rows - skipped_;
    }
    return true;
  }

 private:
  ExternalSort& sort_;
  uint64_t offset_;
  size_t columns_;
  uint32_t skipped_ = 0;
  RowIndex rest_[kBatchRows];
};

class NoRows final : public Cursor {
 public:
  bool Next(Batch& /*batch*/) override { return false; }
};

// One cursor gives all rows: order is of one sequence.
class SortSource final : public Source {
 public:
  SortSource(ExternalSort& sort, uint64_t offset, size_t columns) : sort_(sort), offset_(offset), columns_(columns) {}

  std::unique_ptr<Cursor> MakeCursor(Worker& /*worker*/) override {
    if (is_taken_.exchange(true)) return std::make_unique<NoRows>();
    return std::make_unique<SortedRows>(sort_, offset_, columns_);
  }

 private:
  ExternalSort& sort_;
  uint64_t offset_;
  size_t columns_;
  std::atomic<bool> is_taken_{false};
};

uint64_t RowsToKeep(const SortSpec& spec) {
  return spec.limit < 0 ? UINT64_MAX : static_cast<uint64_t>(spec.limit) + static_cast<uint64_t>(spec.offset);
}

class Sort final : public Operator {
 public:
  Sort(Query& query, const SortSpec& spec)
      : query_(query),
        input_(spec.input),
        plan_(PlanOf(spec)),
        memory_(&query.memory(), "sort"),
        sort_(query, memory_, plan_.types, plan_.order, RowsToKeep(spec), figures_),
        source_(sort_, static_cast<uint64_t>(spec.offset), spec.output.size()) {
    figures_.name = spec.limit < 0 ? "sort" : "top-n";
    query_.Register(this);
  }
  ~Sort() override { query_.Unregister(this); }

  std::unique_ptr<Stage> MakeStage(Worker& worker, Stage* next) override {
    return std::make_unique<SortStage>(worker, plan_, input_, memory_, sort_, next);
  }
  size_t Settle() override {
    sort_.StartMerge();
    return 0;
  }
  Source* Rest() override { return &source_; }
  void Close() override {
    query_.Unregister(this);
    sort_.Close();
  }

  size_t Spillable() override { return sort_.Spillable(); }
  size_t SpillAtBoundary(size_t wanted) override { return sort_.SpillAtBoundary(wanted); }

 private:
  Query& query_;
  Slots input_;
  SortPlan plan_;
  Memory memory_;
  ExternalSort sort_;
  SortSource source_;
};

}  // namespace

std::unique_ptr<Operator> MakeSort(Query& query, SortSpec spec) { return std::make_unique<Sort>(query, spec); }

}  // namespace neap::engine
