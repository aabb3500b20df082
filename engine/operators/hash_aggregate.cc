// hash_aggregate.cc: the operator: what a thread does with a batch, and how the threads' groups become partitions.
#include "engine/operators/hash_aggregate.h"

#include <algorithm>
#include <string>
#include <utility>

#include "engine/core/error.h"
#include "engine/operators/aggregate_function.h"
#include "engine/operators/hash_aggregate_merge.h"
#include "engine/operators/hash_aggregate_table.h"
#include "engine/run/query.h"

namespace neap::engine {
namespace {

// So few partial results are merged by one thread.
constexpr uint64_t kFewRows = kBatchRows;
// Strings that are no longer needed in the one group there is without GROUP BY.
constexpr size_t kMostDeadBytes = size_t{1} << 20;

int NumberOf(std::vector<Expression>& filters, const Expression& filter) {
  const auto found = std::find(filters.begin(), filters.end(), filter);
  const auto number = static_cast<int>(found - filters.begin());
  if (found == filters.end()) filters.push_back(filter);
  return number;
}

// What is computed of a batch: an argument, for the rows that pass a filter.
struct Value {
  Expression expression;
  int filter;
};

// The calls with their arguments and filters numbered; equal ones are computed once.
struct NumberedCalls {
  std::vector<Expression> filters;
  std::vector<Value> values;
  std::vector<NumberedCall> calls;

  NumberedCalls(const std::vector<AggregateCall>& of, const std::vector<Type>& types) {
    for (size_t i = 0; i < of.size(); ++i) {
      NumberedCall& call = calls.emplace_back();
      call.function = of[i].function;
      call.output = types[i];
      if (of[i].filter) call.filter = NumberOf(filters, *of[i].filter);
      if (of[i].args.empty()) {
        if (call.function != Aggregate::kCount) throw Error(ErrorKind::kPlan, "an aggregate without an argument");
        continue;
      }
      const Expression& argument = of[i].args[0];
      const auto found = std::find_if(values.begin(), values.end(), [&](const Value& value) {
        return value.filter == call.filter && value.expression == argument;
      });
      call.value = static_cast<int>(found - values.begin());
      call.value_type = argument.type;
      if (found == values.end()) values.push_back({argument, call.filter});
    }
  }
};

// The only group where there is no GROUP BY.
class SingleGroup final : public StringKeeper {
 public:
  SingleGroup(const RowLayout& layout, Memory& memory, const AggregateStates& states) : rows_(&layout, &memory) {
    row_ = rows_.AppendEmpty();
    states.Initialize(row_);
  }

  uint8_t* row() { return row_; }
  RowStore& rows() { return rows_; }

  // Between batches.
  void Compact() {
    if (dead_bytes_ < kMostDeadBytes) return;
    RowStore copy(&rows_.layout(), &rows_.memory());
    row_ = copy.AppendRow(row_);
    rows_ = std::move(copy);
    dead_bytes_ = 0;
  }

  View Keep(uint8_t* /*row*/, const View& old, const View& text) override {
    if (!old.is_inline()) dead_bytes_ += old.size;
    return rows_.Keep(text);
  }

 private:
  RowStore rows_;
  uint8_t* row_;
  size_t dead_bytes_ = 0;
};

class HashAggregate : public Operator {
 public:
  HashAggregate(Query& query, HashAggregateSpec spec)
      : query_(query),
        spec_(std::move(spec)),
        calls_(spec_.calls, spec_.call_types),
        states_(calls_.calls),
        layout_(RowTypes()),
        memory_(&query.memory(), "aggregate by " + std::to_string(spec_.groups.size()) + " columns") {
    states_.Bind(layout_, spec_.groups.size());
    for (ColumnId id : spec_.output) outputs_.push_back(OutputOf(id));
    figures_.name = "aggregate";
    figures_.detail =
        std::to_string(spec_.groups.size()) + " columns, " + std::to_string(spec_.calls.size()) + " calls";
    tables_.resize(query.threads());
    singles_.resize(query.threads());
    query_.Register(this);
  }
  ~HashAggregate() override { HashAggregate::Close(); }

  std::unique_ptr<Stage> MakeStage(Worker& worker, Stage* next) override;
  size_t Settle() override;
  Source* Rest() override { return merge_.get(); }
  void Close() override;

  size_t Spillable() override;
  size_t SpillAtBoundary(size_t wanted) override;

 private:
  class AggregateStage;

  std::vector<Type> RowTypes() const {
    std::vector<Type> types;
    for (const Expression& group : spec_.groups) types.push_back(group.type);
    const std::vector<Type> states = states_.types();
    types.insert(types.end(), states.begin(), states.end());
    types.push_back({TypeId::kInt64});
    return types;
  }

