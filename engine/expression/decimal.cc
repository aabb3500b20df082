// decimal.cc: the slow parts of decimal.h.
#include "engine/expression/decimal.h"

#include <algorithm>

namespace neap::engine {

int CountDigits(Int128 value) {
  int digits = 0;
  while (digits < kMaxPrecision && !HasDigits(value, digits)) ++digits;
  return digits;
}

bool MultiplyDivide(Int128 a, Int128 b, Int128 d, Int128* result) {
  if (d == 0) return false;
  const bool negative = ((a < 0) != (b < 0)) != (d < 0);
  const UInt128 x = Magnitude(a), y = Magnitude(b), divisor = Magnitude(d);
  const auto low_half = [](UInt128 v) { return static_cast<UInt128>(static_cast<uint64_t>(v)); };
  const UInt128 low = low_half(x) * low_half(y);
  const UInt128 cross_x = (x >> 64) * low_half(y);
  const UInt128 cross_y = low_half(x) * (y >> 64);
  const UInt128 middle = (low >> 64) + low_half(cross_x) + low_half(cross_y);
  UInt128 product_low = low_half(low) | (middle << 64);
  const UInt128 product_high = (x >> 64) * (y >> 64) + (cross_x >> 64) + (cross_y >> 64) + (middle >> 64);

  if (product_high >= divisor) return false;  // the quotient has more than 128 bits
  UInt128 rest = product_high;
  UInt128 quotient = 0;
  for (int bit = 0; bit < 128; ++bit) {
    rest = (rest << 1) | (product_low >> 127);
    product_low <<= 1;
    quotient <<= 1;
    if (rest >= divisor) {
      rest -= divisor;
      quotient |= 1;
    }
  }
  if (rest >= divisor - rest) ++quotient;
  if (quotient >> 127 != 0) return false;
  *result = negative ? -static_cast<Int128>(quotient) : static_cast<Int128>(quotient);
  return true;
}

std::string DecimalText(Int128 value, int scale) {
  std::string digits;
  UInt128 rest = Magnitude(value);
  do {
    if (scale > 0 && digits.size() == static_cast<size_t>(scale)) digits.push_back('.');
    digits.push_back(static_cast<char>('0' + static_cast<int>(rest % 10)));
    rest /= 10;
  } while (rest != 0 || digits.size() <= static_cast<size_t>(scale));
  if (value < 0) digits.push_back('-');
  std::reverse(digits.begin(), digits.end());
  return digits;
}

}  // namespace neap::engine
