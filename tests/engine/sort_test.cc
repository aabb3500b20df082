// sort_test.cc: rows in order, from memory and from disk, against a comparison of values one by one.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <mutex>
#include <thread>

#include "engine/rows/external_sort.h"
#include "engine/run/query.h"
#include "tests/engine/random_batch.h"

namespace neap::engine {
namespace {

using Row = std::vector<Cell>;

// ---- The reference: values compared one by one.

template <class T>
T As(const std::string& bytes) {
  T value;
  std::memcpy(&value, bytes.data(), sizeof value);
  return value;
}

template <class T>
int CompareValues(const T& a, const T& b) {
  return a < b ? -1 : b < a ? 1 : 0;
}

int CompareCells(const Type& type, const std::string& a, const std::string& b) {
  if (type.is_view()) return a.compare(b);
  return DispatchPhysical(type.physical(), [&](auto zero) -> int {
    using T = decltype(zero);
    if constexpr (std::is_same_v<T, View>) {
      return 0;
    } else if constexpr (std::is_same_v<T, Interval>) {
      const auto v = As<Interval>(a), w = As<Interval>(b);
      const auto days = [](const Interval& i) { return i.months * 30.0 + i.days + i.micros / 86400e6; };
      if (days(v) != days(w)) return CompareValues(days(v), days(w));
      return v.months != w.months ? CompareValues(v.months, w.months) : CompareValues(v.days, w.days);
    } else if constexpr (std::is_floating_point_v<T>) {
      const T v = As<T>(a), w = As<T>(b);
      if (std::isnan(v) || std::isnan(w)) return static_cast<int>(std::isnan(v)) - static_cast<int>(std::isnan(w));
      return CompareValues(v, w);
    } else {
      return CompareValues(As<T>(a), As<T>(b));
    }
  });
}

struct RowOrder {
  const std::vector<Type>& types;
  const std::vector<SortColumn>& order;

  int Compare(const Row& a, const Row& b) const {
    for (const SortColumn& by : order) {
      const Cell &x = a[by.column], &y = b[by.column];
      if (!x && !y) continue;
      if (!x || !y) return (!x) == by.nulls_first ? -1 : 1;
      const int order_of_values = CompareCells(types[by.column], *x, *y);
      if (order_of_values != 0) return by.descending ? -order_of_values : order_of_values;
    }
    return 0;
  }
  bool operator()(const Row& a, const Row& b) const { return Compare(a, b) < 0; }
};

// ---- Keys

std::vector<SortColumn> RandomOrder(std::mt19937_64& random, size_t columns) {
  std::vector<SortColumn> order;
  for (size_t i = 0, count = 1 + random() % 4; i < count; ++i) {
    order.push_back({static_cast<uint32_t>(random() % columns), random() % 2 == 0, random() % 2 == 0});
  }
  return order;
}

TEST(SortKeys, HaveTheOrderOfTheValues) {
  std::mt19937_64 random(1);
  const RowLayout layout(AllTypes());
  for (int round = 0; round < 300; ++round) {
    // At first every type by itself.
    std::vector<SortColumn> order = RandomOrder(random, AllTypes().size());
    if (static_cast<size_t>(round) < AllTypes().size() * 4) {
      order = {{static_cast<uint32_t>(round / 4), round % 2 == 0, round / 2 % 2 == 0}};
    }
    const RowOrder reference{AllTypes(), order};
    const SortKeys keys(&layout, order);
    const size_t words = keys.words();
    const RandomBatch made(random, AllTypes(), 200, {.selection = round % 3 == 0, .distinct = 30});
    const Batch& batch = made.batch;
    std::vector<Row> rows;
    batch.ForEach([&](uint32_t row) { rows.push_back(RowAt(batch, row)); });
    const uint32_t first = static_cast<uint32_t>(rows.size() / 3);
    const auto count = static_cast<uint32_t>(rows.size()) - first;
    std::vector<uint64_t> encoded(count * words);
    keys.Encode(batch, first, count, encoded.data());
    for (uint32_t i = 0; i < count; ++i) {
      for (uint32_t j = 0; j < count; ++j) {
        const uint64_t *a = &encoded[i * words], *b = &encoded[j * words];
        const int expected = reference.Compare(rows[first + i], rows[first + j]);
        if (std::equal(a, a + words, b)) {
          ASSERT_EQ(keys.WasCut(a), keys.WasCut(b));
          ASSERT_TRUE(keys.WasCut(a) || expected == 0) << round;
        } else {
          ASSERT_EQ(std::lexicographical_compare(a, a + words, b, b + words), expected < 0) << round;
        }
      }
    }
  }
}

TEST(SortKeys, AreNotCutWhereTheyNeedNotBe) {
  const RowLayout layout({{TypeId::kInt64}, {TypeId::kDate}, {TypeId::kString}, Type::Decimal(38, 0)});
  const auto words = [&](std::vector<SortColumn> order) { return SortKeys(&layout, std::move(order)).words(); };
  EXPECT_EQ(words({{1}}), 1U);
  EXPECT_EQ(words({{0}}), 2U);
  EXPECT_EQ(words({{1}, {0}}), 2U);
  EXPECT_EQ(words({{2}}), 4U);
  EXPECT_EQ(words({{3}, {3}}), 4U);
  EXPECT_EQ(words({}), 1U);
}

// ---- Sorts

struct Case {
  std::vector<Type> types;
  std::vector<SortColumn> order;
  uint64_t keep = UINT64_MAX;
  uint32_t batches = 10;
  uint32_t batch_rows = 1000;
  RandomShape shape = {};
  QueryOptions options = {};
  size_t spill_after = 0;  // at a boundary, after so many batches in and out; 0: never
};

class Sort : public testing::Test {
 protected:
  // Sorts random rows and checks the result against the reference.
  OperatorFigures Run(const Case& c, uint64_t seed) {
    SpillDirectory directory;
    Query query(c.options, &directory);
    OperatorFigures figures;
    {
      Memory memory(&query.memory(), "sort");
      ExternalSort sort(query, memory, c.types, c.order, c.keep, figures);
      std::vector<Row> expected = Fill(c, seed, query, sort);
      const RowOrder reference{c.types, c.order};
      std::stable_sort(expected.begin(), expected.end(), reference);
      sort.StartMerge();
      std::vector<Row> got;
      Batch batch;
      size_t given = 0;
      while (sort.Next(batch)) {
        EXPECT_GT(batch.selected, 0U);
        EXPECT_LE(batch.rows, query.options().batch_rows);
        batch.ForEach([&](uint32_t row) { got.push_back(RowAt(batch, row)); });
        if (c.spill_after != 0 && ++given % c.spill_after == 0) {
          sort.SpillAtBoundary(1);
          EXPECT_EQ(sort.Spillable(), 0U);
        }
      }
      EXPECT_FALSE(sort.Next(batch));
      CheckOrder(c, reference, expected, got);
      sort.Close();
      EXPECT_EQ(memory.Stats().live, 0U);
      EXPECT_EQ(directory.bytes(), 0U);
    }
    return figures;
  }

