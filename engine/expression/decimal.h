// decimal.h: exact arithmetic of integers of 128 bits with powers of ten.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "engine/core/type.h"

namespace neap::engine {

using UInt128 = unsigned __int128;

constexpr std::array<Int128, kMaxPrecision + 1> kPowersOfTen = [] {
  std::array<Int128, kMaxPrecision + 1> powers{};
  powers[0] = 1;
  for (int i = 1; i <= kMaxPrecision; ++i) powers[i] = powers[i - 1] * 10;
  return powers;
}();

constexpr UInt128 Magnitude(Int128 value) {
  return value < 0 ? -static_cast<UInt128>(value) : static_cast<UInt128>(value);
}

// Of the least value, itself.
constexpr Int128 Negated(Int128 value) { return static_cast<Int128>(-static_cast<UInt128>(value)); }

// Whether a value has at most so many digits.
constexpr bool HasDigits(Int128 value, int digits) {
  return Magnitude(value) < static_cast<UInt128>(kPowersOfTen[digits]);
}

// How many decimal digits a value has; 0 has none.
int CountDigits(Int128 value);

inline bool Fits64(Int128 value) { return value == static_cast<int64_t>(value); }

// n / d rounded to the nearest, halves away from zero; d > 0.
inline Int128 DivideRound(Int128 n, Int128 d) {
  if (Fits64(n) && Fits64(d)) {
    const auto small_n = static_cast<int64_t>(n), small_d = static_cast<int64_t>(d);
    const int64_t quotient = small_n / small_d;
    const int64_t rest = small_n - quotient * small_d;
    const auto twice = static_cast<uint64_t>(rest < 0 ? -rest : rest) * 2;
    return Int128{quotient} + (twice >= static_cast<uint64_t>(small_d) ? (n < 0 ? -1 : 1) : 0);
  }
  const Int128 quotient = n / d;
  const UInt128 twice = Magnitude(n - quotient * d) * 2;
  return quotient + (twice >= static_cast<UInt128>(d) ? (n < 0 ? -1 : 1) : 0);
}

// a * b / d over 256 bits, rounded to the nearest, halves away from zero. False where it does not fit or d is 0.
bool MultiplyDivide(Int128 a, Int128 b, Int128 d, Int128* result);

// "-12.34"
std::string DecimalText(Int128 value, int scale);

}  // namespace neap::engine
