// resident_test.cc: what the engine says of memory against what the kernel says: the bytes that a spill freed, and what
// is left of a query when it has ended.
#include <arrow/c/bridge.h>
#include <arrow/record_batch.h>
#include <gtest/gtest.h>
#include <sys/prctl.h>

#include <chrono>
#include <fstream>
#include <thread>
#include <utility>

#include "engine/neap_engine.h"
#include "engine/operators/hash_aggregate.h"
#include "engine/operators/hash_join.h"
#include "engine/operators/sort.h"
#include "engine/operators/window.h"
#include "engine/run/query.h"
#include "tests/engine/parquet_fixture.h"

namespace neap::engine {
namespace {

constexpr uint64_t kMiB = 1 << 20;

// Anonymous memory of the process, by the kernel's page tables.
uint64_t KernelAnonymous() {
  std::ifstream file("/proc/self/smaps_rollup");
  std::string line;
  while (std::getline(file, line)) {
    if (line.starts_with("Anonymous:")) return std::stoull(line.substr(sizeof "Anonymous:")) << 10;
  }
  return 0;
}

// The same once the allocator has nothing more to give back: what its background thread has in hand, and the reserve of
// a program that grows fast, a purge leaves.
uint64_t SettledAnonymous() {
  constexpr uint64_t kKept = kMiB;  // in pages that also hold live blocks
  const auto is_settled = [] {
    neap_purge();
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    neap_stats_t stats{};
    return neap_stats(&stats) == 0 && stats.resident <= stats.live + kKept;
  };
  uint64_t last = 0, now = KernelAnonymous();
  for (int equal = 0; equal < 2; equal = now == last ? equal + 1 : 0) {
    while (!is_settled()) continue;
    last = std::exchange(now, KernelAnonymous());
  }
  return now;
}

// ---- Spills.

constexpr Type kLong{TypeId::kInt64};

Slots SlotsFrom(ColumnId first) { return {{first, first + 1, first + 2}, {kLong, kLong, kLong}}; }

// Batches of three columns of different numbers; after every so many of them, one without rows before which the query
// is asked for room: nothing but a spill happens until the next is asked for.
class AskingSource : public Source {
 public:
  explicit AskingSource(uint64_t batches) : batches_(batches) {}

  struct Spill {
    uint64_t before = 0, after = 0;  // the kernel's figure
  };
  std::vector<Spill> spills;

  std::unique_ptr<Cursor> MakeCursor(Worker& worker) override { return std::make_unique<Numbers>(*this, worker); }

 private:
  static constexpr uint64_t kEvery = 200;

  struct Numbers : Cursor {
    Numbers(AskingSource& of, Worker& worker) : source(of), query(*worker.query) {}
    bool Next(Batch& batch) override {
      if (asked) source.spills.back().after = SettledAnonymous();
      if (next == source.batches_) return false;
      asked = !asked && next != 0 && next % kEvery == 0;
      batch.columns.clear();
      for (auto& column : values) batch.columns.push_back({.type = kLong, .data = column});
      if (asked) {
        batch.SetAll(0);
        source.spills.push_back({.before = SettledAnonymous()});
        query.WantRoomForContainer(8 * kMiB);
        return true;
      }
      for (uint64_t i = 0; i < kBatchRows; ++i) {
        const uint64_t number = next * kBatchRows + i;
        values[0][i] = static_cast<int64_t>(number * 0x9E3779B97F4A7C15);
        values[1][i] = static_cast<int64_t>(number);
        values[2][i] = static_cast<int64_t>(number % 1000);
      }
      ++next;
      batch.SetAll(kBatchRows);
      return true;
    }
    AskingSource& source;
    Query& query;
    uint64_t next = 0;
    bool asked = false;
    int64_t values[3][kBatchRows];
  };

