// value_text.h: values as text, exactly: what a cast to a string gives and what files and tables of results show.
#pragma once

#include <cstdint>
#include <string>

#include "engine/core/type.h"

namespace neap::engine {

// A day of the proleptic Gregorian calendar.
struct CivilDate {
  int64_t year;
  uint32_t month;  // 1 to 12
  uint32_t day;    // 1 to 31
};
CivilDate CivilOfDays(int64_t days);  // since 1970-01-01

// Each writes at `out`, which has room for kMaxValueText, and returns the end of what it wrote.
constexpr size_t kMaxValueText = 80;
char* WriteInteger(int64_t value, char* out);
char* WriteDecimal(Int128 value, int scale, char* out);
char* WriteFloat(float value, char* out);  // the shortest text that reads back as the same value
char* WriteDouble(double value, char* out);
char* WriteDate(int32_t days, char* out);                   // 1998-09-02
char* WriteTimestamp(int64_t micros, bool utc, char* out);  // 1998-09-02 13:45:00.25, with +00 where it is of UTC
char* WriteInterval(const Interval& interval, char* out);   // 1 year 2 months -3 days 04:05:06.5

// The value that lies at `value` as its type says; strings as they are.
void AppendValue(const Type& type, const void* value, std::string& out);

}  // namespace neap::engine
