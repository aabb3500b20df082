// answer.cc: query_answer NAME=FILE... -- MODE...: runs statements on the engine, each in every mode, for run.py.
//
// A MODE is `threads,memory,spill`: numbers, as in SessionOptions. On standard input comes, for each statement, a line
// `BYTES together` or `BYTES alone` and so many bytes of SQL; what comes together is planned by one start of the
// planner. For each statement and mode there goes out `ok BYTES PEAK SPILLED` and an Arrow IPC stream, or `error BYTES`
// and a text.
#include <arrow/api.h>
#include <arrow/c/bridge.h>
#include <arrow/io/memory.h>
#include <arrow/ipc/writer.h>

#include <algorithm>
#include <cstdio>
#include <iostream>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "engine/neap_engine.h"

namespace {

using neap::engine::QueryReport;
using neap::engine::Session;
using neap::engine::Statement;

struct Request {
  std::string sql;
  bool together = false;
  std::optional<Statement> planned;
  std::string error;  // where it could not be planned
};

void Check(const arrow::Status& status) {
  if (!status.ok()) throw std::runtime_error(status.message());
}

std::vector<Request> ReadRequests() {
  std::vector<Request> requests;
  size_t bytes;
  std::string how;
  while (std::cin >> bytes >> how) {
    std::cin.get();
    Request& request = requests.emplace_back();
    request.sql.resize(bytes);
    request.together = how == "together";
    std::cin.read(request.sql.data(), static_cast<std::streamsize>(bytes));
  }
  return requests;
}

// Plans all of them at once; where one cannot be planned, each half by itself.
void Plan(Session& session, const std::vector<Request*>& requests) {
  if (requests.empty()) return;
  std::string text;
  for (const Request* request : requests) text += request->sql + "\n;\n";
  try {
    const std::vector<Statement> planned = session.Plan(text);
    if (planned.size() != requests.size()) throw std::runtime_error("not one plan a statement");
    for (size_t i = 0; i < planned.size(); ++i) requests[i]->planned = planned[i];
  } catch (const std::exception& problem) {
    if (requests.size() == 1) {
      requests[0]->error = problem.what();
      return;
    }
    const auto middle = requests.begin() + static_cast<std::ptrdiff_t>(requests.size() / 2);
    Plan(session, {requests.begin(), middle});
    Plan(session, {middle, requests.end()});
  }
}

std::shared_ptr<arrow::Buffer> Run(Session& session, const Statement& statement, QueryReport* report) {
  const auto result = session.Execute(statement);
  ArrowArrayStream stream;
  result->Export(&stream);
  const auto reader = arrow::ImportRecordBatchReader(&stream).ValueOrDie();
  const auto out = arrow::io::BufferOutputStream::Create().ValueOrDie();
  const auto writer = arrow::ipc::MakeStreamWriter(out, reader->schema()).ValueOrDie();
  std::shared_ptr<arrow::RecordBatch> batch;
  for (;;) {
    Check(reader->ReadNext(&batch));
    if (batch == nullptr) break;
    Check(writer->WriteRecordBatch(*batch));
  }
  Check(writer->Close());
  *report = result->Report();
  return out->Finish().ValueOrDie();
}

void Answer(Session& session, const Request& request) {
  std::string error = request.error;
  if (request.planned) {
    try {
      QueryReport report;
      const auto bytes = Run(session, *request.planned, &report);
      uint64_t spilled = 0;
      for (const auto& op : report.operators) spilled += op.spilled;
      std::printf("ok %zu %zu %zu\n", static_cast<size_t>(bytes->size()), static_cast<size_t>(report.peak),
                  static_cast<size_t>(spilled));
      std::fwrite(bytes->data(), 1, static_cast<size_t>(bytes->size()), stdout);
      std::fflush(stdout);
      return;
    } catch (const std::exception& problem) {
      error = problem.what();
    }
  }
  std::printf("error %zu\n%s", error.size(), error.c_str());
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  const auto middle = std::find(arguments.begin(), arguments.end(), "--");
  std::vector<std::unique_ptr<Session>> sessions;
  for (auto mode = middle; mode != arguments.end() && ++mode != arguments.end();) {
    neap::engine::SessionOptions options;
    int spill = 0;
    if (std::sscanf(mode->c_str(), "%u,%zu,%d", &options.threads, &options.memory, &spill) != 3) return 2;
    options.force_spill = spill != 0;
    sessions.push_back(std::make_unique<Session>(options));
    for (auto table = arguments.begin(); table != middle; ++table) {
      const size_t equal = table->find('=');
      sessions.back()->AddTable(table->substr(0, equal), {table->substr(equal + 1)});
    }
  }
  if (sessions.empty()) return 2;

  std::vector<Request> requests = ReadRequests();
  std::vector<Request*> together;
  for (Request& request : requests) {
    if (request.together) {
      together.push_back(&request);
    } else {
      Plan(*sessions[0], {&request});
    }
  }
  Plan(*sessions[0], together);
  for (const Request& request : requests) {
    for (const auto& session : sessions) Answer(*session, request);
  }
}
