// window.cc: the operator: rows are split by the hash of their partition among as many sorts as there are threads, each
// of which is then read on one thread, segment by segment and block by block.
#include "engine/operators/window.h"

#include <algorithm>
#include <atomic>
#include <optional>
#include <string>
#include <utility>

#include "engine/core/error.h"
#include "engine/core/hash.h"
#include "engine/operators/window_call.h"
#include "engine/operators/window_segment.h"
#include "engine/rows/external_sort.h"
#include "engine/run/query.h"

namespace neap::engine {
namespace {

// What a batch of the result has in one column: a column of the rows, or a call.
struct WindowOutput {
  bool is_call;
  size_t index;
  Type type;
};

struct WindowPlan {
  std::vector<Expression> kept;  // columns of the rows: PARTITION BY, ORDER BY, others
  WindowLayout layout;
  std::vector<SortColumn> order;
  std::vector<BoundWindowCall> calls;
  std::vector<WindowOutput> outputs;
  WindowNeed need = WindowNeed::kRow;
};

// The constant second argument of some functions.
void BindConstant(const Expression& argument, BoundWindowCall* bound) {
  bool is_constant = true;
  argument.ForEachColumn([&](ColumnId) { is_constant = false; });
  const Literal literal = is_constant ? EvaluateConstant(argument) : Literal();
  bound->constant_null = literal.null;
  if (is_constant && literal.null) return;
  const int64_t* value = std::get_if<int64_t>(&literal.value);
  if (!is_constant || value == nullptr) {
    throw Error(ErrorKind::kPlan, "a window function takes an integer constant here, not " + argument.type.Name() +
                                      (is_constant ? "" : " of a column"));
  }
  bound->constant = *value;
}

WindowPlan PlanOf(const WindowSpec& spec) {
  WindowPlan plan;
  const auto column_of = [&](const Expression& expression) {
    const auto found = std::find(plan.kept.begin(), plan.kept.end(), expression);
    const auto column = static_cast<int>(found - plan.kept.begin());
    if (found == plan.kept.end()) plan.kept.push_back(expression);
    return column;
  };
  for (const Expression& key : spec.partition) {
    plan.order.push_back({static_cast<uint32_t>(plan.kept.size())});
    plan.kept.push_back(key);
  }
  for (const SortKey& key : spec.order) {
    plan.order.push_back({static_cast<uint32_t>(plan.kept.size()), key.descending, key.nulls_first});
    plan.kept.push_back(key.expression);
  }
  for (size_t c = 0; c < spec.calls.size(); ++c) {
    const WindowCall& call = spec.calls[c];
    BoundWindowCall& bound = plan.calls.emplace_back(BoundWindowCall{.call = call, .output = spec.call_types[c]});
    const bool is_of_value = call.function == WindowFunction::kAggregate || call.function == WindowFunction::kLag ||
                             call.function == WindowFunction::kLead || call.function == WindowFunction::kFirstValue ||
                             call.function == WindowFunction::kLastValue || call.function == WindowFunction::kNthValue;
    const size_t constant_at = is_of_value ? 1 : 0;
    if (is_of_value && !call.args.empty()) bound.value = column_of(call.args[0]);
    if (call.args.size() > constant_at) BindConstant(call.args[constant_at], &bound);
    if (call.args.size() > 2) {
      bound.fallback = column_of(CastTo(call.args[2], spec.call_types[c]));
    }
    if (call.key) bound.key = column_of(*call.key);
    if (call.start.value) bound.start_value = column_of(*call.start.value);
    if (call.end.value) bound.end_value = column_of(*call.end.value);
    plan.need = std::max(plan.need, NeedOf(call));
  }
  for (ColumnId id : spec.output) {
    const auto call =
        std::find_if(spec.calls.begin(), spec.calls.end(), [&](const WindowCall& other) { return other.output == id; });
    if (call != spec.calls.end()) {
      const auto index = static_cast<size_t>(call - spec.calls.begin());
      plan.outputs.push_back({true, index, spec.call_types[index]});
    } else {
      const Type type = spec.input.types[spec.input.Find(id)];
      plan.outputs.push_back({false, static_cast<size_t>(column_of(Expression::Column(id, type))), type});
    }
  }
  std::vector<Type> types;
  for (const Expression& expression : plan.kept) types.push_back(expression.type);
  types.push_back({TypeId::kInt8});
  plan.layout = {RowLayout(std::move(types)), spec.partition.size(), spec.order.size()};
  return plan;
}

// ---- Rows in.

class WindowStage final : public Stage {
 public:
  WindowStage(Worker& worker, const WindowPlan& plan, const Slots& input, Memory& memory,
              std::vector<std::unique_ptr<ExternalSort>>& sorts, Stage* next)
      : Stage(next),
        worker_(worker.index),
        partition_columns_(plan.layout.partition_columns),
        sorts_(sorts),
        hashes_(memory, kBatchRows),
        chosen_(memory, kBatchRows) {
    for (const Expression& expression : plan.kept) evaluators_.emplace_back(expression, input, memory);
    for (uint32_t c = 0; c < partition_columns_; ++c) columns_.push_back(c);
  }

