// kernel.h: nodes of fixed-width values made from a functor: one loop over a batch, without a branch.
//
// A functor that may fail says so in `bad`, which becomes negative. What fails in the loop may have been a row that
// does not count or is NULL, so the rows that count are then computed once more to find the one to name.
#pragma once

#include <string>
#include <type_traits>
#include <utility>

#include "engine/expression/node.h"
#include "engine/plan/expression.h"

namespace neap::engine {

// Bad of a functor that cannot fail.
struct Never {};

// Op: R operator()(A, B, Bad&) const with `using Bad`, and std::string Why(A, B, ...) where Bad is not Never.
template <class A, class B, class R, class Op>
class BinaryNode final : public Node {
  using Bad = typename Op::Bad;
  static constexpr bool kMayFail = !std::is_same_v<Bad, Never>;

 public:
  BinaryNode(Type type, NodePtr left, NodePtr right, Op op, Memory& memory)
      : Node(type, kMayFail ? Effect::kMayFail : Effect::kNone, memory, Two(std::move(left), std::move(right))),
        left_(arg(0)),
        right_(arg(1)),
        op_(std::move(op)) {}

  Column Evaluate(const Rows& rows) override {
    const Operand b = right_.Evaluate(rows, memory());
    if (b.null()) return NullColumn();
    const Operand a = b.constant ? left_.EvaluateFlat(rows, memory()) : left_.Evaluate(rows, memory());
    if (a.null()) return NullColumn();
    R* out = result_.Values<R>(memory());
    const uint8_t* valid = BothValid(rows, a.flat_valid(), b.flat_valid(), result_, memory());
    WithValues<A, B>(a, b, [&, op = op_](auto x, auto y) {
      Bad bad{};  // inside, so that the loop keeps it in a register
      rows.ForAny([&](uint32_t row) { out[row] = op(x[row], y[row], bad); });
      if constexpr (kMayFail) {
        if (bad < 0) FindBad(rows, valid, x, y);
      }
    });
    return Flat(out, valid);
  }

 private:
  static std::vector<NodePtr> Two(NodePtr a, NodePtr b) {
    std::vector<NodePtr> two;
    two.push_back(std::move(a));
    two.push_back(std::move(b));
    return two;
  }

  template <class X, class Y>
  void FindBad(const Rows& rows, const uint8_t* valid, X x, Y y) const {
    rows.ForValid(valid, [&](uint32_t row) {
      Bad bad{};
      static_cast<void>(op_(x[row], y[row], bad));
      if (bad < 0) throw Error(ErrorKind::kData, op_.Why(x[row], y[row]));
    });
  }

  Argument left_, right_;
  Op op_;
};

// Op: bool operator()(A, R&) const, false where it fails; std::string Why(A) const; kMayFail. With `null_instead` a row
// that fails is NULL.
template <class A, class R, class Op>
class UnaryNode final : public Node {
 public:
  UnaryNode(Type type, NodePtr from, Op op, Memory& memory, bool null_instead = false)
      : Node(type, Op::kMayFail && !null_instead ? Effect::kMayFail : Effect::kNone, memory, One(std::move(from))),
        from_(arg(0)),
        op_(std::move(op)),
        null_instead_(null_instead) {}

  Column Evaluate(const Rows& rows) override {
    const Operand a = from_.EvaluateFlat(rows, memory());
    const A* in = static_cast<const A*>(a.data);
    R* out = result_.Values<R>(memory());
    const uint8_t* valid = a.valid;
    bool failed = false;
    rows.ForAny([&, op = op_](uint32_t row) { failed |= !op(in[row], out[row]); });
    if constexpr (Op::kMayFail) {
      if (failed) valid = FindFailed(rows, in, out, valid);
    }
    return Flat(out, valid);
  }

 private:
  static std::vector<NodePtr> One(NodePtr a) {
    std::vector<NodePtr> one;
    one.push_back(std::move(a));
    return one;
  }

  const uint8_t* FindFailed(const Rows& rows, const A* in, R* out, const uint8_t* valid) {
    if (!null_instead_) {
      rows.ForValid(valid, [&](uint32_t row) {
        if (!op_(in[row], out[row])) throw Error(ErrorKind::kData, op_.Why(in[row]));
      });
      return valid;
    }
    uint8_t* good = result_.Valid(memory());
    rows.ForEach([&](uint32_t row) { good[row] = op_(in[row], out[row]) && (valid == nullptr || valid[row] != 0); });
    return good;
  }

  Argument from_;
  Op op_;
  bool null_instead_;
};

// Calls f(zero) with the C++ type of an integer type.
template <class F>
decltype(auto) DispatchInteger(TypeId id, F&& f) {
  switch (id) {
    case TypeId::kInt8:
      return f(int8_t{});
    case TypeId::kInt16:
      return f(int16_t{});
    case TypeId::kInt32:
      return f(int32_t{});
    default:
      return f(int64_t{});
  }
}

// Calls f(zero) with int64_t or Int128: where a decimal lies.
template <class F>
decltype(auto) DispatchDecimal(Type type, F&& f) {
  return type.physical() == Physical::kInt64 ? f(int64_t{}) : f(Int128{});
}

}  // namespace neap::engine
