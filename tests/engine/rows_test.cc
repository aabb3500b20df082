// rows_test.cc: hashes of batches, rows kept and read back, keys matched, rows split by their hash.
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <numeric>

#include "engine/core/hash.h"
#include "engine/rows/row_store.h"
#include "tests/engine/random_batch.h"

namespace neap::engine {
namespace {

std::vector<uint32_t> AllColumns(const Batch& batch) {
  std::vector<uint32_t> columns(batch.columns.size());
  std::iota(columns.begin(), columns.end(), 0U);
  return columns;
}

std::vector<RowIndex> CountedRows(const Batch& batch) {
  std::vector<RowIndex> rows;
  batch.ForEach([&](uint32_t row) { rows.push_back(static_cast<RowIndex>(row)); });
  return rows;
}

// Every shape of batch that the rest of the engine makes.
template <class F>
void ForShapes(F&& f) {
  std::mt19937_64 random(1);
  for (const uint32_t rows : {0U, 1U, 7U, 1000U, kBatchRows}) {
    for (const bool selection : {false, true}) {
      for (const double nulls : {0.0, 0.3}) {
        for (const double dictionaries : {0.0, 0.7}) {
          SCOPED_TRACE(testing::Message() << rows << (selection ? " selected " : " ") << nulls << " " << dictionaries);
          f(random, rows, RandomShape{.nulls = nulls, .dictionaries = dictionaries, .selection = selection});
        }
      }
    }
  }
}

uint64_t HashOfCell(const Column& column, uint32_t row) {
  if (!column.is_valid(row)) return kNullHash;
  return DispatchPhysical(column.type.physical(),
                          [&](auto zero) { return HashValue(column.values<decltype(zero)>()[column.position(row)]); });
}

TEST(HashRows, IsThatOfTheValuesWhateverTheColumnsLookLike) {
  ForShapes([](std::mt19937_64& random, uint32_t rows, const RandomShape& shape) {
    const RandomBatch made(random, AllTypes(), rows, shape);
    const Batch& batch = made.batch;
    const std::vector<uint32_t> columns = AllColumns(batch);
    for (size_t count = 0; count <= columns.size(); ++count) {
      std::vector<uint64_t> hashes(rows, 42);
      HashRows(batch, columns.data(), count, hashes.data());
      batch.ForEach([&](uint32_t row) {
        uint64_t expected = 0;
        for (size_t c = 0; c < count; ++c) {
          const uint64_t hash = HashOfCell(batch.columns[c], row);
          expected = c == 0 ? hash : CombineHash(expected, hash);
        }
        EXPECT_EQ(hashes[row], expected) << row << " " << count;
      });
    }
  });
}

// What an undefined row points to must not be read.
TEST(HashRows, LeavesRowsAloneThatDoNotCount) {
  std::vector<View> values(3);
  values[1].size = 1000;
  values[1].pointer = reinterpret_cast<const char*>(8);
  values[2] = View("counts");
  const uint32_t indices[] = {2, 2, 1, 2, 2};
  const RowIndex selection[] = {0, 1, 3, 4};
  Batch batch;
  batch.columns = {{.type = {TypeId::kString}, .data = values.data(), .indices = indices, .positions = 3}};
  batch.rows = 5;
  batch.selection = selection;
  batch.selected = 4;
  uint64_t hashes[5];
  const uint32_t column = 0;
  HashRows(batch, &column, 1, hashes);
  EXPECT_EQ(hashes[0], HashValue(values[2]));
  EXPECT_EQ(hashes[4], hashes[0]);
}

class Rows : public testing::Test {
 protected:
  void TearDown() override { EXPECT_EQ(memory_.Stats().live, 0U); }

