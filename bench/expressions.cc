// expressions: ns a row of what queries compute most: comparisons to a selection, decimals, strings. On the engine, so
// that no allocator is preloaded here.
#include <benchmark/benchmark.h>

#include <string>
#include <vector>

#include "engine/expression/evaluator.h"

namespace neap::engine {
namespace {

constexpr Type kBoolean{TypeId::kBool};
constexpr Type kBigint{TypeId::kInt64};
constexpr Type kDate{TypeId::kDate};
constexpr Type kDouble{TypeId::kDouble};
constexpr Type kText{TypeId::kString};
const Type kMoney = Type::Decimal(15, 2);

// Columns as those of TPC-H's lineitem: 0 bigint, 1 date, 2 and 3 decimal(15,2), 4 texts, 5 a dictionary of texts,
// 6 double.
class Fixture {
 public:
  explicit Fixture(double selected) {
    static const char* const kWords[] = {"furiously ", "special ",  "packages ", "requests ", "sleep ",
                                         "carefully ", "deposits ", "across ",   "ironic "};
    for (uint32_t row = 0; row < kBatchRows; ++row) {
      numbers_.push_back(Next(1000));
      dates_.push_back(static_cast<int32_t>(8000 + Next(2500)));
      prices_.push_back(Next(10'000'000));
      discounts_.push_back(Next(11));
      doubles_.push_back(static_cast<double>(Next(1000)));
      std::string text;
      for (int i = 0; i < 6; ++i) text += kWords[Next(9)];
      texts_.push_back(std::move(text));
      indices_.push_back(static_cast<uint32_t>(Next(150)));
      if (static_cast<double>(Next(1000)) < selected * 1000) selection_.push_back(static_cast<RowIndex>(row));
    }
    for (const std::string& text : texts_) views_.emplace_back(text);
    batch_.columns = {
        {kBigint, numbers_.data(), nullptr, nullptr, 0, 0}, {kDate, dates_.data(), nullptr, nullptr, 0, 0},
        {kMoney, prices_.data(), nullptr, nullptr, 0, 0},   {kMoney, discounts_.data(), nullptr, nullptr, 0, 0},
        {kText, views_.data(), nullptr, nullptr, 0, 0},     {kText, views_.data(), nullptr, indices_.data(), 150, 1},
        {kDouble, doubles_.data(), nullptr, nullptr, 0, 0}};
    batch_.SetAll(kBatchRows);
    if (selected < 1) {
      batch_.selection = selection_.data();
      batch_.selected = static_cast<uint32_t>(selection_.size());
    }
    for (const Column& column : batch_.columns) {
      slots_.ids.push_back(static_cast<ColumnId>(slots_.ids.size()));
      slots_.types.push_back(column.type);
    }
  }

  Expression Read(uint32_t column) const { return Expression::Column(column, slots_.types[column]); }
  const Batch& batch() const { return batch_; }
  const Slots& slots() const { return slots_; }

 private:
  int64_t Next(uint32_t bound) {
    state_ = state_ * 6364136223846793005ULL + 1442695040888963407ULL;
    return static_cast<int64_t>((state_ >> 33) % bound);
  }

