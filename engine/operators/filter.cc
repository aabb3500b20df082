// filter.cc: filter.
#include "engine/operators/filter.h"

#include <utility>

#include "engine/run/query.h"

namespace neap::engine {
namespace {

class FilterStage : public Stage {
 public:
  FilterStage(const Expression& condition, const Slots& input, Memory& memory, Stage* next)
      : Stage(next), condition_(condition, input, memory), kept_(memory, kBatchRows) {}

  void Push(Batch& batch) override {
    const uint32_t kept = condition_.Select(batch, kept_.data());
    if (kept == 0) return;
    if (kept != batch.rows) batch.selection = kept_.data();
    batch.selected = kept;
    next_->Push(batch);
  }

 private:
  Evaluator condition_;
  Array<RowIndex> kept_;
};

class Filter : public Operator {
 public:
  Filter(Query& query, Expression condition, Slots input)
      : query_(query), condition_(std::move(condition)), input_(std::move(input)) {
    figures_.name = "filter";
  }
  std::unique_ptr<Stage> MakeStage(Worker& /*worker*/, Stage* next) override {
    return std::make_unique<FilterStage>(condition_, input_, query_.memory(), next);
  }

 private:
  Query& query_;
  Expression condition_;
  Slots input_;
};

}  // namespace

std::unique_ptr<Operator> MakeFilter(Query& query, Expression condition, Slots input) {
  return std::make_unique<Filter>(query, std::move(condition), std::move(input));
}

}  // namespace neap::engine
