// expr_date_test.cc: dates, timestamps and intervals.
#include "tests/engine/expressions.h"

namespace neap::engine {
namespace {

using namespace expressions;

constexpr int64_t kHour = 3600 * kMicrosPerSecond;

TEST(Calendar, DaysAndDatesAreEachOthersInverse) {
  CivilDate last = CivilFromDays(-800'001);
  for (int32_t days = -800'000; days < 800'000; ++days) {
    const CivilDate date = CivilFromDays(days);
    ASSERT_EQ(DaysFromCivil(date), days);
    const bool next_day = date.day == last.day + 1 && date.month == last.month && date.year == last.year;
    const bool next_month =
        date.day == 1 && last.day == DaysInMonth(last.year, last.month) &&
        (date.month == last.month + 1 || (date.month == 1 && last.month == 12 && date.year == last.year + 1));
    ASSERT_TRUE(next_day || next_month) << days;
    last = date;
  }
  for (int32_t days : {INT32_MIN, INT32_MIN + 1, INT32_MAX}) ASSERT_EQ(DaysFromCivil(CivilFromDays(days)), days);
  EXPECT_EQ(DateText(0), "1970-01-01");
  EXPECT_EQ(DateText(-1), "1969-12-31");
}

TEST(Dates, PlusIntervals) {
  const auto add = [](Expression a, Expression b, Type type) { return Call(Function::kAdd, type, {a, b}); };
  const auto subtract = [](Expression a, Expression b, Type type) { return Call(Function::kSubtract, type, {a, b}); };
  Check(add(Date("1994-01-31"), Span(1, 0, 0), kDate), "1994-02-28");
  Check(add(Date("1996-01-31"), Span(1, 0, 0), kDate), "1996-02-29");
  Check(add(Date("1996-02-29"), Span(12, 0, 0), kDate), "1997-02-28");
  Check(subtract(Date("1994-03-31"), Span(1, 0, 0), kDate), "1994-02-28");
  Check(subtract(Date("1998-12-01"), Span(0, 90, 0), kDate), "1998-09-02");
  Check(subtract(Date("1994-01-01"), Span(13, 1, 0), kDate), "1992-11-30");
  Check(add(Date("1994-01-01"), Span(0, 0, 25 * kHour), kDate), "1994-01-02");
  Check(subtract(Date("1994-01-01"), Span(0, 0, kHour), kDate), "1993-12-31");
  Check(add(Span(0, 1, 0), Date("1994-01-01"), kDate), "1994-01-02");
  Check(add(Date("1994-01-31"), Span(1, 1, kHour), kTimestamp), "1994-03-01 01:00:00");
  Check(add(Timestamp("1994-01-31 12:30:00"), Span(1, 0, 0), kTimestamp), "1994-02-28 12:30:00");
  Check(subtract(Timestamp("1960-03-31 12:30:00"), Span(1, 0, kHour), kTimestamp), "1960-02-29 11:30:00");
  Check(add(Date("1994-01-01"), Int(31), kDate), "1994-02-01");
  Check(subtract(Date("1994-01-01"), Int(1, kInteger), kDate), "1993-12-31");
  Check(add(Date("1994-01-01"), Null(kInterval), kDate), "NULL");
  CheckFails(add(Date("1994-01-01"), Int(int64_t{1} << 40), kDate), "out of range");
  CheckFails(add(Date("1994-01-01"), Span(INT32_MAX, INT32_MAX, 0), kDate), "out of range");
  CheckFails(add(Timestamp("1994-01-01 00:00:00"), Span(INT32_MAX, 0, 0), kTimestamp), "out of range");
}

TEST(Dates, Differences) {
  const auto subtract = [](Expression a, Expression b, Type type) { return Call(Function::kSubtract, type, {a, b}); };
  Check(subtract(Date("1994-03-01"), Date("1994-02-01"), kBigint), "28");
  Check(subtract(Date("1994-02-01"), Date("1994-03-01"), kInteger), "-28");
  Check(subtract(Timestamp("1994-03-01 01:00:00"), Date("1994-02-27"), kInterval), "2 days 01:00:00");
  Check(Call(Function::kAdd, kInterval, {Span(1, 2, 3), Span(1, 1, 999997)}), "2 months 3 days 00:00:01");
  Check(subtract(Span(1, 2, 3), Span(1, 1, 3), kInterval), "1 day");
  Check(Call(Function::kMultiply, kInterval, {Span(1, 2, 0), Int(3)}), "3 months 6 days");
  Check(Call(Function::kMultiply, kInterval, {Int(3), Span(1, 2, 0)}), "3 months 6 days");
  Check(Call(Function::kNegate, kInterval, {Span(1, 2, 0)}), "-1 month -2 days");
  CheckFails(Call(Function::kMultiply, kInterval, {Span(1, 2, 0), Int(INT32_MAX)}), "overflow in interval");
  CheckNoPlan(Call(Function::kAdd, kDate, {Date("1994-01-01"), Date("1994-01-01")}), "no function +(date, date)");
}

TEST(Dates, Parts) {
  const struct {
    const char* part;
    const char* of_date;
    const char* of_time;
  } parts[] = {
      {"year", "2021", "2021"},
      {"isoyear", "2020", "2020"},
      {"quarter", "1", "1"},
      {"MONTH", "1", "1"},
      {"week", "53", "53"},
      {"day", "3", "3"},
      {"doy", "3", "3"},
      {"dow", "0", "0"},
      {"isodow", "7", "7"},
      {"hour", "0", "13"},
      {"minute", "0", "14"},
      {"second", "0", "15"},
      {"millisecond", "0", "15250"},
      {"microsecond", "0", "15250001"},
      {"epoch", "1609632000", "1609679655"},
  };
  for (const auto& [part, of_date, of_time] : parts) {
    SCOPED_TRACE(part);
    Check(Call(Function::kDatePart, kBigint, {Text(part), Date("2021-01-03")}), of_date);
    Check(Call(Function::kDatePart, kBigint, {Text(part), Timestamp("2021-01-03 13:14:15.250001")}), of_time);
  }
  Check(Call(Function::kDatePart, kInteger, {Text("year"), Date("0001-12-31")}), "1");
  Check(Call(Function::kDatePart, kDouble, {Text("epoch"), Timestamp("1970-01-01 00:00:01.5")}), "1.5");
  Check(Call(Function::kDatePart, kBigint, {Text("hour"), Timestamp("1969-12-31 23:30:00")}), "23");
  Check(Call(Function::kDatePart, kBigint, {Text("week"), Date("2024-12-30")}), "1");
  Check(Call(Function::kDatePart, kBigint, {Text("dow"), Date("1969-12-27")}), "6");
  Check(Call(Function::kDatePart, kBigint, {Text("year"), Null(kDate)}), "NULL");
  CheckNoPlan(Call(Function::kDatePart, kBigint, {Text("fortnight"), Date("2021-01-03")}), "knows no part 'fortnight'");
}

TEST(Dates, Truncated) {
  const struct {
    const char* part;
    const char* result;
  } parts[] = {
      {"year", "2021-01-01 00:00:00"},
      {"quarter", "2021-04-01 00:00:00"},
      {"month", "2021-05-01 00:00:00"},
      {"week", "2021-05-17 00:00:00"},
      {"day", "2021-05-23 00:00:00"},
      {"hour", "2021-05-23 13:00:00"},
      {"minute", "2021-05-23 13:14:00"},
      {"second", "2021-05-23 13:14:15"},
      {"millisecond", "2021-05-23 13:14:15.25"},
      {"microsecond", "2021-05-23 13:14:15.250001"},
  };
  for (const auto& [part, result] : parts) {
    SCOPED_TRACE(part);
    Check(Call(Function::kDateTrunc, kTimestamp, {Text(part), Timestamp("2021-05-23 13:14:15.250001")}), result);
  }
  Check(Call(Function::kDateTrunc, kDate, {Text("month"), Date("2021-05-23")}), "2021-05-01");
  Check(Call(Function::kDateTrunc, kTimestamp, {Text("month"), Date("2021-05-23")}), "2021-05-01 00:00:00");
  Check(Call(Function::kDateTrunc, kTimestamp, {Text("hour"), Timestamp("1969-12-31 23:30:00")}),
        "1969-12-31 23:00:00");
  CheckNoPlan(Call(Function::kDateTrunc, kTimestamp, {Text("dow"), Date("2021-05-23")}), "no function date_trunc");
}

TEST(Dates, MadeFromNumbersAndStrings) {
  Check(Call(Function::kMakeDate, kDate, {Int(2024), Int(2), Int(29)}), "2024-02-29");
  CheckFails(Call(Function::kMakeDate, kDate, {Int(2023), Int(2), Int(29)}), "no day 29 in the month of 2023-02-01");
  CheckFails(Call(Function::kMakeDate, kDate, {Int(2023), Int(13), Int(1)}), "no date in year 2023, month 13");
  Check(Expression::Cast(Text("1994-02-28"), kDate), "1994-02-28");
  Check(Expression::Cast(Text(" 1994-2-8 "), kDate), "1994-02-08");
  Check(Expression::Cast(Text("1994-02-28 10:00:00"), kDate), "1994-02-28");
  CheckFails(Expression::Cast(Text("1994-02-29"), kDate), "cannot cast '1994-02-29' to date");
  Check(Expression::Cast(Text("1994-02-29"), kDate, true), "NULL");
  Check(Expression::Cast(Text("1994-02-28"), kTimestamp), "1994-02-28 00:00:00");
  Check(Expression::Cast(Text("1994-02-28T10:11:12.5Z"), kTimestamp), "1994-02-28 10:11:12.5");
  Check(Expression::Cast(Text("1994-02-28 10:11:12.1234567+02:30"), kTimestamp), "1994-02-28 07:41:12.123456");
  CheckFails(Expression::Cast(Text("1994-02-28 25:11:12"), kTimestamp), "to timestamp");
  Check(Expression::Cast(Date("1994-02-28"), kTimestamp), "1994-02-28 00:00:00");
  Check(Expression::Cast(Timestamp("1969-12-31 23:30:00"), kDate), "1969-12-31");
  Check(Expression::Cast(Timestamp("1994-02-28 10:11:12"), {TypeId::kTimestampTz}), "1994-02-28 10:11:12");
}

}  // namespace
}  // namespace neap::engine
