// Sessions as a program uses them: statements in, Arrow streams out, several at once, and ended early. Also the walk
// over the text of SQL that comes before planning.
#include <arrow/array.h>
#include <arrow/builder.h>
#include <arrow/c/bridge.h>
#include <arrow/record_batch.h>
#include <arrow/table.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "engine/memory/memory.h"
#include "engine/neap_engine.h"
#include "engine/sql/cache_statement.h"
#include "engine/sql/statements.h"

namespace neap::engine {
namespace {

using Texts = std::vector<std::string>;

TEST(Statements, SplitAtSemicolonsOutsideOfText) {
  EXPECT_EQ(SplitStatements(""), Texts());
  EXPECT_EQ(SplitStatements(" ; ;; -- nothing\n"), Texts());
  EXPECT_EQ(SplitStatements("SELECT 1"), Texts({"SELECT 1"}));
  EXPECT_EQ(SplitStatements("SELECT 1;\n SELECT 2 ;"), Texts({"SELECT 1", "SELECT 2"}));
  EXPECT_EQ(SplitStatements("SELECT ';' , 'it''s;' ; SELECT \";\""), Texts({"SELECT ';' , 'it''s;'", "SELECT \";\""}));
  EXPECT_EQ(SplitStatements("SELECT 1 -- a; b\n+ 2; /* c; */ SELECT 3"), Texts({"SELECT 1 -- a; b\n+ 2", "SELECT 3"}));
  EXPECT_EQ(SplitStatements("SELECT 'never closed ; "), Texts({"SELECT 'never closed ; "}));
  EXPECT_EQ(SplitStatements("SELECT /* never closed ; "), Texts({"SELECT"}));
}

TEST(Statements, TablesInQuotes) {
  EXPECT_EQ(QuotedTables("SELECT 'a' FROM t WHERE x = 'b'"), Texts());
  EXPECT_EQ(QuotedTables("select * from 'a/b.parquet' x join \"c.parquet\" on true"),
            Texts({"a/b.parquet", "c.parquet"}));
  EXPECT_EQ(QuotedTables("SELECT * FROM 'a', 'b' AS x, 'c' WHERE d IN ('e', 'f')"), Texts({"a", "b", "c"}));
  EXPECT_EQ(QuotedTables("SELECT * FROM 'it''s' UNION ALL SELECT * FROM 'it''s'"), Texts({"it's"}));
  EXPECT_EQ(QuotedTables("-- FROM 'a'\nSELECT 'FROM ' 'b'"), Texts());
}

TEST(Statements, OnCachedTables) {
  EXPECT_FALSE(ParseCacheStatement("SELECT 1"));
  EXPECT_FALSE(ParseCacheStatement(""));
  auto parsed = ParseCacheStatement("CACHE TABLE t").value();
  EXPECT_EQ(parsed.kind, CacheStatement::Kind::kCache);
  EXPECT_EQ(parsed.name, "t");
  EXPECT_FALSE(parsed.lazy);
  EXPECT_EQ(parsed.level.Name(), "MEMORY_AND_DISK");
  EXPECT_EQ(parsed.query, "");
  parsed = ParseCacheStatement(
               "cache Lazy table Sales.\"Big One\" -- why\n OPTIONS('storagelevel' = 'disk_only') AS SELECT 'as'")
               .value();
  EXPECT_TRUE(parsed.lazy);
  EXPECT_EQ(parsed.name, "sales.Big One");
  EXPECT_EQ(parsed.level.Name(), "DISK_ONLY");
  EXPECT_EQ(parsed.query, "SELECT 'as'");
  EXPECT_EQ(ParseCacheStatement("CACHE TABLE t OPTIONS ('storageLevel' 'MEMORY_ONLY')")->level.Name(), "MEMORY_ONLY");
  EXPECT_EQ(ParseCacheStatement("CACHE TABLE `t` WITH x AS (SELECT 1) SELECT * FROM x")->query,
            "WITH x AS (SELECT 1) SELECT * FROM x");
  EXPECT_EQ(ParseCacheStatement("UNCACHE TABLE t")->kind, CacheStatement::Kind::kUncache);
  EXPECT_TRUE(ParseCacheStatement("UNCACHE TABLE IF EXISTS t")->if_exists);
  EXPECT_EQ(ParseCacheStatement("CLEAR CACHE")->kind, CacheStatement::Kind::kClear);
}

TEST(Statements, OnCachedTablesThatAreWrongAreToldSo) {
  const std::pair<const char*, const char*> wrong[] = {
      {"CACHE", "CACHE TABLE: expected TABLE, found the end"},
      {"CACHE t", "CACHE TABLE: expected TABLE, found 't'"},
      {"CACHE TABLE", "CACHE TABLE: expected the name of a table, found the end"},
      {"CACHE TABLE t u", "CACHE TABLE: expected OPTIONS, AS and a query, or the end, found 'u'"},
      {"CACHE TABLE t AS", "CACHE TABLE: expected a query after AS, found the end"},
      {"CACHE TABLE t AS INSERT", "CACHE TABLE: expected a query after AS, found 'INSERT'"},
      {"CACHE TABLE t OPTIONS ('color' 'red')",
       "CACHE TABLE: expected OPTIONS ('storageLevel' 'LEVEL'), found ''color''"},
      {"CACHE TABLE t OPTIONS ('storageLevel' 5)", "CACHE TABLE: expected OPTIONS ('storageLevel' 'LEVEL'), found '5'"},
      {"CACHE TABLE t OPTIONS ('storageLevel' 'DISK')", "CACHE TABLE: 'DISK' is no storage level"},
      {"UNCACHE TABLE t u", "UNCACHE TABLE: expected the end, found 'u'"},
      {"UNCACHE TABLE IF t", "UNCACHE TABLE: expected EXISTS after IF, found 't'"},
      {"CLEAR", "CLEAR CACHE: expected CACHE, found the end"},
  };
  for (const auto& [sql, message] : wrong) {
    try {
      ParseCacheStatement(sql);
      ADD_FAILURE() << sql;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kPlan);
      EXPECT_TRUE(std::string(error.what()).starts_with(message)) << error.what();
    }
  }
}

// ---- Sessions. The table is n, s: 0 to kRows-1 and a text of each.

constexpr int64_t kRows = 50'000;
constexpr char kEndless[] = "SELECT a.s, b.n FROM t a, t b ORDER BY a.s, b.n";

std::shared_ptr<arrow::Table> Numbers() {
  arrow::Int64Builder numbers;
  arrow::StringBuilder texts;
  for (int64_t i = 0; i < kRows; ++i) {
    EXPECT_TRUE(numbers.Append(i).ok());
    EXPECT_TRUE(texts.Append("a text that is too long to lie in place: " + std::to_string(i)).ok());
  }
  const auto schema = arrow::schema({arrow::field("n", arrow::int64()), arrow::field("s", arrow::utf8())});
  return arrow::Table::Make(schema, {*numbers.Finish(), *texts.Finish()});
}

void OpenNumbers(ArrowArrayStream* out) {
  static const std::shared_ptr<arrow::Table> table = Numbers();
  ASSERT_TRUE(arrow::ExportRecordBatchReader(std::make_shared<arrow::TableBatchReader>(table), out).ok());
}

class Sessions : public testing::Test {
 protected:
  std::unique_ptr<Session> Make(SessionOptions options = {}) {
    auto session = std::make_unique<Session>(std::move(options));
    session->AddTable("t", OpenNumbers, kRows);
    return session;
  }