  const uint64_t batches_;
};

struct Nowhere : Stage {
  Nowhere() : Stage(nullptr) {}
  void Push(Batch&) override {}
};

enum class Kind { kAggregate, kSort, kWindow, kJoin };

const char* KindName(Kind kind) {
  switch (kind) {
    case Kind::kAggregate:
      return "Aggregate";
    case Kind::kSort:
      return "Sort";
    case Kind::kWindow:
      return "Window";
    case Kind::kJoin:
      return "Join";
  }
  __builtin_unreachable();
}

std::unique_ptr<Operator> Make(Kind kind, Query& query, std::unique_ptr<Chain> build) {
  const Expression key = Expression::Column(0, kLong), value = Expression::Column(1, kLong);
  switch (kind) {
    case Kind::kAggregate: {
      AggregateCall sum{Aggregate::kSum, {value}};
      sum.output = 11;
      return MakeHashAggregate(query, {SlotsFrom(0), {key}, {10}, {sum}, {kLong}, {10, 11}});
    }
    case Kind::kSort:
      return MakeSort(query, {SlotsFrom(0), {{key}}, -1, 0, {0, 1, 2}});
    case Kind::kWindow: {
      WindowCall rank{WindowFunction::kRank};
      rank.output = 11;
      return MakeWindow(query, {SlotsFrom(0), {Expression::Column(2, kLong)}, {{key}}, {rank}, {kLong}, {0, 11}});
    }
    case Kind::kJoin: {
      HashJoinSpec spec;
      spec.kind = JoinKind::kInner;
      spec.probe = SlotsFrom(20);
      spec.build = SlotsFrom(0);
      spec.probe_keys = {Expression::Column(20, kLong)};
      spec.build_keys = {key};
      spec.null_equals = {0};
      spec.output = {20, 1};
      return MakeHashJoin(query, std::move(spec), std::move(build));
    }
  }
  __builtin_unreachable();
}

class SpilledBytes : public testing::TestWithParam<Kind> {};

TEST_P(SpilledBytes, FreedAreWhatTheKernelSeesGo) {
  // Of a huge page the kernel counts also what nobody has touched, and no more of it once a part went back.
  ASSERT_EQ(prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0), 0);
  SpillDirectory spill(std::filesystem::current_path());
  QueryOptions options;
  options.threads = 1;
  options.memory = 1024 * kMiB;
  Query query(options, &spill);
  auto source = std::make_unique<AskingSource>(1001);
  AskingSource& asking = *source;
  auto chain = std::make_unique<Chain>();
  Chain probe;
  if (GetParam() == Kind::kJoin) {
    chain->inputs.push_back({std::move(source), nullptr});
    probe.inputs.push_back({std::make_unique<AskingSource>(1), nullptr});
    probe.operators.push_back(Make(GetParam(), query, std::move(chain)));
  } else {
    probe.inputs.push_back({std::move(source), nullptr});
    probe.operators.push_back(Make(GetParam(), query, nullptr));
  }
  Nowhere nowhere;
  query.Run(probe, {&nowhere});

