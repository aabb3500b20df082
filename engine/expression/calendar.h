// calendar.h: days and microseconds since 1970-01-01 as dates of the proleptic Gregorian calendar, and their texts.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "engine/core/type.h"

namespace neap::engine {

constexpr int64_t kMicrosPerSecond = 1'000'000;
constexpr int64_t kMicrosPerDay = 86'400 * kMicrosPerSecond;

struct CivilDate {
  int32_t year;
  int32_t month;  // 1 to 12
  int32_t day;    // 1 to 31
};

// Two multiplications where there would be divisions. Source: Neri and Schneider, "Euclidean affine functions and their
// application to calendar algorithms", 2022. Shifted by whole cycles of 400 years, so that all is positive.
constexpr CivilDate CivilFromDays(int32_t days) {
  constexpr int64_t kCycles = 14'705, kDaysOfCycle = 146'097;
  const auto shifted = static_cast<uint64_t>(int64_t{days} + 719'468 + kCycles * kDaysOfCycle);
  const uint64_t quarters = 4 * shifted + 3;
  const uint64_t century = quarters / kDaysOfCycle;
  const auto day_of_century = static_cast<uint32_t>(quarters % kDaysOfCycle / 4);
  const uint64_t scaled = uint64_t{2'939'745} * (4 * day_of_century + 3);
  const auto year_of_century = static_cast<uint32_t>(scaled >> 32);
  const uint32_t day_of_year = static_cast<uint32_t>(scaled) / 2'939'745 / 4;  // from the first of March
  const uint32_t month_and_day = 2'141 * day_of_year + 197'913;
  const bool next_year = day_of_year >= 306;
  const uint32_t month = month_and_day >> 16;
  return {static_cast<int32_t>(static_cast<int64_t>(100 * century + year_of_century) - kCycles * 400 + next_year),
          static_cast<int32_t>(next_year ? month - 12 : month),
          static_cast<int32_t>((month_and_day & 0xffff) / 2'141 + 1)};
}

// Source: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms".
// Any year that int32_t holds; the result may be beyond what a date holds.
constexpr int64_t DaysFromCivil(const CivilDate& date) {
  const int64_t year = int64_t{date.year} - (date.month <= 2 ? 1 : 0);
  const int64_t era = (year >= 0 ? year : year - 399) / 400;
  const auto year_of_era = static_cast<uint32_t>(year - era * 400);
  const auto month = static_cast<uint32_t>(date.month > 2 ? date.month - 3 : date.month + 9);
  const uint32_t day_of_year = (153 * month + 2) / 5 + static_cast<uint32_t>(date.day) - 1;
  const uint32_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
  return era * 146097 + static_cast<int64_t>(day_of_era) - 719468;
}

constexpr bool IsLeapYear(int32_t year) { return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0); }
constexpr int32_t DaysInMonth(int32_t year, int32_t month) {
  constexpr int32_t kDays[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  return month == 2 && IsLeapYear(year) ? 29 : kDays[month - 1];
}

// Rounded down, for times before 1970, too.
constexpr int64_t FloorDivide(int64_t a, int64_t b) { return a / b - (a % b < 0 ? 1 : 0); }
constexpr int64_t DaysOfMicros(int64_t micros) { return FloorDivide(micros, kMicrosPerDay); }

// The same day some months later, or the last day of that month where it is shorter. False beyond what a date holds.
bool AddMonths(int32_t days, int32_t months, int32_t* result);

// "1994-02-28", "1994-02-28 13:05:00.25", "1 year 2 months 3 days 04:05:06"
std::string DateText(int32_t days);
std::string TimestampText(int64_t micros);
std::string IntervalText(const Interval& interval);

// What the texts above say, spaces around them left out. False where a text says nothing such.
bool ParseDate(std::string_view text, int32_t* days);  // a time of day is left out
// With a zone ("Z", "+02", "-05:30") the time is taken back to UTC.
bool ParseTimestamp(std::string_view text, int64_t* micros);

}  // namespace neap::engine
