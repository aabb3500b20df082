// sort_operator_test.cc: ORDER BY as a query runs it: keys that are expressions, limit and offset, spilling asked for
// by others while rows go in and come out.
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <mutex>
#include <optional>

#include "engine/operators/sort.h"
#include "engine/run/query.h"
#include "tests/engine/random_batch.h"

namespace neap::engine {
namespace {

const std::vector<Type> kTypes = {{TypeId::kInt64}, {TypeId::kString}, {TypeId::kInt32}};
constexpr ColumnId kNumber = 10, kText = 11, kSmall = 12;
constexpr uint32_t kRows = 700;

struct Row {
  std::optional<int64_t> number;
  std::optional<std::string> text;
  std::optional<int32_t> small;
  friend auto operator<=>(const Row&, const Row&) = default;
};

template <class T>
std::optional<T> ValueAt(const Column& column, uint32_t row) {
  if (!column.is_valid(row)) return std::nullopt;
  return column.values<T>()[column.position(row)];
}

Row RowOf(const Batch& batch, uint32_t row) {
  const auto text = ValueAt<View>(batch.columns[1], row);
  return {ValueAt<int64_t>(batch.columns[0], row), text ? std::optional(std::string(text->text())) : std::nullopt,
          ValueAt<int32_t>(batch.columns[2], row)};
}

// Random batches for each thread; what they held is kept.
class RandomRows : public Source {
 public:
  explicit RandomRows(uint32_t batches) : batches_(batches) {}
  std::unique_ptr<Cursor> MakeCursor(Worker& worker) override { return std::make_unique<Batches>(*this, worker.index); }

  std::mutex mutex;
  std::vector<Row> rows;

 private:
  struct Batches : Cursor {
    Batches(RandomRows& from, uint32_t seed) : all(from), random(seed), left(from.batches_) {}
    bool Next(Batch& batch) override {
      if (left-- == 0) return false;
      made.emplace(random, kTypes, kRows, RandomShape{.selection = true, .distinct = 5000});
      const std::lock_guard lock(all.mutex);
      made->batch.ForEach([&](uint32_t row) { all.rows.push_back(RowOf(made->batch, row)); });
      batch = made->batch;
      return true;
    }
    RandomRows& all;
    std::mt19937_64 random;
    uint32_t left;
    std::optional<RandomBatch> made;
  };

