// text_casts.cc: from strings to other types and back.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <string>
#include <type_traits>
#include <utility>

#include "engine/expression/calendar.h"
#include "engine/expression/compile.h"
#include "engine/expression/decimal.h"
#include "engine/expression/text.h"
#include "engine/expression/text_kernel.h"

namespace neap::engine {
namespace {

std::string_view Trimmed(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}

struct ParseBool {
  bool operator()(std::string_view text, uint8_t& r) const {
    std::string lower(Trimmed(text));
    std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char c) { return std::tolower(c); });
    for (const char* word : {"true", "t", "yes", "y", "1"}) {
      if (lower == word) return r = 1, true;
    }
    for (const char* word : {"false", "f", "no", "n", "0"}) {
      if (lower == word) return r = 0, true;
    }
    return false;
  }
};

template <class T>
struct ParseNumber {
  bool operator()(std::string_view text, T& r) const {
    text = Trimmed(text);
    if (text.size() > 1 && text[0] == '+' && text[1] != '-') text.remove_prefix(1);
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), r);
    return error == std::errc() && end == text.data() + text.size();
  }
};

// "-12.345e2", rounded to the type's scale, halves away from zero.
template <class T>
struct ParseDecimal {
  Type type;
  bool operator()(std::string_view text, T& r) const {
    Int128 value;
    const bool fits = Parse(Trimmed(text), value) && HasDigits(value, type.precision);
    r = fits ? static_cast<T>(value) : T{};
    return fits;
  }

 private:
  bool Parse(std::string_view text, Int128& value) const {
    const bool negative = text.starts_with('-');
    if (negative || text.starts_with('+')) text.remove_prefix(1);
    const size_t mark = std::min(text.find_first_of("eE"), text.size());
    int exponent = 0;
    if (mark < text.size() && !ParseNumber<int>{}(text.substr(mark + 1), exponent)) return false;
    exponent = std::clamp(exponent, -1000, 1000);
    const std::string_view digits = text.substr(0, mark);
    const size_t point = std::min(digits.find('.'), digits.size());
    // The digit at place i weighs 10^(before - i), counted in units of the scale.
    int weight = static_cast<int>(std::min<size_t>(point, 1 << 20)) + exponent + type.scale;
    bool any = false, round = false;
    value = 0;
    for (size_t i = 0; i < digits.size(); ++i) {
      if (i == point) continue;
      if (digits[i] < '0' || digits[i] > '9') return false;
      any = true;
      --weight;
      if (weight == -1) round = digits[i] >= '5';
      if (weight < 0) continue;
      if (!HasDigits(value, kMaxPrecision - 1)) return false;
      value = value * 10 + (digits[i] - '0');
    }
    for (; weight > 0 && value != 0; --weight) {
      if (!HasDigits(value, kMaxPrecision - 1)) return false;
      value *= 10;
    }
    value += round ? 1 : 0;
    if (negative) value = -value;
    return any;
  }
};

struct ParseDays {
  bool operator()(std::string_view text, int32_t& r) const { return ParseDate(text, &r); }
};
struct ParseMicros {
  bool operator()(std::string_view text, int64_t& r) const { return ParseTimestamp(text, &r); }
};

// Op: bool operator()(std::string_view, R&) const, false where the text says nothing of the type.
template <class R, class Op>
class ParseNode final : public Node {
 public:
  ParseNode(Type type, std::vector<NodePtr> args, Op op, bool null_instead, Memory& memory)
      : Node(type, null_instead ? Effect::kCostly : Effect::kMayFail, memory, std::move(args)),
        from_(arg(0)),
        op_(op),
        null_instead_(null_instead) {}

  Column Evaluate(const Rows& rows) override {
    const Operand operand = from_.EvaluateFlat(rows, memory());
    const View* in = static_cast<const View*>(operand.data);
    R* out = result_.Values<R>(memory());
    if (!null_instead_) {
      rows.ForValid(operand.valid, [&](uint32_t row) {
        if (!op_(in[row].text(), out[row])) Fail(in[row].text());
      });
      return Flat(out, operand.valid);
    }
    uint8_t* valid = result_.Valid(memory());
    rows.ForEach([&](uint32_t row) {
      valid[row] = (operand.valid == nullptr || operand.valid[row] != 0) && op_(in[row].text(), out[row]);
    });
    return Flat(out, valid);
  }

 private:
  [[noreturn]] void Fail(std::string_view text) const {
    constexpr size_t kShown = 60;
    throw Error(ErrorKind::kData, "cannot cast '" + std::string(text.substr(0, kShown)) + "' to " + type().Name());
  }

  Argument from_;
  Op op_;
  bool null_instead_;
};