  // Rows at the given addresses as cells.
  std::vector<std::vector<Cell>> Read(const RowLayout& layout, const std::vector<const uint8_t*>& rows) {
    std::vector<std::vector<Cell>> cells(rows.size());
    for (size_t begin = 0; begin < rows.size(); begin += kBatchRows) {
      const auto count = static_cast<uint32_t>(std::min<size_t>(kBatchRows, rows.size() - begin));
      for (size_t c = 0; c < layout.columns(); ++c) {
        std::vector<std::aligned_storage_t<16, 16>> data(kBatchRows);
        std::vector<uint8_t> valid(kBatchRows, 7);
        const Column column = GatherColumn(layout, c, rows.data() + begin, nullptr, count, {data.data(), valid.data()});
        EXPECT_EQ(column.type, layout.types()[c]);
        for (uint32_t i = 0; i < count; ++i) cells[begin + i].push_back(CellAt(column, i));
      }
    }
    return cells;
  }

  static std::vector<const uint8_t*> Addresses(const RowStore& store) {
    std::vector<const uint8_t*> rows;
    store.ForEachRun([&](const uint8_t* row, uint32_t count) {
      for (uint32_t i = 0; i < count; ++i, row += store.layout().width()) rows.push_back(row);
    });
    return rows;
  }

