// plain_decoding.cc: one kernel a conversion, chosen once a column chunk.
#include "engine/scan/plain_decoding.h"

#include <cmath>
#include <cstring>
#include <stdexcept>

#include "engine/core/column.h"
#include "engine/scan/bit_packing.h"

namespace neap::engine {
namespace {

[[noreturn]] void ThrowShort() { throw std::runtime_error("a page ends before its values do"); }

const uint8_t* Take(PlainValues& values, uint64_t bytes) {
  if (static_cast<uint64_t>(values.end - values.data) < bytes) ThrowShort();
  const uint8_t* data = values.data;
  values.data += bytes;
  return data;
}

template <class T>
T LoadAs(const uint8_t* data) {
  T value;
  std::memcpy(&value, data, sizeof(T));
  return value;
}

// The length in front of a BYTE_ARRAY, once it is sure that so many bytes follow.
uint32_t TakeLength(PlainValues& values) {
  const auto length = LoadAs<uint32_t>(Take(values, 4));
  if (static_cast<uint64_t>(values.end - values.data) < length) ThrowShort();
  return length;
}

// Two's complement, most significant byte first, of up to 8 bytes.
int64_t BigEndian64(const uint8_t* data, uint32_t bytes) {
  if (bytes == 0) return 0;
  uint64_t word = 0;
  std::memcpy(&word, data, bytes);
  return static_cast<int64_t>(__builtin_bswap64(word)) >> (64 - 8 * bytes);
}

template <class T>
T BigEndian(const uint8_t* data, uint32_t bytes) {
  if (bytes <= 8) return BigEndian64(data, bytes);
  const auto low = __builtin_bswap64(LoadAs<uint64_t>(data + bytes - 8));
  if constexpr (sizeof(T) == 8) {
    return static_cast<T>(low);  // the type's precision says that it fits
  } else {
    if (bytes > 16) data += bytes - 16, bytes = 16;
    return static_cast<T>(BigEndian64(data, bytes - 8)) * (static_cast<Int128>(1) << 64) + static_cast<T>(low);
  }
}

float HalfToFloat(uint16_t half) {
  const int exponent = half >> 10 & 31;
  const auto fraction = static_cast<float>(half & 1023);
  float value;
  if (exponent == 0) {
    value = std::ldexp(fraction, -24);
  } else if (exponent < 31) {
    value = std::ldexp(fraction + 1024, exponent - 25);
  } else {
    value = fraction == 0 ? HUGE_VALF : NAN;
  }
  return (half & 0x8000) != 0 ? -value : value;
}

constexpr int64_t kMicrosPerDay = 86'400'000'000;

int64_t Int96ToMicros(const uint8_t* data) {
  constexpr int64_t kJulianEpoch = 2440588;
  const int64_t days = static_cast<int64_t>(LoadAs<uint32_t>(data + 8)) - kJulianEpoch;
  return days * kMicrosPerDay + LoadAs<int64_t>(data) / 1000;
}

int64_t MillisToMicros(int64_t millis) {
  int64_t micros;
  if (__builtin_mul_overflow(millis, 1000, &micros)) throw std::runtime_error("a timestamp out of range");
  return micros;
}

int64_t NanosToMicros(int64_t nanos) { return nanos / 1000 - (nanos % 1000 < 0 ? 1 : 0); }

// Value of fixed stored width by `load(data)`.
template <uint32_t kBytes, class Target, auto kLoad>
void DecodeFixed(const Leaf&, PlainValues& values, uint32_t count, void* out) {
  const uint8_t* data = Take(values, uint64_t{count} * kBytes);
  auto* target = static_cast<Target*>(out);
  for (uint32_t i = 0; i < count; ++i) target[i] = static_cast<Target>(kLoad(data + uint64_t{i} * kBytes));
}

template <uint32_t kBytes>
void CopyFixed(const Leaf&, PlainValues& values, uint32_t count, void* out) {
  const uint8_t* data = Take(values, uint64_t{count} * kBytes);  // null in a chunk of nulls alone
  if (count > 0) std::memcpy(out, data, uint64_t{count} * kBytes);
}

template <class T>
void DecodeFixedDecimal(const Leaf& leaf, PlainValues& values, uint32_t count, void* out) {
  const uint32_t bytes = leaf.bytes;
  const uint8_t* data = Take(values, uint64_t{count} * bytes);
  auto* target = static_cast<T*>(out);
  uint32_t i = 0;
  if (bytes != 0 && bytes <= 8) {  // whole words, as long as one is there
    for (; i < count && data + uint64_t{i} * bytes + 8 <= values.end; ++i) {
      const auto word = LoadAs<uint64_t>(data + uint64_t{i} * bytes);
      target[i] = static_cast<int64_t>(__builtin_bswap64(word)) >> (64 - 8 * bytes);
    }
  }
  for (; i < count; ++i) target[i] = BigEndian<T>(data + uint64_t{i} * bytes, bytes);
}

template <class T>
void DecodeBytesDecimal(const Leaf&, PlainValues& values, uint32_t count, void* out) {
  auto* target = static_cast<T*>(out);
  for (uint32_t i = 0; i < count; ++i) {
    const uint32_t length = TakeLength(values);
    target[i] = BigEndian<T>(Take(values, length), length);
  }
}

// A View of `length` bytes of which at least 12 may be read: the constructor without its calls of memcpy.
View FastView(const uint8_t* data, uint32_t length) {
  if (length > View::kInline) return View(reinterpret_cast<const char*>(data), length);
  const uint64_t head = LoadAs<uint32_t>(data), tail = LoadAs<uint64_t>(data + 4);
  const uint64_t head_mask = length >= 4 ? 0xffffffff : (uint64_t{1} << 8 * length) - 1;
  const uint64_t tail_mask = length >= 12 ? ~uint64_t{0} : length <= 4 ? 0 : (uint64_t{1} << 8 * (length - 4)) - 1;
  const uint64_t words[2] = {length | (head & head_mask) << 32, tail & tail_mask};
  View view;
  std::memcpy(&view, words, sizeof(view));
  return view;
}

void DecodeBytes(const Leaf&, PlainValues& values, uint32_t count, void* out) {
  auto* target = static_cast<View*>(out);
  const uint8_t* data = values.data;
  for (uint32_t i = 0; i < count; ++i) {
    const auto left = static_cast<uint64_t>(values.end - data);
    if (left < 4) ThrowShort();
    const auto length = LoadAs<uint32_t>(data);
    if (left - 4 < length) ThrowShort();
    target[i] = left >= 16 ? FastView(data + 4, length) : View(reinterpret_cast<const char*>(data + 4), length);
    data += 4 + uint64_t{length};
  }
  values.data = data;
}

void DecodeFixedBytes(const Leaf& leaf, PlainValues& values, uint32_t count, void* out) {
  const auto* data = reinterpret_cast<const char*>(Take(values, uint64_t{count} * leaf.bytes));
  auto* target = static_cast<View*>(out);
  for (uint32_t i = 0; i < count; ++i) target[i] = View(data + uint64_t{i} * leaf.bytes, leaf.bytes);
}

void DecodeBools(const Leaf&, PlainValues& values, uint32_t count, void* out) {
  if (static_cast<uint64_t>(values.end - values.data) * 8 < uint64_t{values.bit} + count) ThrowShort();
  UnpackBits(values.data, values.bit, count, static_cast<uint8_t*>(out));
  values.data += (values.bit + count) / 8;
  values.bit = (values.bit + count) % 8;
}

void DecodeIntervals(const Leaf&, PlainValues& values, uint32_t count, void* out) {
  const uint8_t* data = Take(values, uint64_t{count} * 12);
  auto* target = static_cast<Interval*>(out);
  for (uint32_t i = 0; i < count; ++i, data += 12) {
    target[i] = {LoadAs<int32_t>(data), LoadAs<int32_t>(data + 4), int64_t{LoadAs<uint32_t>(data + 8)} * 1000};
  }
}

void DecodeNothing(const Leaf&, PlainValues&, uint32_t count, void*) {
  if (count > 0) throw std::runtime_error("a value in a column of NULLs");
}

void SkipFixed(const Leaf& leaf, PlainValues& values, uint32_t count) { Take(values, uint64_t{count} * leaf.bytes); }

void SkipBytes(const Leaf&, PlainValues& values, uint32_t count) {
  for (uint32_t i = 0; i < count; ++i) values.data += TakeLength(values);
}

void SkipBools(const Leaf&, PlainValues& values, uint32_t count) {
  if (static_cast<uint64_t>(values.end - values.data) * 8 < uint64_t{values.bit} + count) ThrowShort();
  values.data += (values.bit + count) / 8;
  values.bit = (values.bit + count) % 8;
}

template <uint32_t kWidth>
struct Cell {
  uint8_t bytes[kWidth];
};

// Calls f with an object as wide as `width`.
template <class F>
void DispatchWidth(uint32_t width, F&& f) {
  switch (width) {
    case 1:
      return f(uint8_t{});
    case 2:
      return f(uint16_t{});
    case 4:
      return f(uint32_t{});
    case 8:
      return f(uint64_t{});
    case 16:
      return f(Cell<16>{});
    default:
      __builtin_unreachable();
  }
}

}  // namespace

PlainDecoder FindPlainDecoder(Conversion conversion) {
  switch (conversion) {
    case Conversion::kBool:
      return DecodeBools;
    case Conversion::kInt8:
      return DecodeFixed<4, int8_t, LoadAs<int32_t>>;
    case Conversion::kInt16:
      return DecodeFixed<4, int16_t, LoadAs<int32_t>>;
    case Conversion::kInt32:
    case Conversion::kFloat:
      return CopyFixed<4>;
    case Conversion::kInt32ToInt64:
      return DecodeFixed<4, int64_t, LoadAs<int32_t>>;
    case Conversion::kUint32:
      return DecodeFixed<4, int64_t, LoadAs<uint32_t>>;
    case Conversion::kInt64:
    case Conversion::kDouble:
      return CopyFixed<8>;
    case Conversion::kUint64:
      return DecodeFixed<8, Int128, LoadAs<uint64_t>>;
    case Conversion::kMillis:
      return DecodeFixed<8, int64_t, [](const uint8_t* data) { return MillisToMicros(LoadAs<int64_t>(data)); }>;
    case Conversion::kNanos:
      return DecodeFixed<8, int64_t, [](const uint8_t* data) { return NanosToMicros(LoadAs<int64_t>(data)); }>;
    case Conversion::kInt96:
      return DecodeFixed<12, int64_t, Int96ToMicros>;
    case Conversion::kHalf:
      return DecodeFixed<2, float, [](const uint8_t* data) { return HalfToFloat(LoadAs<uint16_t>(data)); }>;
    case Conversion::kFixedDecimal64:
      return DecodeFixedDecimal<int64_t>;
    case Conversion::kFixedDecimal128:
      return DecodeFixedDecimal<Int128>;
    case Conversion::kBytesDecimal64:
      return DecodeBytesDecimal<int64_t>;
    case Conversion::kBytesDecimal128:
      return DecodeBytesDecimal<Int128>;
    case Conversion::kInterval:
      return DecodeIntervals;
    case Conversion::kFixedBytes:
      return DecodeFixedBytes;
    case Conversion::kBytes:
      return DecodeBytes;
    case Conversion::kNull:
      return DecodeNothing;
  }
  __builtin_unreachable();
}

PlainSkipper FindPlainSkipper(Conversion conversion) {
  switch (conversion) {
    case Conversion::kBool:
      return SkipBools;
    case Conversion::kBytes:
    case Conversion::kBytesDecimal64:
    case Conversion::kBytesDecimal128:
      return SkipBytes;
    default:
      return SkipFixed;
  }
}

void Gather(const void* values, uint32_t width, const uint32_t* indices, uint32_t count, void* out) {
  DispatchWidth(width, [&](auto zero) {
    using T = decltype(zero);
    const auto* from = static_cast<const T*>(values);
    auto* to = static_cast<T*>(out);
    for (uint32_t i = 0; i < count; ++i) to[i] = from[indices[i]];
  });
}

void Spread(void* values, uint32_t width, const uint8_t* valid, uint32_t rows, uint32_t filled, const void* missing) {
  DispatchWidth(width, [&](auto zero) {
    using T = decltype(zero);
    auto* cells = static_cast<T*>(values);
    if (missing != nullptr) std::memcpy(&zero, missing, sizeof(T));
    uint32_t from = filled;
    for (uint32_t row = rows; row-- > 0;) {
      from -= valid[row];
      cells[row] = valid[row] != 0 ? cells[from] : zero;
    }
  });
}

}  // namespace neap::engine
