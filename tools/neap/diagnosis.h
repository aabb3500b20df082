// diagnosis.h: the findings of `neap doctor`, made by diagnosis_system.cc (machine and container) and
// diagnosis_program.cc (a command or a process), printed by doctor.cc.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace neap::command {

enum class Severity {
  kFine,
  kNote,   // neap works; good to know
  kPart,   // neap does not reach a part of the program's memory
  kBlock,  // neap does not work here
};

struct Finding {
  Severity severity;
  std::string subject;
  std::string what;
  std::string advice;  // empty where there is nothing to do
};

using Findings = std::vector<Finding>;

// pid: whose cgroup and limits count; our own where no process was named.
void DiagnoseSystem(pid_t pid, Findings& findings);

// An executable, a script or a library, by path or as the shell finds it. Ends the command if there is none.
void DiagnoseCommand(const std::string& command, Findings& findings);

void DiagnoseProcess(pid_t pid, Findings& findings);

}  // namespace neap::command