  Memory memory_{nullptr, "rows_test"};
};

TEST_F(Rows, ComeBackInOrderAndOutliveTheBatch) {
  ForShapes([&](std::mt19937_64& random, uint32_t rows, const RandomShape& shape) {
    const RowLayout layout(AllTypes());
    RowStore store(&layout, &memory_);
    std::vector<std::vector<Cell>> expected;
    for (int round = 0; round < 3; ++round) {
      auto made = std::make_unique<RandomBatch>(random, AllTypes(), rows, shape);
      const Batch& batch = made->batch;
      std::vector<uint8_t*> out(kBatchRows);
      store.Append(batch, AllColumns(batch).data(), batch.selection, batch.selected, out.data());
      const std::vector<RowIndex> counted = CountedRows(batch);
      for (size_t i = 0; i < counted.size(); ++i) {
        expected.push_back(RowAt(batch, counted[i]));
        const std::vector<const uint8_t*> one = {out[i]};
        EXPECT_EQ(Read(layout, one)[0], expected.back());
      }
    }
    EXPECT_EQ(store.rows(), expected.size());
    EXPECT_EQ(Read(layout, Addresses(store)), expected);
    EXPECT_GE(memory_.Stats().live, store.bytes());
  });
}

TEST_F(Rows, TakeColumnsInAnyOrderAndRowsByList) {
  std::mt19937_64 random(2);
  const RandomBatch made(random, AllTypes(), 100, {});
  const RowLayout layout({AllTypes()[12], AllTypes()[4], AllTypes()[12]});
  RowStore store(&layout, &memory_);
  const uint32_t columns[] = {12, 4, 12};
  const std::vector<RowIndex> rows = {99, 0, 5, 5};
  store.Append(made.batch, columns, rows.data(), 4, nullptr);
  const auto cells = Read(layout, Addresses(store));
  ASSERT_EQ(cells.size(), rows.size());
  for (size_t i = 0; i < rows.size(); ++i) {
    for (size_t c = 0; c < 3; ++c) EXPECT_EQ(cells[i][c], CellAt(made.batch.columns[columns[c]], rows[i]));
  }
}

TEST_F(Rows, AreCopiedOneByOneAndAdopted) {
  std::mt19937_64 random(3);
  const RowLayout layout(AllTypes());
  RowStore copy(&layout, &memory_);
  std::vector<std::vector<Cell>> expected;
  {
    RowStore store(&layout, &memory_), adopted(&layout, &memory_);
    for (RowStore* each : {&store, &adopted}) {
      const RandomBatch made(random, AllTypes(), 500, {.longest = 60000});
      each->Append(made.batch, AllColumns(made.batch).data(), nullptr, 500, nullptr);
      for (uint32_t row = 0; row < 500; ++row) expected.push_back(RowAt(made.batch, row));
    }
    const size_t bytes = store.bytes() + adopted.bytes();
    store.Adopt(std::move(adopted));
    EXPECT_EQ(store.bytes(), bytes);
    EXPECT_EQ(store.rows(), 1000U);
    for (const uint8_t* row : Addresses(store)) copy.AppendRow(row);
  }
  EXPECT_EQ(Read(layout, Addresses(copy)), expected);
  const uint8_t* empty = copy.AppendEmpty();
  EXPECT_EQ(Read(layout, {empty})[0], std::vector<Cell>(AllTypes().size()));
  RowStore moved = std::move(copy);
  EXPECT_EQ(moved.rows(), 1001U);
  moved.Clear();
  EXPECT_EQ(memory_.Stats().live, 0U);
}

TEST_F(Rows, WithoutColumnsAreCounted) {
  const RowLayout layout{std::vector<Type>{}};
  RowStore store(&layout, &memory_);
  Batch batch;
  batch.SetAll(kBatchRows);
  for (int i = 0; i < 3; ++i) store.Append(batch, nullptr, nullptr, batch.selected, nullptr);
  EXPECT_EQ(Addresses(store).size(), 3U * kBatchRows);
}

TEST_F(Rows, SmallStoresTakeSmallPages) {
  const RowLayout layout({{TypeId::kInt64}});
  RowStore store(&layout, &memory_);
  store.AppendEmpty();
  EXPECT_EQ(store.bytes(), RowStore::kMinPage);
  for (int i = 0; i < 1 << 20; ++i) store.AppendEmpty();
  EXPECT_LT(store.bytes(), store.rows() * layout.width() + 2 * RowStore::kMaxPage);
}

TEST_F(Rows, OfADictionaryShareTheirStrings) {
  const std::string text(1000, 'x');
  const View value(text);
  Batch batch;
  batch.columns = {{.type = {TypeId::kString}, .data = &value, .indices = kZeroIndices, .positions = 1}};
  batch.SetAll(kBatchRows);
  const RowLayout layout({{TypeId::kString}});
  RowStore store(&layout, &memory_);
  const uint32_t column = 0;
  store.Append(batch, &column, nullptr, kBatchRows, nullptr);
  EXPECT_LT(store.bytes(), size_t{512} << 10);
  EXPECT_EQ(Read(layout, Addresses(store)).back()[0], text);
}

TEST_F(Rows, GatherTakesNoRowForNullAndWritesWhereItIsTold) {
  const RowLayout layout({{TypeId::kInt32}});
  RowStore store(&layout, &memory_);
  uint8_t* row = store.AppendEmpty();
  layout.Store(row, 0, int32_t{7});
  RowLayout::SetValid(row, 0, true);
  int32_t data[4] = {-1, -1, -1, -1};
  uint8_t valid[4] = {};
  const uint8_t* rows[] = {row, nullptr};
  const RowIndex at[] = {1, 3};
  const Column column = GatherColumn(layout, 0, rows, at, 2, {data, valid});
  EXPECT_EQ(data[1], 7);
  EXPECT_TRUE(column.is_valid(1));
  EXPECT_FALSE(column.is_valid(3));
  EXPECT_EQ(data[0], -1);
  EXPECT_EQ(GatherColumn(layout, 0, rows, at, 1, {data, valid}).valid, nullptr);
}

bool CellsEqual(const Type& type, const Cell& a, const Cell& b, bool null_equals) {
  if (!a || !b) return null_equals && !a && !b;
  const auto as = [](const Cell& cell, auto zero) {
    std::memcpy(&zero, cell->data(), sizeof zero);
    return zero;
  };
  if (type.id == TypeId::kDouble) return KeysEqual(as(a, double{}), as(b, double{}));
  if (type.id == TypeId::kFloat) return KeysEqual(as(a, float{}), as(b, float{}));
  return *a == *b;
}

TEST_F(Rows, MatchKeysKeepsExactlyTheEqual) {
  ForShapes([&](std::mt19937_64& random, uint32_t count, const RandomShape& shape) {
    if (count == 0 || count == kBatchRows) return;
    RandomShape few = shape;
    few.distinct = 4;
    few.longest = 16;
    for (size_t first = 0; first < AllTypes().size(); ++first) {
      const std::vector<Type> types = {AllTypes()[first], AllTypes()[(first + 5) % AllTypes().size()]};
      const RandomBatch probe(random, types, count, few), build(random, types, count, few);
      const RowLayout layout(types);
      RowStore store(&layout, &memory_);
      std::vector<uint8_t*> rows(count);
      store.Append(build.batch, AllColumns(build.batch).data(), nullptr, count, rows.data());
      // i: batch row batch_rows[i] against rows[i]; every second i is a candidate.
      std::vector<RowIndex> batch_rows = CountedRows(probe.batch), candidates, expected;
      const std::vector<uint8_t> null_equals = {static_cast<uint8_t>(first % 2), 1};
      for (size_t i = 0; i < batch_rows.size(); i += 1 + i % 2) {
        candidates.push_back(static_cast<RowIndex>(i));
        bool equal = true;
        for (size_t c = 0; c < 2; ++c) {
          equal &= CellsEqual(types[c], CellAt(probe.batch.columns[c], batch_rows[i]),
                              CellAt(build.batch.columns[c], static_cast<uint32_t>(i)), null_equals[c] != 0);
        }
        if (equal) expected.push_back(static_cast<RowIndex>(i));
      }
      const uint32_t matched =
          MatchKeys(layout, probe.batch, AllColumns(probe.batch).data(), null_equals.data(), 2, batch_rows.data(),
                    rows.data(), candidates.data(), static_cast<uint32_t>(candidates.size()), candidates.data());
      candidates.resize(matched);
      EXPECT_EQ(candidates, expected);
    }
  });
}

TEST_F(Rows, ArePartitionedByTheirHashInOrder) {
  ForShapes([&](std::mt19937_64& random, uint32_t count, const RandomShape& shape) {
    std::vector<Type> types = AllTypes();
    types.push_back({TypeId::kInt64});
    const RowLayout layout(types);
    for (const int level : {0, 3}) {
      PartitionedRows partitioned(&layout, &memory_, level);
      std::vector<std::vector<Cell>> expected[kPartitions];
      for (int round = 0; round < 2; ++round) {
        const RandomBatch made(random, AllTypes(), count, shape);
        const Batch& batch = made.batch;
        const std::vector<uint32_t> columns = AllColumns(batch);
        std::vector<uint64_t> hashes(count);
        HashRows(batch, columns.data(), columns.size(), hashes.data());
        std::vector<uint8_t*> out(kBatchRows);
        partitioned.Append(batch, columns.data(), hashes.data(), batch.selection, batch.selected, out.data());
        const std::vector<RowIndex> counted = CountedRows(batch);
        for (size_t i = 0; i < counted.size(); ++i) {
          std::vector<Cell> cells = RowAt(batch, counted[i]);
          const uint64_t hash = hashes[counted[i]];
          cells.push_back(std::string(reinterpret_cast<const char*>(&hash), 8));
          expected[PartitionOf(hash, level)].push_back(cells);
          EXPECT_EQ(layout.Load<uint64_t>(out[i], types.size() - 1), hash);
        }
      }
      uint64_t rows = 0;
      size_t largest = 0;
      for (uint32_t p = 0; p < kPartitions; ++p) {
        EXPECT_EQ(Read(layout, Addresses(partitioned.partition(p))), expected[p]) << p;
        rows += expected[p].size();
        largest = std::max(largest, partitioned.partition(p).bytes());
      }
      EXPECT_EQ(partitioned.rows(), rows);
      EXPECT_EQ(partitioned.partition(partitioned.Largest()).bytes(), largest);
    }
  });
}

}  // namespace
}  // namespace neap::engine
