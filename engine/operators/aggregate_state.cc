// aggregate_state.cc: the functions that update and merge states, each made for one type of values.
#include "engine/operators/aggregate_state.h"

#include <cmath>
#include <string>
#include <type_traits>
#include <utility>

#include "engine/core/error.h"
#include "engine/expression/order.h"

namespace neap::engine {
namespace {

template <class T>
T Get(const uint8_t* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}
template <class T>
void Put(uint8_t* at, const T& value) {
  std::memcpy(at, &value, sizeof value);
}

// Whether a column without NULLs has a value: always, which the compiler knows.
struct NoNulls {
  constexpr bool operator()(uint32_t) const { return true; }
};

// Calls f(get, is_valid): get(i) is the value of the i-th row listed.
template <class T, class F>
void WithValues(const Column& column, const RowIndex* rows, F&& f) {
  const T* values = column.values<T>();
  const uint8_t* valid = column.valid;
  const uint32_t* indices = column.indices;
  const auto at = [&](auto position) {
    const auto get = [=](uint32_t i) { return values[position(i)]; };
    if (valid == nullptr) {
      f(get, NoNulls{});
    } else {
      f(get, [=](uint32_t i) { return valid[position(i)] != 0; });
    }
  };
  if (indices == nullptr) {
    if (rows == nullptr) {
      at([](uint32_t i) { return i; });
    } else {
      at([=](uint32_t i) { return uint32_t{rows[i]}; });
    }
  } else if (rows == nullptr) {
    at([=](uint32_t i) { return indices[i]; });
  } else {
    at([=](uint32_t i) { return indices[rows[i]]; });
  }
}

// ---- Counts: int64.

enum class Counted { kRows, kValues, kNulls };

template <Counted kCounted>
void CountOne(const AggregateState& state, uint8_t* group, const Column* values, const RowIndex* rows, uint32_t count,
              StringKeeper& /*keeper*/) {
  uint32_t counted = count;
  if (kCounted != Counted::kRows) {
    uint32_t valid = count;
    if (values->valid != nullptr) {
      Column flags = *values;
      flags.data = values->valid;
      flags.valid = nullptr;
      valid = 0;
      WithValues<uint8_t>(flags, rows, [&](auto get, auto) {
        for (uint32_t i = 0; i < count; ++i) valid += get(i);
      });
    }
    counted = kCounted == Counted::kValues ? valid : count - valid;
  }
  uint8_t* at = group + state.offsets[0];
  Put(at, Get<int64_t>(at) + counted);
}

template <Counted kCounted>
void CountEach(const AggregateState& state, uint8_t* const* groups, const Column* values, const RowIndex* rows,
               uint32_t count, StringKeeper& /*keeper*/) {
  const uint32_t offset = state.offsets[0];
  const auto add = [&](uint32_t row, int64_t n) {
    uint8_t* at = groups[row] + offset;
    Put(at, Get<int64_t>(at) + n);
  };
  if (rows == nullptr) rows = kAllRows.data();
  if (kCounted == Counted::kRows || values->valid == nullptr) {
    if (kCounted == Counted::kNulls) return;
    for (uint32_t i = 0; i < count; ++i) add(rows[i], 1);
    return;
  }
  for (uint32_t i = 0; i < count; ++i) add(rows[i], values->is_valid(rows[i]) == (kCounted == Counted::kValues));
}

void CountMerge(const AggregateState& state, uint8_t* const* into, const uint8_t* const* from, uint32_t count,
                StringKeeper& /*keeper*/) {
  const uint32_t offset = state.offsets[0];
  for (uint32_t i = 0; i < count; ++i) {
    uint8_t* at = into[i] + offset;
    Put(at, Get<int64_t>(at) + Get<int64_t>(from[i] + offset));
  }
}

// ---- Sums. The state is as wide as no real number of rows can overflow: int64 for up to 32 bits, Int128 beyond, and
// double. Where one batch can, it is checked.

[[noreturn]] void Overflow(const AggregateState& state) {
  throw Error(ErrorKind::kData, "sum overflows " + state.types[0].Name() + ": sum a cast to double instead");
}

template <class S>
bool AddTo(S& sum, S value) {
  if constexpr (std::is_floating_point_v<S>) {
    sum += value;
    return false;
  } else {
    return __builtin_add_overflow(sum, value, &sum);
  }
}

template <class S>
struct BatchSum {
  S sum = 0;
  uint32_t values = 0;
  bool overflow = false;
};

template <class S, class Get, class IsValid>
BatchSum<S> SumOfBatch(Get get, IsValid is_valid, uint32_t count, bool narrow) {
  using T = decltype(get(0));
  BatchSum<S> result;
  if (std::is_same_v<IsValid, NoNulls>) {
    result.values = count;
  } else {
    for (uint32_t i = 0; i < count; ++i) result.values += is_valid(i);
  }
  if constexpr (std::is_floating_point_v<S>) {
    // Four sums at a time: an addition waits for the one before it.
    S lanes[4] = {};
    uint32_t i = 0;
    for (; i + 4 <= count; i += 4) {
      for (uint32_t k = 0; k < 4; ++k) lanes[k] += is_valid(i + k) ? get(i + k) : T{};
    }
    for (; i < count; ++i) lanes[0] += is_valid(i) ? get(i) : T{};
    result.sum = (lanes[0] + lanes[1]) + (lanes[2] + lanes[3]);
  } else if constexpr (std::is_same_v<T, Int128>) {
    for (uint32_t i = 0; i < count; ++i) result.overflow |= AddTo<Int128>(result.sum, is_valid(i) ? get(i) : 0);
  } else if (sizeof(T) < 8 || narrow) {
    int64_t sum = 0;
    for (uint32_t i = 0; i < count; ++i) sum += is_valid(i) ? get(i) : T{};
    result.sum = sum;
  } else {
    // Halves apart, of values moved to be not negative: neither sum can overflow, and there is no carry between them.
    constexpr uint64_t kMoved = uint64_t{1} << 63;
    uint64_t low = 0, high = 0;
    for (uint32_t i = 0; i < count; ++i) {
      const uint64_t value = is_valid(i) ? static_cast<uint64_t>(get(i)) ^ kMoved : 0;
      low += value & 0xffffffff;
      high += value >> 32;
    }
    result.sum = static_cast<S>((static_cast<Int128>(high) << 32) + low - static_cast<Int128>(kMoved) * result.values);
  }
  return result;
}

// The sum of a batch of values of up to 15 digits stays within 64 bits.
bool IsNarrow(const Type& type) { return type.id == TypeId::kDecimal && type.precision <= 15; }

template <class T, class S>
void SumOne(const AggregateState& state, uint8_t* group, const Column* values, const RowIndex* rows, uint32_t count,
            StringKeeper& /*keeper*/) {
  BatchSum<S> batch;
  WithValues<T>(*values, rows, [&](auto get, auto is_valid) {
    batch = SumOfBatch<S>(get, is_valid, count, IsNarrow(state.value_type));
  });
  if (batch.values == 0) return;
  uint8_t* at = group + state.offsets[0];
  if (RowLayout::IsValid(group, state.column)) batch.overflow |= AddTo(batch.sum, Get<S>(at));
  if (batch.overflow) Overflow(state);
  Put(at, batch.sum);
  RowLayout::SetValid(group, state.column, true);
}

template <class T, class S>
void SumEach(const AggregateState& state, uint8_t* const* groups, const Column* values, const RowIndex* rows,
             uint32_t count, StringKeeper& /*keeper*/) {
  const uint32_t offset = state.offsets[0], byte = state.column >> 3;
  const auto bit = static_cast<uint8_t>(1U << (state.column & 7));
  if (rows == nullptr) rows = kAllRows.data();
  bool overflow = false;
  WithValues<T>(*values, rows, [&](auto get, auto is_valid) {
    for (uint32_t i = 0; i < count; ++i) {
      if (!is_valid(i)) continue;
      uint8_t* group = groups[rows[i]];
      const uint8_t flags = group[byte];
      S sum = (flags & bit) != 0 ? Get<S>(group + offset) : S{0};
      overflow |= AddTo<S>(sum, get(i));
      Put(group + offset, sum);
      group[byte] = flags | bit;
    }
  });
  if (overflow) Overflow(state);
}

template <class S>
void SumMerge(const AggregateState& state, uint8_t* const* into, const uint8_t* const* from, uint32_t count,
              StringKeeper& /*keeper*/) {
  const uint32_t offset = state.offsets[0];
  bool overflow = false;
  for (uint32_t i = 0; i < count; ++i) {
    if (!RowLayout::IsValid(from[i], state.column)) continue;
    S sum = Get<S>(from[i] + offset);
    if (RowLayout::IsValid(into[i], state.column)) overflow |= AddTo(sum, Get<S>(into[i] + offset));
    Put(into[i] + offset, sum);
    RowLayout::SetValid(into[i], state.column, true);
  }
  if (overflow) Overflow(state);
}

// ---- The smallest, the largest, any: one value as it is.

enum class Wanted { kMinimum, kMaximum, kAny };

template <Wanted kWanted, class T>
bool Better(const T& value, const T& than) {
  if (kWanted == Wanted::kAny) return false;
  return kWanted == Wanted::kMinimum ? Less::Test(value, than) : Less::Test(than, value);
}

template <class T>
void Keep(const AggregateState& state, uint8_t* group, const T& value, StringKeeper& keeper) {
  uint8_t* at = group + state.offsets[0];
  if constexpr (std::is_same_v<T, View>) {
    const View old = RowLayout::IsValid(group, state.column) ? Get<View>(at) : View();
    Put(at, value.is_inline() && old.is_inline() ? value : keeper.Keep(group, old, value));
  } else {
    Put(at, value);
  }
  RowLayout::SetValid(group, state.column, true);
}

template <Wanted kWanted, class T>
void Offer(const AggregateState& state, uint8_t* group, const T& value, StringKeeper& keeper) {
  if (!RowLayout::IsValid(group, state.column) || Better<kWanted>(value, Get<T>(group + state.offsets[0]))) {
    Keep(state, group, value, keeper);
  }
}

template <Wanted kWanted, class T>
void ExtremeOne(const AggregateState& state, uint8_t* group, const Column* values, const RowIndex* rows, uint32_t count,
                StringKeeper& keeper) {
  if (kWanted == Wanted::kAny && RowLayout::IsValid(group, state.column)) return;
  WithValues<T>(*values, rows, [&](auto get, auto is_valid) {
    uint32_t i = 0;
    while (i < count && !is_valid(i)) ++i;
    if (i == count) return;
    T best = get(i);
    if (kWanted != Wanted::kAny) {
      for (++i; i < count; ++i) {
        const T value = get(i);
        best = is_valid(i) && Better<kWanted>(value, best) ? value : best;
      }
    }
    Offer<kWanted>(state, group, best, keeper);
  });
}

template <Wanted kWanted, class T>
void ExtremeEach(const AggregateState& state, uint8_t* const* groups, const Column* values, const RowIndex* rows,
                 uint32_t count, StringKeeper& keeper) {
  if (rows == nullptr) rows = kAllRows.data();
  WithValues<T>(*values, rows, [&](auto get, auto is_valid) {
    for (uint32_t i = 0; i < count; ++i) {
      if (is_valid(i)) Offer<kWanted>(state, groups[rows[i]], get(i), keeper);
    }
  });
}

template <Wanted kWanted, class T>
void ExtremeMerge(const AggregateState& state, uint8_t* const* into, const uint8_t* const* from, uint32_t count,
                  StringKeeper& keeper) {
  for (uint32_t i = 0; i < count; ++i) {
    if (RowLayout::IsValid(from[i], state.column)) {
      Offer<kWanted>(state, into[i], Get<T>(from[i] + state.offsets[0]), keeper);
    }
  }
}

// ---- Moments: count, mean, sum of squared differences from the mean.
// Source: Chan, Golub and LeVeque, "Updating Formulae and a Pairwise Algorithm for Computing Sample Variances", 1979.

struct Moments {
  int64_t count;
  double mean;
  double squares;