  uint32_t batches_;
};

// Rows as they come out, and now and then a wish for room.
struct Results : Stage {
  explicit Results(Query* to_ask) : Stage(nullptr), query(to_ask) {}
  void Push(Batch& batch) override {
    EXPECT_EQ(batch.columns.size(), kTypes.size());
    batch.ForEach([&](uint32_t row) { rows.push_back(RowOf(batch, row)); });
    if (query != nullptr && ++pushed % 3 == 0) query->WantRoom(1000);
  }
  Query* query;
  int pushed = 0;
  std::vector<Row> rows;
};

struct Case {
  uint32_t threads = 1;
  uint32_t batches = 20;
  int64_t limit = -1, offset = 0;
  bool force_spill = false;
  bool want_room = false;
};

// ORDER BY 0 - number DESC NULLS FIRST, text, small DESC NULLS FIRST: all of a row, so that the order is one.
bool Before(const Row& a, const Row& b) {
  if (a.number != b.number) return a.number < b.number;
  if (a.text != b.text) return !a.text || !b.text ? a.text.has_value() : *a.text < *b.text;
  return !a.small || !b.small ? !a.small && b.small : *a.small > *b.small;
}

OperatorFigures RunSort(const Case& c) {
  QueryOptions options;
  options.threads = c.threads;
  options.force_spill = c.force_spill;
  options.batch_rows = 500;
  SpillDirectory directory;
  Query query(options, &directory);
  std::vector<Results> results(c.threads, Results(c.want_room ? &query : nullptr));
  std::vector<Stage*> stages;
  for (Results& result : results) stages.push_back(&result);

  auto source = std::make_unique<RandomRows>(c.batches);
  RandomRows& input = *source;
  const Expression negated = Expression::Call(
      Function::kSubtract, kTypes[0],
      {Expression::Constant({.null = false, .value = int64_t{0}}, kTypes[0]), Expression::Column(kNumber, kTypes[0])});
  Chain chain;
  chain.inputs.push_back({std::move(source), nullptr});
  chain.operators.push_back(MakeSort(query, {.input = {{kNumber, kText, kSmall}, kTypes},
                                             .keys = {{negated, true, true},
                                                      {Expression::Column(kText, kTypes[1]), false, false},
                                                      {Expression::Column(kSmall, kTypes[2]), true, true}},
                                             .limit = c.limit,
                                             .offset = c.offset,
                                             .output = {kNumber, kText, kSmall}}));
  query.Run(chain, stages);

  std::vector<Row> expected = input.rows, got;
  for (const Results& result : results) got.insert(got.end(), result.rows.begin(), result.rows.end());
  std::sort(expected.begin(), expected.end(), Before);
  expected.erase(expected.begin(), expected.begin() + std::min<ptrdiff_t>(c.offset, std::ssize(expected)));
  if (c.limit >= 0 && std::ssize(expected) > c.limit) expected.resize(static_cast<size_t>(c.limit));
  EXPECT_EQ(got.size(), expected.size());
  EXPECT_TRUE(got == expected);
  EXPECT_EQ(directory.bytes(), 0U);
  return chain.operators[0]->figures();
}

TEST(SortOperator, GivesAllRowsInOrder) {
  for (const uint32_t threads : {1U, 3U}) {
    for (const bool force_spill : {false, true}) {
      for (const bool want_room : {false, true}) {
        SCOPED_TRACE(testing::Message() << threads << " " << force_spill << " " << want_room);
        const OperatorFigures figures =
            RunSort({.threads = threads, .force_spill = force_spill, .want_room = want_room});
        EXPECT_EQ(figures.spills != 0, force_spill || want_room);
        EXPECT_GT(figures.peak, 0U);
      }
    }
  }
}

TEST(SortOperator, LimitAndOffset) {
  for (const int64_t limit : {-1, 0, 1, 450, 6000, 1000000}) {
    for (const int64_t offset : {0, 1, 499, 500, 501, 3000, 1000000}) {
      for (const bool force_spill : {false, true}) {
        SCOPED_TRACE(testing::Message() << limit << " " << offset << " " << force_spill);
        RunSort({.threads = 2, .limit = limit, .offset = offset, .force_spill = force_spill});
      }
    }
  }
}

TEST(SortOperator, NoRows) {
  for (const uint32_t threads : {1U, 2U}) RunSort({.threads = threads, .batches = 0});
}

// A row that the offset hides is not given, but counts for the limit; a column may be only a key, or come out twice.
TEST(SortOperator, KeysNeedNotComeOut) {
  SpillDirectory directory;
  QueryOptions options;
  options.threads = 1;
  Query query(options, &directory);
  struct Numbers : Source {
    struct Once : Cursor {
      explicit Once(Numbers& from) : all(from) {}
      bool Next(Batch& batch) override {
        batch.columns = {{.type = {TypeId::kInt64}, .data = all.keys}, {.type = {TypeId::kInt64}, .data = all.values}};
        batch.SetAll(4);
        return std::exchange(all.left, false);
      }
      Numbers& all;
    };
    std::unique_ptr<Cursor> MakeCursor(Worker&) override { return std::make_unique<Once>(*this); }
    int64_t keys[4] = {3, 1, 4, 2}, values[4] = {30, 10, 40, 20};
    bool left = true;
  };
  struct Pairs : Stage {
    Pairs() : Stage(nullptr) {}
    void Push(Batch& batch) override {
      ASSERT_EQ(batch.columns.size(), 2U);
      batch.ForEach([&](uint32_t row) {
        EXPECT_EQ(batch.columns[0].values<int64_t>()[row], batch.columns[1].values<int64_t>()[row]);
        values.push_back(batch.columns[0].values<int64_t>()[row]);
      });
    }
    std::vector<int64_t> values;
  } pairs;
  Chain chain;
  chain.inputs.push_back({std::make_unique<Numbers>(), nullptr});
  chain.operators.push_back(MakeSort(query, {.input = {{1, 2}, {{TypeId::kInt64}, {TypeId::kInt64}}},
                                             .keys = {{Expression::Column(1, {TypeId::kInt64}), true, false}},
                                             .limit = 2,
                                             .offset = 1,
                                             .output = {2, 2}}));
  query.Run(chain, {&pairs});
  EXPECT_EQ(pairs.values, (std::vector<int64_t>{30, 20}));
}

}  // namespace
}  // namespace neap::engine
