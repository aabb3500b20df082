// main.cc: `neap sql`, which is a program of its own so that it runs on neap's malloc and `neap` does not carry Arrow.
#include <arrow/c/abi.h>
#include <arrow/c/bridge.h>
#include <arrow/record_batch.h>
#include <fmt/format.h>
#include <signal.h>
#include <stdlib.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <optional>

#include "tools/neap/failure.h"
#include "tools/neap/output.h"
#include "tools/neap_sql/options.h"
#include "tools/neap_sql/progress.h"
#include "tools/neap_sql/report.h"
#include "tools/neap_sql/writer.h"

namespace neap::command {
namespace {

using neap::engine::Error;
using neap::engine::ErrorKind;
using neap::engine::Result;
using neap::engine::Session;
using neap::engine::Statement;

// The query that Ctrl-C or SIGTERM ends. A thread of its own waits for the signal, so that ending it may take locks.
class Interrupts {
 public:
  Interrupts() {
    sigemptyset(&signals_);
    sigaddset(&signals_, SIGINT);
    sigaddset(&signals_, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &signals_, nullptr);
    std::thread([this] { Main(); }).detach();
  }

  void Watch(Result* result) {
    const std::lock_guard lock(mutex_);
    result_ = result;
    if (code_ != 0 && result != nullptr) result->Cancel();
  }
  // What the process is to end with: 128 and the signal's number; 0 while none has come.
  int code() const { return code_; }

 private:
  void Main() {
    int signal = 0;
    sigwait(&signals_, &signal);
    {
      const std::lock_guard lock(mutex_);
      code_ = 128 + signal;
      if (result_ != nullptr) result_->Cancel();
    }
    sigwait(&signals_, &signal);
    _exit(128 + signal);
  }

  sigset_t signals_;
  std::mutex mutex_;  // guards result_
  Result* result_ = nullptr;
  std::atomic<int> code_{0};
};

int CodeOf(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::kPlan:
      return kBadCall;
    case ErrorKind::kData:
    case ErrorKind::kSpill:
      return kNo;
    case ErrorKind::kMemory:
      return kNoMemory;
    case ErrorKind::kCancelled:  // by a signal alone, whose code it gets
      return kNo;
  }
  __builtin_unreachable();
}

// The rows of a running query, batch by batch.
class Reader {
 public:
  explicit Reader(Result& result) : result_(result) {
    ArrowArrayStream stream;
    result.Export(&stream);
    reader_ = Checked(arrow::ImportRecordBatchReader(&stream));
  }

  std::shared_ptr<arrow::Schema> schema() const { return reader_->schema(); }
  std::shared_ptr<arrow::RecordBatch> Next() { return Checked(reader_->Next()); }

 private:
  template <class T>
  T Checked(arrow::Result<T> value) {
    if (value.ok()) return std::move(value).ValueUnsafe();
    const neap::engine::QueryReport report = result_.Report();
    if (report.failure) throw Failure(CodeOf(*report.failure), report.message);
    throw Failure(kNo, value.status().message());
  }

  Result& result_;
  std::shared_ptr<arrow::RecordBatchReader> reader_;
};

void RunStatement(Session& session, const Statement& statement, const SqlOptions& options, Interrupts& interrupts,
                  Output& output) {
  const std::unique_ptr<Result> result = session.Execute(statement);
  struct Watched {
    Interrupts& interrupts;
    ~Watched() { interrupts.Watch(nullptr); }
  } watched{interrupts};
  interrupts.Watch(result.get());

  Reader reader(*result);
  auto progress = std::make_unique<Progress>(*result);
  const bool rows_wanted = statement.cache.empty() && (!options.analyze || !options.output.empty());
  std::unique_ptr<Writer> writer;
  if (rows_wanted) writer = MakeWriter(options.format, reader.schema(), output);
  while (const auto batch = reader.Next()) {
    if (writer == nullptr) continue;
    if (output.is_terminal()) progress.reset();
    writer->Write(*batch);
  }
  progress.reset();
  if (writer != nullptr) writer->Finish();
  const auto report = result->Report();
  if (const std::string pressure = PressureText(report); !pressure.empty())
    fmt::print(stderr, "neap sql: {}\n", pressure);
  if (options.analyze) {
    const std::string text = options.json ? ReportJson(report) : ReportText(report);
    fmt::print("{}", text);
  }
}

void RunAll(const SqlOptions& options, Interrupts& interrupts) {
  Session session(options.session);
  for (const NamedFiles& table : options.tables) session.AddTable(table.name, table.paths);
  std::vector<Statement> statements;
  if (!options.plan.empty()) {
    statements.push_back({options.plan, "", ""});
  } else {
    statements = session.Plan(options.sql);
  }
  if (interrupts.code() != 0) throw Failure(interrupts.code(), "ended");

  const bool binary = options.format == Format::kArrow || options.format == Format::kParquet;
  const auto gives_rows = [](const Statement& statement) { return statement.cache.empty(); };
  if (binary && std::count_if(statements.begin(), statements.end(), gives_rows) > 1)
    throw Failure(kBadCall, "--format arrow and parquet hold the rows of one statement: give one");
  Output output(options.output);
  if (binary && output.is_terminal() && !options.analyze && !options.explain)
    throw Failure(kBadCall, "the rows would go to the terminal as bytes: give --output FILE, or redirect");
  for (const Statement& statement : statements) {
    if (options.explain) {
      const std::string text = session.Explain(statement);
      output.Write(text.data(), text.size());
    } else {
      RunStatement(session, statement, options, interrupts, output);
    }
  }
  output.Close();
}

}  // namespace
}  // namespace neap::command

int main(int argc, char** argv) {
  using namespace neap::command;
  // What Arrow's own pool maps would be foreign memory.
  setenv("ARROW_DEFAULT_MEMORY_POOL", "system", 0);
  signal(SIGPIPE, SIG_IGN);
  auto fail = [](int code, const std::string& line) {
    fmt::print(stderr, "neap sql: {}\n", Printable(line));
    return code;
  };
  try {
    const SqlOptions options = ParseSqlOptions(argc, argv);
    static Interrupts interrupts;  // its thread lives until the end
    try {
      RunAll(options, interrupts);
    } catch (const ReaderGone&) {
      return kDone;
    } catch (const Error& error) {
      return interrupts.code() != 0 ? interrupts.code() : fail(CodeOf(error.kind()), error.what());
    } catch (const Failure& failure) {
      return interrupts.code() != 0 ? interrupts.code() : fail(failure.code(), failure.what());
    }
  } catch (const Failure& failure) {
    return fail(failure.code(), failure.what());
  } catch (const std::bad_alloc&) {
    return fail(kNoMemory, "there is no memory left: give the query less by --memory, or the container more");
  } catch (const std::exception& error) {
    return fail(kNo, error.what());
  }
  return kDone;
}
