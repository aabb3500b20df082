// evaluator.cc: the outside of compiled expressions.
#include "engine/expression/evaluator.h"

#include <algorithm>
#include <string>
#include <utility>

#include "engine/expression/compile.h"
#include "engine/expression/dictionary.h"

namespace neap::engine {

uint32_t Slots::Find(ColumnId id) const {
  const auto found = std::find(ids.begin(), ids.end(), id);
  if (found == ids.end()) {
    throw Error(ErrorKind::kPlan, "column " + std::to_string(id) + " is not among those that the input gives");
  }
  return static_cast<uint32_t>(found - ids.begin());
}

bool Slots::Has(ColumnId id) const { return std::find(ids.begin(), ids.end(), id) != ids.end(); }

struct Evaluator::Impl {
  Type type;  // as declared; the root's may have fewer digits
  NodePtr root;
};

Evaluator::Evaluator(const Expression& expression, const Slots& slots, Memory& memory)
    : impl_(std::make_unique<Impl>()) {
  NodePtr root = CompileExpression(expression, slots, memory);
  impl_->type = expression.type;
  impl_->root = MakeDictionary(Coerce(std::move(root), expression.type, memory), memory);
}
Evaluator::Evaluator(Evaluator&&) noexcept = default;
Evaluator& Evaluator::operator=(Evaluator&&) noexcept = default;
Evaluator::~Evaluator() = default;

Column Evaluator::Evaluate(const Batch& batch) {
  Column column = impl_->root->Evaluate(Rows::Of(batch));
  column.type = impl_->type;
  return column;
}

uint32_t Evaluator::Select(const Batch& batch, RowIndex* kept) {
  if (batch.selected == 0) return 0;
  return impl_->root->Select(Rows::Of(batch), kept);
}

Literal EvaluateConstant(const Expression& expression) {
  Memory memory(nullptr, "constant");
  Evaluator evaluator(expression, Slots{}, memory);
  Batch batch;
  batch.SetAll(1);
  return LiteralAt(evaluator.Evaluate(batch), 0);
}

}  // namespace neap::engine
