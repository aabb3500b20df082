// cached_table_test.cc: tables that are kept as blocks: the same rows from blocks and from where they come from,
// whatever was evicted meanwhile, and nothing left behind.
#include "engine/scan/cached_table.h"

#include <arrow/c/bridge.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "engine/core/error.h"
#include "engine/scan/stream_table.h"
#include "tests/engine/parquet_fixture.h"

namespace neap::engine {
namespace {

constexpr size_t kMiB = 1 << 20;
constexpr int64_t kRows = 40'000;
constexpr int64_t kGroup = 5'000;  // of a row group, and so of a block

StorageLevel Level(const char* name) { return StorageLevel::FromName(name).value(); }

struct CachedTables : testing::Test {
  ~CachedTables() override {
    table.reset();
    EXPECT_EQ(manager().figures(MemoryMode::kOnHeap).storage_used, 0U);
    EXPECT_EQ(manager().figures(MemoryMode::kOnHeap).unroll_used, 0U);
    EXPECT_EQ(manager().figures(MemoryMode::kOnHeap).tasks, 0U);
    Memory& storage = manager().storage_memory(MemoryMode::kOnHeap);
    storage.Purge();
    EXPECT_EQ(storage.Charged(), 0U);
    EXPECT_EQ(spill->bytes(), 0U);
  }

  MemoryManager& manager() { return pool->manager(); }
  uint64_t Evict(uint64_t bytes = UINT64_MAX) { return manager().EvictForPressure(bytes); }

  // A table in parts.
  void CacheFile(const char* level, Nulls nulls = Nulls::kSome) {
    written = RandomTable(1, kRows, nulls);
    WriteParquet(*written, folder.File("t.parquet"), parquet::default_writer_properties(), kGroup);
    source = Table::Open(folder.File("t.parquet"));
    written = Expected(written, *source);
    table = std::make_shared<CachedTable>(source, cache, Level(level));
  }

  // A table without parts. Counts how often it is opened.
  void CacheStream(const char* level) {
    TableMaker maker(2, kRows, Nulls::kNone);
    maker.Add<arrow::Int64Builder>("n", arrow::int64(), [](int64_t row) { return row; });
    maker.Add<arrow::StringBuilder>("s", arrow::utf8(),
                                    [](int64_t row) { return "a text of some length " + std::to_string(row); });
    const std::shared_ptr<arrow::Table> made = maker.Finish();
    source = MakeStreamTable(
        [this, made](ArrowArrayStream* out) {
          ++opened;
          auto reader = std::make_shared<arrow::TableBatchReader>(made);
          reader->set_chunksize(1000);
          ASSERT_TRUE(arrow::ExportRecordBatchReader(reader, out).ok());
        },
        kRows);
    written = Expected(made, *source);
    table = std::make_shared<CachedTable>(source, cache, Level(level));
  }

  ScanOptions Options(uint32_t threads = 1) {
    ScanOptions options;
    options.threads = threads;
    options.pool = pool;
    return options;
  }
  bool Same(const arrow::Table& rows) const {
    bool same = rows.num_rows() == written->num_rows();
    for (int i = 0; same && i < written->num_columns(); ++i)
      same = rows.column(i)->Equals(*written->column(i), arrow::EqualOptions::Defaults().nans_equal(true));
    return same;
  }
  void ExpectRows(uint32_t threads, const std::string& order) {
    auto rows = Scanned(*table, Options(threads));
    ExpectSame(SortedBy(written, order), SortedBy(rows, order));
  }

