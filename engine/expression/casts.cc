// casts.cc: from one type to another. A float or decimal loses its fraction on the way to an integer; a decimal is
// rounded, halves away from zero, to a smaller scale. What does not fit is an error, or NULL for try_cast.
#include <cmath>
#include <limits>
#include <string>
#include <type_traits>

#include "engine/expression/calendar.h"
#include "engine/expression/compile.h"
#include "engine/expression/decimal.h"
#include "engine/expression/kernel.h"

namespace neap::engine {
namespace {

std::string DoesNotFit(const std::string& value, Type to) { return "cannot cast " + value + " to " + to.Name(); }

template <class T>
std::string NumberText(T value) {
  if constexpr (std::is_same_v<T, Int128>) {
    return DecimalText(value, 0);
  } else {
    return std::to_string(value);
  }
}

// Integers, and booleans as 0 and 1.
template <class A, class R>
struct ToInteger {
  static constexpr bool kMayFail = !std::is_same_v<A, uint8_t> && sizeof(R) < sizeof(A);
  Type to;
  bool operator()(A a, R& r) const {
    r = static_cast<R>(a);
    return !kMayFail || r == a;
  }
  std::string Why(A a) const { return DoesNotFit(NumberText(a), to); }
};

template <class A>
struct ToBool {
  static constexpr bool kMayFail = false;
  bool operator()(A a, uint8_t& r) const {
    r = a != 0;
    return true;
  }
};

template <class A, class R>
struct ToFloat {
  static constexpr bool kMayFail = false;
  bool operator()(A a, R& r) const {
    r = static_cast<R>(a);
    return true;
  }
};

template <class A, class R>
struct FloatToInteger {
  static constexpr bool kMayFail = true;
  Type to;
  bool operator()(A a, R& r) const {
    // Both bounds are exact: powers of two.
    constexpr A kEnd = -static_cast<A>(std::numeric_limits<R>::min());
    const A whole = std::trunc(a);
    const bool fits = whole >= -kEnd && whole < kEnd;
    r = fits ? static_cast<R>(whole) : R{};
    return fits;
  }
  std::string Why(A a) const { return DoesNotFit(std::to_string(a), to); }
};

// Integers and decimals to a decimal of the same or more scale.
template <class A, class R>
struct ScaleUp {
  static constexpr bool kMayFail = true;
  Type from, to;
  Int128 multiplier;
  bool operator()(A a, R& r) const {
    Int128 scaled;
    const bool fits = !__builtin_mul_overflow(Int128{a}, multiplier, &scaled) && HasDigits(scaled, to.precision);
    r = static_cast<R>(scaled);
    return fits;
  }
  std::string Why(A a) const { return DoesNotFit(DecimalText(a, from.scale), to); }
};

// Where the target has room for every digit.
template <class A, class R>
struct ScaleUpFitting {
  static constexpr bool kMayFail = false;
  R multiplier;
  bool operator()(A a, R& r) const {
    using U = std::conditional_t<sizeof(R) == 8, uint64_t, UInt128>;
    r = static_cast<R>(static_cast<U>(static_cast<R>(a)) * static_cast<U>(multiplier));
    return true;
  }
};

template <class A, class R>
struct ScaleDown {
  static constexpr bool kMayFail = true;
  Type from, to;
  Int128 divisor;
  bool operator()(A a, R& r) const {
    const Int128 scaled = DivideRound(a, divisor);
    r = static_cast<R>(scaled);
    return HasDigits(scaled, to.precision);
  }
  std::string Why(A a) const { return DoesNotFit(DecimalText(a, from.scale), to); }
};

template <class A, class R>
struct DecimalToInteger {
  static constexpr bool kMayFail = true;
  Type from, to;
  Int128 divisor;
  bool operator()(A a, R& r) const {
    Int128 whole;
    if (Fits64(a) && Fits64(divisor)) {
      whole = static_cast<int64_t>(a) / static_cast<int64_t>(divisor);
    } else {
      whole = Int128{a} / divisor;
    }
    r = static_cast<R>(whole);
    return r == whole;
  }
  std::string Why(A a) const { return DoesNotFit(DecimalText(a, from.scale), to); }
};

template <class A, class R>
struct DecimalToFloat {
  static constexpr bool kMayFail = false;
  double divisor;
  bool operator()(A a, R& r) const {
    r = static_cast<R>(static_cast<double>(a) / divisor);
    return true;
  }
};

template <class A, class R>
struct FloatToDecimal {
  static constexpr bool kMayFail = true;
  Type to;
  double multiplier, limit;
  bool operator()(A a, R& r) const {
    const double scaled = std::round(static_cast<double>(a) * multiplier);
    const bool fits = std::abs(scaled) < limit;
    r = fits ? static_cast<R>(scaled) : R{};
    return fits;
  }
  std::string Why(A a) const { return DoesNotFit(std::to_string(a), to); }
};

struct DateToTimestamp {
  static constexpr bool kMayFail = true;
  Type to;
  bool operator()(int32_t days, int64_t& micros) const {
    return !__builtin_mul_overflow(int64_t{days}, kMicrosPerDay, &micros);
  }
  std::string Why(int32_t days) const { return DoesNotFit(DateText(days), to); }
};

struct TimestampToDate {
  static constexpr bool kMayFail = false;
  bool operator()(int64_t micros, int32_t& days) const {
    days = static_cast<int32_t>(DaysOfMicros(micros));
    return true;
  }
};

template <class A, class R, class Op>
NodePtr Cast(NodePtr from, Type to, Op op, bool null_instead, Memory& memory) {
  return std::make_unique<UnaryNode<A, R, Op>>(to, std::move(from), op, memory, null_instead);
}

// Digits that an integer of a type can have.
int IntegerDigits(TypeId id) {
  switch (id) {
    case TypeId::kInt8:
      return 3;
    case TypeId::kInt16:
      return 5;
    case TypeId::kInt32:
      return 10;
    default:
      return 19;
  }
}

NodePtr NumberToDecimal(NodePtr node, Type from, Type to, bool null_instead, Memory& memory) {
  return DispatchPhysical(from.physical(), [&](auto zero) -> NodePtr {
    using A = decltype(zero);
    return DispatchDecimal(to, [&](auto target) -> NodePtr {
      using R = decltype(target);
      if constexpr (std::is_floating_point_v<A>) {
        return Cast<A, R>(std::move(node), to,
                          FloatToDecimal<A, R>{to, static_cast<double>(kPowersOfTen[to.scale]),
                                               static_cast<double>(kPowersOfTen[to.precision])},
                          null_instead, memory);
      } else if constexpr (std::is_same_v<A, View> || std::is_same_v<A, Interval>) {
        __builtin_unreachable();
      } else {
        const int digits = from.id == TypeId::kDecimal ? from.precision : IntegerDigits(from.id);
        const int more = to.scale - from.scale;
        if (more < 0) {
          return Cast<A, R>(std::move(node), to, ScaleDown<A, R>{from, to, kPowersOfTen[-more]}, null_instead, memory);
        }
        if (digits + more <= to.precision) {
          return Cast<A, R>(std::move(node), to, ScaleUpFitting<A, R>{static_cast<R>(kPowersOfTen[more])}, null_instead,
                            memory);
        }
        return Cast<A, R>(std::move(node), to, ScaleUp<A, R>{from, to, kPowersOfTen[more]}, null_instead, memory);
      }
    });
  });
}

NodePtr DecimalToNumber(NodePtr node, Type from, Type to, bool null_instead, Memory& memory) {
  return DispatchDecimal(from, [&](auto zero) -> NodePtr {
    using A = decltype(zero);
    const Int128 divisor = kPowersOfTen[from.scale];
    if (to.id == TypeId::kDouble) {
      return Cast<A, double>(std::move(node), to, DecimalToFloat<A, double>{static_cast<double>(divisor)}, false,
                             memory);
    }
    if (to.id == TypeId::kFloat) {
      return Cast<A, float>(std::move(node), to, DecimalToFloat<A, float>{static_cast<double>(divisor)}, false, memory);
    }
    return DispatchInteger(to.id, [&](auto target) -> NodePtr {
      using R = decltype(target);
      return Cast<A, R>(std::move(node), to, DecimalToInteger<A, R>{from, to, divisor}, null_instead, memory);
    });
  });
}

template <class A>
NodePtr PlainNumber(NodePtr node, Type to, bool null_instead, Memory& memory) {
  if (to.id == TypeId::kBool) return Cast<A, uint8_t>(std::move(node), to, ToBool<A>{}, false, memory);
  if (to.id == TypeId::kFloat) return Cast<A, float>(std::move(node), to, ToFloat<A, float>{}, false, memory);
  if (to.id == TypeId::kDouble) return Cast<A, double>(std::move(node), to, ToFloat<A, double>{}, false, memory);
  return DispatchInteger(to.id, [&](auto target) -> NodePtr {
    using R = decltype(target);
    if constexpr (std::is_floating_point_v<A>) {
      return Cast<A, R>(std::move(node), to, FloatToInteger<A, R>{to}, null_instead, memory);
    } else {
      return Cast<A, R>(std::move(node), to, ToInteger<A, R>{to}, null_instead, memory);
    }
  });
}

bool IsPlainNumber(Type type) {
  return type.is_integer() || type.id == TypeId::kFloat || type.id == TypeId::kDouble || type.id == TypeId::kBool;
}

// The same bytes under another type.
class RenameNode final : public Node {
 public:
  RenameNode(Type type, NodePtr from, Memory& memory) : Node(type, Effect::kNone, memory, One(std::move(from))) {}
  Column Evaluate(const Rows& rows) override {
    Column column = arg(0).Evaluate(rows);
    column.type = type();
    return column;
  }

