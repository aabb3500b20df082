// planner.h: SQL planned by DataFusion, in a process beside this one (planner.py). Its start costs more than most plans
// do, so a session keeps it for the next statement; but it shares the container's limit, so that it is not kept where
// it is large against that.
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

  // Throws Error(kPlan) for the first statement that cannot be planned, in DataFusion's words; call it no more then.
  std::vector<Statement> Plan(const std::vector<std::string>& tables, const std::vector<std::string>& statements);

  // Whether it can be asked once more: not when the program has died, nor in a fork of the process that started it.
  bool IsReady() const;
  // Of its resident memory what counts against a container's limit: without the pages of its files.
  size_t ResidentBytes() const;

 private:
  std::string ReadLine();
  std::string ReadBytes(size_t count);
  [[noreturn]] void FailWithOutput(std::string output);

  std::string python_;
  pid_t pid_ = -1;
  pid_t parent_ = -1;  // whose child it is
  int input_ = -1;     // the program's
  int output_ = -1;    // the program's
};

}  // namespace neap::engine
