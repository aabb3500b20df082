// aggregate_test.cc: hash aggregate against a row-by-row reference.
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <memory>
#include <random>
#include <set>

#include "engine/core/error.h"
#include "engine/operators/aggregate_function.h"
#include "engine/operators/hash_aggregate.h"
#include "tests/engine/aggregate_reference.h"
#include "tests/engine/random_batch.h"
#include "tests/engine/run_operator.h"

namespace neap::engine {
namespace {

// Batches whose columns 0 to keys-1 are the keys.
class Input {
 public:
  Input(std::mt19937_64& random, std::vector<Type> types, size_t batches, uint32_t rows, const RandomShape& shape)
      : types_(std::move(types)) {
    for (size_t i = 0; i < batches; ++i) {
      batches_.push_back(std::make_unique<RandomBatch>(random, types_, rows, shape));
      for (Column& column : batches_.back()->batch.columns) {
        if (column.dictionary_id != 0) column.dictionary_id = ++id_;
      }
    }
  }

  std::vector<const Batch*> batches() const {
    std::vector<const Batch*> all;
    for (const auto& batch : batches_) all.push_back(&batch->batch);
    return all;
  }
  Batch& batch(size_t i) { return batches_[i]->batch; }
  const std::vector<Type>& types() const { return types_; }

  HashAggregateSpec Spec(size_t keys, const std::vector<TestCall>& calls) const {
    HashAggregateSpec spec;
    for (uint32_t c = 0; c < types_.size(); ++c) {
      spec.input.ids.push_back(c);
      spec.input.types.push_back(types_[c]);
    }
    for (uint32_t k = 0; k < keys; ++k) {
      spec.groups.push_back(Expression::Column(k, types_[k]));
      spec.group_outputs.push_back(1000 + k);
      spec.output.push_back(1000 + k);
    }
    for (uint32_t c = 0; c < calls.size(); ++c) {
      AggregateCall& call = spec.calls.emplace_back();
      const TestCall& of = calls[c];
      call.function = of.function;
      if (of.column >= 0) call.args.push_back(Expression::Column(static_cast<ColumnId>(of.column), of.type));
      if (of.filter >= 0) call.filter = Expression::Column(static_cast<ColumnId>(of.filter), {TypeId::kBool});
      call.output = 2000 + c;
      spec.call_types.push_back(of.output);
      spec.output.push_back(call.output);
    }
    return spec;
  }

 private:
  static uint64_t id_;
  std::vector<Type> types_;
  std::vector<std::unique_ptr<RandomBatch>> batches_;
};
uint64_t Input::id_ = 100;

struct Expected {
  size_t keys;
  const std::vector<Type>& types;
  std::map<std::vector<Cell>, Group> groups;

  Expected(const Input& input, size_t key_count) : keys(key_count), types(input.types()) {
    for (const Batch* batch : input.batches()) {
      batch->ForEach([&](uint32_t row) {
        std::vector<Cell> cells = RowAt(*batch, row);
        std::vector<Cell> key;
        for (size_t k = 0; k < keys; ++k) key.push_back(KeyCell(types[k], cells[k]));
        groups[key].push_back(std::move(cells));
      });
    }
  }

