// doctor.cc: `neap doctor`, what keeps neap from working here, for a command or for a process, and what to do.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>

#include "tools/neap/commands.h"
#include "tools/neap/diagnosis.h"
#include "tools/neap/failure.h"
#include "tools/neap/output.h"
#include "tools/neap/proc.h"

namespace neap::command {
namespace {

struct DoctorOptions {
  std::string target;
  bool json = false;
};

const char* SeverityName(Severity severity) {
  switch (severity) {
    case Severity::kFine:
      return "fine";
    case Severity::kNote:
      return "note";
    case Severity::kPart:
      return "part";
    case Severity::kBlock:
      return "block";
  }
  return "";
}

void Print(const Findings& findings, Severity worst) {
  for (const Finding& finding : findings) {
    fmt::print("{:<6}{:<14}{}\n", SeverityName(finding.severity), finding.subject, Printable(finding.what));
    if (!finding.advice.empty()) fmt::print("{:20}-> {}\n", "", Printable(finding.advice));
  }
  const char* verdict = worst == Severity::kBlock  ? "neap does not work here until what is marked 'block' is changed"
                        : worst == Severity::kPart ? "neap works, but not for what is marked 'part'"
                                                   : "neap works";
  fmt::print("{}\n", verdict);
}

void PrintJson(const Findings& findings, Severity worst) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const Finding& finding : findings) {
    list.push_back({{"severity", SeverityName(finding.severity)},
                    {"subject", finding.subject},
                    {"what", finding.what},
                    {"advice", finding.advice}});
  }
  nlohmann::ordered_json json = {{"worst", SeverityName(worst)}, {"findings", list}};
  fmt::print("{}\n", JsonText(json, JsonLayout::kIndented));
}

int Doctor(const DoctorOptions& options) {
  Findings findings;
  bool is_pid = !options.target.empty() && options.target.find_first_not_of("0123456789") == options.target.npos;
  pid_t pid = is_pid ? static_cast<pid_t>(strtol(options.target.c_str(), nullptr, 10)) : getpid();
  if (is_pid) RequireProcess(pid);
  DiagnoseSystem(pid, findings);
  if (is_pid) {
    DiagnoseProcess(pid, findings);
  } else if (!options.target.empty()) {
    DiagnoseCommand(options.target, findings);
  }
  Severity worst = Severity::kFine;
  for (const Finding& finding : findings) worst = std::max(worst, finding.severity);
  options.json ? PrintJson(findings, worst) : Print(findings, worst);
  return worst < Severity::kPart ? kDone : kNo;
}

}  // namespace

void AddDoctor(CLI::App& app, int* exit_code) {
  auto options = std::make_shared<DoctorOptions>();
  CLI::App* doctor = app.add_subcommand("doctor", "Says what would keep neap from working, and what to do");
  doctor->add_option("PID or CMD", options->target, "A process, a command or an ELF file; without: the machine alone")
      ->type_name("");
  doctor->add_flag("--json", options->json, "The findings as JSON");
  doctor->footer(
      "fine: as it should be; note: works, good to know; part: neap does not reach that part of the memory;\n"
      "block: neap does not work.\n\n"
      "Exit codes: 0 neap works; 1 something is marked 'part' or 'block'; 2 bad call; 3 no such process or command, "
      "or\n"
      "not ours to read.\n\n"
      "Example: neap doctor redis-server");
  doctor->callback([options, exit_code] { *exit_code = Doctor(*options); });
}

}  // namespace neap::command