  uint64_t state_ = 42;
  std::vector<int64_t> numbers_, prices_, discounts_;
  std::vector<int32_t> dates_;
  std::vector<double> doubles_;
  std::vector<std::string> texts_;
  std::vector<View> views_;
  std::vector<uint32_t> indices_;
  std::vector<RowIndex> selection_;
  Batch batch_;
  Slots slots_;
};

Expression Int(int64_t value, Type type = kBigint) { return Expression::Constant({false, value}, type); }
Expression Money(int64_t value, Type type = kMoney) { return Expression::Constant({false, Int128{value}}, type); }
Expression Text(const char* value) { return Expression::Constant({false, std::string(value)}, kText); }
Expression Call(Function function, Type type, std::vector<Expression> args) {
  return Expression::Call(function, type, std::move(args));
}

void Report(benchmark::State& state, uint32_t rows) {
  state.counters["ns/row"] = benchmark::Counter(static_cast<double>(state.iterations()) * rows / 1e9,
                                                benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}

template <class Make>
void Select(benchmark::State& state, double selected, Make make) {
  Fixture fixture(selected);
  Memory memory(nullptr, "bench");
  Evaluator evaluator(make(fixture), fixture.slots(), memory);
  std::vector<RowIndex> kept(kBatchRows);
  for (auto _ : state) benchmark::DoNotOptimize(evaluator.Select(fixture.batch(), kept.data()));
  Report(state, fixture.batch().selected);
}

template <class Make>
void Evaluate(benchmark::State& state, double selected, Make make) {
  Fixture fixture(selected);
  Memory memory(nullptr, "bench");
  Evaluator evaluator(make(fixture), fixture.slots(), memory);
  for (auto _ : state) benchmark::DoNotOptimize(evaluator.Evaluate(fixture.batch()));
  Report(state, fixture.batch().selected);
}

const auto kBigintLess = [](const Fixture& f) { return Call(Function::kLess, kBoolean, {f.Read(0), Int(500)}); };
const auto kDateLess = [](const Fixture& f) { return Call(Function::kLess, kBoolean, {f.Read(1), Int(9000, kDate)}); };
const auto kDateBetween = [](const Fixture& f) {
  return Call(Function::kAnd, kBoolean,
              {Call(Function::kGreaterEqual, kBoolean, {f.Read(1), Int(8500, kDate)}),
               Call(Function::kLess, kBoolean, {f.Read(1), Int(8900, kDate)})});
};
const auto kDoubleLess = [](const Fixture& f) {
  return Call(Function::kLess, kBoolean, {f.Read(6), Expression::Constant({false, 500.0}, kDouble)});
};
const auto kQuery6 = [](const Fixture& f) {
  return Call(Function::kAnd, kBoolean,
              {Call(Function::kGreaterEqual, kBoolean, {f.Read(1), Int(8766, kDate)}),
               Call(Function::kLess, kBoolean, {f.Read(1), Int(9131, kDate)}),
               Call(Function::kGreaterEqual, kBoolean, {f.Read(3), Money(5)}),
               Call(Function::kLessEqual, kBoolean, {f.Read(3), Money(7)}),
               Call(Function::kLess, kBoolean, {f.Read(2), Money(2'400'000)})});
};
const auto kLikeText = [](const Fixture& f) {
  return Call(Function::kLike, kBoolean, {f.Read(4), Text("%ironic de%")});
};
const auto kLikeTwo = [](const Fixture& f) {
  return Call(Function::kNotLike, kBoolean, {f.Read(4), Text("%special%requests%")});
};
const auto kLikePrefix = [](const Fixture& f) {
  return Call(Function::kLike, kBoolean, {f.Read(4), Text("special p%")});
};
const auto kLikeDictionary = [](const Fixture& f) {
  return Call(Function::kLike, kBoolean, {f.Read(5), Text("%ironic de%")});
};
const auto kTextEqual = [](const Fixture& f) { return Call(Function::kEqual, kBoolean, {f.Read(4), Text("special")}); };
const auto kInNumbers = [](const Fixture& f) {
  Expression in;
  in.kind = Expression::Kind::kIn;
  in.type = kBoolean;
  in.args = {f.Read(0)};
  for (int i = 0; i < 20; ++i) in.args.push_back(Int(i * 37));
  return in;
};
const auto kMultiplyDecimals = [](const Fixture& f) {
  return Call(Function::kMultiply, Type::Decimal(30, 4), {f.Read(2), f.Read(3)});
};
// As DataFusion types it.
const auto kRevenue = [](const Fixture& f) {
  return Call(
      Function::kMultiply, Type::Decimal(38, 4),
      {f.Read(2), Call(Function::kSubtract, Type::Decimal(23, 2), {Money(1, Type::Decimal(20, 0)), f.Read(3)})});
};
const auto kCharge = [](const Fixture& f) {
  return Call(Function::kMultiply, Type::Decimal(38, 6),
              {kRevenue(f), Call(Function::kAdd, Type::Decimal(23, 2), {Money(1, Type::Decimal(20, 0)), f.Read(3)})});
};
const auto kAddBigints = [](const Fixture& f) { return Call(Function::kAdd, kBigint, {f.Read(0), f.Read(0)}); };
const auto kMultiplyBigints = [](const Fixture& f) {
  return Call(Function::kMultiply, kBigint, {f.Read(0), f.Read(0)});
};
const auto kYear = [](const Fixture& f) { return Call(Function::kDatePart, kBigint, {Text("year"), f.Read(1)}); };
const auto kSubstring = [](const Fixture& f) { return Call(Function::kSubstring, kText, {f.Read(4), Int(1), Int(2)}); };
const auto kUpper = [](const Fixture& f) { return Call(Function::kUpper, kText, {f.Read(4)}); };
const auto kCase = [](const Fixture& f) {
  Expression result;
  result.kind = Expression::Kind::kCase;
  result.type = kMoney;
  result.args = {kBigintLess(f), f.Read(2), Money(0)};
  return result;
};

BENCHMARK_CAPTURE(Select, bigint_less, 1.0, kBigintLess);
BENCHMARK_CAPTURE(Select, bigint_less_of_half, 0.5, kBigintLess);
BENCHMARK_CAPTURE(Select, bigint_less_of_tenth, 0.1, kBigintLess);
BENCHMARK_CAPTURE(Select, date_less, 1.0, kDateLess);
BENCHMARK_CAPTURE(Select, date_between, 1.0, kDateBetween);
BENCHMARK_CAPTURE(Select, double_less, 1.0, kDoubleLess);
BENCHMARK_CAPTURE(Select, query_6, 1.0, kQuery6);
BENCHMARK_CAPTURE(Select, in_20_numbers, 1.0, kInNumbers);
BENCHMARK_CAPTURE(Select, like_contains, 1.0, kLikeText);
BENCHMARK_CAPTURE(Select, not_like_two, 1.0, kLikeTwo);
BENCHMARK_CAPTURE(Select, like_prefix, 1.0, kLikePrefix);
BENCHMARK_CAPTURE(Select, like_dictionary, 1.0, kLikeDictionary);
BENCHMARK_CAPTURE(Select, text_equal, 1.0, kTextEqual);
BENCHMARK_CAPTURE(Evaluate, bigint_add, 1.0, kAddBigints);
BENCHMARK_CAPTURE(Evaluate, bigint_multiply, 1.0, kMultiplyBigints);
BENCHMARK_CAPTURE(Evaluate, decimal_multiply, 1.0, kMultiplyDecimals);
BENCHMARK_CAPTURE(Evaluate, revenue, 1.0, kRevenue);
BENCHMARK_CAPTURE(Evaluate, revenue_of_tenth, 0.1, kRevenue);
BENCHMARK_CAPTURE(Evaluate, charge, 1.0, kCharge);
BENCHMARK_CAPTURE(Evaluate, year, 1.0, kYear);
BENCHMARK_CAPTURE(Evaluate, substring, 1.0, kSubstring);
BENCHMARK_CAPTURE(Evaluate, upper, 1.0, kUpper);
BENCHMARK_CAPTURE(Evaluate, case_when, 1.0, kCase);

}  // namespace
}  // namespace neap::engine

BENCHMARK_MAIN();
