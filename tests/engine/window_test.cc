// window_test.cc: window functions against a reference that looks at every row's frame anew.
#include "engine/operators/window.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <random>

#include "engine/core/error.h"
#include "engine/rows/sort_key.h"
#include "tests/engine/aggregate_reference.h"
#include "tests/engine/random_batch.h"
#include "tests/engine/run_operator.h"

namespace neap::engine {
namespace {

using Kind = FrameBound::Kind;

// Columns: 0 the number of the row, then the types asked for.
class Input {
 public:
  Input(std::mt19937_64& random, std::vector<Type> types, size_t batches, uint32_t rows, const RandomShape& shape)
      : types_(std::move(types)) {
    types_.insert(types_.begin(), {TypeId::kInt64});
    for (size_t i = 0; i < batches; ++i) {
      Batch& batch = batches_.emplace_back(std::make_unique<RandomBatch>(random, types_, rows, shape))->batch;
      std::vector<int64_t>& numbers = numbers_.emplace_back(rows);
      for (uint32_t row = 0; row < rows; ++row) numbers[row] = static_cast<int64_t>(i * rows + row);
      batch.columns[0] = {.type = types_[0], .data = numbers.data()};
      for (Column& column : batch.columns) column.dictionary_id = 0;
    }
  }

  std::vector<const Batch*> batches() const {
    std::vector<const Batch*> all;
    for (const auto& batch : batches_) all.push_back(&batch->batch);
    return all;
  }
  const std::vector<Type>& types() const { return types_; }

 private:
  std::vector<Type> types_;
  std::vector<std::unique_ptr<RandomBatch>> batches_;
  std::deque<std::vector<int64_t>> numbers_;
};

struct Case {
  std::vector<int> partition;
  std::vector<SortColumn> order;  // by the row's number too where it is the last
  std::vector<WindowCall> calls;
  std::vector<Type> call_types;
  std::vector<int> call_columns;  // of the first argument; -1: none

