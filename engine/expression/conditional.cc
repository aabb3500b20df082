// conditional.cc: CASE, COALESCE, GREATEST and LEAST. A branch is computed for the rows that take it alone, so that an
// error in another does not show.
#include <utility>

#include "engine/expression/compile.h"
#include "engine/expression/kernel.h"
#include "engine/expression/order.h"

namespace neap::engine {
namespace {

// What puts its result together from several arguments of its own type, each for some of the rows.
class ChoiceNode : public Node {
 public:
  ChoiceNode(Type type, std::vector<NodePtr> args, Memory& memory)
      : Node(type, Effect::kNone, memory, std::move(args)) {
    for (const NodePtr& node : this->args()) arguments_.emplace_back(*node);
  }

 protected:
  // Puts the values of `operand`, computed for `some` rows of `all`, into the result.
  template <class T>
  void Take(const Rows& some, const Rows& all, const Operand& operand) {
    T* out = result_.Values<T>(memory());
    const AnyValues<T> values(operand);
    some.ForEach([&](uint32_t row) { out[row] = values[row]; });
    if (operand.valid == nullptr && !nulls_) return;
    uint8_t* valid = result_.Valid(memory());
    if (!nulls_) std::memset(valid, 1, all.rows);
    nulls_ = true;
    if (operand.valid == nullptr) {
      some.ForEach([&](uint32_t row) { valid[row] = 1; });
    } else {
      some.ForEach([&](uint32_t row) { valid[row] = operand.valid[row & values.mask]; });
    }
  }

  Column Taken() { return Flat(result_.Bytes(memory(), type().width()), nulls_ ? result_.Valid(memory()) : nullptr); }

  // Two lists of rows.
  RowIndex* Lists() {
    if (lists_.empty()) lists_ = Array<RowIndex>(memory(), size_t{2} * kBatchRows);
    return lists_.data();
  }

  std::vector<Argument> arguments_;
  bool nulls_ = false;  // whether any value taken so far may be NULL

 private:
  Array<RowIndex> lists_;
};

// args: condition, value, condition, value, ..., else.
class CaseNode final : public ChoiceNode {
 public:
  using ChoiceNode::ChoiceNode;

  Column Evaluate(const Rows& rows) override {
    return DispatchPhysical(type().physical(), [&](auto zero) { return EvaluateAs<decltype(zero)>(rows); });
  }

 private:
  template <class T>
  Column EvaluateAs(const Rows& rows) {
    const bool two = arguments_.size() == 3;
    if (two && rows.Dense() && arg(1).effect() == Effect::kNone && arg(2).effect() == Effect::kNone) {
      return Blend<T>(rows);
    }
    RowIndex* taken = Lists();
    RowIndex* rest = taken + kBatchRows;
    nulls_ = false;
    Rows left = rows;
    for (size_t i = 0; i + 1 < arguments_.size() && left.count != 0; i += 2) {
      const uint32_t count = arg(i).Select(left, taken);
      if (count == 0) continue;
      const Rows now = left.Only(taken, count);
      Take<T>(now, rows, arguments_[i + 1].Evaluate(now, memory()));
      uint32_t next = 0, rest_count = 0;
      left.ForEach([&](uint32_t row) {
        const bool was_taken = next < count && taken[next] == row;
        next += was_taken;
        rest[rest_count] = static_cast<RowIndex>(row);
        rest_count += !was_taken;
      });
      left = rows.Only(rest, rest_count);
    }
    if (left.count != 0) Take<T>(left, rows, arguments_.back().Evaluate(left, memory()));
    return Taken();
  }

