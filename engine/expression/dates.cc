// dates.cc: dates, timestamps and intervals: arithmetic, parts, truncation. Days of a week are counted from Sunday (0)
// for 'dow' and from Monday (1) for 'isodow'; weeks are those of ISO 8601.
#include <algorithm>
#include <cctype>
#include <string>
#include <utility>

#include "engine/expression/calendar.h"
#include "engine/expression/compile.h"
#include "engine/expression/kernel.h"

namespace neap::engine {
namespace {

constexpr Type kDate{TypeId::kDate};
constexpr Type kTimestamp{TypeId::kTimestamp};
constexpr Type kIntervalType{TypeId::kInterval};
constexpr Type kBigint{TypeId::kInt64};

bool IsTimestamp(Type type) { return type.id == TypeId::kTimestamp || type.id == TypeId::kTimestampTz; }

// Timestamp + interval: months first, then days, then the time.
template <bool kSubtracts>
struct ShiftTimestamp {
  using Bad = int32_t;
  int64_t operator()(int64_t time, const Interval& by, int32_t& bad) const {
    const int32_t sign = kSubtracts ? -1 : 1;
    int64_t result = time;
    bool wrong = false;
    if (by.months != 0) {
      const int64_t days = DaysOfMicros(time);
      int32_t shifted = 0;
      wrong = days != static_cast<int32_t>(days) || by.months == INT32_MIN ||
              !AddMonths(static_cast<int32_t>(days), sign * by.months, &shifted) ||
              __builtin_mul_overflow(int64_t{shifted}, kMicrosPerDay, &result) ||
              __builtin_add_overflow(result, time - days * kMicrosPerDay, &result);
    }
    int64_t days_micros;
    wrong |= __builtin_mul_overflow(sign * int64_t{by.days}, kMicrosPerDay, &days_micros);
    wrong |= __builtin_add_overflow(result, days_micros, &result);
    wrong |= kSubtracts ? __builtin_sub_overflow(result, by.micros, &result)
                        : __builtin_add_overflow(result, by.micros, &result);
    bad |= -static_cast<int32_t>(wrong);
    return result;
  }
  std::string Why(int64_t time, const Interval& by) const {
    return "out of range: timestamp " + TimestampText(time) + (kSubtracts ? " - " : " + ") + IntervalText(by);
  }
};

// Date + interval that is to be a date: hours move it by whole days only, down.
template <bool kSubtracts>
struct ShiftDate {
  using Bad = int32_t;
  int32_t operator()(int32_t date, const Interval& by, int32_t& bad) const {
    const int64_t sign = kSubtracts ? -1 : 1;
    int32_t result = date;
    bool wrong = false;
    if (by.months != 0) {
      wrong = by.months == INT32_MIN || !AddMonths(date, static_cast<int32_t>(sign * by.months), &result);
    }
    const int64_t micros = kSubtracts && by.micros != INT64_MIN ? -by.micros : by.micros;
    const int64_t sum = result + sign * by.days + (micros == 0 ? 0 : DaysOfMicros(micros));
    result = static_cast<int32_t>(sum);
    bad |= -static_cast<int32_t>(wrong || sum != result);
    return result;
  }
  std::string Why(int32_t date, const Interval& by) const {
    return "out of range: date " + DateText(date) + (kSubtracts ? " - " : " + ") + IntervalText(by);
  }
};

template <bool kSubtracts>
struct ShiftDays {
  using Bad = int32_t;
  int32_t operator()(int32_t date, int64_t days, int32_t& bad) const {
    int64_t sum;
    const bool wrong = kSubtracts ? __builtin_sub_overflow(int64_t{date}, days, &sum)
                                  : __builtin_add_overflow(int64_t{date}, days, &sum);
    bad |= -static_cast<int32_t>(wrong || sum != static_cast<int32_t>(sum));
    return static_cast<int32_t>(sum);
  }
  std::string Why(int32_t date, int64_t days) const {
    return "out of range: date " + DateText(date) + (kSubtracts ? " - " : " + ") + std::to_string(days) + " days";
  }
};

struct DaysBetween {
  using Bad = Never;
  int64_t operator()(int32_t a, int32_t b, Never&) const { return int64_t{a} - b; }
};

// In days and a rest of less than a day.
struct TimeBetween {
  using Bad = int32_t;
  Interval operator()(int64_t a, int64_t b, int32_t& bad) const {
    int64_t micros;
    bad |= -static_cast<int32_t>(__builtin_sub_overflow(a, b, &micros));
    return {0, static_cast<int32_t>(micros / kMicrosPerDay), micros % kMicrosPerDay};
  }
  std::string Why(int64_t a, int64_t b) const {
    return "overflow in timestamp " + TimestampText(a) + " - timestamp " + TimestampText(b);
  }
};

template <bool kSubtracts>
struct AddIntervals {
  using Bad = int32_t;
  Interval operator()(const Interval& a, const Interval& b, int32_t& bad) const {
    Interval sum;
    const int wrong = kSubtracts ? int{__builtin_sub_overflow(a.months, b.months, &sum.months)} |
                                       int{__builtin_sub_overflow(a.days, b.days, &sum.days)} |
                                       int{__builtin_sub_overflow(a.micros, b.micros, &sum.micros)}
                                 : int{__builtin_add_overflow(a.months, b.months, &sum.months)} |
                                       int{__builtin_add_overflow(a.days, b.days, &sum.days)} |
                                       int{__builtin_add_overflow(a.micros, b.micros, &sum.micros)};
    bad |= -static_cast<int32_t>(wrong);
    return sum;
  }
  std::string Why(const Interval&, const Interval&) const {
    return kSubtracts ? "overflow in interval - interval" : "overflow in interval + interval";
  }
};

struct MultiplyInterval {
  using Bad = int32_t;
  Interval operator()(const Interval& a, int64_t by, int32_t& bad) const {
    Interval product;
    const int wrong = int{__builtin_mul_overflow(a.months, by, &product.months)} |
                      int{__builtin_mul_overflow(a.days, by, &product.days)} |
                      int{__builtin_mul_overflow(a.micros, by, &product.micros)};
    bad |= -static_cast<int32_t>(wrong);
    return product;
  }
  std::string Why(const Interval&, int64_t) const { return "overflow in interval * bigint"; }
};

template <class A, class B, class R, class Op>
NodePtr Binary(Type type, std::vector<NodePtr>& args, Op op, Memory& memory) {
  return std::make_unique<BinaryNode<A, B, R, Op>>(type, std::move(args[0]), std::move(args[1]), op, memory);
}

template <bool kSubtracts>
NodePtr MakeShift(Function function, Type type, std::vector<NodePtr>& args, Memory& memory) {
  const Type a = args[0]->type(), b = args[1]->type();
  if (a.id == TypeId::kDate && b.is_integer() && type.id == TypeId::kDate) {
    args[1] = Coerce(std::move(args[1]), kBigint, memory);
    return Binary<int32_t, int64_t, int32_t>(kDate, args, ShiftDays<kSubtracts>{}, memory);
  }
  if (a.id == TypeId::kDate && b.id == TypeId::kInterval && type.id == TypeId::kDate) {
    return Binary<int32_t, Interval, int32_t>(kDate, args, ShiftDate<kSubtracts>{}, memory);
  }
  if ((a.id == TypeId::kDate || IsTimestamp(a)) && b.id == TypeId::kInterval && IsTimestamp(type)) {
    args[0] = Coerce(std::move(args[0]), type, memory);
    return Binary<int64_t, Interval, int64_t>(type, args, ShiftTimestamp<kSubtracts>{}, memory);
  }
  if (a.id == TypeId::kInterval && b.id == TypeId::kInterval && type.id == TypeId::kInterval) {
    return Binary<Interval, Interval, Interval>(kIntervalType, args, AddIntervals<kSubtracts>{}, memory);
  }
  NoFunction(function, args, type);
}

enum class Part : uint8_t {
  kYear,
  kIsoYear,
  kQuarter,
  kMonth,
  kWeek,
  kDay,
  kDayOfYear,
  kDayOfWeek,
  kIsoDayOfWeek,
  kHour,
  kMinute,
  kSecond,
  kMillisecond,
  kMicrosecond,
  kEpoch,
};

// The literal that names a part.
Part FindPart(Function function, const Node& node) {
  static constexpr std::pair<const char*, Part> kParts[] = {
      {"year", Part::kYear},
      {"isoyear", Part::kIsoYear},
      {"quarter", Part::kQuarter},
      {"month", Part::kMonth},
      {"week", Part::kWeek},
      {"day", Part::kDay},
      {"doy", Part::kDayOfYear},
      {"dayofyear", Part::kDayOfYear},
      {"dow", Part::kDayOfWeek},
      {"dayofweek", Part::kDayOfWeek},
      {"isodow", Part::kIsoDayOfWeek},
      {"hour", Part::kHour},
      {"minute", Part::kMinute},
      {"second", Part::kSecond},
      {"millisecond", Part::kMillisecond},
      {"microsecond", Part::kMicrosecond},
      {"epoch", Part::kEpoch},
  };
  std::string name;
  if (node.is_constant() && node.type().is_view()) {
    const auto& constant = static_cast<const ConstantNode&>(node);
    if (!constant.null()) name = constant.value<View>().text();
  }
  std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::tolower(c); });
  for (const auto& [part_name, part] : kParts) {
    if (name == part_name) return part;
  }
  throw Error(ErrorKind::kPlan, std::string(FunctionName(function)) + " knows no part '" + name + "'");
}