  static std::shared_ptr<arrow::RecordBatchReader> ReaderOf(Result& result) {
    ArrowArrayStream stream;
    result.Export(&stream);
    return *arrow::ImportRecordBatchReader(&stream);
  }

  static std::unique_ptr<Result> Start(Session& session, const std::string& sql) {
    return session.Execute(session.Plan(sql).front());
  }

  static std::shared_ptr<arrow::Table> Rows(Session& session, const std::string& sql) {
    const auto result = Start(session, sql);
    auto table = ReaderOf(*result)->ToTable();
    EXPECT_TRUE(table.ok()) << table.status().ToString();
    return *table;
  }

  static int64_t Number(Session& session, const std::string& sql) {
    const auto table = Rows(session, sql);
    return static_cast<const arrow::Int64Array&>(*table->column(0)->chunk(0)).Value(0);
  }
};

TEST_F(Sessions, StreamsAsTables) {
  const auto session = Make();
  EXPECT_EQ(Number(*session, "SELECT sum(n) FROM t WHERE n % 2 = 0 AND s LIKE '%8'"), [] {
    int64_t sum = 0;
    for (int64_t i = 8; i < kRows; i += 10) sum += i;
    return sum;
  }());
  // Twice in one statement, and in another order of columns.
  EXPECT_EQ(Number(*session, "SELECT count(*) FROM t a JOIN (SELECT s, n FROM t) b ON a.s = b.s AND a.n = b.n"), kRows);
}

TEST_F(Sessions, RowsInOrderAndLongerThanTheQuery) {
  auto session = Make({.memory = 64 << 20, .threads = 2});
  auto result = Start(*session, "SELECT n, s FROM t ORDER BY n DESC");
  const auto reader = ReaderOf(*result);
  result.reset();
  session.reset();
  const auto table = *reader->ToTable();
  ASSERT_EQ(table->num_rows(), kRows);
  int64_t wanted = kRows;
  for (const auto& chunk : table->column(0)->chunks()) {
    for (int64_t i = 0; i < chunk->length(); ++i)
      ASSERT_EQ(static_cast<const arrow::Int64Array&>(*chunk).Value(i), --wanted);
  }
}

TEST_F(Sessions, SeveralAtOnceWithTheSameSession) {
  const auto session = Make({.memory = 64 << 20, .threads = 2});
  const Statement statement = session->Plan("SELECT count(DISTINCT s) FROM t").front();
  std::vector<std::thread> threads;
  std::atomic<int> right = 0;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      const auto result = session->Execute(statement);
      const auto table = *ReaderOf(*result)->ToTable();
      right += static_cast<const arrow::Int64Array&>(*table->column(0)->chunk(0)).Value(0) == kRows ? 1 : 0;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(right, 4);
}

TEST_F(Sessions, ReportsAreTreesWithRowsTimeAndSpills) {
  const auto session = Make({.memory = 64 << 20, .threads = 2, .analyze = true, .force_spill = true});
  const auto result = Start(*session, "SELECT a.n, b.s FROM t a JOIN t b ON a.s = b.s WHERE b.n < 1000 ORDER BY b.s");
  const auto rows = (*ReaderOf(*result)->ToTable())->num_rows();
  EXPECT_EQ(rows, 1000);
  const QueryReport report = result->Report();
  EXPECT_FALSE(report.failure);
  EXPECT_EQ(report.rows, 1000U);
  EXPECT_EQ(report.bound, uint64_t{64} << 20);
  ASSERT_FALSE(report.operators.empty());
  EXPECT_EQ(report.operators[0].depth, 0U);
  int scans = 0;
  uint64_t spilled = 0;
  for (const OperatorReport& op : report.operators) {
    scans += op.rows_out == static_cast<uint64_t>(kRows) || op.rows_out == 1000 ? op.name == "scan" : 0;
    spilled += op.spilled;
  }
  EXPECT_EQ(scans, 2);
  EXPECT_GT(spilled, 0U);
}

TEST_F(Sessions, ErrorsReachTheReader) {
  const auto session = Make();
  const auto result = Start(*session, "SELECT 1 / (n - 49999) FROM t");
  const auto table = ReaderOf(*result)->ToTable();
  ASSERT_FALSE(table.ok());
  EXPECT_NE(table.status().message().find("division by zero"), std::string::npos);
  EXPECT_EQ(result->Report().failure, ErrorKind::kData);
  EXPECT_THROW(session->Plan("SELECT * FROM missing"), Error);
  EXPECT_THROW(session->Execute({"no plan", ""}), Error);
  EXPECT_THROW(session->AddTable("none", Texts{}), Error);
}

TEST_F(Sessions, CancelWakesTheReader) {
  const auto session = Make({.memory = 64 << 20});
  const auto result = Start(*session, kEndless);
  std::thread canceller([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    result->Cancel();
  });
  EXPECT_FALSE(ReaderOf(*result)->ToTable().ok());
  canceller.join();
  EXPECT_EQ(result->Report().failure, ErrorKind::kCancelled);
}

TEST_F(Sessions, WhoLeavesEndsTheQuery) {
  const auto session = Make({.memory = 64 << 20});
  Start(*session, kEndless).reset();                                     // before a stream
  ReaderOf(*Start(*session, kEndless)).reset();                          // before a row
  auto reader = ReaderOf(*Start(*session, "SELECT a.n FROM t a, t b"));  // amid rows, with writers waiting
  EXPECT_GT((*reader->Next())->num_rows(), 0);
  reader.reset();
}

// What a statement read, and what it gave.
struct Given {
  std::string scans;  // "scan t, cached scan v"
  int64_t number = 0;
};

TEST_F(Sessions, CachedTablesAreReadFromTheirBlocks) {
  for (const bool force_spill : {false, true}) {
    const auto session = Make({.memory = 64 << 20, .threads = 2, .force_spill = force_spill});
    const auto run = [&](const Statement& statement) {
      const auto result = session->Execute(statement);
      const auto table = *ReaderOf(*result)->ToTable();
      Given given;
      if (table->num_columns() != 0)
        given.number = static_cast<const arrow::Int64Array&>(*table->column(0)->chunk(0)).Value(0);
      for (const OperatorReport& op : result->Report().operators) {
        if (op.name.ends_with("scan")) given.scans += (given.scans.empty() ? "" : ", ") + op.name + " " + op.detail;
      }
      return given;
    };
    const std::string count = "SELECT count(*) FROM t; ", sum = "SELECT sum(c) FROM v; ";
    const auto statements = session->Plan("CACHE TABLE t;" + count +
                                          "CACHE LAZY TABLE v OPTIONS ('storageLevel' 'MEMORY_ONLY') AS "
                                          "SELECT n % 10 AS d, count(*) AS c FROM t WHERE n < 1000 GROUP BY 1;" +
                                          sum + sum + "UNCACHE TABLE t; CACHE TABLE t; UNCACHE TABLE t;" + count + sum +
                                          "UNCACHE TABLE v;" + sum + "CLEAR CACHE; UNCACHE TABLE IF EXISTS nothing");
    ASSERT_EQ(statements.size(), 14U);
    std::vector<std::string> scans;
    std::vector<int64_t> numbers;
    for (const Statement& statement : statements) {
      const Given given = run(statement);
      scans.push_back(given.scans);
      numbers.push_back(given.number);
    }
    EXPECT_EQ(scans, Texts({"cached scan t", "cached scan t", "", "cached scan v", "cached scan v", "", "cached scan t",
                            "", "scan t", "cached scan v", "", "scan v", "", ""}));
    EXPECT_EQ(numbers, std::vector<int64_t>({0, kRows, 0, 1000, 1000, 0, 0, 0, kRows, 1000, 0, 1000, 0, 0}));
  }
}

TEST_F(Sessions, ACacheThatNobodyWaitsForIsMadeAllTheSame) {
  const auto session = Make({.memory = 64 << 20, .threads = 2});
  const auto statements = session->Plan("CACHE TABLE t; SELECT count(*) FROM t");
  session->Execute(statements[0]).reset();
  const auto result = session->Execute(statements[1]);
  EXPECT_EQ((*ReaderOf(*result)->ToTable())->num_rows(), 1);
  EXPECT_EQ(result->Report().operators.back().name, "cached scan");
}

TEST_F(Sessions, StatementsOnCachedTablesThatAreRefused) {
  const auto session = Make();
  const auto refused = [&](const std::string& sql, const std::string& words) {
    try {
      session->Execute(session->Plan(sql).back()).reset();
      ADD_FAILURE() << sql;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kPlan);
      EXPECT_NE(std::string(error.what()).find(words), std::string::npos) << error.what();
    }
  };
  refused("CACHE TABLE missing", "there is no table missing");
  refused("UNCACHE TABLE missing", "there is no table missing");
  refused("CACHE TABLE t AS SELECT 1", "there is a table t already");
  refused("CACHE TABLE v AS SELECT nothing FROM t", "nothing");
  refused("CACHE TABLES t", "CACHE TABLE: expected TABLE");
  EXPECT_THROW(session->Execute({"", "", "SELECT 1"}), Error);
}