 private:
  std::vector<Row> Fill(const Case& c, uint64_t seed, Query& query, ExternalSort& sort) {
    std::vector<Row> rows;
    std::mutex mutex;
    std::vector<std::thread> threads;
    for (uint32_t worker = 0; worker < query.threads(); ++worker) {
      threads.emplace_back([&, worker] {
        std::mt19937_64 random(seed * 100 + worker);
        for (uint32_t i = 0; i < c.batches; ++i) {
          const RandomBatch made(random, c.types, c.batch_rows, c.shape);
          sort.Append(worker, made.batch);
          const std::lock_guard lock(mutex);
          made.batch.ForEach([&](uint32_t row) { rows.push_back(RowAt(made.batch, row)); });
          if (c.spill_after != 0 && query.threads() == 1 && i % c.spill_after == 0) {
            sort.SpillAtBoundary(1);
            EXPECT_EQ(sort.Spillable(), 0U);
          }
        }
        sort.End(worker);
      });
    }
    for (std::thread& thread : threads) thread.join();
    return rows;
  }

  static void CheckOrder(const Case& c, const RowOrder& reference, std::vector<Row>& expected, std::vector<Row>& got) {
    ASSERT_EQ(got.size(), std::min<uint64_t>(expected.size(), c.keep));
    for (size_t i = 0; i < got.size(); ++i) {
      ASSERT_EQ(reference.Compare(got[i], expected[i]), 0) << "row " << i;
    }
    // Among equal rows any may come first, but all must be rows that went in, each once.
    std::sort(expected.begin(), expected.end());
    std::sort(got.begin(), got.end());
    EXPECT_TRUE(std::includes(expected.begin(), expected.end(), got.begin(), got.end()));
  }
};

std::vector<Type> SomeTypes(std::mt19937_64& random) {
  std::vector<Type> types;
  for (size_t i = 0, count = 1 + random() % 6; i < count; ++i)
    types.push_back(AllTypes()[random() % AllTypes().size()]);
  return types;
}

TEST_F(Sort, RandomRowsComeOutInOrder) {
  std::mt19937_64 random(2);
  for (uint64_t seed = 0; seed < 60; ++seed) {
    SCOPED_TRACE(seed);
    Case c;
    c.types = SomeTypes(random);
    c.order = RandomOrder(random, c.types.size());
    const uint64_t keeps[] = {UINT64_MAX, UINT64_MAX, 0, 1, 700, 5000, 100000};
    c.keep = keeps[random() % 7];
    c.batches = static_cast<uint32_t>(random() % 12);
    const uint32_t rows[] = {1, 100, 3000, kBatchRows};
    c.batch_rows = rows[random() % 4];
    c.shape.selection = random() % 2 == 0;
    c.shape.nulls = random() % 2 == 0 ? 0.0 : 0.2;
    c.shape.distinct = random() % 2 == 0 ? 10 : 10000000;
    c.options.threads = 1 + static_cast<uint32_t>(random() % 3);
    c.options.force_spill = random() % 3 == 0;
    c.options.batch_rows = random() % 2 == 0 ? kBatchRows : 100;
    c.spill_after = random() % 3 == 0 ? 2 : 0;
    Run(c, seed);
  }
}

TEST_F(Sort, NoRows) {
  Case c{.types = {{TypeId::kInt64}}, .order = {{0}}, .batches = 0};
  c.options.threads = 2;
  const OperatorFigures figures = Run(c, 1);
  EXPECT_EQ(figures.spills, 0U);
}

TEST_F(Sort, WithoutColumnsOfOrderGivesAllRows) {
  Case c{.types = {{TypeId::kInt64}}, .order = {}};
  Run(c, 1);
}

TEST_F(Sort, LongStringsWithTheSameBeginning) {
  Case c{.types = {{TypeId::kString}, {TypeId::kInt32}}, .order = {{0, true}, {1}}};
  c.shape = {.nulls = 0.1, .distinct = 3000, .longest = 20, .prefix = std::string(100, 'x')};
  for (const bool spill : {false, true}) {
    c.options.force_spill = spill;
    for (const uint64_t keep : {UINT64_MAX, uint64_t{50}}) {
      c.keep = keep;
      Run(c, 7);
    }
  }
}

// So few rows a thread that one is left when the rest goes to disk.
TEST_F(Sort, TheLastRowsOfRunsGoToDiskToo) {
  Case c{.types = {{TypeId::kInt64}}, .order = {{0}}, .batches = 1, .batch_rows = 5};
  c.options.threads = 3;
  c.options.batch_rows = 1;
  c.shape.distinct = 1000;
  for (size_t after = 1; after < 15; ++after) {
    c.spill_after = after;
    Run(c, after);
  }
}

// Forced: every batch is a run, so that there are more than are merged at once.
TEST_F(Sort, ManyRunsAreMergedInPasses) {
  Case c{.types = {{TypeId::kInt64}, {TypeId::kString}}, .order = {{0}}, .batches = 60, .batch_rows = 200};
  c.shape = {.distinct = 1000000};
  c.options.threads = 2;
  c.options.force_spill = true;
  const OperatorFigures figures = Run(c, 3);
  EXPECT_GT(figures.spills, 120U);
  EXPECT_GT(figures.spilled_rows, uint64_t{2} * 60 * 200);
  EXPECT_GT(figures.spilled, 0U);
}

// The bound holds but for the workspace, and what spilling freed is what the arena says.
TEST_F(Sort, StaysWithinItsBound) {
  Case c{.types = {{TypeId::kInt64}, {TypeId::kString}, {TypeId::kInt64}}, .order = {{0}}};
  c.batches = 40;
  c.batch_rows = kBatchRows;
  c.shape = {.dictionaries = 0, .distinct = 100000000};
  c.options.threads = 2;
  c.options.memory = size_t{8} << 20;
  const OperatorFigures figures = Run(c, 4);
  EXPECT_GT(figures.spills, 2U);
  EXPECT_GT(figures.freed, size_t{8} << 20);
  EXPECT_LT(figures.peak, size_t{10} << 20);
}

TEST_F(Sort, TopNKeepsFewRows) {
  Case c{.types = {{TypeId::kInt64}, {TypeId::kString}}, .order = {{0}}, .keep = 100, .batches = 100};
  c.batch_rows = 2000;
  c.shape = {.dictionaries = 0, .distinct = 100000000};
  const OperatorFigures figures = Run(c, 5);
  EXPECT_LT(figures.peak, size_t{4} << 20);
  EXPECT_EQ(figures.spills, 0U);
}

}  // namespace
}  // namespace neap::engine