int32_t DayOfWeek(int32_t days) { return static_cast<int32_t>(((int64_t{days} + 4) % 7 + 7) % 7); }
int32_t Monday(int32_t days) { return days - (DayOfWeek(days) + 6) % 7; }
// The Thursday of a week says which year the week belongs to.
int32_t IsoYear(int32_t days) { return CivilFromDays(Monday(days) + 3).year; }
int64_t FirstOfYear(int32_t days) { return DaysFromCivil({CivilFromDays(days).year, 1, 1}); }

int64_t PartOfDate(Part part, int32_t days) {
  switch (part) {
    case Part::kYear:
      return CivilFromDays(days).year;
    case Part::kIsoYear:
      return IsoYear(days);
    case Part::kQuarter:
      return (CivilFromDays(days).month + 2) / 3;
    case Part::kMonth:
      return CivilFromDays(days).month;
    case Part::kWeek: {
      const int32_t thursday = Monday(days) + 3;
      return (thursday - FirstOfYear(thursday)) / 7 + 1;
    }
    case Part::kDay:
      return CivilFromDays(days).day;
    case Part::kDayOfYear:
      return days - FirstOfYear(days) + 1;
    case Part::kDayOfWeek:
      return DayOfWeek(days);
    case Part::kIsoDayOfWeek:
      return days - Monday(days) + 1;
    case Part::kEpoch:
      return int64_t{days} * 86'400;
    default:
      return 0;  // of the time of day, which is midnight
  }
}