  GroupOutput OutputOf(ColumnId id) const {
    for (size_t i = 0; i < spec_.group_outputs.size(); ++i) {
      if (spec_.group_outputs[i] == id) return {true, i, spec_.groups[i].type};
    }
    for (size_t i = 0; i < spec_.calls.size(); ++i) {
      if (spec_.calls[i].output == id) return {false, i, spec_.call_types[i]};
    }
    throw Error(ErrorKind::kPlan, "an aggregate does not give column " + std::to_string(id));
  }

  std::vector<GroupPartition> Partitions();
  GroupPartition OnlyGroup();

  Query& query_;
  const HashAggregateSpec spec_;
  const NumberedCalls calls_;
  AggregateStates states_;
  const RowLayout layout_;
  std::vector<GroupOutput> outputs_;
  Memory memory_;
  std::vector<std::unique_ptr<GroupTable>> tables_;    // by worker
  std::vector<std::unique_ptr<SingleGroup>> singles_;  // the same without GROUP BY
  std::unique_ptr<GroupMerge> merge_;
  bool closed_ = false;
};

// ---- Batches.

class HashAggregate::AggregateStage : public Stage {
 public:
  AggregateStage(HashAggregate& op, GroupTable* table, SingleGroup* single, Stage* next)
      : Stage(next), states_(op.states_.states()), table_(table), single_(single) {
    for (const Expression& group : op.spec_.groups) groups_.emplace_back(group, op.spec_.input, op.memory_);
    for (const Expression& filter : op.calls_.filters) {
      filters_.push_back({Evaluator(filter, op.spec_.input, op.memory_), Array<RowIndex>(op.memory_, kBatchRows), 0});
    }
    for (const Value& value : op.calls_.values) {
      values_.push_back({Evaluator(value.expression, op.spec_.input, op.memory_), value.filter, {}});
    }
    keys_.columns.resize(groups_.size());
  }

  void Push(Batch& batch) override {
    if (batch.selected == 0) return;
    Evaluate(batch);
    if (single_ != nullptr) {
      for (const AggregateState& state : states_) {
        const Rows rows = RowsOf(state, batch);
        state.UpdateOne(single_->row(), ValuesOf(state), rows.numbers, rows.count, *single_);
      }
      single_->Compact();
      return;
    }
    for (size_t i = 0; i < groups_.size(); ++i) keys_.columns[i] = groups_[i].Evaluate(batch);
    keys_.rows = batch.rows;
    keys_.selection = batch.selection;
    keys_.selected = batch.selected;
    const BatchGroups& groups = table_->Locate(keys_, !filters_.empty());
    for (const AggregateState& state : states_) {
      if (groups.in_runs && state.filter == AggregateState::kNone) {
        for (uint32_t run = 0, begin = 0; run < groups.run_count; begin = groups.ends[run++]) {
          state.UpdateOne(groups.runs[run], ValuesOf(state), groups.rows + begin, groups.ends[run] - begin, *table_);
        }
      } else {
        const Rows rows = RowsOf(state, batch);
        state.UpdateEach(groups.of_row, ValuesOf(state), rows.numbers, rows.count, *table_);
      }
    }
    table_->AfterBatch();
  }

  void End() override {
    if (table_ != nullptr) table_->Finish();
    groups_.clear();
    filters_.clear();
    values_.clear();
  }

 private:
  struct Rows {
    const RowIndex* numbers;
    uint32_t count;
  };
  struct Filter {
    Evaluator evaluator;
    Array<RowIndex> kept;
    uint32_t count;
  };
  struct Argument {
    Evaluator evaluator;
    int filter;
    Column column;
  };

  // Arguments are computed for rows that pass their filter alone: others may not divide, say.
  void Evaluate(const Batch& batch) {
    for (Filter& filter : filters_) filter.count = filter.evaluator.Select(batch, filter.kept.data());
    for (Argument& value : values_) {
      if (value.filter == AggregateState::kNone) {
        value.column = value.evaluator.Evaluate(batch);
        continue;
      }
      const Filter& filter = filters_[static_cast<size_t>(value.filter)];
      filtered_.columns = batch.columns;
      filtered_.rows = batch.rows;
      filtered_.selection = filter.kept.data();
      filtered_.selected = filter.count;
      value.column = value.evaluator.Evaluate(filtered_);
    }
  }