  static Moments Of(const AggregateState& state, const uint8_t* row) {
    return {Get<int64_t>(row + state.offsets[0]), Get<double>(row + state.offsets[1]),
            Get<double>(row + state.offsets[2])};
  }
  void AddTo(const AggregateState& state, uint8_t* row) const {
    Moments sum = Of(state, row);
    if (count == 0) return;
    const auto old = static_cast<double>(sum.count), added = static_cast<double>(count);
    const double difference = mean - sum.mean;
    Put(row + state.offsets[0], sum.count + count);
    Put(row + state.offsets[1], sum.count == 0 ? mean : sum.mean + difference * added / (old + added));
    Put(row + state.offsets[2], sum.squares + squares + difference * difference * old * added / (old + added));
  }
};

double Divisor(const Type& type) { return type.id == TypeId::kDecimal ? std::pow(10.0, type.scale) : 1.0; }

template <class T>
void MomentsOne(const AggregateState& state, uint8_t* group, const Column* values, const RowIndex* rows, uint32_t count,
                StringKeeper& /*keeper*/) {
  const double divisor = Divisor(state.value_type);
  WithValues<T>(*values, rows, [&](auto get, auto is_valid) {
    Moments batch{};
    double sum = 0;
    for (uint32_t i = 0; i < count; ++i) {
      sum += is_valid(i) ? static_cast<double>(get(i)) / divisor : 0;
      batch.count += is_valid(i);
    }
    if (batch.count == 0) return;
    batch.mean = sum / static_cast<double>(batch.count);
    for (uint32_t i = 0; i < count; ++i) {
      const double difference = is_valid(i) ? static_cast<double>(get(i)) / divisor - batch.mean : 0;
      batch.squares += difference * difference;
    }
    batch.AddTo(state, group);
  });
}

template <class T>
void MomentsEach(const AggregateState& state, uint8_t* const* groups, const Column* values, const RowIndex* rows,
                 uint32_t count, StringKeeper& /*keeper*/) {
  const double divisor = Divisor(state.value_type);
  if (rows == nullptr) rows = kAllRows.data();
  WithValues<T>(*values, rows, [&](auto get, auto is_valid) {
    for (uint32_t i = 0; i < count; ++i) {
      if (is_valid(i)) Moments{1, static_cast<double>(get(i)) / divisor, 0}.AddTo(state, groups[rows[i]]);
    }
  });
}

void MomentsMerge(const AggregateState& state, uint8_t* const* into, const uint8_t* const* from, uint32_t count,
                  StringKeeper& /*keeper*/) {
  for (uint32_t i = 0; i < count; ++i) Moments::Of(state, from[i]).AddTo(state, into[i]);
}

// ---- Which functions for which type.

template <Counted kCounted>
AggregateState CountState() {
  AggregateState state;
  state.types = {Type{TypeId::kInt64}};
  state.starts_as_zero = true;
  state.update_one = CountOne<kCounted>;
  state.update_each = CountEach<kCounted>;
  state.merge = CountMerge;
  return state;
}

// Calls f with a value of the C++ type of a number; NULLs alone are read as bytes.
template <class F>
void DispatchNumber(const Type& type, const char* function, F&& f) {
  if (type.id == TypeId::kNull) return f(int8_t{});
  const bool is_number =
      type.is_integer() || type.id == TypeId::kDecimal || type.id == TypeId::kFloat || type.id == TypeId::kDouble;
  if (!is_number) {
    throw Error(ErrorKind::kPlan, std::string(function) + " does not take " + type.Name() + ": cast it to a number");
  }
  DispatchPhysical(type.physical(), [&](auto zero) {
    if constexpr (std::is_arithmetic_v<decltype(zero)> || std::is_same_v<decltype(zero), Int128>) f(zero);
  });
}

template <Wanted kWanted>
AggregateState OneValueState(const Type& type) {
  AggregateState state;
  state.value_type = type;
  state.types = {type};
  DispatchPhysical(type.physical(), [&](auto zero) {
    using T = decltype(zero);
    state.update_one = ExtremeOne<kWanted, T>;
    state.update_each = ExtremeEach<kWanted, T>;
    state.merge = ExtremeMerge<kWanted, T>;
  });
  return state;
}

}  // namespace

AggregateState CountRows() { return CountState<Counted::kRows>(); }
AggregateState CountValues() { return CountState<Counted::kValues>(); }
AggregateState CountNulls() { return CountState<Counted::kNulls>(); }

AggregateState SumState(const Type& type, const char* function) {
  AggregateState state;
  state.value_type = type;
  DispatchNumber(type, function, [&](auto zero) {
    using T = decltype(zero);
    using S =
        std::conditional_t<std::is_floating_point_v<T>, double, std::conditional_t<(sizeof(T) < 8), int64_t, Int128>>;
    state.types = {std::is_floating_point_v<S> ? Type{TypeId::kDouble}
                   : sizeof(S) == 8            ? Type{TypeId::kInt64}
                                               : Type::Decimal(kMaxPrecision, type.scale)};
    state.update_one = SumOne<T, S>;
    state.update_each = SumEach<T, S>;
    state.merge = SumMerge<S>;
  });
  return state;
}

AggregateState ExtremeState(const Type& type, bool minimum) {
  return minimum ? OneValueState<Wanted::kMinimum>(type) : OneValueState<Wanted::kMaximum>(type);
}

AggregateState AnyState(const Type& type) { return OneValueState<Wanted::kAny>(type); }

AggregateState MomentsState(const Type& type, const char* function) {
  AggregateState state;
  state.value_type = type;
  state.types = {Type{TypeId::kInt64}, Type{TypeId::kDouble}, Type{TypeId::kDouble}};
  state.starts_as_zero = true;
  DispatchNumber(type, function, [&](auto zero) {
    using T = decltype(zero);
    state.update_one = MomentsOne<T>;
    state.update_each = MomentsEach<T>;
  });
  state.merge = MomentsMerge;
  return state;
}

}  // namespace neap::engine