// A cached table of another query's rows, in a pool that queries on several threads fight for.
TEST_F(Sessions, QueriesAtOnceShareThePoolWithACachedTable) {
  const auto session = Make({.memory = 24 << 20, .threads = 2});
  const auto statements = session->Plan(
      "CACHE TABLE v OPTIONS ('storageLevel' 'MEMORY_ONLY') AS SELECT n, s, n % 7 AS d FROM t; "
      "SELECT count(*) FROM (SELECT s, d FROM v UNION ALL SELECT s, n FROM t ORDER BY s); "
      "SELECT count(DISTINCT s) FROM v");
  ASSERT_TRUE(ReaderOf(*session->Execute(statements[0]))->ToTable().ok());
  std::vector<std::thread> threads;
  std::atomic<int> right = 0;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      for (int again = 0; again < 2; ++again) {
        const auto result = session->Execute(statements[1 + i % 2]);
        const auto table = *ReaderOf(*result)->ToTable();
        const int64_t wanted = i % 2 == 0 ? 2 * kRows : kRows;
        right += static_cast<const arrow::Int64Array&>(*table->column(0)->chunk(0)).Value(0) == wanted ? 1 : 0;
        EXPECT_LE(result->Report().bound, uint64_t{24} << 20);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(right, 8);
}

// Its reader is the very thread that waits for the second query.
TEST_F(Sessions, AQueryWhoseReaderWaitsDoesNotStopAnother) {
  const auto session = Make({.memory = 16 << 20, .threads = 2});
  const auto first = Start(*session, "SELECT a.n, a.s FROM t a JOIN t b ON a.s = b.s");
  const auto reader = ReaderOf(*first);
  ASSERT_GT((*reader->Next())->num_rows(), 0);
  EXPECT_EQ(Number(*session, "SELECT count(DISTINCT s) FROM t"), kRows);
  int64_t rows = 0;
  for (auto batch = *reader->Next(); batch != nullptr; batch = *reader->Next()) rows += batch->num_rows();
  EXPECT_GT(rows, 0);
}

TEST_F(Sessions, ADifferentPlannerGetsDeclarationsAndStatements) {
  Texts declared, asked;
  SessionOptions options;
  options.planner = [&](const Texts& tables, const Texts& sql) {
    declared = tables;
    asked = sql;
    return std::vector<Statement>{{"bytes", "in 1"}, {"more", ""}};
  };
  const auto session = Make(std::move(options));
  const auto statements = session->Plan("SELECT 1; SELECT 2");
  EXPECT_EQ(declared, Texts({"CREATE TABLE \"t\" (\"n\" BIGINT, \"s\" VARCHAR)"}));
  EXPECT_EQ(asked, Texts({"SELECT 1", "SELECT 2"}));
  EXPECT_EQ(statements.front().notes, "in 1");
}

TEST(DefaultMemory, LeavesAReserveOfTheLimit) {
  neap_stats_t process;
  ASSERT_EQ(neap_stats(&process), 0);
  EXPECT_GT(DefaultMemory(), 0U);
  if (process.limit != UINT64_MAX) {
    EXPECT_LT(DefaultMemory(), process.limit);
  }
}

}  // namespace
}  // namespace neap::engine