NodePtr FromText(std::vector<NodePtr> args, Type to, bool null_instead, Memory& memory) {
  const auto make = [&](auto zero, auto op) -> NodePtr {
    return std::make_unique<ParseNode<decltype(zero), decltype(op)>>(to, std::move(args), op, null_instead, memory);
  };
  switch (to.id) {
    case TypeId::kBool:
      return make(uint8_t{}, ParseBool{});
    case TypeId::kFloat:
      return make(float{}, ParseNumber<float>{});
    case TypeId::kDouble:
      return make(double{}, ParseNumber<double>{});
    case TypeId::kDate:
      return make(int32_t{}, ParseDays{});
    case TypeId::kTimestamp:
    case TypeId::kTimestampTz:
      return make(int64_t{}, ParseMicros{});
    case TypeId::kDecimal:
      if (to.physical() == Physical::kInt64) return make(int64_t{}, ParseDecimal<int64_t>{to});
      return make(Int128{}, ParseDecimal<Int128>{to});
    case TypeId::kInt8:
      return make(int8_t{}, ParseNumber<int8_t>{});
    case TypeId::kInt16:
      return make(int16_t{}, ParseNumber<int16_t>{});
    case TypeId::kInt32:
      return make(int32_t{}, ParseNumber<int32_t>{});
    case TypeId::kInt64:
      return make(int64_t{}, ParseNumber<int64_t>{});
    default:
      return nullptr;
  }
}

View Keep(TextArena& arena, std::string_view text) {
  char* const begin = arena.Allocate(text.size());
  std::copy(text.begin(), text.end(), begin);
  return View(begin, static_cast<uint32_t>(text.size()));
}

struct IntegerText {
  template <class T>
  View operator()(TextArena& arena, const T& value) const {
    char digits[24];
    const auto result = std::to_chars(digits, digits + sizeof(digits), value);
    return Keep(arena, {digits, static_cast<size_t>(result.ptr - digits)});
  }
};

// The shortest text that is read back as the same number; with ".0" where it would look like an integer.
struct FloatText {
  template <class T>
  View operator()(TextArena& arena, const T& value) const {
    std::string text = fmt::format("{}", value);
    if (std::isfinite(value) && text.find_first_of(".e") == std::string::npos) text += ".0";
    return Keep(arena, text);
  }
};

NodePtr ToText(std::vector<NodePtr> args, Type to, Memory& memory) {
  const Type from = args[0]->type();
  switch (from.id) {
    case TypeId::kBool:
      return MakeText<View, uint8_t>(
          to, std::move(args), [](const uint8_t& v) { return v != 0 ? View("true", 4) : View("false", 5); }, memory);
    case TypeId::kInt8:
      return MakeText<View, int8_t>(to, std::move(args), IntegerText{}, memory);
    case TypeId::kInt16:
      return MakeText<View, int16_t>(to, std::move(args), IntegerText{}, memory);
    case TypeId::kInt32:
      return MakeText<View, int32_t>(to, std::move(args), IntegerText{}, memory);
    case TypeId::kInt64:
      return MakeText<View, int64_t>(to, std::move(args), IntegerText{}, memory);
    case TypeId::kFloat:
      return MakeText<View, float>(to, std::move(args), FloatText{}, memory);
    case TypeId::kDouble:
      return MakeText<View, double>(to, std::move(args), FloatText{}, memory);
    case TypeId::kDecimal: {
      const auto text = [scale = from.scale](TextArena& arena, const auto& value) {
        return Keep(arena, DecimalText(value, scale));
      };
      if (from.physical() == Physical::kInt64) return MakeText<View, int64_t>(to, std::move(args), text, memory);
      return MakeText<View, Int128>(to, std::move(args), text, memory);
    }
    case TypeId::kDate:
      return MakeText<View, int32_t>(
          to, std::move(args), [](TextArena& arena, const int32_t& v) { return Keep(arena, DateText(v)); }, memory);
    case TypeId::kTimestamp:
      return MakeText<View, int64_t>(
          to, std::move(args), [](TextArena& arena, const int64_t& v) { return Keep(arena, TimestampText(v)); },
          memory);
    case TypeId::kTimestampTz:
      return MakeText<View, int64_t>(
          to, std::move(args), [](TextArena& arena, const int64_t& v) { return Keep(arena, TimestampText(v) + "+00"); },
          memory);
    case TypeId::kInterval:
      return MakeText<View, Interval>(
          to, std::move(args), [](TextArena& arena, const Interval& v) { return Keep(arena, IntervalText(v)); },
          memory);
    default:
      return nullptr;
  }
}

}  // namespace

NodePtr MakeTextCast(NodePtr from, Type to, bool null_instead, Memory& memory) {
  const Type type = from->type();
  std::vector<NodePtr> args;
  args.push_back(std::move(from));
  NodePtr made = type.id == TypeId::kString ? FromText(std::move(args), to, null_instead, memory)
                                            : ToText(std::move(args), to, memory);
  if (!made) throw Error(ErrorKind::kPlan, "no cast from " + type.Name() + " to " + to.Name());
  return made;
}

}  // namespace neap::engine
