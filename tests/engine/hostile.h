// hostile.h: a session over one table and the statements that its tests run under bad conditions.
#pragma once

#include <arrow/api.h>
#include <arrow/c/bridge.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "engine/neap_engine.h"

namespace neap::engine {

// How much longer tests of chance go on where all of them are run.
inline int Longer(int factor) { return std::getenv("NEAP_TEST_ALL") != nullptr ? factor : 1; }

class Hostile : public testing::Test {
 protected:
  static constexpr int64_t kRows = 20'000;

  // n: 0 to kRows-1; g: n modulo 97, sometimes NULL; k: one value in half of the rows; s: a text of each n.
  static std::shared_ptr<arrow::Table> MakeTable() {
    arrow::Int64Builder n, g, k;
    arrow::StringBuilder s;
    for (int64_t i = 0; i < kRows; ++i) {
      EXPECT_TRUE(n.Append(i).ok());
      EXPECT_TRUE((i % 11 == 0 ? g.AppendNull() : g.Append(i % 97)).ok());
      EXPECT_TRUE(k.Append(i % 2 == 0 ? -1 : i).ok());
      EXPECT_TRUE(s.Append("a text that is too long to lie in place: " + std::to_string(i * 7919 % kRows)).ok());
    }
    const auto schema = arrow::schema({arrow::field("n", arrow::int64()), arrow::field("g", arrow::int64()),
                                       arrow::field("k", arrow::int64()), arrow::field("s", arrow::utf8())});
    return arrow::Table::Make(schema, {*n.Finish(), *g.Finish(), *k.Finish(), *s.Finish()});
  }

  static std::unique_ptr<Session> Make(SessionOptions options = {}) {
    static const std::shared_ptr<arrow::Table> table = MakeTable();
    auto session = std::make_unique<Session>(std::move(options));
    const auto open = [](ArrowArrayStream* out) {
      ASSERT_TRUE(arrow::ExportRecordBatchReader(std::make_shared<arrow::TableBatchReader>(table), out).ok());
    };
    session->AddTable("t", open, kRows);
    return session;
  }

  // Every operator that keeps rows. All but the last have one row, which does not depend on how they ran.
  static const std::vector<Statement>& Statements() {
    static const std::vector<Statement> planned = Make()->Plan(
        "SELECT count(*), sum(c) FROM (SELECT s, count(*) AS c FROM t GROUP BY s) x;"
        "SELECT count(DISTINCT s), count(DISTINCT k) FROM t;"
        "SELECT count(*), sum(a.n) FROM t a JOIN t b ON a.s = b.s WHERE a.n <> b.n OR b.n % 2 = 0;"
        "SELECT count(*), sum(b.n) FROM (SELECT s, n FROM t WHERE n % 3 = 0) a FULL JOIN t b ON a.s = b.s;"
        "SELECT count(*), sum(n * r) FROM (SELECT n, row_number() OVER (ORDER BY s) AS r FROM t) x;"
        "SELECT count(*), sum(p) FROM (SELECT sum(n) OVER (PARTITION BY k ORDER BY s) AS p FROM t) x;"
        "SELECT count(*), max(s) FROM (SELECT s, n FROM t ORDER BY s DESC, n LIMIT 15000) x;"
        "SELECT count(*) FROM t a JOIN (SELECT n FROM t WHERE n < 30) b ON a.n > b.n * 600;"
        "SELECT count(*), count(g) FROM (SELECT g, n FROM t EXCEPT SELECT g, n FROM t WHERE n % 2 = 0) x;"
        "SELECT s, n, g FROM t ORDER BY s, n");
    return planned;
  }

  static arrow::Result<std::shared_ptr<arrow::Table>> Rows(Result& result) {
    ArrowArrayStream stream;
    result.Export(&stream);
    return (*arrow::ImportRecordBatchReader(&stream))->ToTable();
  }

  // What each statement gives where nothing is short.
  static const std::vector<std::shared_ptr<arrow::Table>>& Expected() {
    static const std::vector<std::shared_ptr<arrow::Table>> tables = [] {
      const auto session = Make();
      std::vector<std::shared_ptr<arrow::Table>> all;
      for (const Statement& statement : Statements()) all.push_back(*Rows(*session->Execute(statement)));
      return all;
    }();
    return tables;
  }

  static size_t ThreadsNow() { return Entries("/proc/self/task"); }
  static size_t Entries(const std::string& folder) {
    size_t count = 0;
    for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(folder)) ++count;
    return count;
  }

  static void ExpectOneLine(const std::string& text) {
    EXPECT_FALSE(text.empty());
    EXPECT_EQ(text.find('\n'), std::string::npos) << text;
    EXPECT_LT(text.size(), 1000U) << text;
  }

  void SetUp() override {
    std::string name = (std::filesystem::temp_directory_path() / "neap-hostile-XXXXXX").string();
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    folder_ = name;
    Expected();
    threads_before_ = ThreadsNow();
  }

  void TearDown() override {
    EXPECT_EQ(Entries(folder_), 0U) << "something is left where spill files were";
    // A thread that was joined is listed until the kernel is done with it.
    for (int i = 0; i < 1000 && ThreadsNow() > threads_before_; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    EXPECT_LE(ThreadsNow(), threads_before_) << "threads are left";
    std::filesystem::remove_all(folder_);
  }

  std::string folder_;
  size_t threads_before_ = 0;
};

}  // namespace neap::engine