int64_t PartOfTime(Part part, int64_t micros_of_day) {
  switch (part) {
    case Part::kHour:
      return micros_of_day / (3600 * kMicrosPerSecond);
    case Part::kMinute:
      return micros_of_day / (60 * kMicrosPerSecond) % 60;
    case Part::kSecond:
      return micros_of_day / kMicrosPerSecond % 60;
    case Part::kMillisecond:
      return micros_of_day / 1000 % 60'000;
    default:
      return micros_of_day % (60 * kMicrosPerSecond);
  }
}

bool IsOfTime(Part part) { return part >= Part::kHour && part <= Part::kMicrosecond; }

template <Part kPart>
struct DatePart {
  static constexpr bool kMayFail = false;
  bool operator()(int32_t days, int64_t& r) const {
    r = PartOfDate(kPart, days);
    return true;
  }
};

template <Part kPart>
struct TimestampPart {
  static constexpr bool kMayFail = false;
  bool operator()(int64_t micros, int64_t& r) const {
    const int64_t days = DaysOfMicros(micros);
    r = IsOfTime(kPart) ? PartOfTime(kPart, micros - days * kMicrosPerDay)
                        : PartOfDate(kPart, static_cast<int32_t>(days));
    return true;
  }
};

// Seconds since 1970 with their fraction.
struct TimestampEpoch {
  static constexpr bool kMayFail = false;
  bool operator()(int64_t micros, double& r) const {
    r = static_cast<double>(micros) / kMicrosPerSecond;
    return true;
  }
};

