// expr_text_test.cc: functions of strings, LIKE, casts from strings and to them.
#include "tests/engine/expressions.h"

namespace neap::engine {
namespace {

using namespace expressions;

Expression T(Function function, std::vector<Expression> args) { return Call(function, kText, std::move(args)); }
Expression B(Function function, std::vector<Expression> args) { return Call(function, kBoolean, std::move(args)); }
Expression N(Function function, std::vector<Expression> args) { return Call(function, kBigint, std::move(args)); }

TEST(Strings, Substring) {
  const std::string text = "häßlich und länger als zwölf";
  Check(T(Function::kSubstring, {Text(text), Int(2), Int(3)}), "äßl");
  Check(T(Function::kSubstring, {Text(text), Int(9)}), "und länger als zwölf");
  Check(T(Function::kSubstring, {Text(text), Int(2), Int(20)}), "äßlich und länger al");
  Check(T(Function::kSubstring, {Text(text), Int(100), Int(3)}), "");
  Check(T(Function::kSubstring, {Text(text), Int(-1), Int(4)}), "hä");
  Check(T(Function::kSubstring, {Text(text), Int(0), Int(3)}), "hä");
  Check(T(Function::kSubstring, {Text(text), Int(2), Int(-1)}), "");
  Check(T(Function::kSubstring, {Text(text), Int(2), Int(INT64_MAX)}), "äßlich und länger als zwölf");
  Check(T(Function::kSubstring, {Text("13-456-789"), Int(1, kInteger), Int(2, kInteger)}), "13");
  Check(T(Function::kSubstring, {Null(kText), Int(1), Int(2)}), "NULL");
  Check(T(Function::kSubstring, {Text("abc"), Null(kBigint), Int(2)}), "NULL");
  Check(T(Function::kLeft, {Text(text), Int(2)}), "hä");
  Check(T(Function::kLeft, {Text(text), Int(-24)}), "häßl");
  Check(T(Function::kLeft, {Text(text), Int(INT64_MIN)}), "");
  Check(T(Function::kRight, {Text(text), Int(5)}), "zwölf");
  Check(T(Function::kRight, {Text(text), Int(-23)}), "zwölf");
  Check(T(Function::kRight, {Text(text), Int(100)}), text);
  Check(T(Function::kRight, {Text(text), Int(0)}), "");
}

TEST(Strings, LengthAndCase) {
  Check(N(Function::kLength, {Text("häßlich")}), "7");
  Check(N(Function::kOctetLength, {Text("häßlich")}), "9");
  Check(Call(Function::kLength, kInteger, {Text("")}), "0");
  Check(N(Function::kLength, {Null(kText)}), "NULL");
  Check(T(Function::kUpper, {Text("abcXYZ 09")}), "ABCXYZ 09");
  Check(T(Function::kUpper, {Text("straße und häuser")}), "STRAẞE UND HÄUSER");
  Check(T(Function::kLower, {Text("ÄÖÜ ABC ΑΒΓ")}), "äöü abc αβγ");
  Check(T(Function::kUpper, {Text("\u0250")}), "\u2c6f");  // from two bytes to three
  Check(T(Function::kLower, {Text("A long text of letters only")}), "a long text of letters only");
  Check(T(Function::kUpper, {Text("not UTF-8: \xff\xc3")}), "NOT UTF-8: \xff\xc3");
  Check(T(Function::kReverse, {Text("läge")}), "egäl");
}

TEST(Strings, TrimAndPad) {
  Check(T(Function::kTrim, {Text("  a b  ")}), "a b");
  Check(T(Function::kLeftTrim, {Text("  a b  ")}), "a b  ");
  Check(T(Function::kRightTrim, {Text("  a b  ")}), "  a b");
  Check(T(Function::kTrim, {Text("äxäbcxä"), Text("xä")}), "bc");
  Check(T(Function::kTrim, {Text("aaa"), Text("a")}), "");
  Check(T(Function::kTrim, {Text(""), Text("a")}), "");
  Check(T(Function::kTrim, {Text("abc"), Text("")}), "abc");
  Check(T(Function::kLeftPad, {Text("7"), Int(3), Text("0")}), "007");
  Check(T(Function::kLeftPad, {Text("7"), Int(3)}), "  7");
  Check(T(Function::kLeftPad, {Text("häuser"), Int(2), Text("0")}), "hä");
  Check(T(Function::kRightPad, {Text("ab"), Int(20), Text("xyzä")}), "abxyzäxyzäxyzäxyzäxy");
  Check(T(Function::kRightPad, {Text("ab"), Int(5), Text("")}), "ab");
  Check(T(Function::kRightPad, {Text("ab"), Int(-5), Text("x")}), "");
  CheckFails(T(Function::kLeftPad, {Text("ab"), Int(int64_t{1} << 40), Text("x")}), "too long");
}

TEST(Strings, PutTogether) {
  Check(T(Function::kConcat, {Text("ab"), Text("cd")}), "abcd");
  Check(T(Function::kConcat, {Text("a string, "), Text("and one more, "), Text("and the last")}),
        "a string, and one more, and the last");
  Check(T(Function::kConcat, {Text("ab"), Null(kText)}), "NULL");
  Check(T(Function::kConcat, {Text("n"), Int(5)}), "n5");
  Check(T(Function::kConcatWs, {Text(", "), Text("a"), Null(kText), Text("b")}), "a, b");
  Check(T(Function::kConcatWs, {Text(", "), Null(kText), Null(kText)}), "");
  Check(T(Function::kConcatWs, {Null(kText), Text("a"), Text("b")}), "NULL");
  Check(T(Function::kRepeat, {Text("abc"), Int(5)}), "abcabcabcabcabc");
  Check(T(Function::kRepeat, {Text("abc"), Int(-1)}), "");
  CheckFails(T(Function::kRepeat, {Text("abc"), Int(INT64_MAX)}), "too long");
  Check(T(Function::kReplace, {Text("abcabc"), Text("bc"), Text("-=-=-=-=")}), "a-=-=-=-=a-=-=-=-=");
  Check(T(Function::kReplace, {Text("aaaa"), Text("aa"), Text("")}), "");
  Check(T(Function::kReplace, {Text("abc"), Text(""), Text("x")}), "abc");
  Check(T(Function::kReplace, {Text("abc"), Text("d"), Text("x")}), "abc");
}

TEST(Strings, LookForOthers) {
  Check(N(Function::kPosition, {Text("höher als hoch"), Text("als")}), "7");
  Check(N(Function::kPosition, {Text("abc"), Text("x")}), "0");
  Check(N(Function::kPosition, {Text("abc"), Text("")}), "1");
  Check(B(Function::kStartsWith, {Text("a rather long string"), Text("a rather long s")}), "true");
  Check(B(Function::kStartsWith, {Text("ab"), Text("abc")}), "false");
  Check(B(Function::kEndsWith, {Text("a rather long string"), Text("string")}), "true");
  Check(B(Function::kEndsWith, {Text("ab"), Text("aab")}), "false");
  Check(B(Function::kContains, {Text("a rather long string"), Text("er lo")}), "true");
  Check(B(Function::kContains, {Text("ab"), Text("")}), "true");
  Check(B(Function::kContains, {Text("ab"), Null(kText)}), "NULL");
  Check(T(Function::kSplitPart, {Text("a,b,c"), Text(","), Int(2)}), "b");
  Check(T(Function::kSplitPart, {Text("a,b,c"), Text(","), Int(4)}), "");
  Check(T(Function::kSplitPart, {Text("a,b,c"), Text(","), Int(-1)}), "c");
  Check(T(Function::kSplitPart, {Text("a,b,c"), Text(","), Int(-4)}), "");
  Check(T(Function::kSplitPart, {Text("a,b"), Text(""), Int(1)}), "a,b");
  CheckFails(T(Function::kSplitPart, {Text("a,b"), Text(","), Int(0)}), "no part 0");
}

TEST(Strings, AreFoundWhereverTheyBegin) {
  const std::string needles[] = {"x", "xy", "xyz", "xyxyx", "xyzxyzxyzxyzxyzxyzxyzxyz"};
  for (const std::string& needle : needles) {
    for (size_t size = 0; size < 70; ++size) {
      for (size_t at = 0; at + needle.size() <= size; ++at) {
        std::string text(size, 'x');
        for (size_t i = 0; i < size; i += 2) text[i] = '-';
        if (needle.size() == 1) text.assign(size, '-');
        text.replace(at, needle.size(), needle);
        const size_t found = text.find(needle);
        ASSERT_EQ(ValueText(EvaluateConstant(N(Function::kPosition, {Text(text), Text(needle)})), kBigint),
                  std::to_string(found + 1))
            << text;
        text[found] = '+';
        ASSERT_EQ(ValueText(EvaluateConstant(B(Function::kContains, {Text(text), Text(needle)})), kBoolean),
                  text.find(needle) == std::string::npos ? "false" : "true");
      }
    }
  }
}

TEST(Like, EveryKindOfPattern) {
  const struct {
    const char* text;
    const char* pattern;
    bool matches;
  } cases[] = {
      {"STANDARD POLISHED BRASS", "%BRASS", true},
      {"STANDARD POLISHED BRASS", "%BRAS", false},
      {"STANDARD POLISHED BRASS", "STANDARD%", true},
      {"STANDARD POLISHED BRASS", "TANDARD%", false},
      {"STANDARD POLISHED BRASS", "%POLISHED%", true},
      {"STANDARD POLISHED BRASS", "%POLISHED", false},
      {"STANDARD POLISHED BRASS", "STANDARD POLISHED BRASS", true},
      {"STANDARD POLISHED BRASS", "STANDARD POLISHED BRASSX", false},
      {"packages special requests", "%special%requests%", true},
      {"packages requests special", "%special%requests%", false},
      {"specialrequests", "%special%requests%", true},
      {"specialequests", "%special%requests%", false},
      {"abcabc", "a%c", true},
      {"abcab", "a%c", false},
      {"ac", "a%c", true},
      {"a", "a%a", false},
      {"abab", "%ab%ab", true},
      {"aba", "%ab%ab", false},
      {"", "", true},
      {"a", "", false},
      {"", "%", true},
      {"", "%%", true},
      {"", "_", false},
      {"ä", "_", true},
      {"ä", "__", false},
      {"äöü", "_ö_", true},
      {"äöü", "%ü", true},
      {"abcdef", "a_c%", true},
      {"abcdef", "%d_f", true},
      {"abcdef", "%d_e", false},
      {"abcdef", "%b_d%", true},
      {"abcdef", "%b_e%", false},
      {"aXbXc", "a_b_c", true},
      {"aXbXc", "a%_c", true},
      {"ac", "a%_c", false},
      {"50%", "50\\%", true},
      {"50x", "50\\%", false},
      {"a_b", "a\\_b", true},
      {"axb", "a\\_b", false},
      {"a\\b", "a\\\\b", true},
      {"aab", "%ab", true},
      {"mississippi", "m%iss%ip%i", true},
      {"mississippi", "m%iss%iss%iss%", false},
  };
  for (const auto& [text, pattern, matches] : cases) {
    SCOPED_TRACE(std::string(text) + " like " + pattern);
    Check(B(Function::kLike, {Text(text), Text(pattern)}), matches ? "true" : "false");
    Check(B(Function::kNotLike, {Text(text), Text(pattern)}), matches ? "false" : "true");
    Check(B(Function::kILike, {Text(text), Text(pattern)}), matches ? "true" : "false");
  }
  Check(B(Function::kLike, {Text("a%b"), Text("a!%b"), Text("!")}), "true");
  Check(B(Function::kLike, {Text("a\\xb"), Text("a\\%b"), Text("")}), "true");
  Check(B(Function::kLike, {Null(kText), Text("%a%")}), "NULL");
  Check(B(Function::kLike, {Text("a"), Null(kText)}), "NULL");
  Check(B(Function::kILike, {Text("HÄuser"), Text("%hä%")}), "true");
  Check(B(Function::kNotILike, {Text("HÄuser"), Text("hÄUSER")}), "false");
  CheckNoPlan(B(Function::kLike, {Text("a"), Text("b"), Text("ab")}), "escape");
}

// A second opinion: one that tries everything.
bool Naive(std::string_view text, std::string_view pattern) {
  if (pattern.empty()) return text.empty();
  if (pattern[0] == '%') return Naive(text, pattern.substr(1)) || (!text.empty() && Naive(text.substr(1), pattern));
  return !text.empty() && (pattern[0] == '_' || pattern[0] == text[0]) && Naive(text.substr(1), pattern.substr(1));
}

TEST(Like, AgreesWithTryingEverything) {
  uint64_t state = 42;
  const auto next = [&](uint32_t bound) {
    state = state * 6364136223846793005ULL + 1442695040888963407ULL;
    return static_cast<uint32_t>(state >> 33) % bound;
  };
  uint32_t matches = 0;
  for (int i = 0; i < 20000; ++i) {
    std::string text, pattern;
    for (uint32_t n = next(30); n > 0; --n) text += "ab"[next(2)];
    for (uint32_t n = next(7); n > 0; --n) pattern += "ab%_%ab"[next(7)];
    const bool expected = Naive(text, pattern);
    matches += expected;
    ASSERT_EQ(ValueText(EvaluateConstant(B(Function::kLike, {Text(text), Text(pattern)})), kBoolean),
              expected ? "true" : "false")
        << text << " like " << pattern;
  }
  EXPECT_GT(matches, 3000U);
}

TEST(Regexp, MatchesAPart) {
  Check(B(Function::kRegexpLike, {Text("a long string with numbers 123"), Text("[0-9]+$")}), "true");
  Check(B(Function::kRegexpLike, {Text("abc"), Text("^b")}), "false");
  Check(B(Function::kRegexpLike, {Text("abc"), Null(kText)}), "NULL");
  Check(B(Function::kRegexpLike, {Text("hä\xff"), Text("^.ä")}), "true");
  CheckFails(B(Function::kRegexpLike, {Text(std::string(40, 'a') + "b"), Text("^(a|aa)+$")}), "takes too long");
  CheckNoPlan(B(Function::kRegexpLike, {Text("abc"), Text("(")}), "regular expression '(' is wrong");
}

TEST(TextCasts, FromStrings) {
  Check(Expression::Cast(Text(" 42 "), kBigint), "42");
  Check(Expression::Cast(Text("+42"), kInteger), "42");
  Check(Expression::Cast(Text("-128"), kTinyint), "-128");
  CheckFails(Expression::Cast(Text("128"), kTinyint), "cannot cast '128' to tinyint");
  CheckFails(Expression::Cast(Text("a text that is no number"), kBigint), "cannot cast 'a text");
  CheckFails(Expression::Cast(Text("4 2"), kBigint), "cannot cast");
  CheckFails(Expression::Cast(Text(""), kBigint), "cannot cast");
  Check(Expression::Cast(Text("x"), kBigint, true), "NULL");
  Check(Expression::Cast(Text("7"), kBigint, true), "7");
  Check(Expression::Cast(Null(kText), kBigint, true), "NULL");
  Check(Expression::Cast(Text("1.5e3"), kDouble), "1500");
  Check(Expression::Cast(Text("-inf"), kDouble), "-inf");
  Check(Expression::Cast(Text("TRUE"), kBoolean), "true");
  Check(Expression::Cast(Text("f"), kBoolean), "false");
  Check(Expression::Cast(Text("12.345"), Type::Decimal(15, 2)), "12.35");
  Check(Expression::Cast(Text("-12.344999"), Type::Decimal(15, 2)), "-12.34");
  Check(Expression::Cast(Text("-0.005"), Type::Decimal(15, 2)), "-0.01");
  Check(Expression::Cast(Text("1.5e2"), Type::Decimal(15, 2)), "150.00");
  Check(Expression::Cast(Text("15e-1"), Type::Decimal(15, 2)), "1.50");
  Check(Expression::Cast(Text(".5"), Type::Decimal(15, 2)), "0.50");
  Check(Expression::Cast(Text("0.0004"), Type::Decimal(15, 2)), "0.00");
  Check(Expression::Cast(Text("99999999999999999999999999999999999999"), Type::Decimal(38, 0)),
        "99999999999999999999999999999999999999");
  CheckFails(Expression::Cast(Text("999999999999999999999999999999999999999"), Type::Decimal(38, 0)), "cannot cast");
  CheckFails(Expression::Cast(Text("1000"), Type::Decimal(5, 2)), "to decimal(5,2)");
  CheckFails(Expression::Cast(Text("1.2.3"), Type::Decimal(5, 2)), "cannot cast");
  CheckFails(Expression::Cast(Text("."), Type::Decimal(5, 2)), "cannot cast");
  CheckFails(Expression::Cast(Text("1e"), Type::Decimal(5, 2)), "cannot cast");
  Check(Expression::Cast(Text("1e99999999999"), Type::Decimal(5, 2), true), "NULL");
}

TEST(TextCasts, ToStrings) {
  Check(Expression::Cast(Int(-42), kText), "-42");
  Check(Expression::Cast(Int(INT64_MIN), kText), "-9223372036854775808");
  Check(Expression::Cast(Int(7, kTinyint), kText), "7");
  Check(Expression::Cast(Double(1), kText), "1.0");
  Check(Expression::Cast(Double(0.1), kText), "0.1");
  Check(Expression::Cast(Double(1e20), kText), "1e+20");
  Check(Expression::Cast(Double(0.1f, kFloat), kText), "0.1");
  Check(Expression::Cast(Double(INFINITY), kText), "inf");
  Check(Expression::Cast(Bool(true), kText), "true");
  Check(Expression::Cast(Decimal(-5, 15, 2), kText), "-0.05");
  Check(Expression::Cast(Decimal(kPowersOfTen[20], 38, 2), kText), "1000000000000000000.00");
  Check(Expression::Cast(Date("1994-02-28"), kText), "1994-02-28");
  Check(Expression::Cast(Timestamp("1994-02-28 01:02:03"), kText), "1994-02-28 01:02:03");
  Check(Expression::Cast(Timestamp("1969-12-31 23:59:59.999999"), kText), "1969-12-31 23:59:59.999999");
  Check(Expression::Cast(Span(14, 3, 3661000000), kText), "1 year 2 months 3 days 01:01:01");
  Check(Expression::Cast(Null(kDate), kText), "NULL");
}

}  // namespace
}  // namespace neap::engine
