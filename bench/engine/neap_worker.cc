// neap_worker.cc: neap as worker.py has the other engines: neap_worker FOLDER THREADS. Orders come on standard input as
// worker.py describes them; each is answered by a line of JSON.
#include <arrow/api.h>
#include <arrow/c/bridge.h>
#include <arrow/io/interfaces.h>
#include <arrow/ipc/writer.h>
#include <fmt/format.h>
#include <sched.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <memory>
#include <stdexcept>
#include <string>

#include "engine/neap_engine.h"

namespace {

using Clock = std::chrono::steady_clock;
using neap::engine::Session;

double Since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

void Check(const arrow::Status& status) {
  if (!status.ok()) throw std::runtime_error(status.message());
}

// A file that knows its position, also where it is a pipe.
class Sink final : public arrow::io::OutputStream {
 public:
  explicit Sink(const std::string& path) : file_(path, std::ios::binary) {}
  arrow::Status Write(const void* data, int64_t bytes) override {
    file_.write(static_cast<const char*>(data), bytes);
    position_ += bytes;
    return file_ ? arrow::Status::OK() : arrow::Status::IOError("the result was not taken");
  }
  arrow::Status Close() override {
    file_.close();
    return arrow::Status::OK();
  }
  arrow::Result<int64_t> Tell() const override { return position_; }
  bool closed() const override { return !file_.is_open(); }

 private:
  std::ofstream file_;
  int64_t position_ = 0;
};

std::string Run(Session& session, const std::string& sql, const std::string& keep) {
  const auto start = Clock::now();
  const auto result = session.Execute(session.Plan(sql).at(0));
  ArrowArrayStream stream;
  result->Export(&stream);
  const auto reader = arrow::ImportRecordBatchReader(&stream).ValueOrDie();
  std::shared_ptr<Sink> sink;
  std::shared_ptr<arrow::ipc::RecordBatchWriter> writer;
  if (keep != "-") {
    sink = std::make_shared<Sink>(keep);
    writer = arrow::ipc::MakeStreamWriter(sink, reader->schema()).ValueOrDie();
  }
  int64_t rows = 0;
  for (std::shared_ptr<arrow::RecordBatch> batch;;) {
    Check(reader->ReadNext(&batch));
    if (batch == nullptr) break;
    rows += batch->num_rows();
    if (writer != nullptr) Check(writer->WriteRecordBatch(*batch));
  }
  if (writer != nullptr) {
    Check(writer->Close());
    Check(sink->Close());
  }
  const double seconds = Since(start);
  return fmt::format(R"({{"seconds": {:.6f}, "rows": {}}})", seconds, rows);
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
