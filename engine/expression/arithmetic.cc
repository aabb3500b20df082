// arithmetic.cc: + - * / % of integers and floats, and functions of bits. Overflow of an integer is an error; a float
// becomes infinite or NaN.
#include <cmath>
#include <limits>
#include <string>
#include <type_traits>

#include "engine/expression/compile.h"
#include "engine/expression/kernel.h"

namespace neap::engine {
namespace {

template <class T>
std::string TypeName() {
  if constexpr (std::is_same_v<T, int8_t>) return "tinyint";
  if constexpr (std::is_same_v<T, int16_t>) return "smallint";
  if constexpr (std::is_same_v<T, int32_t>) return "integer";
  return "bigint";
}

template <class T>
std::string Overflow(const char* op) {
  return "overflow in " + TypeName<T>() + " " + op + " " + TypeName<T>();
}

// The sign of `bad` gathers the overflows of a batch.
template <class T>
struct AddInteger {
  using Bad = T;
  T operator()(T a, T b, T& bad) const {
    using U = std::make_unsigned_t<T>;
    const T sum = static_cast<T>(static_cast<U>(a) + static_cast<U>(b));
    bad |= static_cast<T>((a ^ sum) & (b ^ sum));
    return sum;
  }
  std::string Why(T, T) const { return Overflow<T>("+"); }
};

template <class T>
struct SubtractInteger {
  using Bad = T;
  T operator()(T a, T b, T& bad) const {
    using U = std::make_unsigned_t<T>;
    const T difference = static_cast<T>(static_cast<U>(a) - static_cast<U>(b));
    bad |= static_cast<T>((a ^ b) & (a ^ difference));
    return difference;
  }
  std::string Why(T, T) const { return Overflow<T>("-"); }
};

template <class T>
struct MultiplyInteger {
  using Bad = int32_t;
  T operator()(T a, T b, int32_t& bad) const {
    T product;
    bad |= -static_cast<int32_t>(__builtin_mul_overflow(a, b, &product));
    return product;
  }
  std::string Why(T, T) const { return Overflow<T>("*"); }
};

template <class T>
struct DivideInteger {
  using Bad = int32_t;
  T operator()(T a, T b, int32_t& bad) const {
    const bool wrong = b == 0 || (b == -1 && a == std::numeric_limits<T>::min());
    bad |= -static_cast<int32_t>(wrong);
    return wrong ? T{} : static_cast<T>(a / b);
  }
  std::string Why(T, T b) const { return b == 0 ? "division by zero" : Overflow<T>("/"); }
};

template <class T>
struct ModulusInteger {
  using Bad = int32_t;
  T operator()(T a, T b, int32_t& bad) const {
    bad |= -static_cast<int32_t>(b == 0);
    return b == 0 || b == -1 ? T{} : static_cast<T>(a % b);
  }
  std::string Why(T, T) const { return "division by zero"; }
};

// What computes something of two values of one type and cannot fail.
template <class T, auto kFunction>
struct Total {
  using Bad = Never;
  T operator()(T a, T b, Never&) const { return kFunction(a, b); }
};

template <class T>
struct ShiftInteger {
  using Bad = int32_t;
  bool left;
  T operator()(T a, T b, int32_t& bad) const {
    using U = std::make_unsigned_t<T>;
    const bool wrong = b < 0 || b >= static_cast<T>(sizeof(T) * 8);
    bad |= -static_cast<int32_t>(wrong);
    const T by = wrong ? T{} : b;
    return left ? static_cast<T>(static_cast<U>(a) << by) : static_cast<T>(a >> by);
  }
  std::string Why(T, T) const {
    return "a shift of " + TypeName<T>() + " is by 0 to " + std::to_string(sizeof(T) * 8 - 1) + " bits";
  }
};

template <class T, class Op>
NodePtr Binary(Type type, std::vector<NodePtr>& args, Op op, Memory& memory) {
  return std::make_unique<BinaryNode<T, T, T, Op>>(type, std::move(args[0]), std::move(args[1]), op, memory);
}

template <class T>
NodePtr OfIntegers(Function function, Type type, std::vector<NodePtr>& args, Memory& memory) {
  switch (function) {
    case Function::kAdd:
      return Binary<T>(type, args, AddInteger<T>{}, memory);
    case Function::kSubtract:
      return Binary<T>(type, args, SubtractInteger<T>{}, memory);
    case Function::kMultiply:
      return Binary<T>(type, args, MultiplyInteger<T>{}, memory);
    case Function::kDivide:
      return Binary<T>(type, args, DivideInteger<T>{}, memory);
    case Function::kModulus:
      return Binary<T>(type, args, ModulusInteger<T>{}, memory);
    case Function::kBitwiseAnd:
      return Binary<T>(type, args, Total<T, [](T a, T b) { return static_cast<T>(a & b); }>{}, memory);
    case Function::kBitwiseOr:
      return Binary<T>(type, args, Total<T, [](T a, T b) { return static_cast<T>(a | b); }>{}, memory);
    case Function::kBitwiseXor:
      return Binary<T>(type, args, Total<T, [](T a, T b) { return static_cast<T>(a ^ b); }>{}, memory);
    case Function::kShiftLeft:
      return Binary<T>(type, args, ShiftInteger<T>{true}, memory);
    case Function::kShiftRight:
      return Binary<T>(type, args, ShiftInteger<T>{false}, memory);
    default:
      NoFunction(function, args, type);
  }
}

template <class T>
NodePtr OfFloats(Function function, Type type, std::vector<NodePtr>& args, Memory& memory) {
  switch (function) {
    case Function::kAdd:
      return Binary<T>(type, args, Total<T, [](T a, T b) { return a + b; }>{}, memory);
    case Function::kSubtract:
      return Binary<T>(type, args, Total<T, [](T a, T b) { return a - b; }>{}, memory);
    case Function::kMultiply:
      return Binary<T>(type, args, Total<T, [](T a, T b) { return a * b; }>{}, memory);
    case Function::kDivide:
      return Binary<T>(type, args, Total<T, [](T a, T b) { return a / b; }>{}, memory);
    case Function::kModulus:
      return Binary<T>(type, args, Total<T, [](T a, T b) { return static_cast<T>(std::fmod(a, b)); }>{}, memory);
    default:
      NoFunction(function, args, type);
  }
}

}  // namespace

NodePtr MakeArithmetic(Function function, Type type, std::vector<NodePtr> args, Memory& memory) {
  if (args.size() != 2) NoFunction(function, args, type);
  const auto is_time = [](const NodePtr& node) {
    return (node->type().id >= TypeId::kDate && node->type().id <= TypeId::kInterval);
  };
  if (is_time(args[0]) || is_time(args[1])) return MakeTimeArithmetic(function, type, std::move(args), memory);
  if (type.id == TypeId::kDecimal) {
    return MakeDecimalArithmetic(function, type, std::move(args[0]), std::move(args[1]), memory);
  }
  if (!type.is_integer() && type.id != TypeId::kFloat && type.id != TypeId::kDouble) NoFunction(function, args, type);
  for (NodePtr& node : args) node = Coerce(std::move(node), type, memory);
  if (type.id == TypeId::kFloat) return OfFloats<float>(function, type, args, memory);
  if (type.id == TypeId::kDouble) return OfFloats<double>(function, type, args, memory);
  return DispatchInteger(type.id, [&](auto zero) { return OfIntegers<decltype(zero)>(function, type, args, memory); });
}

}  // namespace neap::engine
