// values.cc: values.
#include "engine/operators/values.h"

#include <atomic>
#include <utility>

#include "engine/run/query.h"

namespace neap::engine {
namespace {

class Values : public Source {
 public:
  Values(Query& query, std::vector<std::vector<Expression>> rows) : query_(query), rows_(std::move(rows)) {
    figures_.name = "values";
  }
  std::unique_ptr<Cursor> MakeCursor(Worker& /*worker*/) override { return std::make_unique<RowCursor>(*this); }

 private:
  // One row a batch: there are few.
  class RowCursor : public Cursor {
   public:
    explicit RowCursor(Values& values) : values_(values) {}
    bool Next(Batch& batch) override {
      const size_t row = values_.next_.fetch_add(1);
      if (row >= values_.rows_.size()) return false;
      batch.columns.clear();
      evaluators_.clear();
      Batch one;
      one.SetAll(1);
      for (const Expression& expression : values_.rows_[row]) {
        evaluators_.emplace_back(expression, Slots(), values_.query_.memory());
        batch.columns.push_back(evaluators_.back().Evaluate(one));
      }
      batch.SetAll(1);
      return true;
    }

   private:
    Values& values_;
    std::vector<Evaluator> evaluators_;
  };

  Query& query_;
  std::vector<std::vector<Expression>> rows_;
  std::atomic<size_t> next_{0};
};

}  // namespace

std::unique_ptr<Source> MakeValues(Query& query, std::vector<std::vector<Expression>> rows) {
  return std::make_unique<Values>(query, std::move(rows));
}

}  // namespace neap::engine
