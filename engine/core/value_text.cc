// value_text.cc: text of numbers, dates and times.
#include "engine/core/value_text.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>

#include "engine/core/column.h"

namespace neap::engine {
namespace {

constexpr int64_t kMicrosPerSecond = 1'000'000;
constexpr int64_t kMicrosPerDay = 86'400 * kMicrosPerSecond;

char* WriteText(const char* text, char* out) { return std::copy_n(text, std::strlen(text), out); }

// At least `digits` digits, with zeros in front.
char* WritePadded(uint64_t value, int digits, char* out) {
  char reversed[20];
  int count = 0;
  while (value != 0 || count < digits) {
    reversed[count++] = static_cast<char>('0' + value % 10);
    value /= 10;
  }
  while (count > 0) *out++ = reversed[--count];
  return out;
}

// 04:05:06.5 of a time that is not negative; hours may be more than 23.
char* WriteTime(uint64_t micros, char* out) {
  const uint64_t seconds = micros / kMicrosPerSecond;
  uint64_t fraction = micros % kMicrosPerSecond;
  out = WritePadded(seconds / 3600, 2, out);
  *out++ = ':';
  out = WritePadded(seconds / 60 % 60, 2, out);
  *out++ = ':';
  out = WritePadded(seconds % 60, 2, out);
  if (fraction == 0) return out;
  int digits = 6;
  for (; fraction % 10 == 0; fraction /= 10) --digits;
  *out++ = '.';
  return WritePadded(fraction, digits, out);
}

char* WriteCivil(const CivilDate& date, char* out) {
  if (date.year < 0) *out++ = '-';
  out = WritePadded(static_cast<uint64_t>(date.year < 0 ? -date.year : date.year), 4, out);
  *out++ = '-';
  out = WritePadded(date.month, 2, out);
  *out++ = '-';
  return WritePadded(date.day, 2, out);
}

template <class T>
char* WriteReal(T value, char* out) {
  if (std::isnan(value)) return WriteText("NaN", out);
  if (std::isinf(value)) return WriteText(value < 0 ? "-Infinity" : "Infinity", out);
  char* end = std::to_chars(out, out + kMaxValueText, value).ptr;
  for (const char* c = out; c < end; ++c) {
    if (*c == '.' || *c == 'e') return end;
  }
  return WriteText(".0", end);  // so that it reads as what it is
}

}  // namespace

// Source: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", civil_from_days.
CivilDate CivilOfDays(int64_t days) {
  days += 719468;  // since 0000-03-01: years that end with February
  const int64_t era = (days >= 0 ? days : days - 146096) / 146097;
  const auto day_of_era = static_cast<uint64_t>(days - era * 146097);
  const uint64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
  const uint64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  const uint64_t shifted_month = (5 * day_of_year + 2) / 153;
  const auto day = static_cast<uint32_t>(day_of_year - (153 * shifted_month + 2) / 5 + 1);
  const auto month = static_cast<uint32_t>(shifted_month < 10 ? shifted_month + 3 : shifted_month - 9);
  return {static_cast<int64_t>(year_of_era) + era * 400 + (month <= 2 ? 1 : 0), month, day};
}

char* WriteInteger(int64_t value, char* out) { return std::to_chars(out, out + kMaxValueText, value).ptr; }

char* WriteDecimal(Int128 value, int scale, char* out) {
  auto rest = static_cast<unsigned __int128>(value);
  if (value < 0) {
    *out++ = '-';
    rest = -rest;
  }
  char reversed[44];
  int count = 0;
  for (; rest > UINT64_MAX; rest /= 10) reversed[count++] = static_cast<char>('0' + static_cast<int>(rest % 10));
  for (auto low = static_cast<uint64_t>(rest); low != 0; low /= 10) {
    reversed[count++] = static_cast<char>('0' + low % 10);
  }
  while (count <= scale) reversed[count++] = '0';
  while (count > 0) {
    if (count == scale) *out++ = '.';
    *out++ = reversed[--count];
  }
  return out;
}

char* WriteFloat(float value, char* out) { return WriteReal(value, out); }
char* WriteDouble(double value, char* out) { return WriteReal(value, out); }

char* WriteDate(int32_t days, char* out) { return WriteCivil(CivilOfDays(days), out); }

char* WriteTimestamp(int64_t micros, bool utc, char* out) {
  const int64_t days = micros / kMicrosPerDay - (micros % kMicrosPerDay < 0 ? 1 : 0);
  out = WriteCivil(CivilOfDays(days), out);
  *out++ = ' ';
  out = WriteTime(static_cast<uint64_t>(micros) - static_cast<uint64_t>(days) * kMicrosPerDay, out);
  return utc ? WriteText("+00", out) : out;
}

char* WriteInterval(const Interval& interval, char* out) {
  char* const start = out;
  const auto part = [&](int64_t count, const char* unit) {
    if (count == 0) return;
    if (out != start) *out++ = ' ';
    out = WriteInteger(count, out);
    *out++ = ' ';
    out = WriteText(unit, out);
    if (count != 1 && count != -1) *out++ = 's';
  };
  part(interval.months / 12, "year");
  part(interval.months % 12, "month");
  part(interval.days, "day");
  if (interval.micros != 0 || out == start) {
    if (out != start) *out++ = ' ';
    const auto micros = static_cast<uint64_t>(interval.micros);
    if (interval.micros < 0) *out++ = '-';
    out = WriteTime(interval.micros < 0 ? -micros : micros, out);
  }
  return out;
}

void AppendValue(const Type& type, const void* value, std::string& out) {
  char text[kMaxValueText];
  const auto append = [&](const char* end) { out.append(text, static_cast<size_t>(end - text)); };
  const auto load = [&]<class T>(T zero) {
    std::memcpy(static_cast<void*>(&zero), value, sizeof(T));
    return zero;
  };
  switch (type.id) {
    case TypeId::kNull:
      return;
    case TypeId::kBool:
      out += load(uint8_t{}) != 0 ? "true" : "false";
      return;
    case TypeId::kInt8:
      return append(WriteInteger(load(int8_t{}), text));
    case TypeId::kInt16:
      return append(WriteInteger(load(int16_t{}), text));
    case TypeId::kInt32:
      return append(WriteInteger(load(int32_t{}), text));
    case TypeId::kInt64:
      return append(WriteInteger(load(int64_t{}), text));
    case TypeId::kFloat:
      return append(WriteFloat(load(float{}), text));
    case TypeId::kDouble:
      return append(WriteDouble(load(double{}), text));
    case TypeId::kDecimal: {
      const bool wide = type.physical() == Physical::kInt128;
      return append(WriteDecimal(wide ? load(Int128{}) : load(int64_t{}), type.scale, text));
    }
    case TypeId::kDate:
      return append(WriteDate(load(int32_t{}), text));
    case TypeId::kTimestamp:
    case TypeId::kTimestampTz:
      return append(WriteTimestamp(load(int64_t{}), type.id == TypeId::kTimestampTz, text));
    case TypeId::kInterval:
      return append(WriteInterval(load(Interval{}), text));
    case TypeId::kString:
    case TypeId::kBinary: {
      // The text of a short one lies in the View itself.
      out += static_cast<const View*>(value)->text();
      return;
    }
  }
}

}  // namespace neap::engine