  TestFolder folder;
  std::shared_ptr<QueryPool> pool = std::make_shared<QueryPool>(256 * kMiB);
  std::shared_ptr<SpillDirectory> spill = std::make_shared<SpillDirectory>(folder.path());
  std::shared_ptr<BlockCache> cache = std::make_shared<BlockCache>(pool, spill);
  std::shared_ptr<arrow::Table> written;
  std::shared_ptr<Table> source;
  std::shared_ptr<CachedTable> table;
  std::atomic<int> opened{0};
};

TEST_F(CachedTables, RowsOfEveryTypeComeFromBlocksAtEveryLevel) {
  for (const char* level : {"MEMORY_ONLY", "MEMORY_ONLY_SER", "MEMORY_AND_DISK", "DISK_ONLY_2", "OFF_HEAP", "NONE"}) {
    for (const uint32_t threads : {1U, 3U}) {
      SCOPED_TRACE(level);
      CacheFile(level);
      for (int again = 0; again < 2; ++again) {
        // On one thread rows are in the order of the file.
        const auto rows = Scanned(*table, Options(threads));
        if (threads == 1) {
          ExpectSame(written, rows);
        } else {
          EXPECT_EQ(rows->num_rows(), kRows);
        }
      }
      const auto figures = cache->blocks.figures();
      const uint64_t blocks = Level(level).kept() ? kRows / kGroup : 0;
      EXPECT_EQ(Level(level).memory ? figures.memory_blocks : figures.disk_blocks, blocks);
    }
  }
}

TEST_F(CachedTables, WhatIsKeptIsNotReadAgain) {
  CacheFile("MEMORY_ONLY");
  ExpectSame(written, Scanned(*table, Options()));
  std::filesystem::remove(folder.File("t.parquet"));
  ExpectSame(written, Scanned(*table, Options()));
  Evict(1);
  EXPECT_THROW(Scanned(*table, Options()), Error);
}

TEST_F(CachedTables, ColumnsAreChosenAndFiltersHold) {
  CacheFile("MEMORY_AND_DISK", Nulls::kNone);
  ScanOptions options = Options(2);
  options.columns = {"i64", "few"};
  options.given = 1;
  const Type type{TypeId::kInt32};
  options.filter =
      Expression::Call(Function::kEqual, {TypeId::kBool},
                       {Expression::Column(1, type), Expression::Constant({.null = false, .value = int64_t{3}}, type)});
  const auto expected = Scanned(*source, options);
  ASSERT_GT(expected->num_rows(), 0);
  for (int again = 0; again < 2; ++again) {
    ExpectSame(SortedBy(expected, "i64"), SortedBy(Scanned(*table, options), "i64"));
  }
}

TEST_F(CachedTables, BlocksEvictedForGoodAreReadFromTheSourceAndKeptAgain) {
  CacheFile("MEMORY_ONLY");
  ExpectSame(written, Scanned(*table, Options()));
  ASSERT_GT(Evict(1), 0U);
  EXPECT_EQ(cache->blocks.figures().memory_blocks, static_cast<uint64_t>(kRows / kGroup) - 1);
  ExpectSame(written, Scanned(*table, Options()));
  EXPECT_EQ(cache->blocks.figures().memory_blocks, static_cast<uint64_t>(kRows / kGroup));
  Evict();
  EXPECT_EQ(cache->blocks.figures().memory_blocks, 0U);
  ExpectSame(written, Scanned(*table, Options()));
}

TEST_F(CachedTables, ATableLargerThanThePoolKeepsWhatFits) {
  pool->manager().Resize(5 * kMiB, MemoryMode::kOnHeap);
  for (const char* level : {"MEMORY_ONLY", "MEMORY_ONLY_SER", "MEMORY_AND_DISK"}) {
    SCOPED_TRACE(level);
    CacheFile(level);
    for (int again = 0; again < 3; ++again) ExpectSame(written, Scanned(*table, Options()));
    const auto figures = cache->blocks.figures();
    EXPECT_LT(figures.memory_blocks, static_cast<uint64_t>(kRows / kGroup));
    if (Level(level).disk) {
      EXPECT_GT(figures.disk_blocks, 0U);
    }
  }
}

TEST_F(CachedTables, AnEmptyTable) {
  written = RandomTable(1, 0, Nulls::kNone);
  WriteParquet(*written, folder.File("t.parquet"), parquet::default_writer_properties(), kGroup);
  source = Table::Open(folder.File("t.parquet"));
  table = std::make_shared<CachedTable>(source, cache, Level("MEMORY_ONLY"));
  for (int again = 0; again < 2; ++again) EXPECT_EQ(Scanned(*table, Options(2))->num_rows(), 0);
}

// ---- Tables without parts.

TEST_F(CachedTables, AStreamIsKeptWholeAndReadOnce) {
  for (const char* level : {"MEMORY_ONLY", "MEMORY_AND_DISK_SER", "DISK_ONLY"}) {
    SCOPED_TRACE(level);
    CacheStream(level);
    opened = 0;
    for (const uint32_t threads : {3U, 1U, 2U}) ExpectRows(threads, "n");
    EXPECT_EQ(opened, 0) << "it was opened for its columns before, and that stream serves the first scan";
    EXPECT_EQ(table->rows(), static_cast<uint64_t>(kRows));
  }
}

TEST_F(CachedTables, AStreamThatHasLostABlockIsReadAnewWhole) {
  CacheStream("MEMORY_ONLY");
  ExpectRows(2, "n");
  ASSERT_GT(Evict(1), 0U);
  opened = 0;
  ExpectRows(2, "n");
  EXPECT_EQ(opened, 1);
  ExpectRows(2, "n");
  EXPECT_EQ(opened, 1);
}

TEST_F(CachedTables, AStreamThatDoesNotFitIsReadEveryTime) {
  pool->manager().Resize(2 * kMiB, MemoryMode::kOnHeap);
  CacheStream("MEMORY_ONLY");
  opened = 0;
  for (int again = 0; again < 3; ++again) ExpectRows(2, "n");
  EXPECT_EQ(opened, 2);
  EXPECT_EQ(cache->blocks.figures().memory_blocks, 0U);
}

TEST_F(CachedTables, AScanThatEndsEarlyKeepsNothingOfAStream) {
  CacheStream("MEMORY_ONLY");
  {
    QueryOptions options;
    options.threads = 1;
    Query query(options, nullptr, pool);
    const auto rows = table->Scan({0}, {0}, 1, std::nullopt, {}, query.memory());
    Worker worker{&query, 0};
    const auto cursor = rows->MakeCursor(worker);
    Batch batch;
    ASSERT_TRUE(cursor->Next(batch));
  }
  EXPECT_EQ(cache->blocks.figures().memory_blocks, 0U);
  opened = 0;
  ExpectRows(1, "n");
  EXPECT_EQ(opened, 1);
}

// ---- All at once.

TEST_F(CachedTables, RowsAreTheSameWhileBlocksComeAndGo) {
  pool->manager().Resize(24 * kMiB, MemoryMode::kOnHeap);
  for (const char* level : {"MEMORY_ONLY", "MEMORY_AND_DISK"}) {
    CacheFile(level);
    std::atomic<bool> ending{false};
    std::thread pressure([&] {
      while (!ending) {
        Evict(kMiB);
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      }
    });
    std::vector<std::thread> readers;
    std::atomic<int> right{0};
    for (int reader = 0; reader < 3; ++reader) {
      readers.emplace_back([&] {
        for (int again = 0; again < 4; ++again) right += Same(*Scanned(*table, Options(1))) ? 1 : 0;
      });
    }
    for (std::thread& reader : readers) reader.join();
    ending = true;
    pressure.join();
    EXPECT_EQ(right, 12);
    ExpectSame(written, Scanned(*table, Options()));
  }
}

}  // namespace
}  // namespace neap::engine
