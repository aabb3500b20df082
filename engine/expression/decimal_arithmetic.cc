// decimal_arithmetic.cc: + - * / % of decimals. A result is exact, or rounded (halves away from zero) to the scale that
// the plan declares. It is kept with the digits that its operands can make, which are often fewer than declared, so
// that more of it fits 64 bits; where it could have more digits than declared every value is checked.
#include <algorithm>
#include <string>

#include "engine/expression/compile.h"
#include "engine/expression/decimal.h"
#include "engine/expression/kernel.h"

namespace neap::engine {
namespace {

std::string TooManyDigits(const char* op, Type type) {
  return std::string("overflow in ") + op + ": the result has more digits than " + type.Name() + " holds";
}

// Stores a result of 128 bits as R, or says that it has too many digits.
template <class R>
R Checked(Int128 value, int digits, int32_t& bad) {
  bad |= -static_cast<int32_t>(!HasDigits(value, digits));
  return static_cast<R>(value);
}

// Rows that do not count may hold anything, so that their sums wrap, here and below.
template <class R>
using Unsigned = std::conditional_t<sizeof(R) == 8, uint64_t, UInt128>;

// Of operands with the result's scale, where the result has room for all digits.
template <class A, class B, class R, bool kSubtracts>
struct AddFitting {
  using Bad = Never;
  R operator()(A a, B b, Never&) const {
    using U = Unsigned<R>;
    const U x = static_cast<U>(R{a}), y = static_cast<U>(R{b});
    return static_cast<R>(kSubtracts ? x - y : x + y);
  }
};

template <class A, class B, class R, bool kSubtracts>
struct AddChecked {
  using Bad = int32_t;
  Type type;
  R operator()(A a, B b, int32_t& bad) const {
    // Operands of at most 38 digits leave room in 128 bits for their sum.
    const UInt128 x = static_cast<UInt128>(Int128{a}), y = static_cast<UInt128>(Int128{b});
    return Checked<R>(static_cast<Int128>(kSubtracts ? x - y : x + y), type.precision, bad);
  }
  std::string Why(A, B) const { return TooManyDigits(kSubtracts ? "-" : "+", type); }
};

template <class A, class B, class R>
struct MultiplyFitting {
  using Bad = Never;
  R operator()(A a, B b, Never&) const {
    using U = Unsigned<R>;
    return static_cast<R>(static_cast<U>(R{a}) * static_cast<U>(R{b}));
  }
};

// `divisor`: the power of ten by which the product's scale is reduced.
template <class A, class B, class R>
struct MultiplyChecked {
  using Bad = int32_t;
  Type type;
  Int128 divisor;
  R operator()(A a, B b, int32_t& bad) const {
    Int128 product;
    if (Fits64(a) && Fits64(b)) {
      product = Int128{static_cast<int64_t>(a)} * static_cast<int64_t>(b);
      if (divisor != 1) product = DivideRound(product, divisor);
    } else if (__builtin_mul_overflow(Int128{a}, Int128{b}, &product)) {
      if (!MultiplyDivide(a, b, divisor, &product)) {
        bad = -1;
        return R{};
      }
    } else if (divisor != 1) {
      product = DivideRound(product, divisor);
    }
    return Checked<R>(product, type.precision, bad);
  }
  std::string Why(A, B) const { return TooManyDigits("*", type); }
};

// a * multiplier / b, or where the quotient has less scale than a: a / b / divisor. One of the two is 1.
template <class A, class B, class R>
struct Divide {
  using Bad = int32_t;
  Type type;
  Int128 multiplier, divisor;
  R operator()(A a, B b, int32_t& bad) const {
    if (b == 0) {
      bad = -1;
      return R{};
    }
    Int128 numerator, quotient;
    if (divisor != 1) {
      quotient = DivideRound(Int128{a} / b, divisor);  // exact although it divides twice: the divisor is even
    } else if (!__builtin_mul_overflow(Int128{a}, multiplier, &numerator)) {
      quotient = b < 0 ? DivideRound(Negated(numerator), Negated(b)) : DivideRound(numerator, b);
    } else if (!MultiplyDivide(a, multiplier, b, &quotient)) {
      bad = -1;
      return R{};
    }
    return Checked<R>(quotient, type.precision, bad);
  }
  std::string Why(A, B b) const { return b == 0 ? "division by zero" : TooManyDigits("/", type); }
};

// Of operands with one scale.
template <class A, class B, class R>
struct Modulus {
  using Bad = int32_t;
  Type type;
  R operator()(A a, B b, int32_t& bad) const {
    if (b == 0) {
      bad = -1;
      return R{};
    }
    if constexpr (sizeof(A) == 8 && sizeof(B) == 8) {
      return static_cast<R>(b == -1 ? 0 : a % b);
    } else {
      return Checked<R>(Int128{a} % Int128{b}, type.precision, bad);
    }
  }
  std::string Why(A, B b) const { return b == 0 ? "division by zero" : TooManyDigits("%", type); }
};

NodePtr ToDecimal(NodePtr node, Memory& memory) {
  switch (node->type().id) {
    case TypeId::kInt8:
      return MakeCast(std::move(node), Type::Decimal(3, 0), false, memory);
    case TypeId::kInt16:
      return MakeCast(std::move(node), Type::Decimal(5, 0), false, memory);
    case TypeId::kInt32:
      return MakeCast(std::move(node), Type::Decimal(10, 0), false, memory);
    case TypeId::kInt64:
      return MakeCast(std::move(node), Type::Decimal(19, 0), false, memory);
    default:
      return node;
  }
}

[[noreturn]] void NoScale(const char* op, Type left, Type right, Type result) {
  throw Error(ErrorKind::kPlan, "no " + left.Name() + " " + op + " " + right.Name() + " giving " + result.Name() +
                                    ": the scales are too far apart, cast an operand");
}

NodePtr WithScale(NodePtr node, int scale, Memory& memory) {
  const int more = scale - node->type().scale;
  const Type type = Type::Decimal(std::min(kMaxPrecision, node->type().precision + more), scale);
  return Coerce(std::move(node), type, memory);
}

// The declared type with no more digits than the value can have.
Type Narrowed(Type declared, int digits) {
  return Type::Decimal(std::clamp<int>(digits, std::max<int>(declared.scale, 1), declared.precision), declared.scale);
}

// Calls make(a, b, r) with zeros of the types in which both operands and the result lie.
template <class F>
NodePtr DispatchThree(Type a, Type b, Type result, F&& make) {
  return DispatchDecimal(a, [&](auto x) {
    return DispatchDecimal(b, [&](auto y) { return DispatchDecimal(result, [&](auto r) { return make(x, y, r); }); });
  });
}

template <bool kSubtracts>
NodePtr MakeAdd(Type type, NodePtr left, NodePtr right, Memory& memory) {
  const int digits = std::max(left->type().precision, right->type().precision) + 1;
  const bool fits = digits <= type.precision;
  const Type result = Narrowed(type, digits);
  return DispatchThree(left->type(), right->type(), result, [&](auto x, auto y, auto r) -> NodePtr {
    using A = decltype(x);
    using B = decltype(y);
    using R = decltype(r);
    if constexpr (sizeof(R) >= sizeof(A) && sizeof(R) >= sizeof(B)) {
      using Op = AddFitting<A, B, R, kSubtracts>;
      if (fits) {
        return std::make_unique<BinaryNode<A, B, R, Op>>(result, std::move(left), std::move(right), Op{}, memory);
      }
    }
    using Op = AddChecked<A, B, R, kSubtracts>;
    return std::make_unique<BinaryNode<A, B, R, Op>>(result, std::move(left), std::move(right), Op{result}, memory);
  });
}

NodePtr MakeMultiply(Type type, NodePtr left, NodePtr right, Memory& memory) {
  const int excess = left->type().scale + right->type().scale - type.scale;
  if (excess < 0) {  // declared with more scale than the product has
    const int scale = left->type().scale - excess;
    left = WithScale(std::move(left), scale, memory);
    return MakeMultiply(type, std::move(left), std::move(right), memory);
  }
  if (excess > kMaxPrecision) NoScale("*", left->type(), right->type(), type);
  const int digits = left->type().precision + right->type().precision - excess + (excess > 0 ? 1 : 0);
  const bool fits = excess == 0 && digits <= type.precision;
  const Type result = Narrowed(type, digits);
  return DispatchThree(left->type(), right->type(), result, [&](auto x, auto y, auto r) -> NodePtr {
    using A = decltype(x);
    using B = decltype(y);
    using R = decltype(r);
    if constexpr (sizeof(R) >= sizeof(A) && sizeof(R) >= sizeof(B)) {
      using Op = MultiplyFitting<A, B, R>;
      if (fits) {
        return std::make_unique<BinaryNode<A, B, R, Op>>(result, std::move(left), std::move(right), Op{}, memory);
      }
    }
    using Op = MultiplyChecked<A, B, R>;
    return std::make_unique<BinaryNode<A, B, R, Op>>(result, std::move(left), std::move(right),
                                                     Op{result, kPowersOfTen[excess]}, memory);
  });
}

NodePtr MakeDivide(Type type, NodePtr left, NodePtr right, Memory& memory) {
  const int shift = type.scale + right->type().scale - left->type().scale;
  if (shift > kMaxPrecision || -shift > kMaxPrecision) NoScale("/", left->type(), right->type(), type);
  const Int128 multiplier = kPowersOfTen[std::max(shift, 0)], divisor = kPowersOfTen[std::max(-shift, 0)];
  const Type result = Narrowed(type, left->type().precision + std::max(shift, 0) + 1);
  return DispatchThree(left->type(), right->type(), result, [&](auto x, auto y, auto r) -> NodePtr {
    using Op = Divide<decltype(x), decltype(y), decltype(r)>;
    return std::make_unique<BinaryNode<decltype(x), decltype(y), decltype(r), Op>>(
        result, std::move(left), std::move(right), Op{result, multiplier, divisor}, memory);
  });
}

NodePtr MakeModulus(Type type, NodePtr left, NodePtr right, Memory& memory) {
  const Type result = Narrowed(type, std::min(left->type().precision, right->type().precision));
  return DispatchThree(left->type(), right->type(), result, [&](auto x, auto y, auto r) -> NodePtr {
    using Op = Modulus<decltype(x), decltype(y), decltype(r)>;
    return std::make_unique<BinaryNode<decltype(x), decltype(y), decltype(r), Op>>(
        result, std::move(left), std::move(right), Op{result}, memory);
  });
}

}  // namespace

NodePtr MakeDecimalArithmetic(Function function, Type type, NodePtr left, NodePtr right, Memory& memory) {
  left = ToDecimal(std::move(left), memory);
  right = ToDecimal(std::move(right), memory);
  if (left->type().id != TypeId::kDecimal || right->type().id != TypeId::kDecimal) {
    std::vector<NodePtr> args;
    args.push_back(std::move(left));
    args.push_back(std::move(right));
    NoFunction(function, args, type);
  }
  const bool aligned = function == Function::kAdd || function == Function::kSubtract || function == Function::kModulus;
  if (aligned) {
    const int scale = std::max(left->type().scale, right->type().scale);
    if (scale > type.scale) {  // computed exactly, then rounded
      const Type exact = Type::Decimal(std::min(kMaxPrecision, type.precision + scale - type.scale), scale);
      return MakeCast(MakeDecimalArithmetic(function, exact, std::move(left), std::move(right), memory), type, false,
                      memory);
    }
    left = WithScale(std::move(left), type.scale, memory);
    right = WithScale(std::move(right), type.scale, memory);
  }
  switch (function) {
    case Function::kAdd:
      return MakeAdd<false>(type, std::move(left), std::move(right), memory);
    case Function::kSubtract:
      return MakeAdd<true>(type, std::move(left), std::move(right), memory);
    case Function::kMultiply:
      return MakeMultiply(type, std::move(left), std::move(right), memory);
    case Function::kDivide:
      return MakeDivide(type, std::move(left), std::move(right), memory);
    case Function::kModulus:
      return MakeModulus(type, std::move(left), std::move(right), memory);
    default: {
      std::vector<NodePtr> args;
      args.push_back(std::move(left));
      args.push_back(std::move(right));
      NoFunction(function, args, type);
    }
  }
}

}  // namespace neap::engine
