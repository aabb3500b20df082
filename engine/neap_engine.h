// neap_engine.h: the engine for programs. A Session knows tables; a statement is SQL or a Substrait plan; a Result is
// what a running query gives, as a stream of Arrow's C data interface.
//
//     Session session({.memory = 256 << 20});
//     session.AddTable("lineitem", {"data/lineitem/*.parquet"});
//     auto result = session.Execute(session.Plan("SELECT count(*) FROM lineitem").front());
//     ArrowArrayStream stream;
//     result->Export(&stream);
//
// Whatever fails throws neap::engine::Error, whose text says what to do; while a stream is read, get_next gives the
// error. A Session may be used from several threads, and several of its results run at the same time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/core/error.h"

// https://arrow.apache.org/docs/format/CStreamInterface.html
struct ArrowArrayStream;

namespace neap::engine {

struct Statement {
  std::string plan;   // Substrait
  std::string notes;  // what the planner knows and the plan does not say; "" for the plans of others
  // CACHE TABLE, UNCACHE TABLE or CLEAR CACHE as it was written; the plan is that of its query, where it has one. Such
  // a statement gives no rows and no columns. It takes effect when it is executed; a table that is not LAZY is complete
  // at the end of the stream, and who lets go of the Result before waits for that.
  std::string cache{};
};

struct SessionOptions {
  // Most resident bytes of all queries that run and all tables that are cached; 0: what the container leaves
  // (DefaultMemory). Of N queries each has at most an Nth of what cached tables need not keep.
  size_t memory = 0;
  unsigned threads = 0;     // 0: as many as the cgroup's quota and the affinity allow
  std::string spill_dir{};  // "": $NEAP_SPILL_DIR, else $TMPDIR, else /tmp; not a tmpfs
  std::string python{};     // plans SQL; "": $NEAP_ENGINE_PYTHON, else that of the package whose Arrow this is
  // Plans SQL in the Python's place: gets tables as CREATE TABLE statements, and what to plan. Throws Error(kPlan).
  std::function<std::vector<Statement>(const std::vector<std::string>& tables, const std::vector<std::string>& sql)>
      planner{};
  bool analyze = false;      // times every operator
  bool force_spill = false;  // operators spill whatever they can, whenever they can: for tests
};

// What a session may have: the container's limit less what it cannot give back and a reserve, or most of the machine's
// free memory where there is no limit.
size_t DefaultMemory();

// One operator of a query that has ended, in the order and with the depth of the tree that they form.
struct OperatorReport {
  unsigned depth = 0;
  std::string name, detail;
  uint64_t rows_in = 0, rows_out = 0;
  uint64_t time_ns = 0;                    // of all threads, without other operators
  uint64_t peak = 0;                       // bytes
  uint64_t spilled = 0, spilled_rows = 0;  // written to disk: bytes and rows
  uint64_t freed = 0;                      // resident bytes that spilling freed, as measured
  uint32_t spills = 0;
};

struct QueryReport {
  std::optional<ErrorKind> failure;
  std::string message;  // of the failure
  uint64_t time_ns = 0;
  uint64_t rows = 0;
  // The query's arena, all below it included, at its end: see neap_arena_stats_t of neap.h.
  uint64_t live = 0, cached = 0, dirty = 0, resident = 0, charged = 0, peak = 0, bound = 0, overruns = 0;
  // As the container was short of memory: how often operators spilled and the resident bytes that this freed, as
  // measured; and the bytes of cached tables that left memory while the query ran.
  uint32_t pressure_spills = 0;
  uint64_t pressure_freed = 0, pressure_uncached = 0;
  std::vector<OperatorReport> operators;
};

struct QueryProgress {
  uint64_t time_ns = 0;
  uint64_t memory = 0, bound = 0;  // bytes
  uint64_t on_disk = 0;            // bytes of spill files of the session
};

class Result {
 public:
  ~Result();
  Result(const Result&) = delete;
  Result& operator=(const Result&) = delete;

  // The reading end, once. It may outlive this and the Session. The query ends when both this and the stream are gone.
  void Export(ArrowArrayStream* out);

  void Cancel() noexcept;  // any thread
  QueryProgress Progress() const;
  QueryReport Report();  // waits for the end: read the stream first

 private:
  friend class Session;
  class Run;
  explicit Result(std::shared_ptr<Run> run);
  const std::shared_ptr<Run> run_;
};

class Session {
 public:
  explicit Session(SessionOptions options = {});
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // Parquet: files, folders or glob patterns, all of one schema.
  void AddTable(const std::string& name, const std::vector<std::string>& paths);
  // Called for every scan of the table, and once before for its columns. About `rows` rows, where that is known.
  void AddTable(const std::string& name, std::function<void(ArrowArrayStream*)> open, uint64_t rows = 0);

  // The statements of a text, separated by `;`. Tables that are named by a path in quotes (FROM 'x.parquet') are added,
  // and one that CACHE TABLE ... AS makes is known to what comes after it.
  std::vector<Statement> Plan(const std::string& sql);

  std::string Explain(const Statement& statement);  // as it would run, one relation a line
  std::unique_ptr<Result> Execute(const Statement& statement);

 private:
  class State;
  std::unique_ptr<State> state_;
};

}  // namespace neap::engine