  void Push(Batch& batch) override {
    kept_.columns.clear();
    for (Evaluator& evaluator : evaluators_) kept_.columns.push_back(evaluator.Evaluate(batch));
    kept_.rows = batch.rows;
    kept_.selection = batch.selection;
    kept_.selected = batch.selected;
    if (sorts_.size() == 1) {
      sorts_[0]->Append(worker_, kept_);
      return;
    }
    HashRows(kept_, columns_.data(), partition_columns_, hashes_.data());
    for (uint32_t s = 0; s < sorts_.size(); ++s) {
      uint32_t count = 0;
      batch.ForEach([&](uint32_t row) {
        chosen_[count] = static_cast<RowIndex>(row);
        count += (hashes_[row] >> 32) % sorts_.size() == s;
      });
      if (count == 0) continue;
      kept_.selection = chosen_.data();
      kept_.selected = count;
      sorts_[s]->Append(worker_, kept_);
    }
  }

  void End() override {
    for (auto& sort : sorts_) sort->End(worker_);
  }

 private:
  uint32_t worker_;
  size_t partition_columns_;
  std::vector<std::unique_ptr<ExternalSort>>& sorts_;
  std::vector<Evaluator> evaluators_;
  std::vector<uint32_t> columns_;
  Batch kept_;
  Array<uint64_t> hashes_;
  Array<RowIndex> chosen_;
};

// ---- Results out, of one sort after the other.

class WindowCursor final : public Cursor {
 public:
  WindowCursor(Query& query, const WindowPlan& plan, Memory& memory, std::vector<std::unique_ptr<ExternalSort>>& sorts,
               std::vector<OperatorFigures>& figures, std::atomic<size_t>& next)
      : query_(query),
        plan_(plan),
        memory_(memory),
        sorts_(sorts),
        figures_(figures),
        next_sort_(next),
        block_(memory, 1),
        rows_(memory, plan.layout),
        ahead_(memory, plan.layout),
        partition_ahead_(memory, plan.layout) {
    for (const WindowOutput& output : plan.outputs) {
      data_.emplace_back(memory, kBatchRows * output.type.width());
      valid_.emplace_back(memory, kBatchRows);
    }
  }

  bool Next(Batch& batch) override {
    while (segment_ == nullptr || at_ == segment_->first + segment_->count) {
      if (!NextSegment()) return false;
    }
    FillBlock();
    batch.columns.resize(plan_.outputs.size());
    for (size_t i = 0; i < plan_.outputs.size(); ++i) {
      const WindowOutput& output = plan_.outputs[i];
      const ColumnBuffer out{data_[i].data(), valid_[i].data()};
      batch.columns[i] =
          output.is_call ? calls_[output.index]->Evaluate(block_[0], out)
                         : GatherColumn(plan_.layout.rows, output.index, block_[0].rows, nullptr, block_[0].count, out);
    }
    batch.SetAll(block_[0].count);
    return true;
  }

 private:
  bool NextSegment() {
    while (true) {
      if (segment_ != nullptr) EndSegment();
      if (input_) segment_ = input_->Next();
      if (segment_ != nullptr) break;
      calls_.clear();
      input_.reset();
      const size_t sort = next_sort_.fetch_add(1);
      if (sort >= sorts_.size()) return false;
      input_.emplace(query_, memory_, plan_.layout, plan_.need, *sorts_[sort], figures_[sort]);
      for (const BoundWindowCall& call : plan_.calls) {
        calls_.push_back(MakeWindowEvaluator(call, plan_.layout, memory_));
      }
      at_ = partition_begin_ = partition_end_ = peers_begin_ = peers_end_ = 0;
    }
    rows_.Begin(*segment_);
    ahead_.Begin(*segment_);
    partition_ahead_.Begin(*segment_);
    for (auto& call : calls_) call->Begin(*segment_);
    return true;
  }

  void EndSegment() {
    rows_.End();
    ahead_.End();
    partition_ahead_.End();
    for (auto& call : calls_) call->End();
    segment_ = nullptr;
  }

