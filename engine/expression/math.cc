// math.cc: functions of one number, rounding to digits, power. Floats follow IEEE 754: the root of a negative number is
// NaN. Halves are rounded away from zero.
#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <type_traits>
#include <utility>

#include "engine/expression/compile.h"
#include "engine/expression/decimal.h"
#include "engine/expression/kernel.h"

namespace neap::engine {
namespace {

constexpr Type kBoolean{TypeId::kBool};
constexpr Type kBigint{TypeId::kInt64};
constexpr Type kDouble{TypeId::kDouble};

// kFunction: of A, cannot fail.
template <class A, class R, auto kFunction>
struct Simple {
  static constexpr bool kMayFail = false;
  bool operator()(A a, R& r) const {
    r = kFunction(a);
    return true;
  }
};

// -a, or |a| with kAbs. The least integer has no counterpart.
template <class T, bool kAbs>
struct NegateInteger {
  static constexpr bool kMayFail = true;
  bool operator()(T a, T& r) const {
    using U = std::conditional_t<std::is_same_v<T, Int128>, UInt128,
                                 std::make_unsigned_t<std::conditional_t<std::is_same_v<T, Int128>, int64_t, T>>>;
    const bool turn = !kAbs || a < 0;
    r = turn ? static_cast<T>(U{0} - static_cast<U>(a)) : a;
    return !(turn && a < 0 && r < 0);
  }
  std::string Why(T) const { return std::string("overflow in ") + (kAbs ? "abs" : "negate") + " of the least integer"; }
};

template <class A, class R, class Op>
NodePtr Unary(Type type, NodePtr from, Op op, Memory& memory) {
  return std::make_unique<UnaryNode<A, R, Op>>(type, std::move(from), op, memory);
}

template <class A, class R, auto kFunction>
NodePtr MakeSimple(Type type, NodePtr from, Memory& memory) {
  return Unary<A, R>(type, std::move(from), Simple<A, R, kFunction>{}, memory);
}

// A decimal at its own scale: to a multiple of `unit` (a power of ten).
enum class Rounding : uint8_t { kNearest, kToZero, kDown, kUp };

Int128 RoundTo(Int128 value, Int128 unit, Rounding rounding) {
  if (rounding == Rounding::kNearest) return DivideRound(value, unit) * unit;
  Int128 quotient = value / unit;
  if (rounding == Rounding::kDown && quotient * unit > value) --quotient;
  if (rounding == Rounding::kUp && quotient * unit < value) ++quotient;
  return quotient * unit;
}

// The unit of rounding to so many digits after the point, or 0 where that takes every digit away.
Int128 UnitOf(int scale, int64_t digits) {
  if (digits >= scale) return 1;
  const int64_t power = scale - std::max<int64_t>(digits, -2 * kMaxPrecision);
  return power > kMaxPrecision ? 0 : kPowersOfTen[static_cast<size_t>(power)];
}

// Integers and decimals (an integer has scale 0).
template <class T>
struct RoundExact {
  using Bad = int32_t;
  Type type;
  Rounding rounding;
  T operator()(T value, int64_t digits, int32_t& bad) const {
    const Int128 unit = UnitOf(type.scale, digits);
    if (unit == 1) return value;
    if (unit == 0) return T{};
    const Int128 rounded = RoundTo(value, unit, rounding);
    const bool fits = type.id == TypeId::kDecimal ? HasDigits(rounded, type.precision) : Fits64(rounded);
    bad |= -static_cast<int32_t>(!fits);
    return static_cast<T>(rounded);
  }
  std::string Why(T value, int64_t) const {
    return "overflow in rounding of " + DecimalText(value, type.scale) + " within " + type.Name();
  }
};

struct RoundDouble {
  using Bad = Never;
  Rounding rounding;
  double operator()(double value, int64_t digits, Never&) const {
    if (!std::isfinite(value)) return value;
    const double unit = std::pow(10.0, static_cast<double>(std::clamp<int64_t>(digits < 0 ? -digits : digits, 0, 400)));
    const double scaled = digits < 0 ? value / unit : value * unit;
    if (!std::isfinite(scaled)) return value;  // so large that it has no digits there
    const double whole = rounding == Rounding::kNearest ? std::round(scaled) : std::trunc(scaled);
    const double result = digits < 0 ? whole * unit : whole / unit;
    return std::isfinite(result) ? result : value;
  }
};

template <class A, class Op>
NodePtr MakeRound(Type type, NodePtr value, NodePtr digits, Op op, Memory& memory) {
  return std::make_unique<BinaryNode<A, int64_t, A, Op>>(type, std::move(value), std::move(digits), op, memory);
}

// round and truncate to digits; floor and ceil (to 0 digits).
NodePtr MakeRounding(Rounding rounding, Type type, std::vector<NodePtr> args, Memory& memory) {
  NodePtr digits = args.size() == 2 ? Coerce(std::move(args[1]), kBigint, memory)
                                    : MakeConstant({false, int64_t{0}}, kBigint, memory);
  NodePtr value = std::move(args[0]);
  const Type from = value->type();
  if (from.id == TypeId::kDecimal) {
    // Rounding may add a digit: 9.9 becomes 10.
    const Type result = Type::Decimal(std::min(kMaxPrecision, from.precision + 1), from.scale);
    value = Coerce(std::move(value), result, memory);
    NodePtr made = DispatchDecimal(result, [&](auto zero) {
      using T = decltype(zero);
      return MakeRound<T>(result, std::move(value), std::move(digits), RoundExact<T>{result, rounding}, memory);
    });
    return Coerce(Fold(std::move(made), memory), type, memory);
  }
  if (from.is_integer()) {
    value = Coerce(std::move(value), kBigint, memory);
    return Coerce(MakeRound<int64_t>(kBigint, std::move(value), std::move(digits),
                                     RoundExact<int64_t>{kBigint, rounding}, memory),
                  type, memory);
  }
  value = Coerce(std::move(value), kDouble, memory);
  return Coerce(MakeRound<double>(kDouble, std::move(value), std::move(digits), RoundDouble{rounding}, memory), type,
                memory);
}

// floor and ceil of floats have no digits to look at.
NodePtr MakeFloor(bool up, Type type, std::vector<NodePtr> args, Memory& memory) {
  const Type from = args[0]->type();
  if (from.id != TypeId::kFloat && from.id != TypeId::kDouble) {
    return MakeRounding(up ? Rounding::kUp : Rounding::kDown, type, std::move(args), memory);
  }
  NodePtr value = Coerce(std::move(args[0]), kDouble, memory);
  NodePtr made =
      up ? MakeSimple<double, double, [](double v) { return std::ceil(v); }>(kDouble, std::move(value), memory)
         : MakeSimple<double, double, [](double v) { return std::floor(v); }>(kDouble, std::move(value), memory);
  return Coerce(std::move(made), type, memory);
}

NodePtr MakeSign(Type type, NodePtr value, Memory& memory) {
  constexpr Type kTinyint{TypeId::kInt8};
  NodePtr made = DispatchPhysical(value->type().physical(), [&](auto zero) -> NodePtr {
    using T = decltype(zero);
    if constexpr (std::is_arithmetic_v<T> || std::is_same_v<T, Int128>) {
      return MakeSimple<T, int8_t, [](T v) { return static_cast<int8_t>((v > 0) - (v < 0)); }>(
          kTinyint, std::move(value), memory);
    }
    __builtin_unreachable();
  });
  return Coerce(std::move(made), type, memory);
}

template <bool kAbs>
NodePtr MakeNegate(Type type, NodePtr value, Memory& memory) {
  const Type from = value->type();
  NodePtr made = DispatchPhysical(from.physical(), [&](auto zero) -> NodePtr {
    using T = decltype(zero);
    if constexpr (std::is_floating_point_v<T>) {
      return MakeSimple<T, T, [](T v) { return kAbs ? std::abs(v) : -v; }>(from, std::move(value), memory);
    } else if constexpr (std::is_integral_v<T> || std::is_same_v<T, Int128>) {
      return Unary<T, T>(from, std::move(value), NegateInteger<T, kAbs>{}, memory);
    } else if constexpr (std::is_same_v<T, Interval> && !kAbs) {
      return MakeSimple<T, T, [](const T& v) {
        return T{-v.months, -v.days, -v.micros};
      }>(from, std::move(value), memory);
    }
    __builtin_unreachable();
  });
  return Coerce(std::move(made), type, memory);
}

NodePtr MakeBitwiseNot(Type type, NodePtr value, Memory& memory) {
  const Type from = value->type();
  NodePtr made = DispatchInteger(from.id, [&](auto zero) {
    using T = decltype(zero);
    return MakeSimple<T, T, [](T v) { return static_cast<T>(~v); }>(from, std::move(value), memory);
  });
  return Coerce(std::move(made), type, memory);
}

struct Power {
  using Bad = Never;
  double operator()(double a, double b, Never&) const { return std::pow(a, b); }
};

template <auto kFunction>
NodePtr OfDouble(Type type, NodePtr value, Memory& memory) {
  value = Coerce(std::move(value), kDouble, memory);
  return Coerce(MakeSimple<double, double, kFunction>(kDouble, std::move(value), memory), type, memory);
}

bool IsNumber(Type type) {
  return type.is_integer() || type.id == TypeId::kFloat || type.id == TypeId::kDouble || type.id == TypeId::kDecimal;
}

}  // namespace

NodePtr MakeMath(Function function, Type type, std::vector<NodePtr> args, Memory& memory) {
  const bool two = function == Function::kPower;
  const bool digits = function == Function::kRound || function == Function::kTruncate;
  if (args.empty() || args.size() > (two || digits ? 2 : 1) || (two && args.size() != 2))
    NoFunction(function, args, type);
  for (size_t i = 0; i < args.size(); ++i) {
    if (args[i]->type().id == TypeId::kNull) return MakeConstant(Literal{}, type, memory);
    const bool interval = function == Function::kNegate && args[i]->type().id == TypeId::kInterval;
    if (!IsNumber(args[i]->type()) && !interval) NoFunction(function, args, type);
  }
  switch (function) {
    case Function::kNegate:
      return MakeNegate<false>(type, std::move(args[0]), memory);
    case Function::kAbs:
      return MakeNegate<true>(type, std::move(args[0]), memory);
    case Function::kSign:
      return MakeSign(type, std::move(args[0]), memory);
    case Function::kFloor:
      return MakeFloor(false, type, std::move(args), memory);
    case Function::kCeil:
      return MakeFloor(true, type, std::move(args), memory);
    case Function::kRound:
      return MakeRounding(Rounding::kNearest, type, std::move(args), memory);
    case Function::kTruncate:
      return MakeRounding(Rounding::kToZero, type, std::move(args), memory);
    case Function::kBitwiseNot:
      if (!args[0]->type().is_integer()) NoFunction(function, args, type);
      return MakeBitwiseNot(type, std::move(args[0]), memory);
    case Function::kIsNan: {
      NodePtr value = Coerce(std::move(args[0]), kDouble, memory);
      return MakeSimple<double, uint8_t, [](double v) -> uint8_t { return v != v; }>(kBoolean, std::move(value),
                                                                                     memory);
    }
    case Function::kSqrt:
      return OfDouble<[](double v) { return std::sqrt(v); }>(type, std::move(args[0]), memory);
    case Function::kExp:
      return OfDouble<[](double v) { return std::exp(v); }>(type, std::move(args[0]), memory);
    case Function::kLn:
      return OfDouble<[](double v) { return std::log(v); }>(type, std::move(args[0]), memory);
    case Function::kLog10:
      return OfDouble<[](double v) { return std::log10(v); }>(type, std::move(args[0]), memory);
    case Function::kPower: {
      NodePtr a = Coerce(std::move(args[0]), kDouble, memory), b = Coerce(std::move(args[1]), kDouble, memory);
      return Coerce(std::make_unique<BinaryNode<double, double, double, Power>>(kDouble, std::move(a), std::move(b),
                                                                                Power{}, memory),
                    type, memory);
    }
    default:
      NoFunction(function, args, type);
  }
}

}  // namespace neap::engine