  void Add(WindowCall call, Type output, int column = -1) {
    call.output = static_cast<ColumnId>(1000 + calls.size());
    calls.push_back(std::move(call));
    call_types.push_back(output);
    call_columns.push_back(column);
  }
};

WindowSpec SpecOf(const Input& input, const Case& test) {
  WindowSpec spec;
  const auto column = [&](int c) {
    return Expression::Column(static_cast<ColumnId>(c), input.types()[static_cast<size_t>(c)]);
  };
  for (uint32_t c = 0; c < input.types().size(); ++c) {
    spec.input.ids.push_back(c);
    spec.input.types.push_back(input.types()[c]);
    spec.output.push_back(c);
  }
  for (int c : test.partition) spec.partition.push_back(column(c));
  for (const SortColumn& key : test.order) {
    spec.order.push_back({column(static_cast<int>(key.column)), key.descending, key.nulls_first});
  }
  spec.calls = test.calls;
  spec.call_types = test.call_types;
  for (const WindowCall& call : spec.calls) spec.output.push_back(call.output);
  return spec;
}

int CompareKeys(const Input& input, const Case& test, const std::vector<Cell>& a, const std::vector<Cell>& b) {
  for (const SortColumn& key : test.order) {
    const Cell &x = a[key.column], &y = b[key.column];
    if (!x || !y) {
      if (!x && !y) continue;
      return !x == key.nulls_first ? -1 : 1;
    }
    if (const int order = Order(input.types()[key.column], x, y); order != 0) return key.descending ? -order : order;
  }
  return 0;
}

// The key at a bound of RANGE with an offset, of row i's.
Cell KeyAt(const Type& type, const SortColumn& key, const FrameBound& bound, const Cell& cell) {
  const int64_t by = (bound.kind == Kind::kPreceding) != key.descending ? -bound.offset : bound.offset;
  if (type.id == TypeId::kDouble) return ToCell(FromCell<double>(cell) + static_cast<double>(by));
  return ToCell(FromCell<int64_t>(cell) + by);
}

int64_t ConstantOf(const WindowCall& call, size_t argument) {
  return std::get<int64_t>(call.args[argument].literal.value);
}

// Checks one call for row i of a sorted partition.
void CheckCall(const Input& input, const Case& test, size_t c, const Rows& rows, size_t i, const Cell& got) {
  const WindowCall& call = test.calls[c];
  SCOPED_TRACE("call " + std::to_string(c) + ", row " + std::to_string(i) + " of " + std::to_string(rows.size()));
  const auto is_peer = [&](size_t j) { return CompareKeys(input, test, rows[i], rows[j]) == 0; };
  const size_t n = rows.size();
  size_t peers_begin = i, peers_end = i;
  while (peers_begin > 0 && is_peer(peers_begin - 1)) --peers_begin;
  while (peers_end < n && is_peer(peers_end)) ++peers_end;

  const auto bound = [&](const FrameBound& of, bool is_end) -> int64_t {
    const auto here = static_cast<int64_t>(i);
    if (of.value && rows[i][test.order[0].column]) {
      // As many rows as are before it, or not behind it.
      std::vector<Cell> at = rows[i];
      const uint32_t key = test.order[0].column;
      at[key] = KeyAt(input.types()[key], test.order[0], of, at[key]);
      return std::count_if(rows.begin(), rows.end(),
                           [&](const auto& row) { return CompareKeys(input, test, row, at) < (is_end ? 1 : 0); });
    }
    if (of.value) return static_cast<int64_t>(is_end ? peers_end : peers_begin);
    switch (of.kind) {
      case Kind::kUnboundedPreceding:
        return 0;
      case Kind::kPreceding:
        return here - of.offset + is_end;
      case Kind::kCurrentRow:
        return call.rows ? here + is_end : static_cast<int64_t>(is_end ? peers_end : peers_begin);
      case Kind::kFollowing:
        return here + of.offset + is_end;
      case Kind::kUnboundedFollowing:
        return static_cast<int64_t>(n);
    }
    __builtin_unreachable();
  };
  const int64_t begin = std::max<int64_t>(bound(call.start, false), 0);
  const int64_t end = std::min<int64_t>(bound(call.end, true), static_cast<int64_t>(n));
  const auto value = [&](int64_t row, bool exists) -> Cell {
    return exists ? rows[static_cast<size_t>(row)][static_cast<size_t>(test.call_columns[c])] : std::nullopt;
  };
  const auto number = [&](size_t expected) { ASSERT_EQ(got, ToCell(static_cast<int64_t>(expected))); };
  switch (call.function) {
    case WindowFunction::kRowNumber:
      return number(i + 1);
    case WindowFunction::kRank:
      return number(peers_begin + 1);
    case WindowFunction::kDenseRank: {
      size_t groups = 1;
      for (size_t j = 1; j <= i; ++j) groups += CompareKeys(input, test, rows[j - 1], rows[j]) != 0;
      return number(groups);
    }
    case WindowFunction::kPercentRank:
      ASSERT_EQ(got, ToCell(n == 1 ? 0.0 : static_cast<double>(peers_begin) / static_cast<double>(n - 1)));
      return;
    case WindowFunction::kCumeDist:
      ASSERT_EQ(got, ToCell(static_cast<double>(peers_end) / static_cast<double>(n)));
      return;
    case WindowFunction::kNtile: {
      std::vector<size_t> buckets;
      const auto count = static_cast<size_t>(ConstantOf(call, 0));
      for (size_t b = 0; b < count; ++b) buckets.insert(buckets.end(), n / count + (b < n % count), b + 1);
      return number(buckets[i]);
    }
    case WindowFunction::kLag:
    case WindowFunction::kLead: {
      const int64_t by = call.args.size() > 1 ? ConstantOf(call, 1) : 1;
      const int64_t row = static_cast<int64_t>(i) + (call.function == WindowFunction::kLag ? -by : by);
      const bool exists = row >= 0 && row < static_cast<int64_t>(n);
      if (!exists && call.args.size() > 2) {
        ASSERT_EQ(got, rows[i][call.args[2].column]);
      } else {
        ASSERT_EQ(got, value(row, exists));
      }
      return;
    }
    case WindowFunction::kFirstValue:
      ASSERT_EQ(got, value(begin, begin < end));
      return;
    case WindowFunction::kLastValue:
      ASSERT_EQ(got, value(end - 1, begin < end));
      return;
    case WindowFunction::kNthValue:
      ASSERT_EQ(got, value(begin + ConstantOf(call, 1) - 1, begin + ConstantOf(call, 1) <= end));
      return;
    case WindowFunction::kAggregate: {
      TestCall of{call.aggregate, test.call_columns[c], {}, test.call_types[c]};
      if (of.column >= 0) of.type = input.types()[static_cast<size_t>(of.column)];
      Group frame;
      for (int64_t j = begin; j < end; ++j) frame.push_back(rows[static_cast<size_t>(j)]);
      CheckAggregate(of, frame, got);
      return;
    }
  }
}

void RunAll(const Input& input, const Case& test, size_t tiny, bool must_spill) {
  std::map<std::vector<Cell>, Rows> partitions;
  for (const Batch* batch : input.batches()) {
    batch->ForEach([&](uint32_t row) {
      std::vector<Cell> cells = RowAt(*batch, row);
      std::vector<Cell> key;
      for (int c : test.partition) {
        key.push_back(KeyCell(input.types()[static_cast<size_t>(c)], cells[static_cast<size_t>(c)]));
      }
      partitions[key].push_back(std::move(cells));
    });
  }
  for (auto& [key, rows] : partitions) {
    std::sort(rows.begin(), rows.end(),
              [&](const auto& a, const auto& b) { return CompareKeys(input, test, a, b) < 0; });
  }
  const size_t columns = input.types().size();
  for (const RunMode& mode : RunModes(tiny)) {
    SCOPED_TRACE(std::string(mode.name) + ", " + std::to_string(mode.options.threads) + " threads");
    const OperatorRun run = RunOperator(input.batches(), mode.options,
                                        [&](Query& query) { return MakeWindow(query, SpecOf(input, test)); });
    std::map<Cell, const std::vector<Cell>*> by_number;
    for (const auto& row : run.rows) by_number[row[0]] = &row;
    ASSERT_EQ(by_number.size(), run.rows.size());
    size_t expected = 0;
    for (const auto& [key, rows] : partitions) {
      expected += rows.size();
      for (size_t i = 0; i < rows.size(); ++i) {
        const auto found = by_number.find(rows[i][0]);
        ASSERT_NE(found, by_number.end());
        const std::vector<Cell>& got = *found->second;
        ASSERT_TRUE(std::equal(rows[i].begin(), rows[i].end(), got.begin()));
        for (size_t c = 0; c < test.calls.size(); ++c) {
          CheckCall(input, test, c, rows, i, got[columns + c]);
          if (::testing::Test::HasFatalFailure()) return;
        }
      }
    }
    ASSERT_EQ(run.rows.size(), expected);
    if (must_spill && std::string(mode.name) != "ample") {
      EXPECT_GT(run.figures.spilled, 0U);
    }
  }
}

WindowCall CallOf(WindowFunction function) {
  WindowCall call;
  call.function = function;
  return call;
}
WindowCall AggregateOf(Aggregate aggregate, bool rows, FrameBound start, FrameBound end) {
  WindowCall call = CallOf(WindowFunction::kAggregate);
  call.aggregate = aggregate;
  call.rows = rows;
  call.start = start;
  call.end = end;
  return call;
}
Expression Constant(int64_t value) { return Expression::Constant({false, value}, {TypeId::kInt64}); }

FrameBound RandomBound(std::mt19937_64& random, bool rows, bool start) {
  const Kind kinds[] = {start ? Kind::kUnboundedPreceding : Kind::kUnboundedFollowing, Kind::kCurrentRow,
                        Kind::kPreceding, Kind::kFollowing};
  return {kinds[random() % (rows ? 4 : 2)], static_cast<int64_t>(random() % 9)};
}

const Type kInt64{TypeId::kInt64};
const Type kDouble{TypeId::kDouble};

TEST(Window, EveryFunctionAndFrame) {
  std::mt19937_64 random(1);
  for (int round = 0; round < 120; ++round) {
    SCOPED_TRACE("round " + std::to_string(round));
    std::vector<Type> types;
    for (int k = 0; k < 3; ++k) types.push_back(AllTypes()[random() % AllTypes().size()]);
    types.push_back(Type::Decimal(12, 2));
    types.push_back({TypeId::kString});
    RandomShape shape;
    shape.distinct = static_cast<uint32_t>(std::array{2, 6, 400}[random() % 3]);
    shape.selection = random() % 2 == 0;
    const Input input(random, types, random() % 4, 1 + random() % 90, shape);

    Case test;
    if (random() % 4 != 0) test.partition.push_back(1);
    if (random() % 4 == 0) test.partition.push_back(2);
    if (random() % 4 != 0) test.order.push_back({3, random() % 2 == 0, random() % 2 == 0});
    // Where peers are in no order of their own, what depends on it is left out.
    const bool is_total = random() % 3 != 0;
    if (is_total) test.order.push_back({0});
    const bool only_rows = random() % 3 == 0;  // nothing that needs to look ahead

    test.Add(CallOf(WindowFunction::kRank), kInt64);
    test.Add(CallOf(WindowFunction::kDenseRank), kInt64);
    if (is_total) test.Add(CallOf(WindowFunction::kRowNumber), kInt64);
    for (int i = 0; i < 10; ++i) {
      const bool rows = is_total && (only_rows || random() % 4 != 0);
      const FrameBound start = RandomBound(random, rows, true);
      const FrameBound end = only_rows ? FrameBound{Kind::kCurrentRow} : RandomBound(random, rows, false);
      const int column = 3 + static_cast<int>(random() % 3);
      const std::vector<TestCall> calls = CallsOf(column, input.types()[static_cast<size_t>(column)]);
      const TestCall& of = calls[random() % calls.size()];
      WindowCall call = AggregateOf(of.function, rows, start, end);
      call.args.push_back(Expression::Column(static_cast<ColumnId>(column), of.type));
      test.Add(call, of.output, column);
      test.Add(AggregateOf(Aggregate::kCount, rows, start, end), kInt64);
      if (only_rows || !is_total) continue;
      for (WindowFunction function :
           {WindowFunction::kFirstValue, WindowFunction::kLastValue, WindowFunction::kNthValue}) {
        call.function = function;
        call.args.resize(1);
        if (function == WindowFunction::kNthValue)
          call.args.push_back(Constant(1 + static_cast<int64_t>(random() % 3)));
        test.Add(call, of.type, column);
      }
    }
    if (!only_rows) {
      test.Add(CallOf(WindowFunction::kPercentRank), kDouble);
      test.Add(CallOf(WindowFunction::kCumeDist), kDouble);
    }
    if (!only_rows && is_total) {
      WindowCall ntile = CallOf(WindowFunction::kNtile);
      ntile.args.push_back(Constant(1 + static_cast<int64_t>(random() % 7)));
      test.Add(ntile, kInt64);
      for (WindowFunction function : {WindowFunction::kLag, WindowFunction::kLead}) {
        WindowCall call = CallOf(function);
        call.args.push_back(Expression::Column(5, {TypeId::kString}));
        test.Add(call, {TypeId::kString}, 5);
        call.args[0] = Expression::Column(0, kInt64);
        call.args.push_back(Constant(static_cast<int64_t>(random() % 120) - 30));
        test.Add(call, kInt64, 0);
        call.args.push_back(Expression::Column(0, kInt64));
        test.Add(call, kInt64, 0);
      }
    }
    RunAll(input, test, size_t{3} << 20, false);
    if (HasFatalFailure()) return;
  }
}

TEST(Window, RangesOfValues) {
  std::mt19937_64 random(3);
  for (int round = 0; round < 60; ++round) {
    SCOPED_TRACE("round " + std::to_string(round));
    RandomShape shape;
    shape.distinct = static_cast<uint32_t>(std::array{3, 30, 400}[random() % 3]);
    shape.selection = random() % 2 == 0;
    const Input input(random, {kInt64, kDouble, {TypeId::kInt32}}, random() % 4, 1 + random() % 90, shape);
    Case test;
    const uint32_t key = 1 + random() % 2;
    if (random() % 2 == 0) test.partition.push_back(3);
    test.order.push_back({key, random() % 2 == 0, random() % 2 == 0});
    const Type type = input.types()[key];
    const Expression column = Expression::Column(key, type);
    const auto value_of = [&](FrameBound& bound) {
      if (bound.kind != Kind::kPreceding && bound.kind != Kind::kFollowing) return;
      const bool is_less = (bound.kind == Kind::kPreceding) != test.order[0].descending;
      Expression by = Constant(bound.offset);
      if (type.id == TypeId::kDouble) by = Expression::Constant({false, static_cast<double>(bound.offset)}, kDouble);
      bound.value = Expression::Call(is_less ? Function::kSubtract : Function::kAdd, type, {column, std::move(by)});
    };
    for (int i = 0; i < 8; ++i) {
      const Aggregate functions[] = {Aggregate::kCount, Aggregate::kMin, Aggregate::kMax};
      WindowCall call = AggregateOf(functions[random() % 3], false, RandomBound(random, true, true),
                                    RandomBound(random, true, false));
      call.args.push_back(Expression::Column(0, kInt64));
      call.key = column;
      call.descending = test.order[0].descending;
      call.nulls_first = test.order[0].nulls_first;
      value_of(call.start);
      value_of(call.end);
      test.Add(call, kInt64, 0);
    }
    RunAll(input, test, size_t{3} << 20, false);
    if (HasFatalFailure()) return;
  }
}

// One partition and one group of peers that do not fit, on disk and read from several places.
TEST(Window, APartitionThatDoesNotFit) {
  std::mt19937_64 random(2);
  const std::vector<Type> types = {{TypeId::kInt32}, Type::Decimal(12, 2), {TypeId::kString}};
  RandomShape shape;
  shape.distinct = 3;
  shape.longest = 100;
  shape.dictionaries = 0;
  const Input input(random, types, 8, kBatchRows, shape);
  for (bool whole : {true, false}) {
    Case test;
    test.order = {{1}};
    const FrameBound first{Kind::kUnboundedPreceding}, here{Kind::kCurrentRow}, last{Kind::kUnboundedFollowing};
    test.Add(CallOf(WindowFunction::kRank), kInt64);
    // Checked by sampling, below: the reference is quadratic.
    WindowCall sum = AggregateOf(Aggregate::kSum, false, first, whole ? last : here);
    sum.args.push_back(Expression::Column(2, types[1]));
    test.Add(sum, Type::Decimal(38, 2), 2);
    WindowCall max = AggregateOf(Aggregate::kMax, false, first, whole ? last : here);
    max.args.push_back(Expression::Column(3, types[2]));
    test.Add(max, types[2], 3);
    if (whole) {
      test.order.push_back({0});
      WindowCall lead = CallOf(WindowFunction::kLead);
      lead.args = {Expression::Column(3, types[2]), Constant(5000)};
      test.Add(lead, types[2], 3);
      WindowCall near = AggregateOf(Aggregate::kMin, true, {Kind::kPreceding, 100}, {Kind::kFollowing, 50});
      near.args.push_back(Expression::Column(3, types[2]));
      test.Add(near, types[2], 3);
    }
    // The rows in order, and the sums so far, computed once.
    Rows rows;
    for (const Batch* batch : input.batches())
      batch->ForEach([&](uint32_t row) { rows.push_back(RowAt(*batch, row)); });
    std::sort(rows.begin(), rows.end(),
              [&](const auto& a, const auto& b) { return CompareKeys(input, test, a, b) < 0; });
    for (const RunMode& mode : RunModes(size_t{5} << 20)) {
      SCOPED_TRACE(std::string(mode.name) + ", " + std::to_string(mode.options.threads) + " threads");
      const OperatorRun run = RunOperator(input.batches(), mode.options,
                                          [&](Query& query) { return MakeWindow(query, SpecOf(input, test)); });
      ASSERT_EQ(run.rows.size(), rows.size());
      std::map<Cell, const std::vector<Cell>*> by_number;
      for (const auto& row : run.rows) by_number[row[0]] = &row;
      for (size_t i = 0; i < rows.size(); i += whole ? 997 : 4001) {
        for (size_t c = 0; c < test.calls.size(); ++c) {
          CheckCall(input, test, c, rows, i, (*by_number[rows[i][0]])[input.types().size() + c]);
        }
        if (HasFatalFailure()) return;
      }
      if (std::string(mode.name) != "ample") {
        EXPECT_GT(run.figures.spilled, 0U);
      }
    }
  }
}

TEST(Window, SaysWhatItDoesNotTake) {
  std::mt19937_64 random(3);
  const Input input(random, {kInt64}, 1, 10, {});
  const auto error_of = [&](WindowCall call, Type output) -> std::string {
    Case test;
    test.Add(std::move(call), output, 0);
    try {
      RunOperator(input.batches(), {}, [&](Query& query) { return MakeWindow(query, SpecOf(input, test)); });
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kPlan);
      return error.what();
    }
    return "no error";
  };
  EXPECT_EQ(error_of(AggregateOf(Aggregate::kCount, false, {Kind::kPreceding, 1}, {Kind::kCurrentRow}), kInt64),
            "a frame of RANGE has offsets without values");
  WindowCall ntile = CallOf(WindowFunction::kNtile);
  ntile.args = {Constant(0)};
  EXPECT_EQ(error_of(ntile, kInt64), "ntile of 0 buckets: ask for at least one");
  ntile.args = {Expression::Column(0, kInt64)};
  EXPECT_EQ(error_of(ntile, kInt64), "a window function takes an integer constant here, not bigint of a column");
}

}  // namespace
}  // namespace neap::engine