  // Where the partition and the peers of the next rows lie.
  void FillBlock() {
    WindowBlock& block = block_[0];
    const uint64_t end = segment_->first + segment_->count;
    block.first = at_;
    block.count = static_cast<uint32_t>(std::min<uint64_t>(end - at_, query_.options().batch_rows));
    rows_.Release(at_);
    for (uint32_t i = 0; i < block.count; ++i, ++at_) {
      const uint8_t* row = rows_.At(at_);
      const uint8_t flags = plan_.layout.Flags(row);
      if ((flags & kStartsPartition) != 0) {
        partition_begin_ = at_;
        dense_rank_ = 0;
        if (plan_.need == WindowNeed::kPartition) partition_end_ = EndFrom(at_, kStartsPartition, partition_ahead_);
      }
      if ((flags & kStartsPeers) != 0) {
        peers_begin_ = at_;
        ++dense_rank_;
        if (plan_.need != WindowNeed::kRow) peers_end_ = EndFrom(at_, kStartsPeers, ahead_);
      }
      block.rows[i] = row;
      block.partition_begin[i] = partition_begin_;
      block.partition_end[i] = partition_end_;
      block.peers_begin[i] = peers_begin_;
      block.peers_end[i] = peers_end_;
      block.dense_rank[i] = dense_rank_;
    }
  }

  // The first row behind `row` that has the flag; the end of the segment where there is none.
  uint64_t EndFrom(uint64_t row, uint8_t flag, WindowReader& ahead) {
    const uint64_t end = segment_->first + segment_->count;
    do {
      ahead.Release(row);
    } while (++row < end && (plan_.layout.Flags(ahead.At(row)) & flag) == 0);
    return row;
  }

  Query& query_;
  const WindowPlan& plan_;
  Memory& memory_;
  std::vector<std::unique_ptr<ExternalSort>>& sorts_;
  std::vector<OperatorFigures>& figures_;
  std::atomic<size_t>& next_sort_;

  std::optional<WindowInput> input_;
  std::vector<std::unique_ptr<WindowEvaluator>> calls_;
  const WindowSegment* segment_ = nullptr;
  uint64_t at_ = 0;  // the row that comes next
  uint64_t partition_begin_ = 0, partition_end_ = 0, peers_begin_ = 0, peers_end_ = 0, dense_rank_ = 0;

  Array<WindowBlock> block_;
  WindowReader rows_, ahead_, partition_ahead_;
  std::vector<Array<uint8_t>> data_, valid_;
};

// ---- The operator.

class Window final : public Operator, private Source {
 public:
  Window(Query& query, const WindowSpec& spec)
      : query_(query), input_(spec.input), plan_(PlanOf(spec)), memory_(&query.memory(), "window") {
    Operator::figures_.name = "window";
    const size_t count = spec.partition.empty() ? 1 : query.threads();
    sort_figures_.resize(count);
    std::vector<Type> types = plan_.layout.rows.types();
    types.pop_back();
    for (size_t s = 0; s < count; ++s) {
      sorts_.push_back(
          std::make_unique<ExternalSort>(query, memory_, types, plan_.order, UINT64_MAX, sort_figures_[s]));
    }
    query_.Register(this);
  }
  ~Window() override { query_.Unregister(this); }

  std::unique_ptr<Stage> MakeStage(Worker& worker, Stage* next) override {
    return std::make_unique<WindowStage>(worker, plan_, input_, memory_, sorts_, next);
  }
  size_t Settle() override { return sorts_.size(); }
  void SettleTask(Worker& /*worker*/, size_t task) override { sorts_[task]->StartMerge(); }
  Source* Rest() override { return this; }
  void Close() override {
    query_.Unregister(this);
    OperatorFigures& figures = Operator::figures_;
    for (size_t s = 0; s < sorts_.size(); ++s) {
      sorts_[s]->Close();
      figures.spilled += sort_figures_[s].spilled;
      figures.spilled_rows += sort_figures_[s].spilled_rows;
      figures.freed += sort_figures_[s].freed;
      figures.spills += sort_figures_[s].spills;
    }
    sorts_.clear();
    figures.peak = memory_.Peak();
  }

  size_t Spillable() override {
    size_t bytes = 0;
    for (const auto& sort : sorts_) bytes += sort->Spillable();
    return bytes;
  }
  size_t SpillAtBoundary(size_t wanted) override {
    size_t freed = 0;
    for (const auto& sort : sorts_) {
      if (freed < wanted) freed += sort->SpillAtBoundary(wanted - freed);
    }
    return freed;
  }

 private:
  std::unique_ptr<Cursor> MakeCursor(Worker& /*worker*/) override {
    return std::make_unique<WindowCursor>(query_, plan_, memory_, sorts_, sort_figures_, next_sort_);
  }

  Query& query_;
  const Slots input_;
  const WindowPlan plan_;
  Memory memory_;
  std::vector<OperatorFigures> sort_figures_;
  std::vector<std::unique_ptr<ExternalSort>> sorts_;
  std::atomic<size_t> next_sort_{0};
};

}  // namespace

std::unique_ptr<Operator> MakeWindow(Query& query, WindowSpec spec) { return std::make_unique<Window>(query, spec); }

}  // namespace neap::engine