  // Both values for all rows, which costs less than to part the rows where the values are cheap.
  template <class T>
  Column Blend(const Rows& rows) {
    const Operand condition = arguments_[0].EvaluateFlat(rows, memory());
    const auto* is_true = static_cast<const uint8_t*>(condition.data);
    if (condition.valid != nullptr) {
      uint8_t* certain = certain_.Values<uint8_t>(memory());
      rows.ForAny([=, valid = condition.valid](uint32_t row) { certain[row] = is_true[row] & valid[row]; });
      is_true = certain;
    }
    const Operand b = arguments_[2].Evaluate(rows, memory());
    const Operand a = b.constant ? arguments_[1].EvaluateFlat(rows, memory()) : arguments_[1].Evaluate(rows, memory());
    T* out = result_.Values<T>(memory());
    WithValues<T, T>(a, b, [&](auto x, auto y) {
      rows.ForAny([=](uint32_t row) { out[row] = is_true[row] != 0 ? x[row] : y[row]; });
    });
    if (a.valid == nullptr && b.valid == nullptr) return Flat(out, nullptr);
    uint8_t* valid = result_.Valid(memory());
    const auto is_valid = [](const Operand& operand, uint32_t row) -> uint8_t {
      return operand.valid == nullptr ? 1 : operand.valid[operand.constant ? 0 : row];
    };
    rows.ForAny([=](uint32_t row) { valid[row] = is_true[row] != 0 ? is_valid(a, row) : is_valid(b, row); });
    return Flat(out, valid);
  }

  ResultBuffer certain_;
};

class CoalesceNode final : public ChoiceNode {
 public:
  using ChoiceNode::ChoiceNode;

  Column Evaluate(const Rows& rows) override {
    const Column first = arg(0).Evaluate(rows);
    if (first.valid == nullptr) return first;
    return DispatchPhysical(type().physical(), [&](auto zero) { return EvaluateAs<decltype(zero)>(first, rows); });
  }

 private:
  template <class T>
  Column EvaluateAs(const Column& first, const Rows& rows) {
    RowIndex* rest = Lists();
    nulls_ = false;
    Rows left = rows;
    for (size_t i = 0; i < arguments_.size(); ++i) {
      const Operand operand =
          i == 0 ? arguments_[i].Operate(first, left, memory()) : arguments_[i].Evaluate(left, memory());
      Take<T>(left, rows, operand);
      if (operand.valid == nullptr) break;
      uint32_t rest_count = 0;
      const uint8_t* valid = result_.Valid(memory());
      left.ForEach([&](uint32_t row) {
        rest[rest_count] = static_cast<RowIndex>(row);
        rest_count += valid[row] ^ 1;
      });
      if (rest_count == 0) break;
      left = rows.Only(rest, rest_count);
    }
    return Taken();
  }
};

// The greatest (least) of those that are not NULL.
template <class T>
class ExtremeNode final : public ChoiceNode {
 public:
  ExtremeNode(bool greatest, Type type, std::vector<NodePtr> args, Memory& memory)
      : ChoiceNode(type, std::move(args), memory), greatest_(greatest) {}

  Column Evaluate(const Rows& rows) override {
    nulls_ = false;
    Take<T>(rows, rows, arguments_[0].Evaluate(rows, memory()));
    T* out = result_.Values<T>(memory());
    for (size_t i = 1; i < arguments_.size(); ++i) {
      const Operand operand = arguments_[i].Evaluate(rows, memory());
      const AnyValues<T> values(operand);
      uint8_t* valid = nulls_ ? result_.Valid(memory()) : nullptr;
      rows.ForEach([&](uint32_t row) {
        if (operand.valid != nullptr && operand.valid[row & values.mask] == 0) return;
        const T& value = values[row];
        const bool none_yet = valid != nullptr && valid[row] == 0;
        if (!none_yet && !(greatest_ ? Less::Test(out[row], value) : Less::Test(value, out[row]))) return;
        out[row] = value;
        if (valid != nullptr) valid[row] = 1;
      });
    }
    return Taken();
  }

 private:
  bool greatest_;
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

NodePtr MakeConditional(Function function, Type type, std::vector<NodePtr> args, Memory& memory) {
  if (args.empty()) NoFunction(function, args, type);
  for (NodePtr& node : args) node = Coerce(std::move(node), type, memory);
  if (function == Function::kCoalesce) return std::make_unique<CoalesceNode>(type, std::move(args), memory);
  return DispatchPhysical(type.physical(), [&](auto zero) -> NodePtr {
    return std::make_unique<ExtremeNode<decltype(zero)>>(function == Function::kGreatest, type, std::move(args),
                                                         memory);
  });
}

}  // namespace neap::engine
