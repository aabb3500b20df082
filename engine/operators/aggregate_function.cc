// aggregate_function.cc: which states a call has, and its result.
#include "engine/operators/aggregate_function.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <type_traits>
#include <utility>

#include "engine/core/error.h"

namespace neap::engine {
namespace {

const char* NameOf(Aggregate function) {
  switch (function) {
    case Aggregate::kCount:
      return "count";
    case Aggregate::kSum:
      return "sum";
    case Aggregate::kMin:
      return "min";
    case Aggregate::kMax:
      return "max";
    case Aggregate::kAvg:
      return "avg";
    case Aggregate::kStddevSample:
      return "stddev_samp";
    case Aggregate::kStddevPopulation:
      return "stddev_pop";
    case Aggregate::kVarianceSample:
      return "var_samp";
    case Aggregate::kVariancePopulation:
      return "var_pop";
    case Aggregate::kBoolAnd:
      return "bool_and";
    case Aggregate::kBoolOr:
      return "bool_or";
    case Aggregate::kAnyValue:
      return "any_value";
    case Aggregate::kGrouping:
      return "grouping";
  }
  __builtin_unreachable();
}

[[noreturn]] void CannotGive(const NumberedCall& call) {
  std::string name = NameOf(call.function);
  if (call.value != AggregateState::kNone) name += " of " + call.value_type.Name();
  throw Error(ErrorKind::kPlan, name + " does not give " + call.output.Name());
}
[[noreturn]] void DoesNotFit(const NumberedCall& call) {
  throw Error(ErrorKind::kData, std::string(NameOf(call.function)) + " of " + call.value_type.Name() +
                                    " does not fit " + call.output.Name() + ": cast the argument to double");
}

bool IsFloating(const Type& type) { return type.id == TypeId::kFloat || type.id == TypeId::kDouble; }

bool Counts(const NumberedCall& call) { return call.function == Aggregate::kCount || call.function == Aggregate::kAvg; }

Int128 PowerOfTen(int exponent) {
  Int128 power = 1;
  for (; exponent > 0; --exponent) power *= 10;
  return power;
}

// sum * numerator / (count * denominator), rounded half away from zero; false where it is not below `limit`.
// The quotient is taken first, so that nothing overflows that need not.
bool Divide(Int128 sum, int64_t count, Int128 numerator, Int128 denominator, Int128 limit, Int128* result) {
  const Int128 divisor = denominator * count;
  Int128 whole;
  if (__builtin_mul_overflow(sum / divisor, numerator, &whole)) return false;
  const Int128 rest = sum % divisor * numerator;
  Int128 part = rest / divisor;
  const Int128 left = rest % divisor;
  if ((left < 0 ? -left : left) >= divisor - (left < 0 ? -left : left)) part += left < 0 ? -1 : left > 0 ? 1 : 0;
  if (__builtin_add_overflow(whole, part, result)) return false;
  return *result<limit&& * result> - limit;
}

}  // namespace

AggregateStates::AggregateStates(const std::vector<NumberedCall>& calls) {
  // Whether counts of different arguments share the number of rows.
  const auto shares_rows = [&](const NumberedCall& call) {
    for (const NumberedCall& other : calls) {
      if (Counts(other) && other.filter == call.filter && other.value != call.value) return true;
    }
    return false;
  };
  for (const NumberedCall& call : calls) {
    Result result{call};
    const char* name = NameOf(call.function);
    const Type& of = call.value_type;
    const Type& to = call.output;
    bool gives = true;
    if (Counts(call)) {
      if (call.value == AggregateState::kNone || shares_rows(call)) {
        result.count = Add(CountRows(), call, true);
        if (call.value != AggregateState::kNone) result.nulls = Add(CountNulls(), call);
      } else {
        result.count = Add(CountValues(), call);
      }
    }
    switch (call.function) {
      case Aggregate::kCount:
        gives = to.id == TypeId::kInt64;
        break;
      case Aggregate::kSum:
      case Aggregate::kAvg:
        result.main = Add(SumState(of, name), call);
        gives =
            IsFloating(to) ||
            (!IsFloating(of) && (to.id == TypeId::kDecimal || (to.is_integer() && call.function == Aggregate::kSum)));
        break;
      case Aggregate::kMin:
      case Aggregate::kMax:
        result.main = Add(ExtremeState(of, call.function == Aggregate::kMin), call);
        gives = to.physical() == of.physical();
        break;
      case Aggregate::kAnyValue:
        result.main = Add(AnyState(of), call);
        gives = to.physical() == of.physical();
        break;
      case Aggregate::kBoolAnd:
      case Aggregate::kBoolOr:
        result.main = Add(ExtremeState(of, call.function == Aggregate::kBoolAnd), call);
        gives = to.physical() == Physical::kBool && of.physical() == Physical::kBool;
        break;
      case Aggregate::kStddevSample:
      case Aggregate::kStddevPopulation:
      case Aggregate::kVarianceSample:
      case Aggregate::kVariancePopulation:
        result.main = Add(MomentsState(of, name), call);
        gives = to.id == TypeId::kDouble;
        break;
      case Aggregate::kGrouping:
        gives = false;
        break;
    }
    if (!gives) CannotGive(call);
    results_.push_back(result);
  }
}

int AggregateStates::Add(AggregateState state, const NumberedCall& call, bool counts_rows) {
  state.value = counts_rows ? AggregateState::kNone : call.value;
  state.filter = call.filter;
  for (size_t i = 0; i < states_.size(); ++i) {
    const AggregateState& other = states_[i];
    if (other.update_one == state.update_one && other.value == state.value && other.filter == state.filter) {
      return static_cast<int>(i);
    }
  }
  states_.push_back(std::move(state));
  return static_cast<int>(states_.size() - 1);
}

std::vector<Type> AggregateStates::types() const {
  std::vector<Type> types;
  for (const AggregateState& state : states_) types.insert(types.end(), state.types.begin(), state.types.end());
  return types;
}

void AggregateStates::Bind(const RowLayout& layout, size_t first) {
  layout_ = &layout;
  for (AggregateState& state : states_) {
    state.column = static_cast<uint32_t>(first);
    for (size_t i = 0; i < state.types.size(); ++i) state.offsets[i] = layout.offset(first++);
  }
}

std::vector<Column> AggregateStates::Initial() const {
  alignas(16) static constexpr uint8_t kZero[sizeof(Int128)] = {};
  std::vector<Column> columns;
  for (const AggregateState& state : states_) {
    for (const Type& type : state.types) {
      columns.push_back({type, kZero, state.starts_as_zero ? nullptr : kZero, kZeroIndices, 1, 0});
    }
  }
  return columns;
}

void AggregateStates::Initialize(uint8_t* row) const {
  for (const AggregateState& state : states_) {
    for (size_t i = 0; i < state.types.size(); ++i) RowLayout::SetValid(row, state.column + i, state.starts_as_zero);
  }
}

void AggregateStates::Merge(uint8_t* const* into, const uint8_t* const* from, uint32_t count,
                            StringKeeper& keeper) const {
  for (const AggregateState& state : states_) state.Merge(into, from, count, keeper);
}

// ---- Results.

int64_t AggregateStates::CountIn(const Result& result, const uint8_t* row) const {
  int64_t count = layout_->Load<int64_t>(row, StateAt(result.count).column);
  if (result.nulls != AggregateState::kNone) count -= layout_->Load<int64_t>(row, StateAt(result.nulls).column);
  return count;
}

namespace {

// Fills a column: f(i, &value) is false where the result is NULL.
template <class T, class F>
Column Fill(const Type& type, uint32_t count, ColumnBuffer out, F&& f) {
  T* data = static_cast<T*>(out.data);
  bool nulls = false;
  for (uint32_t i = 0; i < count; ++i) {
    T value{};
    const bool valid = f(i, &value);
    data[i] = value;
    out.valid[i] = valid;
    nulls |= !valid;
  }
  return {type, out.data, nulls ? out.valid : nullptr, nullptr, 0, 0};
}

}  // namespace

template <class S>
Column AggregateStates::FinishSum(const Result& result, const uint8_t* const* rows, uint32_t count,
                                  ColumnBuffer out) const {
  const NumberedCall& call = result.call;
  const Type& to = call.output;
  const uint32_t column = StateAt(result.main).column;
  const bool average = call.function == Aggregate::kAvg;
  const int scale = call.value_type.id == TypeId::kDecimal ? call.value_type.scale : 0;
  // The sum and what it is divided by; false where nothing was summed.
  const auto load = [&](uint32_t i, S* sum, int64_t* by) {
    *sum = layout_->Load<S>(rows[i], column);
    *by = average ? CountIn(result, rows[i]) : 1;
    return RowLayout::IsValid(rows[i], column);
  };
  return DispatchPhysical(to.physical(), [&](auto zero) -> Column {
    using T = decltype(zero);
    if constexpr (std::is_floating_point_v<T>) {
      const double divisor = std::pow(10.0, scale);
      return Fill<T>(to, count, out, [&](uint32_t i, T* value) {
        S sum;
        int64_t by;
        if (!load(i, &sum, &by)) return false;
        *value = static_cast<T>(static_cast<double>(sum) / divisor / static_cast<double>(by));
        return true;
      });
    } else if constexpr (!std::is_floating_point_v<S> && (std::is_integral_v<T> || std::is_same_v<T, Int128>)) {
      const bool decimal = to.id == TypeId::kDecimal;
      const int shift = (decimal ? to.scale : 0) - scale;
      const Int128 numerator = PowerOfTen(shift), denominator = PowerOfTen(-shift);
      const Int128 limit = decimal ? PowerOfTen(to.precision) : Int128{1} << (std::min(8 * sizeof(T), size_t{64}) - 1);
      return Fill<T>(to, count, out, [&](uint32_t i, T* value) {
        S sum;
        int64_t by;
        if (!load(i, &sum, &by)) return false;
        Int128 wide = sum;
        const bool fits = average || shift != 0 ? Divide(sum, by, numerator, denominator, limit, &wide)
                                                : wide < limit && (wide > -limit || (!decimal && wide == -limit));
        if (!fits) DoesNotFit(call);
        *value = static_cast<T>(wide);
        return true;
      });
    } else {
      CannotGive(call);
    }
  });
}

Column AggregateStates::FinishMoments(const Result& result, const uint8_t* const* rows, uint32_t count,
                                      ColumnBuffer out) const {
  const Aggregate function = result.call.function;
  const bool sample = function == Aggregate::kStddevSample || function == Aggregate::kVarianceSample;
  const bool root = function == Aggregate::kStddevSample || function == Aggregate::kStddevPopulation;
  const uint32_t column = StateAt(result.main).column;
  return Fill<double>(result.call.output, count, out, [&](uint32_t i, double* value) {
    const int64_t freedom = layout_->Load<int64_t>(rows[i], column) - (sample ? 1 : 0);
    if (freedom <= 0) return false;
    // Infinity among the values: how the squares come out depends on the order in which they were added.
    const bool is_finite = std::isfinite(layout_->Load<double>(rows[i], column + 1));
    const double squares = is_finite ? layout_->Load<double>(rows[i], column + 2) : std::nan("");
    const double variance = squares / static_cast<double>(freedom);
    *value = root ? std::sqrt(variance) : variance;
    return true;
  });
}

Column AggregateStates::Finish(size_t call, const uint8_t* const* rows, uint32_t count, ColumnBuffer out) const {
  const Result& result = results_[call];
  switch (result.call.function) {
    case Aggregate::kCount:
      return Fill<int64_t>(result.call.output, count, out, [&](uint32_t i, int64_t* value) {
        *value = CountIn(result, rows[i]);
        return true;
      });
    case Aggregate::kSum:
    case Aggregate::kAvg:
      switch (StateAt(result.main).types[0].physical()) {
        case Physical::kDouble:
          return FinishSum<double>(result, rows, count, out);
        case Physical::kInt64:
          return FinishSum<int64_t>(result, rows, count, out);
        default:
          return FinishSum<Int128>(result, rows, count, out);
      }
    case Aggregate::kStddevSample:
    case Aggregate::kStddevPopulation:
    case Aggregate::kVarianceSample:
    case Aggregate::kVariancePopulation:
      return FinishMoments(result, rows, count, out);
    default: {
      Column column = GatherColumn(*layout_, StateAt(result.main).column, rows, nullptr, count, out);
      column.type = result.call.output;
      return column;
    }
  }
}

}  // namespace neap::engine