  void Compare(const Rows& rows, const std::vector<TestCall>& calls) const {
    std::set<std::vector<Cell>> seen;
    for (const auto& row : rows) {
      std::vector<Cell> key;
      for (size_t k = 0; k < keys; ++k) key.push_back(KeyCell(types[k], row[k]));
      ASSERT_TRUE(seen.insert(key).second) << "a group twice";
      const auto found = groups.find(key);
      ASSERT_NE(found, groups.end());
      for (size_t c = 0; c < calls.size(); ++c) {
        CheckAggregate(calls[c], found->second, row[keys + c]);
        if (::testing::Test::HasFatalFailure()) return;
      }
    }
    ASSERT_EQ(seen.size(), groups.size());
  }
};

void RunAll(const Input& input, size_t keys, const std::vector<TestCall>& calls, size_t tiny, bool must_spill) {
  const Expected expected(input, keys);
  for (const RunMode& mode : RunModes(tiny)) {
    SCOPED_TRACE(std::string(mode.name) + ", " + std::to_string(mode.options.threads) + " threads");
    const OperatorRun run = RunOperator(
        input.batches(), mode.options, [&](Query& query) { return MakeHashAggregate(query, input.Spec(keys, calls)); });
    expected.Compare(run.rows, calls);
    if (::testing::Test::HasFatalFailure()) return;
    if (must_spill && std::string(mode.name) != "ample") {
      EXPECT_GT(run.figures.spilled, 0U);
      EXPECT_GT(run.figures.spilled_rows, 0U);
      EXPECT_GT(run.figures.spills, 0U);
    }
  }
}

TEST(HashAggregate, EveryFunctionOfEveryTypeByRandomKeys) {
  std::mt19937_64 random(1);
  for (int round = 0; round < 24; ++round) {
    SCOPED_TRACE("round " + std::to_string(round));
    const size_t keys = random() % 4;
    std::vector<Type> types;
    for (size_t k = 0; k < keys; ++k) types.push_back(AllTypes()[random() % AllTypes().size()]);
    std::vector<TestCall> calls = {{Aggregate::kCount, -1, {}, {TypeId::kInt64}}};
    const int filter = static_cast<int>(types.size());
    types.push_back({TypeId::kBool});
    for (const Type& type : AllTypes()) {
      for (TestCall call : CallsOf(static_cast<int>(types.size()), type)) {
        if (random() % 4 == 0) call.filter = filter;
        if (random() % 3 != 0) calls.push_back(call);
      }
      types.push_back(type);
    }
    RandomShape shape;
    shape.distinct = static_cast<uint32_t>(std::array{2, 7, 60, 5000}[random() % 4]);
    shape.selection = random() % 2 == 0;
    shape.nulls = random() % 4 == 0 ? 0.001 : 0.2;
    const uint32_t rows = std::array{1U, 300U, 2000U, 4096U}[random() % 4];
    const Input input(random, types, 1 + random() % 4, rows, shape);
    RunAll(input, keys, calls, size_t{4} << 20, false);
    if (HasFatalFailure()) return;
  }
}

TEST(HashAggregate, ManyGroupsUnderATinyBound) {
  std::mt19937_64 random(2);
  const std::vector<Type> types = {{TypeId::kInt64}, {TypeId::kString}, Type::Decimal(15, 2), {TypeId::kString}};
  RandomShape shape;
  shape.distinct = 1 << 16;
  shape.dictionaries = 0;
  const Input input(random, types, 12, kBatchRows, shape);
  std::vector<TestCall> calls = {{Aggregate::kCount, -1, {}, {TypeId::kInt64}}};
  for (int column : {2, 3}) {
    for (const TestCall& call : CallsOf(column, types[static_cast<size_t>(column)])) calls.push_back(call);
  }
  RunAll(input, 2, calls, size_t{5} << 20, true);
}

TEST(HashAggregate, WithoutRowsThereIsOneResultOrNone) {
  std::mt19937_64 random(3);
  const std::vector<Type> types = {{TypeId::kInt64}, {TypeId::kString}};
  const Input input(random, types, 0, 0, {});
  std::vector<TestCall> calls = CallsOf(0, types[0]);
  for (const TestCall& call : CallsOf(1, types[1])) calls.push_back(call);
  for (const RunMode& mode : RunModes(size_t{4} << 20)) {
    for (size_t keys : {0U, 1U}) {
      const OperatorRun run = RunOperator(input.batches(), mode.options, [&](Query& query) {
        return MakeHashAggregate(query, input.Spec(keys, calls));
      });
      ASSERT_EQ(run.rows.size(), keys == 0 ? 1U : 0U);
      if (keys != 0) continue;
      for (size_t c = 0; c < calls.size(); ++c) CheckAggregate(calls[c], {}, run.rows[0][c]);
    }
  }
}

// Dictionaries that last over batches, change, and have NULL at several positions.
TEST(HashAggregate, GroupsByCodesOfDictionaries) {
  std::mt19937_64 random(4);
  const std::vector<Type> types = {{TypeId::kString}, {TypeId::kInt32}, Type::Decimal(12, 2)};
  RandomShape shape;
  shape.dictionaries = 0;
  shape.selection = true;
  Input input(random, types, 30, kBatchRows, shape);
  const std::string long_text = "a text that does not fit in place";
  const View texts[2][4] = {{View("a"), View(long_text), View("a"), View("c")},
                            {View(long_text), View("b"), View("c"), View("c")}};
  const uint8_t valid[2][4] = {{1, 1, 0, 0}, {1, 1, 0, 1}};
  const int32_t numbers[3] = {7, 9, 7};
  std::vector<std::vector<uint32_t>> indices;
  for (size_t i = 0; i < 30; ++i) {
    const size_t dictionary = i / 7 % 2;
    for (uint32_t positions : {4, 3}) {
      std::vector<uint32_t>& of = indices.emplace_back(kBatchRows);
      for (uint32_t& index : of) index = static_cast<uint32_t>(random() % positions);
    }
    Batch& batch = input.batch(i);
    batch.columns[0] = {
        types[0], texts[dictionary], valid[dictionary], indices[2 * i].data(), 4, i % 5 == 4 ? 0 : 1 + dictionary};
    batch.columns[1] = {types[1], numbers, nullptr, indices[2 * i + 1].data(), 3, 9};
  }
  std::vector<TestCall> calls = {{Aggregate::kCount, -1, {}, {TypeId::kInt64}}};
  for (const TestCall& call : CallsOf(2, types[2])) calls.push_back(call);
  for (const TestCall& call : CallsOf(0, types[0])) calls.push_back(call);
  RunAll(input, 2, calls, size_t{4} << 20, false);
}

// The range grows both ways, has NULL, becomes too large, and is at the ends of the type.
TEST(HashAggregate, GroupsByIntegersWhoseRangeMoves) {
  std::mt19937_64 random(9);
  const std::vector<Type> types = {{TypeId::kInt64}, {TypeId::kInt8}, {TypeId::kInt64}};
  RandomShape shape;
  shape.dictionaries = 0.2;
  shape.selection = true;
  for (int round = 0; round < 6; ++round) {
    Input input(random, types, 12, 3000, shape);
    for (size_t b = 0; b < 12; ++b) {
      Column& column = input.batch(b).columns[0];
      const uint32_t positions = column.indices != nullptr ? column.positions : 3000;
      auto* values = static_cast<int64_t*>(const_cast<void*>(column.data));
      const int64_t spread = std::array{10, 300, 3'000'000}[random() % (round < 3 ? 2 : 3)];
      const int64_t middle = static_cast<int64_t>(b % 2 == 0 ? b : -b) * 40;
      for (uint32_t p = 0; p < positions; ++p) values[p] = middle + static_cast<int64_t>(random() % 100) * spread / 100;
      if (round == 4 && b == 7) values[0] = INT64_MIN;
      if (round == 5) {
        for (uint32_t p = 0; p < positions; ++p)
          values[p] = (b < 6 ? INT64_MAX - 50 : INT64_MIN) + values[p] % 50 * (values[p] < 0 ? -1 : 1);
      }
    }
    std::vector<TestCall> calls = {{Aggregate::kCount, -1, {}, {TypeId::kInt64}}};
    for (const TestCall& call : CallsOf(2, types[2])) calls.push_back(call);
    RunAll(input, 1 + random() % 2, calls, size_t{4} << 20, false);
    if (HasFatalFailure()) return;
  }
}

// Tables that grow, that are cleared, and that are not looked into, as the keys are.
TEST(HashAggregate, NothingIsLostWhereTablesGrowOrAreCleared) {
  constexpr size_t kRows = size_t{900} << 10;
  const std::vector<Type> types = {{TypeId::kInt64}, {TypeId::kInt64}};
  for (const char* order : {"few", "many", "in clusters"}) {
    SCOPED_TRACE(order);
    std::mt19937_64 random(5);
    std::vector<int64_t> keys(kRows), values(kRows);
    const std::string kind = order;
    for (size_t i = 0; i < kRows; ++i) {
      keys[i] = static_cast<int64_t>(kind == "few" ? random() % 200'000 : kind == "many" ? random() % kRows : i / 3);
      values[i] = static_cast<int64_t>(random() % 1000);
    }
    std::vector<std::array<int64_t, 2>> expected(kRows);
    std::vector<Batch> batches(kRows / kBatchRows);
    std::vector<const Batch*> all;
    for (size_t b = 0; b < batches.size(); ++b) {
      batches[b].columns = {{types[0], &keys[b * kBatchRows]}, {types[1], &values[b * kBatchRows]}};
      batches[b].SetAll(kBatchRows);
      all.push_back(&batches[b]);
    }
    for (size_t i = 0; i < kRows; ++i) {
      expected[static_cast<size_t>(keys[i])][0] += 1;
      expected[static_cast<size_t>(keys[i])][1] += values[i];
    }
    const std::vector<TestCall> calls = {{Aggregate::kCount, -1, {}, {TypeId::kInt64}},
                                         {Aggregate::kSum, 1, types[1], {TypeId::kInt64}}};
    const Input shape(random, types, 0, 0, {});
    for (uint32_t threads : {1U, 3U}) {
      QueryOptions options;
      options.threads = threads;
      const OperatorRun run =
          RunOperator(all, options, [&](Query& query) { return MakeHashAggregate(query, shape.Spec(1, calls)); });
      size_t groups = 0;
      for (const auto& group : expected) groups += group[0] != 0;
      ASSERT_EQ(run.rows.size(), groups);
      for (const auto& row : run.rows) {
        const auto& group = expected[static_cast<size_t>(FromCell<int64_t>(row[0]))];
        ASSERT_EQ(FromCell<int64_t>(row[1]), group[0]);
        ASSERT_EQ(FromCell<int64_t>(row[2]), group[1]);
      }
    }
  }
}

TEST(HashAggregate, StringsThatAStateGaveUpDoNotPileUp) {
  const std::vector<Type> types = {{TypeId::kInt64}, {TypeId::kString}};
  constexpr size_t kRows = 8;  // few, so that no row is passed over
  std::mt19937_64 random(6);
  std::vector<std::string> texts(100'000);
  std::vector<View> views;
  for (size_t i = 0; i < texts.size(); ++i) {
    texts[i] = std::to_string(1'000'000 + i) + std::string(800 + random() % 800, 'x');
    views.emplace_back(texts[i]);
  }
  const int64_t keys[kRows] = {0, 1, 2, 0, 1, 2, 0, 1};
  std::vector<Batch> batches(texts.size() / kRows);
  std::vector<const Batch*> all;
  for (size_t b = 0; b < batches.size(); ++b) {
    batches[b].columns = {{types[0], keys}, {types[1], &views[b * kRows]}};
    batches[b].SetAll(kRows);
    all.push_back(&batches[b]);
  }
  const Input shape(random, types, 0, 0, {});
  for (size_t group_keys : {0U, 1U}) {
    const std::vector<TestCall> calls = {{Aggregate::kMax, 1, types[1], types[1]}};
    QueryOptions options;
    options.threads = 1;
    const OperatorRun run = RunOperator(
        all, options, [&](Query& query) { return MakeHashAggregate(query, shape.Spec(group_keys, calls)); });
    ASSERT_EQ(run.rows.size(), group_keys == 0 ? 1U : 3U);
    EXPECT_LT(run.figures.peak, size_t{8} << 20);
    Cell largest;
    for (const auto& row : run.rows) largest = std::max(largest, row.back());
    EXPECT_EQ(largest, texts.back());
  }
}

std::string ErrorOf(const Input& input, const std::vector<TestCall>& calls, ErrorKind kind) {
  try {
    RunOperator(input.batches(), {}, [&](Query& query) { return MakeHashAggregate(query, input.Spec(0, calls)); });
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind);
    return error.what();
  }
  return "no error";
}

TEST(HashAggregate, SaysWhatDoesNotFitAndWhatItDoesNotTake) {
  std::mt19937_64 random(7);
  const Type wide = Type::Decimal(38, 0);
  const std::vector<Type> types = {wide, {TypeId::kInt64}, {TypeId::kString}};
  RandomShape shape;
  shape.dictionaries = 0;
  shape.nulls = 0;
  Input input(random, types, 1, 4, shape);
  Int128 nines = 1;
  for (int i = 0; i < 38; ++i) nines *= 10;
  const Int128 large[4] = {nines - 1, nines - 1, nines - 1, nines - 1};
  const int64_t numbers[4] = {INT64_MAX, 1, 0, 0};
  input.batch(0).columns[0].data = large;
  input.batch(0).columns[1].data = numbers;
  EXPECT_EQ(ErrorOf(input, {{Aggregate::kSum, 0, wide, wide}}, ErrorKind::kData),
            "sum overflows decimal(38,0): sum a cast to double instead");
  EXPECT_EQ(ErrorOf(input, {{Aggregate::kSum, 1, types[1], types[1]}}, ErrorKind::kData),
            "sum of bigint does not fit bigint: cast the argument to double");
  EXPECT_EQ(ErrorOf(input, {{Aggregate::kSum, 2, types[2], types[1]}}, ErrorKind::kPlan),
            "sum does not take varchar: cast it to a number");
  EXPECT_EQ(ErrorOf(input, {{Aggregate::kAvg, 1, types[1], {TypeId::kDate}}}, ErrorKind::kPlan),
            "avg of bigint does not give date");
}

// An argument is not computed for rows that its filter keeps out.
TEST(HashAggregate, AFilterGuardsItsArgument) {
  const Type type{TypeId::kInt64};
  const int64_t numbers[4] = {0, 2, 0, 5};
  Batch batch;
  batch.columns = {{type, numbers}};
  batch.SetAll(4);
  std::mt19937_64 random(8);
  const Input shape(random, {type}, 0, 0, {});
  for (size_t keys : {0U, 1U}) {
    HashAggregateSpec spec = shape.Spec(keys, {{Aggregate::kSum, 0, type, type}});
    const Expression column = Expression::Column(0, type);
    const auto constant = [&](int64_t value) { return Expression::Constant({false, value}, type); };
    spec.calls[0].args = {Expression::Call(Function::kDivide, type, {constant(10), column})};
    spec.calls[0].filter = Expression::Call(Function::kNotEqual, {TypeId::kBool}, {column, constant(0)});
    const OperatorRun run = RunOperator({&batch}, {}, [&](Query& query) { return MakeHashAggregate(query, spec); });
    int64_t sum = 0;
    for (const auto& row : run.rows) sum += row[keys] ? FromCell<int64_t>(row[keys]) : 0;
    EXPECT_EQ(sum, 7);
    EXPECT_EQ(run.rows.size(), keys == 0 ? 1U : 3U);
  }
}

}  // namespace
}  // namespace neap::engine