 private:
  static std::vector<NodePtr> One(NodePtr node) {
    std::vector<NodePtr> one;
    one.push_back(std::move(node));
    return one;
  }
};

}  // namespace

NodePtr MakeCast(NodePtr node, Type to, bool null_instead, Memory& memory) {
  const Type from = node->type();
  if (from == to) return node;
  if (from.id == TypeId::kNull) return MakeConstant(Literal{}, to, memory);
  const auto fold = [&](NodePtr made) { return Fold(std::move(made), memory); };
  if (to.id == TypeId::kDecimal && from.id == TypeId::kDecimal && from.scale == to.scale &&
      from.precision <= to.precision && from.physical() == to.physical()) {
    return fold(std::make_unique<RenameNode>(to, std::move(node), memory));
  }
  if (to.id == TypeId::kDecimal && (from.id == TypeId::kDecimal || IsPlainNumber(from))) {
    return fold(NumberToDecimal(std::move(node), from, to, null_instead, memory));
  }
  if (from.id == TypeId::kDecimal && IsPlainNumber(to) && to.id != TypeId::kBool) {
    return fold(DecimalToNumber(std::move(node), from, to, null_instead, memory));
  }
  if (IsPlainNumber(from) && IsPlainNumber(to)) {
    return DispatchPhysical(from.physical(), [&](auto zero) -> NodePtr {
      using A = decltype(zero);
      if constexpr (std::is_arithmetic_v<A>) return fold(PlainNumber<A>(std::move(node), to, null_instead, memory));
      __builtin_unreachable();
    });
  }
  const auto is_timestamp = [](Type type) { return type.id == TypeId::kTimestamp || type.id == TypeId::kTimestampTz; };
  if ((is_timestamp(from) && is_timestamp(to)) || (from.is_view() && to.is_view())) {
    return fold(std::make_unique<RenameNode>(to, std::move(node), memory));
  }
  if (from.id == TypeId::kDate && is_timestamp(to)) {
    return fold(Cast<int32_t, int64_t>(std::move(node), to, DateToTimestamp{to}, null_instead, memory));
  }
  if (is_timestamp(from) && to.id == TypeId::kDate) {
    return fold(Cast<int64_t, int32_t>(std::move(node), to, TimestampToDate{}, null_instead, memory));
  }
  return fold(MakeTextCast(std::move(node), to, null_instead, memory));
}

NodePtr Coerce(NodePtr node, Type to, Memory& memory) {
  // Digits that a decimal does not have do not change how it lies.
  const Type from = node->type();
  const bool same_decimal = from.id == TypeId::kDecimal && to.id == TypeId::kDecimal && from.scale == to.scale &&
                            from.precision <= to.precision && from.physical() == to.physical();
  return same_decimal ? std::move(node) : MakeCast(std::move(node), to, false, memory);
}

}  // namespace neap::engine