// Calls f with a part as a type, so that the loops are made for it.
template <Part kFirst = Part::kYear, class F>
NodePtr DispatchPart(Part part, F&& f) {
  if (part == kFirst) return f(std::integral_constant<Part, kFirst>{});
  if constexpr (kFirst != Part::kEpoch) {
    return DispatchPart<static_cast<Part>(static_cast<int>(kFirst) + 1)>(part, f);
  }
  __builtin_unreachable();
}

// The first day of the year, quarter, month or week; in 64 bits, because that of the first date of all is before it.
int64_t TruncateDays(Part part, int32_t days) {
  const CivilDate date = CivilFromDays(days);
  switch (part) {
    case Part::kYear:
      return DaysFromCivil({date.year, 1, 1});
    case Part::kQuarter:
      return DaysFromCivil({date.year, (date.month - 1) / 3 * 3 + 1, 1});
    case Part::kMonth:
      return DaysFromCivil({date.year, date.month, 1});
    case Part::kWeek:
      return Monday(days);
    default:
      return days;
  }
}

struct TruncateDate {
  static constexpr bool kMayFail = false;
  Part part;
  bool operator()(int32_t days, int32_t& r) const {
    r = static_cast<int32_t>(TruncateDays(part, days));
    return true;
  }
};

struct TruncateTimestamp {
  static constexpr bool kMayFail = false;
  Part part;
  int64_t unit;  // microseconds; 0: days or longer
  bool operator()(int64_t micros, int64_t& r) const {
    if (unit != 0) {
      r = FloorDivide(micros, unit) * unit;
    } else {
      r = TruncateDays(part, static_cast<int32_t>(DaysOfMicros(micros))) * kMicrosPerDay;
    }
    return true;
  }
};

int64_t UnitOf(Part part) {
  switch (part) {
    case Part::kHour:
      return 3600 * kMicrosPerSecond;
    case Part::kMinute:
      return 60 * kMicrosPerSecond;
    case Part::kSecond:
      return kMicrosPerSecond;
    case Part::kMillisecond:
      return 1000;
    case Part::kMicrosecond:
      return 1;
    default:
      return 0;
  }
}

NodePtr MakeDatePart(Type type, std::vector<NodePtr> args, Memory& memory) {
  const Part part = FindPart(Function::kDatePart, *args[0]);
  const bool date = args[1]->type().id == TypeId::kDate;
  if (part == Part::kEpoch && !date) {
    return Coerce(std::make_unique<UnaryNode<int64_t, double, TimestampEpoch>>(
                      Type{TypeId::kDouble}, std::move(args[1]), TimestampEpoch{}, memory),
                  type, memory);
  }
  NodePtr node = DispatchPart(part, [&](auto constant) -> NodePtr {
    constexpr Part kPart = decltype(constant)::value;
    if (date) {
      return std::make_unique<UnaryNode<int32_t, int64_t, DatePart<kPart>>>(kBigint, std::move(args[1]),
                                                                            DatePart<kPart>{}, memory);
    }
    return std::make_unique<UnaryNode<int64_t, int64_t, TimestampPart<kPart>>>(kBigint, std::move(args[1]),
                                                                               TimestampPart<kPart>{}, memory);
  });
  return Coerce(std::move(node), type, memory);
}

NodePtr MakeDateTrunc(Type type, std::vector<NodePtr> args, Memory& memory) {
  const Part part = FindPart(Function::kDateTrunc, *args[0]);
  const bool days = part == Part::kYear || part == Part::kQuarter || part == Part::kMonth || part == Part::kWeek ||
                    part == Part::kDay;
  if (!days && UnitOf(part) == 0) NoFunction(Function::kDateTrunc, args, type);
  if (args[1]->type().id == TypeId::kDate) {
    return Coerce(std::make_unique<UnaryNode<int32_t, int32_t, TruncateDate>>(kDate, std::move(args[1]),
                                                                              TruncateDate{part}, memory),
                  type, memory);
  }
  const Type from = args[1]->type();
  return Coerce(std::make_unique<UnaryNode<int64_t, int64_t, TruncateTimestamp>>(
                    from, std::move(args[1]), TruncateTimestamp{part, UnitOf(part)}, memory),
                type, memory);
}

