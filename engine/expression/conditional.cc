// conditional.cc: CASE. A branch is computed for the rows that take it alone, so that an error in another
// does not show.
#include <utility>

#include "engine/expression/compile.h"
#include "engine/expression/kernel.h"

namespace neap::engine {
namespace {

// args: condition, value, condition, value, ..., else. All values have the node's type.
class CaseNode final : public Node {
 public:
  CaseNode(Type type, std::vector<NodePtr> args, Memory& memory) : Node(type, Effect::kNone, memory, std::move(args)) {
    for (const NodePtr& node : this->args()) arguments_.emplace_back(*node);
  }

  Column Evaluate(const Rows& rows) override {
    return DispatchPhysical(type().physical(), [&](auto zero) { return EvaluateAs<decltype(zero)>(rows); });
  }

 private:
  template <class T>
  Column EvaluateAs(const Rows& rows) {
    if (lists_.empty()) lists_ = Array<RowIndex>(memory(), size_t{2} * kBatchRows);
    RowIndex* taken = lists_.data();
    RowIndex* rest = taken + kBatchRows;
    T* out = result_.Values<T>(memory());
    bool nulls = false;
    Rows left = rows;
    for (size_t i = 0; i + 1 < arguments_.size() && left.count != 0; i += 2) {
      const uint32_t count = arg(i).Select(left, taken);
      if (count == 0) continue;
      Take<T>(left.Only(taken, count), rows, arguments_[i + 1], out, nulls);
      if (count == left.count) {
        left = rows.Only(rest, 0);
        break;
      }
      uint32_t next = 0, rest_count = 0;
      left.ForEach([&](uint32_t row) {
        const bool was_taken = next < count && taken[next] == row;
        next += was_taken;
        rest[rest_count] = static_cast<RowIndex>(row);
        rest_count += !was_taken;
      });
      left = rows.Only(rest, rest_count);
    }
    if (left.count != 0) Take<T>(left, rows, arguments_.back(), out, nulls);
    return Flat(out, nulls ? result_.Valid(memory()) : nullptr);
  }

  template <class T>
  void Take(const Rows& some, const Rows& all, Argument& from, T* out, bool& nulls) {
    const Operand operand = from.Evaluate(some, memory());
    const AnyValues<T> values(operand);
    if (operand.valid != nullptr && !nulls) {
      nulls = true;
      std::memset(result_.Valid(memory()), 1, all.rows);
    }
    some.ForEach([&](uint32_t row) { out[row] = values[row]; });
    if (operand.valid == nullptr) return;
    uint8_t* valid = result_.Valid(memory());
    some.ForEach([&](uint32_t row) { valid[row] = operand.valid[row & values.mask]; });
  }

  std::vector<Argument> arguments_;
  Array<RowIndex> lists_;
};

}  // namespace

NodePtr MakeCase(Type type, std::vector<NodePtr> args, Memory& memory) {
  if (args.size() % 2 == 0) args.push_back(MakeConstant(Literal{}, type, memory));
  for (size_t i = 0; i < args.size(); ++i) {
    const bool condition = i % 2 == 0 && i + 1 < args.size();
    args[i] = Coerce(std::move(args[i]), condition ? Type{TypeId::kBool} : type, memory);
  }
  return std::make_unique<CaseNode>(type, std::move(args), memory);
}

}  // namespace neap::engine
