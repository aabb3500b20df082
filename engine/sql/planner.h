// planner.h: SQL planned by DataFusion, in a process beside this one (planner.py) that lives no longer than planning
// takes: it is as large as a small query, and shares the container's limit.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "engine/neap_engine.h"
#include "engine/scan/table.h"

namespace neap::engine {

// A table as SQL declares it: "CREATE TABLE name (...)".
std::string DeclareTable(const std::string& name, const std::vector<TableColumn>& columns);

class Planner {
 public:
  // Starts the program; it loads while the caller opens tables. `python`: that of $NEAP_ENGINE_PYTHON where empty, else
  // the one that Arrow's libraries lie with.
  explicit Planner(const std::string& python = "");
  ~Planner();  // ends it
  Planner(const Planner&) = delete;
  Planner& operator=(const Planner&) = delete;

  // Once; the program has ended when this returns. Throws Error(kPlan) for the first statement that cannot be planned,
  // in DataFusion's words.
  std::vector<Statement> Plan(const std::vector<std::string>& tables, const std::vector<std::string>& statements);

 private:
  std::string ReadLine();
  std::string ReadBytes(size_t count);
  [[noreturn]] void FailWithOutput(std::string output);

  std::string python_;
  pid_t pid_ = -1;
  int input_ = -1;   // the program's
  int output_ = -1;  // the program's
};

}  // namespace neap::engine