  uint64_t gone = 0;
  for (const AskingSource::Spill& one : asking.spills) gone += one.before > one.after ? one.before - one.after : 0;
  ASSERT_EQ(asking.spills.size(), 5U);
  EXPECT_EQ(query.pressure().spills, 5U);
  EXPECT_GE(query.pressure().freed, 5 * 8 * kMiB);
  // Beside them the buffers that spilling works with come and go.
  constexpr uint64_t kBeside = 2 * kMiB;
  EXPECT_LE(gone, query.pressure().freed + query.pressure().freed / 50 + kBeside);
  // An arena counts a block from when it is handed out, the kernel a page from when it is touched: of what is sorted an
  // eighth may be room for entries to come.
  const bool sorts = GetParam() == Kind::kSort || GetParam() == Kind::kWindow;
  EXPECT_GE(gone + query.pressure().freed / (sorts ? 8 : 50) + kBeside, query.pressure().freed);
}

INSTANTIATE_TEST_SUITE_P(, SpilledBytes, testing::Values(Kind::kAggregate, Kind::kSort, Kind::kWindow, Kind::kJoin),
                         [](const auto& of) { return std::string(KindName(of.param)); });

// ---- Sessions.

// Of a session over a table of 60 MiB: a tenth of a second after every query resident memory is live memory, but for 5
// % and what one slab of each size class, a cache of each CPU and the allocator's own pages take.
constexpr uint64_t kLeast = 2 * kMiB;

TEST(Session, IsAsLargeAsWhatLivesAfterEveryQuery) {
  constexpr int64_t kRows = 600'000;
  TestFolder folder;
  {
    TableMaker maker(7, kRows, Nulls::kNone);
    maker.Add<arrow::Int64Builder>("id", arrow::int64(), [](int64_t row) { return row; });
    maker.Add<arrow::Int64Builder>("grp", arrow::int64(), [](int64_t row) { return row * 7919 % 200'000; });
    maker.Add<arrow::Int32Builder>("few", arrow::int32(), [](int64_t row) { return row % 11; });
    maker.Add<arrow::DoubleBuilder>("x", arrow::float64(),
                                    [&](int64_t) { return static_cast<double>(maker.Random()); });
    maker.Add<arrow::StringBuilder>("s", arrow::utf8(),
                                    [&](int64_t) { return "text that lies elsewhere " + maker.RandomString(30); });
    WriteParquet(*maker.Finish(), folder.File("t.parquet"), parquet::default_writer_properties(), 100'000);
  }
  SessionOptions options;
  options.memory = 96 * kMiB;
  options.threads = 2;
  options.spill_dir = folder.path();
  Session session(options);
  session.AddTable("t", {folder.File("t.parquet")});
  const auto statements = session.Plan(
      "SELECT few, count(*), sum(x) FROM t GROUP BY few;"
      "SELECT grp, count(*), max(s) FROM t GROUP BY grp;"
      "SELECT count(DISTINCT s) FROM t;"
      "SELECT * FROM t ORDER BY s;"
      "SELECT * FROM t ORDER BY x LIMIT 100;"
      "SELECT a.s, b.x FROM t a JOIN t b ON a.id = b.grp;"
      "SELECT count(*) FROM t a WHERE a.id IN (SELECT grp FROM t WHERE few < 5);"
      "SELECT id, rank() OVER (PARTITION BY few ORDER BY x) FROM t;"
      "SELECT count(*) FROM t a JOIN (SELECT id FROM t WHERE id < 40) b ON a.id + b.id < 1000;"
      "SELECT s FROM t UNION SELECT s FROM t WHERE few = 3;"
      "CACHE TABLE t; SELECT sum(x) FROM t; SELECT * FROM t ORDER BY grp, s; UNCACHE TABLE t;"
      "SELECT few, grp, count(*) FROM t GROUP BY GROUPING SETS ((few), (grp), ())");
  const auto run = [&](const Statement& statement) {
    const auto result = session.Execute(statement);
    ArrowArrayStream stream;
    result->Export(&stream);
    const auto reader = Get(arrow::ImportRecordBatchReader(&stream));
    while (Get(reader->Next()) != nullptr) continue;
    const QueryReport report = result->Report();
    EXPECT_FALSE(report.failure) << report.message;
    return report.peak;
  };
  // Anonymous memory that is not neap's. It does not change once libraries have set up what they need.
  neap_stats_t now{};
  run(statements[1]);
  std::this_thread::sleep_for(std::chrono::seconds(1));
  ASSERT_EQ(neap_stats(&now), 0);
  const uint64_t foreign = KernelAnonymous() - now.resident;
  for (size_t i = 0; i < statements.size(); ++i) {
    SCOPED_TRACE(i);
    uint64_t peak = 0, anonymous = 0, most = 0;
    // On a machine that is busy with something else a thread may come late.
    for (int attempt = 0; attempt < 5; ++attempt) {
      peak = run(statements[i]);
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
      ASSERT_EQ(neap_stats(&now), 0);
      anonymous = KernelAnonymous();
      most = now.live + now.live / 20 + kLeast;
      if (now.resident <= most && anonymous <= most + foreign) break;
    }
    EXPECT_LE(now.resident, most);
    EXPECT_LE(anonymous, most + foreign);
    if (statements[i].cache.empty()) {
      EXPECT_GT(peak, 2 * kLeast) << "it leaves nothing to give back";
    }
    if (statements[i].cache.starts_with("CACHE")) {
      EXPECT_GT(now.live, 30 * kMiB);
    } else if (i + 1 == statements.size()) {
      EXPECT_LT(now.live, 8 * kMiB);
    }
  }
}

}  // namespace
}  // namespace neap::engine
