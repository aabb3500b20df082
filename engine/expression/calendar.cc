// calendar.cc: months, and dates and times as text.
#include "engine/expression/calendar.h"

#include <fmt/format.h>

#include <algorithm>

namespace neap::engine {
namespace {

void SkipSpaces(std::string_view& text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
}

bool Take(std::string_view& text, char c) {
  if (text.empty() || text.front() != c) return false;
  text.remove_prefix(1);
  return true;
}

// A number of `least` to `most` digits.
bool TakeNumber(std::string_view& text, size_t least, size_t most, int32_t* number) {
  size_t digits = 0;
  *number = 0;
  while (digits < most && digits < text.size() && text[digits] >= '0' && text[digits] <= '9') {
    *number = *number * 10 + (text[digits++] - '0');
  }
  text.remove_prefix(digits);
  return digits >= least;
}

bool TakeDate(std::string_view& text, int32_t* days) {
  CivilDate date{};
  const bool negative = Take(text, '-');
  if (!TakeNumber(text, 1, 7, &date.year) || !Take(text, '-') || !TakeNumber(text, 1, 2, &date.month) ||
      !Take(text, '-') || !TakeNumber(text, 1, 2, &date.day)) {
    return false;
  }
  if (negative) date.year = -date.year;
  if (date.month < 1 || date.month > 12 || date.day < 1 || date.day > DaysInMonth(date.year, date.month)) return false;
  const int64_t result = DaysFromCivil(date);
  *days = static_cast<int32_t>(result);
  return result == *days;
}

// "13:05", "13:05:00", "13:05:00.25"
bool TakeTime(std::string_view& text, int64_t* micros) {
  int32_t hour = 0, minute = 0, second = 0;
  int64_t fraction = 0;
  if (!TakeNumber(text, 1, 2, &hour) || !Take(text, ':') || !TakeNumber(text, 2, 2, &minute)) return false;
  if (Take(text, ':') && !TakeNumber(text, 2, 2, &second)) return false;
  if (Take(text, '.')) {
    int64_t weight = kMicrosPerSecond;
    while (!text.empty() && text.front() >= '0' && text.front() <= '9') {
      weight /= 10;
      fraction += weight * (text.front() - '0');  // digits beyond microseconds weigh nothing
      text.remove_prefix(1);
    }
  }
  if (hour > 23 || minute > 59 || second > 59) return false;
  *micros = ((hour * 60 + minute) * 60 + second) * kMicrosPerSecond + fraction;
  return true;
}

bool TakeZone(std::string_view& text, int64_t* offset) {
  *offset = 0;
  if (Take(text, 'Z') || text.empty()) return true;
  const bool west = text.front() == '-';
  if (!west && text.front() != '+') return false;
  text.remove_prefix(1);
  int32_t hours = 0, minutes = 0;
  if (!TakeNumber(text, 1, 2, &hours)) return false;
  Take(text, ':');
  if (!text.empty() && !TakeNumber(text, 2, 2, &minutes)) return false;
  if (hours > 15 || minutes > 59) return false;
  *offset = (hours * 60 + minutes) * 60 * kMicrosPerSecond * (west ? -1 : 1);
  return true;
}

std::string TimeText(int64_t micros) {
  const int64_t seconds = micros / kMicrosPerSecond, fraction = micros % kMicrosPerSecond;
  std::string text = fmt::format("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
  if (fraction != 0) {
    text += fmt::format(".{:06}", fraction);
    text.erase(text.find_last_not_of('0') + 1);
  }
  return text;
}

}  // namespace

bool AddMonths(int32_t days, int32_t months, int32_t* result) {
  CivilDate date = CivilFromDays(days);
  const int64_t month = int64_t{date.year} * 12 + (date.month - 1) + months;
  const int64_t year = FloorDivide(month, 12);
  if (year != static_cast<int32_t>(year)) return false;
  date.year = static_cast<int32_t>(year);
  date.month = static_cast<int32_t>(month - year * 12) + 1;
  date.day = std::min(date.day, DaysInMonth(date.year, date.month));
  const int64_t sum = DaysFromCivil(date);
  *result = static_cast<int32_t>(sum);
  return sum == *result;
}

std::string DateText(int32_t days) {
  const CivilDate date = CivilFromDays(days);
  return fmt::format("{:04}-{:02}-{:02}", date.year, date.month, date.day);
}

std::string TimestampText(int64_t micros) {
  const int64_t days = DaysOfMicros(micros);
  return fmt::format("{} {}", DateText(static_cast<int32_t>(days)), TimeText(micros - days * kMicrosPerDay));
}

std::string IntervalText(const Interval& interval) {
  std::string text;
  const auto add = [&](int64_t count, const char* unit) {
    if (count == 0) return;
    text += fmt::format("{}{} {}{}", text.empty() ? "" : " ", count, unit, count == 1 || count == -1 ? "" : "s");
  };
  add(interval.months / 12, "year");
  add(interval.months % 12, "month");
  add(interval.days, "day");
  if (interval.micros != 0 || text.empty()) {
    const bool negative = interval.micros < 0;
    text += fmt::format("{}{}{}", text.empty() ? "" : " ", negative ? "-" : "",
                        TimeText(negative ? -interval.micros : interval.micros));
  }
  return text;
}

bool ParseDate(std::string_view text, int32_t* days) {
  int64_t ignored;
  SkipSpaces(text);
  if (!TakeDate(text, days)) return false;
  if (Take(text, 'T') || (text.size() > 1 && text[0] == ' ' && text[1] != ' ')) {
    SkipSpaces(text);
    if (!TakeTime(text, &ignored) || !TakeZone(text, &ignored)) return false;
  }
  SkipSpaces(text);
  return text.empty();
}

bool ParseTimestamp(std::string_view text, int64_t* micros) {
  int32_t days = 0;
  int64_t time = 0, offset = 0;
  SkipSpaces(text);
  if (!TakeDate(text, &days)) return false;
  if (Take(text, 'T') || (text.size() > 1 && text[0] == ' ' && text[1] != ' ')) {
    SkipSpaces(text);
    if (!TakeTime(text, &time)) return false;
    SkipSpaces(text);
    if (!TakeZone(text, &offset)) return false;
  }
  SkipSpaces(text);
  return text.empty() && !__builtin_mul_overflow(int64_t{days}, kMicrosPerDay, micros) &&
         !__builtin_add_overflow(*micros, time - offset, micros);
}

}  // namespace neap::engine