// Days from year, month and day. Three arguments have no kernel of their own: year and month become a month's first
// day.
struct FirstOfMonth {
  using Bad = int32_t;
  int64_t operator()(int64_t year, int64_t month, int32_t& bad) const {
    const bool wrong = month < 1 || month > 12 || year < -5'000'000 || year > 5'000'000;
    bad |= -static_cast<int32_t>(wrong);
    return wrong ? 0 : DaysFromCivil({static_cast<int32_t>(year), static_cast<int32_t>(month), 1});
  }
  std::string Why(int64_t year, int64_t month) const {
    return "no date in year " + std::to_string(year) + ", month " + std::to_string(month);
  }
};
struct DayOfMonth {
  using Bad = int32_t;
  int32_t operator()(int64_t first, int64_t day, int32_t& bad) const {
    const CivilDate month = CivilFromDays(static_cast<int32_t>(first));
    const bool wrong = day < 1 || day > DaysInMonth(month.year, month.month);
    bad |= -static_cast<int32_t>(wrong);
    return static_cast<int32_t>(first + (wrong ? 0 : day - 1));
  }
  std::string Why(int64_t first, int64_t day) const {
    return "no day " + std::to_string(day) + " in the month of " + DateText(static_cast<int32_t>(first));
  }
};

}  // namespace

NodePtr MakeTimeArithmetic(Function function, Type type, std::vector<NodePtr> args, Memory& memory) {
  const Type a = args[0]->type(), b = args[1]->type();
  const bool moment_after = function == Function::kAdd && (b.id == TypeId::kDate || IsTimestamp(b)) &&
                            a.id != TypeId::kDate && !IsTimestamp(a);
  if (moment_after || (function == Function::kMultiply && b.id == TypeId::kInterval)) std::swap(args[0], args[1]);
  switch (function) {
    case Function::kAdd:
      return MakeShift<false>(function, type, args, memory);
    case Function::kSubtract:
      if (a.id == TypeId::kDate && b.id == TypeId::kDate && type.is_integer()) {
        return Coerce(Binary<int32_t, int32_t, int64_t>(kBigint, args, DaysBetween{}, memory), type, memory);
      }
      if ((a.id == TypeId::kDate || IsTimestamp(a)) && (b.id == TypeId::kDate || IsTimestamp(b)) &&
          type.id == TypeId::kInterval) {
        for (NodePtr& node : args) node = Coerce(std::move(node), kTimestamp, memory);
        return Binary<int64_t, int64_t, Interval>(kIntervalType, args, TimeBetween{}, memory);
      }
      return MakeShift<true>(function, type, args, memory);
    case Function::kMultiply:
      if (args[0]->type().id == TypeId::kInterval && args[1]->type().is_integer()) {
        args[1] = Coerce(std::move(args[1]), kBigint, memory);
        return Binary<Interval, int64_t, Interval>(kIntervalType, args, MultiplyInterval{}, memory);
      }
      NoFunction(function, args, type);
    default:
      NoFunction(function, args, type);
  }
}

NodePtr MakeDateFunction(Function function, Type type, std::vector<NodePtr> args, Memory& memory) {
  if (function == Function::kMakeDate) {
    if (args.size() != 3) NoFunction(function, args, type);
    for (NodePtr& node : args) {
      if (!node->type().is_integer()) NoFunction(function, args, type);
      node = Coerce(std::move(node), kBigint, memory);
    }
    NodePtr day = std::move(args[2]);
    std::vector<NodePtr> second;
    second.push_back(Binary<int64_t, int64_t, int64_t>(kBigint, args, FirstOfMonth{}, memory));
    second.push_back(std::move(day));
    return Binary<int64_t, int64_t, int32_t>(kDate, second, DayOfMonth{}, memory);
  }
  if (args.size() != 2) NoFunction(function, args, type);
  if (args[1]->type().id == TypeId::kNull) args[1] = Coerce(std::move(args[1]), kTimestamp, memory);
  if (args[1]->type().id != TypeId::kDate && !IsTimestamp(args[1]->type())) NoFunction(function, args, type);
  return function == Function::kDatePart ? MakeDatePart(type, std::move(args), memory)
                                         : MakeDateTrunc(type, std::move(args), memory);
}

}  // namespace neap::engine
