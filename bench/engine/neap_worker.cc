// neap_worker.cc: neap as worker.py has the other engines: neap_worker FOLDER THREADS. Orders come on standard input as
// worker.py describes them; each is answered by a line of JSON, whose "planning" is the seconds that the planner's
// process took, which "seconds" leaves out: it starts anew for every statement.
#include <arrow/api.h>
#include <arrow/c/bridge.h>
#include <arrow/io/file.h>
#include <arrow/ipc/writer.h>
#include <fmt/format.h>
#include <sched.h>

#include <chrono>
#include <filesystem>
#include <iostream>
#include <stdexcept>
#include <string>
#include <vector>

#include "engine/neap_engine.h"

namespace {

using Clock = std::chrono::steady_clock;
using neap::engine::Session;

double Since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

void Check(const arrow::Status& status) {
  if (!status.ok()) throw std::runtime_error(status.message());
}

void Keep(const std::string& path, const std::shared_ptr<arrow::Schema>& schema,
          const std::vector<std::shared_ptr<arrow::RecordBatch>>& batches) {
  const auto file = arrow::io::FileOutputStream::Open(path).ValueOrDie();
  const auto writer = arrow::ipc::MakeFileWriter(file, schema).ValueOrDie();
  for (const auto& batch : batches) Check(writer->WriteRecordBatch(*batch));
  Check(writer->Close());
}

std::string Run(Session& session, const std::string& sql, const std::string& keep) {
  auto start = Clock::now();
  const auto statements = session.Plan(sql);
  const double planning = Since(start);
  start = Clock::now();
  const auto result = session.Execute(statements.at(0));
  ArrowArrayStream stream;
  result->Export(&stream);
  const auto reader = arrow::ImportRecordBatchReader(&stream).ValueOrDie();
  std::vector<std::shared_ptr<arrow::RecordBatch>> kept;
  int64_t rows = 0;
  for (std::shared_ptr<arrow::RecordBatch> batch;;) {
    Check(reader->ReadNext(&batch));
    if (batch == nullptr) break;
    rows += batch->num_rows();
    if (keep != "-") kept.push_back(batch);
  }
  const double seconds = Since(start);
  if (keep != "-") Keep(keep, reader->schema(), kept);
  return fmt::format(R"({{"seconds": {:.6f}, "planning": {:.6f}, "rows": {}}})", seconds, planning, rows);
}

std::string ErrorLine(const std::string& text) {
  std::string json;
  for (const char c : text) {
    if (c == '"' || c == '\\') json += '\\';
    json += static_cast<unsigned char>(c) < ' ' ? ' ' : c;
  }
  return fmt::format(R"({{"error": "{}"}})", json);
}

void KeepToFirstCpus(unsigned count) {
  cpu_set_t all, first;
  sched_getaffinity(0, sizeof all, &all);
  CPU_ZERO(&first);
  for (int cpu = 0; cpu < CPU_SETSIZE && CPU_COUNT(&first) < static_cast<int>(count); ++cpu) {
    if (CPU_ISSET(cpu, &all)) CPU_SET(cpu, &first);
  }
  sched_setaffinity(0, sizeof first, &first);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  const auto threads = static_cast<unsigned>(std::stoul(argv[2]));
  KeepToFirstCpus(threads);
  neap::engine::SessionOptions options;
  options.threads = threads;
  Session session(options);
  for (const auto& file : std::filesystem::directory_iterator(argv[1])) {
    if (file.path().extension() == ".parquet") session.AddTable(file.path().stem(), {file.path()});
  }
  std::cout << R"({"ready": true})" << std::endl;
  size_t bytes;
  std::string keep;
  while (std::cin >> bytes >> keep) {
    std::string sql(bytes, 0);
    std::cin.get();
    std::cin.read(sql.data(), static_cast<std::streamsize>(bytes));
    std::string answer;
    try {
      answer = Run(session, sql, keep);
    } catch (const std::exception& problem) {
      answer = ErrorLine(problem.what());
    }
    std::cout << answer << std::endl;
  }
}