  Rows RowsOf(const AggregateState& state, const Batch& batch) const {
    if (state.filter == AggregateState::kNone) return {batch.selection, batch.selected};
    const Filter& filter = filters_[static_cast<size_t>(state.filter)];
    return {filter.kept.data(), filter.count};
  }
  const Column* ValuesOf(const AggregateState& state) const {
    return state.value == AggregateState::kNone ? nullptr : &values_[static_cast<size_t>(state.value)].column;
  }

  const std::vector<AggregateState>& states_;
  GroupTable* table_;
  SingleGroup* single_;
  std::vector<Evaluator> groups_;
  std::vector<Filter> filters_;
  std::vector<Argument> values_;
  Batch keys_, filtered_;
};

std::unique_ptr<Stage> HashAggregate::MakeStage(Worker& worker, Stage* next) {
  if (spec_.groups.empty()) {
    singles_[worker.index] = std::make_unique<SingleGroup>(layout_, memory_, states_);
  } else {
    tables_[worker.index] = std::make_unique<GroupTable>(query_, memory_, layout_, spec_.groups.size(), states_);
  }
  return std::make_unique<AggregateStage>(*this, tables_[worker.index].get(), singles_[worker.index].get(), next);
}

// ---- From threads to partitions.

size_t HashAggregate::Settle() {
  std::vector<GroupPartition> partitions;
  if (spec_.groups.empty()) {
    partitions.push_back(OnlyGroup());
  } else {
    partitions = Partitions();
  }
  merge_ = std::make_unique<GroupMerge>(query_, memory_, layout_, spec_.groups.size(), states_, outputs_,
                                        std::move(partitions), figures_);
  return 0;
}

GroupPartition HashAggregate::OnlyGroup() {
  SingleGroup& first = *singles_[0];
  for (size_t i = 1; i < singles_.size(); ++i) {
    uint8_t* into = first.row();
    const uint8_t* from = singles_[i]->row();
    states_.Merge(&into, &from, 1, first);
  }
  return {std::move(first.rows()), {}, -1, true};
}

std::vector<GroupPartition> HashAggregate::Partitions() {
  std::vector<GroupPartition> partitions;
  uint64_t rows = 0;
  bool on_disk = false;
  for (uint32_t p = 0; p < kPartitions; ++p) {
    GroupPartition partition{RowStore(&layout_, &memory_), {}, 0, true};
    for (const auto& table : tables_) {
      if (std::optional<SpillFile>& file = table->file(p)) {
        file->Finish();
        figures_.spilled += file->bytes();
        partition.files.push_back(std::move(*file));
      }
      RowStore& store = table->rows().partition(p);
      if (store.rows() == 0) continue;
      partition.is_unique &= table->is_unique() && partition.rows.rows() == 0;
      partition.rows.Adopt(std::move(store));
    }
    rows += partition.rows.rows();
    on_disk |= !partition.files.empty();
    if (partition.rows.rows() != 0 || !partition.files.empty()) partitions.push_back(std::move(partition));
  }
  for (auto& table : tables_) {
    figures_.spilled_rows += table->spilled_rows();
    figures_.spills += table->spills();
    figures_.freed += table->freed();
    table.reset();
  }
  if (!on_disk && rows <= kFewRows && partitions.size() > 1) {
    GroupPartition& all = partitions[0];
    all.level = -1;
    for (size_t i = 1; i < partitions.size(); ++i) {
      all.is_unique &= partitions[i].is_unique;
      all.rows.Adopt(std::move(partitions[i].rows));
    }
    partitions.erase(partitions.begin() + 1, partitions.end());
  }
  return partitions;
}

// ---- Memory.

size_t HashAggregate::Spillable() {
  if (merge_ != nullptr) return merge_->Spillable();
  size_t bytes = 0;
  for (const auto& table : tables_) bytes += table == nullptr ? 0 : table->bytes();
  return bytes;
}

size_t HashAggregate::SpillAtBoundary(size_t wanted) {
  if (merge_ != nullptr) return merge_->Spill(wanted);
  size_t freed = 0;
  while (freed < wanted) {
    GroupTable* largest = nullptr;
    for (const auto& table : tables_) {
      if (table != nullptr && (largest == nullptr || table->bytes() > largest->bytes())) largest = table.get();
    }
    if (largest == nullptr || largest->bytes() == 0) break;
    freed += largest->Spill(wanted - freed);
  }
  return freed;
}

void HashAggregate::Close() {
  if (std::exchange(closed_, true)) return;
  query_.Unregister(this);
  merge_.reset();
  tables_.clear();
  singles_.clear();
  figures_.peak = memory_.Peak();
}

}  // namespace

std::unique_ptr<Operator> MakeHashAggregate(Query& query, HashAggregateSpec spec) {
  return std::make_unique<HashAggregate>(query, std::move(spec));
}

}  // namespace neap::engine
