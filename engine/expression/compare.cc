// compare.cc: = <> < <= > >= and IS [NOT] DISTINCT FROM. NaN equals itself and is greater than all other floats, as it
// is for sorting and grouping.
#include <utility>

#include "engine/expression/compile.h"
#include "engine/expression/kernel.h"
#include "engine/expression/order.h"

namespace neap::engine {
namespace {

std::vector<NodePtr> Two(NodePtr a, NodePtr b) {
  std::vector<NodePtr> two;
  two.push_back(std::move(a));
  two.push_back(std::move(b));
  return two;
}

constexpr Type kBoolean{TypeId::kBool};

template <class T, class Test>
class CompareNode final : public Node {
  static constexpr bool kText = std::is_same_v<T, View>;

 public:
  CompareNode(NodePtr left, NodePtr right, Memory& memory)
      : Node(kBoolean, kText ? Effect::kCostly : Effect::kNone, memory, Two(std::move(left), std::move(right))),
        left_(arg(0)),
        right_(arg(1)) {}

  Column Evaluate(const Rows& rows) override {
    Operand a, b;
    if (!Operands(rows, a, b)) return NullColumn();
    const uint8_t* valid = BothValid(rows, a.flat_valid(), b.flat_valid(), result_, memory());
    return Flat(Bytes(rows, a, b, valid), valid);
  }

  uint32_t Select(const Rows& rows, RowIndex* kept) override {
    Operand a, b;
    if (!Operands(rows, a, b)) return 0;
    const uint8_t* valid = BothValid(rows, a.flat_valid(), b.flat_valid(), result_, memory());
    if (!kText && rows.selection == nullptr) {
      uint8_t* bytes = Bytes(rows, a, b, valid);
      if (valid != nullptr) {
        for (uint32_t row = 0; row < rows.rows; ++row) bytes[row] &= valid[row];
      }
      return SelectBytes(rows, bytes, kept);
    }
    uint32_t count = 0;
    WithValues<T, T>(a, b, [&](auto x, auto y) {
      if (kText || valid != nullptr) {
        rows.ForValid(valid, [&](uint32_t row) {
          kept[count] = static_cast<RowIndex>(row);
          count += Test::Test(x[row], y[row]);
        });
      } else {
        rows.ForEach([&](uint32_t row) {
          kept[count] = static_cast<RowIndex>(row);
          count += Test::Test(x[row], y[row]);
        });
      }
    });
    return count;
  }

 private:
  // False where a constant is NULL: nothing is TRUE then.
  bool Operands(const Rows& rows, Operand& a, Operand& b) {
    b = right_.Evaluate(rows, memory());
    if (b.null()) return false;
    a = b.constant ? left_.EvaluateFlat(rows, memory()) : left_.Evaluate(rows, memory());
    return !a.null();
  }

  uint8_t* Bytes(const Rows& rows, const Operand& a, const Operand& b, const uint8_t* valid) {
    uint8_t* out = result_.Values<uint8_t>(memory());
    WithValues<T, T>(a, b, [&](auto x, auto y) {
      if constexpr (kText) {
        rows.ForValid(valid, [&](uint32_t row) { out[row] = Test::Test(x[row], y[row]); });
      } else {
        rows.ForAny([&](uint32_t row) { out[row] = Test::Test(x[row], y[row]); });
      }
    });
    return out;
  }

  Argument left_, right_;
};

// IS [NOT] DISTINCT FROM: NULL is a value like others.
template <class T>
class DistinctNode final : public Node {
 public:
  DistinctNode(NodePtr left, NodePtr right, bool distinct, Memory& memory)
      : Node(kBoolean, std::is_same_v<T, View> ? Effect::kCostly : Effect::kNone, memory,
             Two(std::move(left), std::move(right))),
        left_(arg(0)),
        right_(arg(1)),
        distinct_(distinct) {}

  Column Evaluate(const Rows& rows) override {
    const Operand a = left_.Evaluate(rows, memory()), b = right_.Evaluate(rows, memory());
    const AnyValues<T> x(a), y(b);
    uint8_t* out = result_.Values<uint8_t>(memory());
    rows.ForEach([&](uint32_t row) {
      const bool a_valid = a.valid == nullptr || a.valid[row & x.mask] != 0;
      const bool b_valid = b.valid == nullptr || b.valid[row & y.mask] != 0;
      const bool equal = a_valid == b_valid && (!a_valid || Equal::Test(x[row], y[row]));
      out[row] = equal != distinct_;
    });
    return Flat(out, nullptr);
  }

 private:
  Argument left_, right_;
  bool distinct_;
};

}  // namespace

NodePtr MakeComparison(Function function, std::vector<NodePtr> args, Memory& memory) {
  if (args.size() != 2) NoFunction(function, args, kBoolean);
  const Type common = CommonType(args[0]->type(), args[1]->type());
  NodePtr a = Coerce(std::move(args[0]), common, memory), b = Coerce(std::move(args[1]), common, memory);
  return DispatchPhysical(common.physical(), [&](auto zero) -> NodePtr {
    using T = decltype(zero);
    switch (function) {
      case Function::kEqual:
        return std::make_unique<CompareNode<T, Equal>>(std::move(a), std::move(b), memory);
      case Function::kNotEqual:
        return std::make_unique<CompareNode<T, NotEqual>>(std::move(a), std::move(b), memory);
      case Function::kLess:
        return std::make_unique<CompareNode<T, Less>>(std::move(a), std::move(b), memory);
      case Function::kLessEqual:
        return std::make_unique<CompareNode<T, LessEqual>>(std::move(a), std::move(b), memory);
      case Function::kGreater:
        return std::make_unique<CompareNode<T, Less>>(std::move(b), std::move(a), memory);
      case Function::kGreaterEqual:
        return std::make_unique<CompareNode<T, LessEqual>>(std::move(b), std::move(a), memory);
      default:
        return std::make_unique<DistinctNode<T>>(std::move(a), std::move(b), function == Function::kIsDistinctFrom,
                                                 memory);
    }
  });
}

}  // namespace neap::engine
