// order.h: how SQL compares two values of a type. NaN equals itself and is greater than all other floats, as it is for
// sorting and grouping; an interval is as long as its months of 30 days, its days and its time together.
#pragma once

#include <cmath>
#include <type_traits>

#include "engine/core/column.h"
#include "engine/expression/calendar.h"

namespace neap::engine {

template <class T>
constexpr bool kIsFloat = std::is_floating_point_v<T>;

inline Int128 IntervalLength(const Interval& v) { return (Int128{v.months} * 30 + v.days) * kMicrosPerDay + v.micros; }

struct Equal {
  template <class T>
  static bool Test(const T& a, const T& b) {
    if constexpr (kIsFloat<T>) {
      return a == b || (std::isnan(a) && std::isnan(b));
    } else if constexpr (std::is_same_v<T, Interval>) {
      return IntervalLength(a) == IntervalLength(b);
    } else {
      return a == b;
    }
  }
};
struct NotEqual {
  template <class T>
  static bool Test(const T& a, const T& b) {
    return !Equal::Test(a, b);
  }
};
struct Less {
  template <class T>
  static bool Test(const T& a, const T& b) {
    if constexpr (kIsFloat<T>) {
      return a < b || (!std::isnan(a) && std::isnan(b));
    } else if constexpr (std::is_same_v<T, Interval>) {
      return IntervalLength(a) < IntervalLength(b);
    } else {
      return a < b;
    }
  }
};
struct LessEqual {
  template <class T>
  static bool Test(const T& a, const T& b) {
    return !Less::Test(b, a);
  }
};

}  // namespace neap::engine
